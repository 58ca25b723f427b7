"""Every spelling of tensor names finds its leaf, and whatever does not fit is reported in one line."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from quantise import V4_RELEASED

from dsv4c.errors import UserError
from dsv4c.frontend.checkpoint import Checkpoint, Stored
from dsv4c.frontend.names import Source, compute_dtype, resolve
from dsv4c.models.weights import weight_leaves

ROOT = Path(__file__).parent.parent
SAVED = {
    "v3": ROOT / "tests/data/tiny-v3",
    "v32": ROOT / "tests/data/tiny-v32",
    "v4": ROOT / "examples/tiny-v4",
    "v3-odd": ROOT / "tests/data/tiny-v3-odd",
    "v32-odd": ROOT / "tests/data/tiny-v32-odd",
    "v4-odd": ROOT / "tests/data/tiny-v4-odd",
}
FP8 = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}

# The names transformers' V4 modules have, from those that save_pretrained writes (architectures.md §4.2), and the
# released names of both families. Written down apart from the tables under test.
TO_MODULES = (
    (r"^head\.", "lm_head."),
    (r"\.ffn\.gate\.bias$", ".mlp.gate.e_score_correction_bias"),
    (r"\.ffn\.", ".mlp."),
    (r"\.attn_norm\.", ".input_layernorm."),
    (r"\.ffn_norm\.", ".post_attention_layernorm."),
    (r"\.hc_(attn|ffn)_(fn|base|scale)$", r".\1_hc.\2"),
    (r"\.attn\.indexer\.weights_proj", ".attn.compressor.indexer.scorer.weights_proj"),
    (r"\.attn\.indexer\.compressor\.", ".attn.indexer."),
    (r"\.attn\.indexer\.", ".attn.compressor.indexer."),
    (r"\.attn\.", ".self_attn."),
    (r"\.attn_sink$", ".sinks"),
    (r"\.ape$", ".position_bias"),
    (r"\.q_norm\.", ".q_a_norm."),
    (r"(?<=[rn])\.norm\.", ".kv_norm."),
    (r"\.w(q_a|q_b|kv|o_a|o_b|gate)\.", r".\1_proj."),
    (r"\.w1\.", ".gate_proj."),
    (r"\.w2\.", ".down_proj."),
    (r"\.w3\.", ".up_proj."),
)
V3_SHORT = (
    (r"^model\.", ""),
    (r"^embed_tokens\.", "embed."),
    (r"^lm_head\.", "head."),
    (r"\.self_attn\.", ".attn."),
    (r"\.mlp\.gate\.e_score_correction_bias$", ".ffn.gate.bias"),
    (r"\.mlp\.", ".ffn."),
    (r"\.input_layernorm\.", ".attn_norm."),
    (r"\.post_attention_layernorm\.", ".ffn_norm."),
    (r"\.(q|kv)_a_layernorm\.", r".\1_norm."),
    (r"\.kv_a_proj_with_mqa\.", ".wkv_a."),
    (r"\.(q_a|q_b|kv_b|o|q)_proj\.", r".w\1."),
    (r"\.gate_proj\.", ".w1."),
    (r"\.down_proj\.", ".w2."),
    (r"\.up_proj\.", ".w3."),
)


def saved(name):
    return Checkpoint.open(SAVED[name])


def renamed(checkpoint, rules):
    def apply(name):
        for pattern, to in rules:
            name = re.sub(pattern, to, name)
        return name

    return changed(checkpoint, {apply(name): stored for name, stored in checkpoint.tensors.items()})


def changed(checkpoint, tensors, **raw):
    named = {name: replace(stored, name=name) for name, stored in tensors.items()}
    return replace(checkpoint, tensors=named, raw=checkpoint.raw | raw)


def stored(dtype, *shape):
    return Stored("", dtype, shape, Path("none"), 0, 0)


def find(checkpoint):
    return resolve(checkpoint.config, checkpoint)


def refused(checkpoint):
    with pytest.raises(UserError) as err:
        find(checkpoint)
    assert "\n" not in str(err.value)
    return err.value


@pytest.mark.parametrize("name", SAVED)
def test_what_transformers_writes(name):
    checkpoint = saved(name)
    sources = find(checkpoint)
    assert list(sources) == list(weight_leaves(checkpoint.config))
    experts = checkpoint.config.moe.experts
    names = [n for source in sources.values() for n in source.names(experts)]
    assert sorted(names) == sorted(checkpoint.tensors)  # each used once
    assert compute_dtype(checkpoint, sources) == "f32"


@pytest.mark.parametrize(
    ("name", "rules"),
    [("v4", TO_MODULES), ("v4-odd", TO_MODULES), ("v4", V4_RELEASED), ("v4-odd", V4_RELEASED)]
    + [(name, V3_SHORT) for name in SAVED if name.startswith("v3")],
)
def test_other_dialects_mean_the_same(name, rules):
    """Renaming the tensors renames the sources, and nothing else."""
    checkpoint = saved(name)
    other = renamed(checkpoint, rules)
    assert len(other.tensors) == len(checkpoint.tensors)
    files = {n: s.start for n, s in checkpoint.tensors.items()}
    theirs = {n: s.start for n, s in other.tensors.items()}
    experts = checkpoint.config.moe.experts
    before, after = find(checkpoint), find(other)
    for leaf, source in before.items():
        assert [files[n] for n in source.names(experts)] == [theirs[n] for n in after[leaf].names(experts)]
        assert source.form == after[leaf].form


def test_released_v4_names():
    """Spot checks against §4.2, §6.4: the three kinds of layer."""
    sources = find(renamed(saved("v4"), V4_RELEASED))
    spelled = {
        "embed": "embed.weight",
        "head": "head.weight",
        "norm": "norm.weight",
        "hc_head.fn": "hc_head_fn",
        "layers.0.ffn.table": "layers.0.ffn.gate.tid2eid",
        "layers.0.attn.kv_norm": "layers.0.attn.kv_norm.weight",
        "layers.0.attn_hc.scale": "layers.0.hc_attn_scale",
        "layers.1.attn.sinks": "layers.1.attn.attn_sink",
        "layers.1.attn.indexer.q_b": "layers.1.attn.indexer.wq_b.weight",
        "layers.1.attn.indexer.compressor.position_bias": "layers.1.attn.indexer.compressor.ape",
        "layers.2.attn.compressor.norm": "layers.2.attn.compressor.norm.weight",
        "layers.2.ffn.experts.up": "layers.2.ffn.experts.{e}.w3.weight",
    }
    assert {leaf: sources[leaf].name for leaf in spelled} == spelled


@pytest.mark.parametrize("name", ["v32", "v4"])
def test_fused_experts(name):
    checkpoint = saved(name)
    if name == "v4":
        checkpoint = renamed(checkpoint, TO_MODULES)
    tensors = {n: s for n, s in checkpoint.tensors.items() if not re.search(r"\.experts\.\d", n)}
    for layer in range(1, checkpoint.config.layers):
        tensors[f"model.layers.{layer}.mlp.experts.gate_up_proj"] = stored("BF16", 8, 64, 64)
        tensors[f"model.layers.{layer}.mlp.experts.down_proj"] = stored("BF16", 8, 64, 32)
    if name == "v4":
        tensors["model.layers.0.mlp.experts.gate_up_proj"] = stored("BF16", 8, 64, 64)
        tensors["model.layers.0.mlp.experts.down_proj"] = stored("BF16", 8, 64, 32)
    sources = find(changed(checkpoint, tensors))
    fused = "model.layers.1.mlp.experts.gate_up_proj"
    assert sources["layers.1.ffn.experts.gate"] == Source("layers.1.ffn.experts.gate", fused, "first_half", "BF16")
    assert sources["layers.1.ffn.experts.up"] == Source("layers.1.ffn.experts.up", fused, "second_half", "BF16")
    assert sources["layers.1.ffn.experts.down"].form == "plain"
    tensors[fused] = stored("BF16", 8, 32, 64)
    assert f"{fused} is [8, 32, 64], expected [8, 64, 64]" in str(refused(changed(checkpoint, tensors)))


def quantised(checkpoint, scale, scale_dtype, block=128, raw=FP8):
    """The checkpoint with all matrices of attention and MLPs in FP8."""
    tensors = dict(checkpoint.tensors)
    for name, s in checkpoint.tensors.items():
        kept = re.search(r"embed|head|norm|\.gate\.weight|compressor|weights_proj|hc_", name)  # §9.1
        if not kept and name.endswith(".weight"):
            tensors[name] = replace(s, dtype="F8_E4M3")
            rows, columns = (-(-n // block) for n in s.shape)
            tensors[name.removesuffix("weight") + scale] = stored(scale_dtype, rows, columns)
    return changed(checkpoint, tensors, **raw)


@pytest.mark.parametrize(
    ("name", "rules", "scale", "dtype"),
    [
        ("v3", (), "weight_scale_inv", "F32"),
        ("v32", (), "weight_scale_inv", "F32"),
        ("v32", V3_SHORT, "scale", "F32"),
        ("v4", V4_RELEASED, "scale", "F8_E8M0"),
    ],
)
def test_fp8(name, rules, scale, dtype):
    checkpoint = quantised(renamed(saved(name), rules), scale, dtype)
    sources = find(checkpoint)
    experts = checkpoint.config.moe.experts
    used = [n for s in sources.values() for n in s.names(experts) + s.scales(experts)]
    assert sorted(used) == sorted(checkpoint.tensors)
    kinds = {leaf: source.scheme for leaf, source in sources.items()}
    assert kinds["embed"] == kinds["layers.1.ffn.router"] == kinds["layers.1.attn_norm"] == "none"
    assert kinds["layers.1.attn.q_b"] == kinds["layers.1.ffn.shared.up"] == "fp8_block"
    experts_up = sources["layers.1.ffn.experts.up"]
    assert (experts_up.form, experts_up.stored, experts_up.block) == ("stack", "F8_E4M3", (128, 128))
    assert experts_up.scale == experts_up.name.removesuffix("weight") + scale


def test_fp8_blocks():
    """The config's block counts; without one it follows from the shapes."""
    plain = saved("v3")
    small = {"quantization_config": {"quant_method": "fp8", "weight_block_size": [16, 16]}}
    assert find(quantised(plain, "weight_scale_inv", "F32", 16, small))["layers.1.attn.q_b"].block == (16, 16)
    unstated = quantised(plain, "weight_scale_inv", "F32", 8, {})
    assert find(unstated)["layers.1.attn.q_b"].block == (8, 8)
    wrong = refused(quantised(plain, "weight_scale_inv", "F32", 16))
    assert "q_b_proj.weight_scale_inv is [6, 2], expected [1, 1]" in str(wrong)


def test_mxfp4_experts():
    checkpoint = quantised(renamed(saved("v4"), V4_RELEASED), "scale", "F8_E8M0")
    tensors = dict(checkpoint.tensors)
    for name, s in checkpoint.tensors.items():
        if re.search(r"\.experts\.\d+\.w\d\.weight$", name):
            rows, columns = s.shape
            tensors[name] = stored("I8", rows, columns // 2)
            tensors[name.replace("weight", "scale")] = stored("F8_E8M0", rows, columns // 32)
    checkpoint = changed(checkpoint, tensors)
    sources = find(checkpoint)
    template = "layers.2.ffn.experts.{e}.w2."
    assert sources["layers.2.ffn.experts.down"] == Source(
        "layers.2.ffn.experts.down", template + "weight", "stack", "I8", template + "scale", "mxfp4", (1, 32), "F8_E8M0"
    )
    assert sources["layers.2.ffn.experts.down"].scales(2) == [
        "layers.2.ffn.experts.0.w2.scale",
        "layers.2.ffn.experts.1.w2.scale",
    ]
    assert sources["layers.2.attn.q_a"].scheme == "fp8_block"
    del tensors["layers.2.ffn.experts.3.w2.scale"], tensors["layers.1.ffn.experts.7.w1.weight"]
    tensors["layers.1.ffn.experts.0.w1.scale"] = stored("F32", 32, 2)
    message = str(refused(changed(checkpoint, tensors)))
    assert "2 tensors missing: layers.1.ffn.experts.7.w1.weight, layers.2.ffn.experts.3.w2.scale;" in message
    assert "not part of the model" not in message
    assert "layers.1.ffn.experts.0.w1.scale is F32, expected F8_E8M0" in message


def test_ignored_extras():
    for name, extra in (
        ("v3", "model.layers.3.eh_proj.weight"),
        ("v3", "model.layers.0.self_attn.rotary_emb.inv_freq"),
        ("v32", "layers.3.self_attn.o_proj.weight"),
        ("v4", "mtp.0.e_proj.weight"),
        ("v4", "model.mtp.0.norm.weight"),
        ("v3-odd", "lm_head.weight"),
    ):
        checkpoint = saved(name)
        assert find(changed(checkpoint, dict(checkpoint.tensors) | {extra: stored("F32", 1)}))
    for name, extra in (("v3", "model.layers.4.eh_proj.weight"), ("v4", "model.layers.5.attn_norm.weight")):
        checkpoint = saved(name)
        problem = refused(changed(checkpoint, dict(checkpoint.tensors) | {extra: stored("F32", 1)}))
        assert problem.what == f"1 tensor not part of the model: {extra}"


def test_everything_wrong_is_reported_together():
    checkpoint = saved("v4")
    tensors = dict(checkpoint.tensors)
    del tensors["model.norm.weight"], tensors["model.layers.1.ffn.experts.5.w2.weight"]
    tensors["surprise"] = stored("F32", 1)
    tensors["head.weight"] = stored("F32", 64, 128)
    tensors["model.layers.0.attn.wq_a.weight"] = stored("I32", 24, 64)
    tensors["model.layers.0.ffn.gate.tid2eid"] = stored("F32", 128, 3)
    tensors["model.layers.2.ffn.experts.1.w1.weight"] = stored("BF16", 32, 64)
    tensors["model.layers.3.attn.wkv.weight"] = stored("F8_E4M3", 32, 64)
    problem = refused(changed(checkpoint, tensors))
    assert problem.where.endswith("model.safetensors")
    assert problem.what == (
        "3 tensors missing: model.layers.1.ffn.experts.5.w2.weight, model.layers.3.attn.wkv.scale, model.norm.weight"
        "; 1 tensor not part of the model: surprise"
        "; 1 tensor of the wrong shape: head.weight is [64, 128], expected [128, 64]"
        "; 3 tensors of the wrong dtype: model.layers.0.attn.wq_a.weight is I32, expected F32 or BF16 or F16,"
        " model.layers.0.ffn.gate.tid2eid is F32, expected I64 or I32,"
        " model.layers.2.ffn.experts.1.w1.weight is BF16, expected F32"
    )


def test_missing_names_are_spelled_as_the_rest():
    for name, rules, absent in (
        ("v3", (), "model.layers.2.self_attn.kv_a_proj_with_mqa.weight"),
        ("v3", V3_SHORT, "layers.2.attn.wkv_a.weight"),
        ("v4", TO_MODULES, "model.layers.1.self_attn.kv_norm.weight"),
        ("v4", V4_RELEASED, "layers.1.attn.kv_norm.weight"),
    ):
        checkpoint = renamed(saved(name), rules)
        tensors = dict(checkpoint.tensors)
        del tensors[absent]
        assert refused(changed(checkpoint, tensors)).what == f"1 tensor missing: {absent}"


def test_long_lists_are_cut():
    checkpoint = saved("v4")
    problem = refused(changed(checkpoint, {"x": stored("F32", 1)}))
    assert re.match(r"259 tensors missing: model\.embed_tokens\.weight, .* and 239 more; 1 tensor not", problem.what)


@pytest.mark.parametrize(
    ("quantisation", "field", "text"),
    [
        ({"quant_method": "gptq"}, "quant_method", "'gptq' is not supported; known: fp8"),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "weight_block_size", "not a pair"),
        ({"quant_method": "fp8", "weight_block_size": [128, 0]}, "weight_block_size[1]", "too small"),
        ({"quant_method": "fp8", "weight_block_size": 128}, "weight_block_size", "not a list"),
    ],
)
def test_bad_quantisation(quantisation, field, text):
    checkpoint = saved("v3")
    problem = refused(changed(checkpoint, checkpoint.tensors, quantization_config=quantisation))
    assert problem.where.endswith(f"config.json:quantization_config.{field}")
    assert text in str(problem)


def test_compute_dtype():
    checkpoint = saved("v3")
    sources = find(checkpoint)
    for raw, expected in (
        ({"dtype": "bfloat16"}, "bf16"),
        ({"dtype": None, "torch_dtype": "torch.float16"}, "f16"),
        ({"dtype": None}, "f32"),
        ({"dtype": "auto"}, "f32"),
    ):
        assert compute_dtype(changed(checkpoint, checkpoint.tensors, **raw), sources) == expected
