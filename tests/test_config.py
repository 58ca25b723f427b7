"""Config files: spellings, defaults, presets, and one clear line for each thing that cannot work."""

import json
from pathlib import Path

import pytest

from dsv4c.errors import UserError
from dsv4c.frontend.config import parse_config, read_config
from dsv4c.frontend.presets import load_preset, preset_names
from dsv4c.models.config import Rope, V4Config, Yarn
from dsv4c.models.weights import weight_leaves

ROOT = Path(__file__).parent.parent
V3, V32, V4 = (
    json.loads((ROOT / folder / "config.json").read_text())
    for folder in ("tests/data/tiny-v3", "tests/data/tiny-v32", "examples/tiny-v4")
)
LEGACY_V4 = {k: v for k, v in V4.items() if k not in ("layer_types", "mlp_layer_types", "compress_rates")} | {
    "compress_ratios": [0, 4, 8, 4, 8, 0],
    "compress_rate_csa": 4,
    "compress_rate_hca": 8,
    "num_hash_layers": 1,
    "rope_parameters": None,
    "partial_rotary_factor": None,
    "rope_scaling": {
        "type": "yarn",
        "factor": 4.0,
        "beta_fast": 32,
        "beta_slow": 1,
        "original_max_position_embeddings": 64,
    },
}
TOTALS = {  # architectures.md §11
    "deepseek-v3": 671026419200,
    "deepseek-v3.2": 671877944064,
    "deepseek-v4-flash": 284332240471,
    "deepseek-v4-pro": 1572997201763,
}


def parse(base, **changes):
    return parse_config({k: v for k, v in (base | changes).items() if v is not ...}, "config.json")


def test_preset_totals():
    assert preset_names() == sorted(TOTALS)
    for name, total in TOTALS.items():
        leaves = weight_leaves(load_preset(name)).values()
        assert sum(leaf.count for leaf in leaves if leaf.role != "i32") == total


def test_preset_schedules():
    flash, pro = load_preset("deepseek-v4-flash"), load_preset("deepseek-v4-pro")
    assert isinstance(flash, V4Config) and isinstance(pro, V4Config)
    assert [flash.attention.count(kind) for kind in ("window", "csa", "hca")] == [2, 21, 20]
    assert [pro.attention.count(kind) for kind in ("window", "csa", "hca")] == [0, 30, 31]
    assert flash.rope == Rope(64, 1e4)
    assert flash.compress_rope == Rope(64, 160000.0, Yarn(16.0, 65536))
    assert load_preset("deepseek-v3").softmax_scale == pytest.approx(0.1352338, abs=1e-7)


def test_unknown_preset_lists_the_known():
    with pytest.raises(UserError, match="deepseek-v4-pro"):
        load_preset("deepseek-v5")


def test_legacy_and_new_spellings_agree():
    assert parse(LEGACY_V4) == parse(V4)
    old = V3["rope_parameters"] | {"type": "yarn", "rope_type": None, "rope_theta": None}
    assert parse(V3, rope_parameters=..., rope_scaling=old, rope_theta=10000) == parse(V3)
    assert parse(V32, mlp_layer_types=...) == parse(V32)
    assert parse(V32, n_routed_experts=..., num_experts=8) == parse(V32)
    assert parse(V4, qk_rope_head_dim=...) == parse(V4)


def test_absent_fields_take_the_defaults_of_transformers():
    config = parse(V4, **dict.fromkeys(("index_topk", "swiglu_limit", "hc_mult", "sliding_window"), ...))
    assert (config.indexer.top_k, config.swiglu_limit, config.streams, config.window) == (512, 10.0, 4, 128)
    assert parse(V4, swiglu_limit=None).swiglu_limit is None
    assert parse(V4, layer_types=...).attention == ("hca", "hca", "hca", "csa", "hca")
    assert parse(V3, q_lora_rank=None).q_rank is None
    assert parse(V3, max_position_embeddings=...).max_positions == 4096


def test_ratios_without_rates():
    bare = {"compress_rate_csa": ..., "compress_rate_hca": ...}
    assert parse(LEGACY_V4, **bare, compress_ratios=[0, 4, 16, 4, 16]).hca_rate == 16
    assert parse(LEGACY_V4, **bare, compress_ratios=[0, 2, 128, 2, 0]).csa_rate == 2
    assert parse(LEGACY_V4, **bare, compress_ratios=[0, 4, 4, 4, 0]).hca_rate == 128
    for ratios in ([0, 8, 8, 8, 8], [2, 4, 8, 8, 8], [2, 2, 4, 4, 0], [128, 256, 0, 0, 0]):
        with pytest.raises(UserError, match="compress_rates"):
            parse(LEGACY_V4, **bare, compress_ratios=ratios)


def test_attention_factor():
    yarn = {"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 64}
    assert parse(V4, rope_parameters=yarn).compress_rope.yarn.attention_factor == 1.0
    nested = {"main": {}, "compress": yarn | {"rope_theta": 160000.0}}  # transformers derives it here
    assert parse(V4, rope_parameters=nested).compress_rope.yarn.attention_factor == pytest.approx(1.2772589)
    assert parse(V3, rope_parameters=yarn).rope.yarn.attention_factor == pytest.approx(1.2772589)
    assert parse(V3).rope.yarn.attention_factor == 1.0
    assert parse(V3, rope_parameters=yarn).softmax_scale == 24**-0.5


BAD = [
    (V3, {"model_type": "deepseek_v5"}, "model_type", "'deepseek_v5' is not supported; known: deepseek_v3"),
    (V3, {"model_type": ...}, "model_type", "missing"),
    (V3, {"hidden_size": ...}, "hidden_size", "missing; it must be an integer"),
    (V4, {"head_dim": ...}, "head_dim", "missing"),
    (V4, {"vocab_size": None}, "vocab_size", "null"),
    (V3, {"num_hidden_layers": -3}, "num_hidden_layers", "-3 is too small; it must be at least 1"),
    (V3, {"num_hidden_layers": 10**9}, "num_hidden_layers", "too large"),
    (V4, {"num_attention_heads": 0}, "num_attention_heads", "at least 1"),
    (V4, {"hidden_size": "64"}, "hidden_size", "'64' is not an integer"),
    (V4, {"hidden_size": True}, "hidden_size", "True is not an integer"),
    (V4, {"hidden_size": 64.0}, "hidden_size", "64.0 is not an integer"),
    (V4, {"rms_norm_eps": float("nan")}, "rms_norm_eps", "nan"),
    (V4, {"swiglu_limit": 0}, "swiglu_limit", "greater than 0"),
    (V4, {"tie_word_embeddings": 1}, "tie_word_embeddings", "true or false"),
    (V4, {"o_groups": 3}, "num_attention_heads", "4 is not divisible by o_groups 3"),
    (V4, {"num_experts_per_tok": 9}, "num_experts_per_tok", "9 is more than n_routed_experts 8"),
    (V4, {"num_key_value_heads": 4}, "num_key_value_heads", "4 is not supported"),
    (V4, {"qk_rope_head_dim": 7, "rope_parameters": None}, "qk_rope_head_dim", "odd"),
    (V4, {"qk_rope_head_dim": 40, "rope_parameters": None}, "qk_rope_head_dim", "more than head_dim 32"),
    (V4, {"index_head_dim": 4}, "index_head_dim", "less than the rotary width 8"),
    (V4, {"layer_types": ["sliding_attention"]}, "layer_types", "1 entries for 5 layers"),
    (V4, {"layer_types": ["full_attention"] * 5}, "layer_types[0]", "'full_attention' is not supported"),
    (V4, {"mlp_layer_types": ["moe"] * 4 + [None]}, "mlp_layer_types[4]", "None is not supported"),
    (V4, {"mlp_layer_types": "moe"}, "mlp_layer_types", "'moe' is not a list"),
    (V4, {"compress_rates": {"csa": 4}}, "compress_rates.csa", "not a kind"),
    (V4, {"intermediate_size": 31}, "intermediate_size", "31 contradicts moe_intermediate_size 32"),
    (V4, {"attention_bias": True}, "attention_bias", "True is not supported; linear layers have no bias"),
    (V4, {"hidden_act": "gelu"}, "hidden_act", "'gelu' is not supported"),
    (V4, {"scoring_func": "softmax"}, "scoring_func", "known: sqrtsoftplus, sigmoid"),
    (V4, {"norm_topk_prob": False}, "norm_topk_prob", "False"),
    (V4, {"n_shared_experts": 2}, "n_shared_experts", "2"),
    (V4, {"rope_parameters": {"rope_type": "llama3"}}, "rope_parameters.rope_type", "known: default, yarn"),
    (V4, {"rope_parameters": {"rope_theta": 5.0}}, "rope_parameters.rope_theta", "contradicts rope_theta 10000"),
    (V4, {"rope_parameters": {"main": {}}}, "rope_parameters.main", "give both"),
    (V4, {"rope_parameters": {"main": {}, "compress": 3}}, "rope_parameters.compress", "3 is not an object"),
    (
        V4,
        {"rope_parameters": {"main": {}, "compress": {"partial_rotary_factor": 0.5}}},
        "rope_parameters.main.partial_rotary_factor",
        "8 in main, 16 in compress",
    ),
    (LEGACY_V4, {"compress_ratios": [0, 4]}, "compress_ratios", "2 entries for 5 layers"),
    (LEGACY_V4, {"compress_ratios": [0, 4, 5, 4, 8]}, "compress_ratios[2]", "no kind of attention has ratio 5"),
    (LEGACY_V4, {"compress_ratios": [0, 4, -8, 4, 8]}, "compress_ratios[2]", "-8 is too small"),
    (LEGACY_V4, {"compress_rate_hca": 4}, "compress_ratios", "both have rate 4"),
    (V3, {"n_group": 3}, "n_routed_experts", "8 is not divisible by n_group 3"),
    (V3, {"n_group": 8}, "n_group", "at least 2 experts"),
    (V3, {"topk_group": 5}, "topk_group", "5 is more than n_group 4"),
    (V3, {"num_experts_per_tok": 5}, "num_experts_per_tok", "2 groups of 2 experts"),
    (V3, {"scoring_func": "softmax"}, "scoring_func", "'softmax' is not supported"),
    (V3, {"moe_layer_freq": 2}, "moe_layer_freq", "2 is not supported"),
    (V3, {"num_key_value_heads": 2}, "num_key_value_heads", "equal to num_attention_heads"),
    (V3, {"rope_scaling": {"type": "linear"}}, "rope_scaling.type", "'linear'"),
    (V3, {"rope_parameters": {"main": {}}}, "rope_parameters.main", "only deepseek_v4"),
    (V3, {"rope_parameters": V3["rope_parameters"] | {"truncate": False}}, "rope_parameters.truncate", "False"),
    (V3, {"rope_parameters": V3["rope_parameters"] | {"factor": -4}}, "rope_parameters.factor", "greater than 0"),
    (V32, {"q_lora_rank": None}, "q_lora_rank", "null"),
    (V32, {"rope_interleave": False}, "rope_interleave", "False"),
    (V32, {"mlp_layer_types": ["dense", "sparse", "dense"]}, "mlp_layer_types[2]", "dense layers must come first"),
    (V32, {"layer_types": ["full_attention"] * 3}, "layer_types[0]", "indexed_attention"),
]


@pytest.mark.parametrize(("base", "changes", "field", "text"), BAD)
def test_bad_fields(base, changes, field, text):
    with pytest.raises(UserError) as err:
        parse(base, **changes)
    assert err.value.where == f"config.json:{field}"
    assert text in str(err.value)
    assert "\n" not in str(err.value)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{"model_type": "deepseek_v4",\n "hidden', ":2:2: not valid JSON: Unterminated string"),
        ('{"model_type": "deepseek_v4",', ":1:30: not valid JSON"),
        ("", ":1:1: not valid JSON: Expecting value (the file is cut off?)"),
        ("[1]", ": not a JSON object"),
        (b'{"a": "\xff"}', "not a text file: byte 7"),
        ("[" * 100000, "nested too deeply"),
    ],
)
def test_bad_files(tmp_path, content, text):
    path = tmp_path / "config.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as err:
        read_config(path)
    assert str(path) in str(err.value) and text in str(err.value)


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        read_config(tmp_path / "config.json")
    with pytest.raises(UserError, match="Is a directory"):
        read_config(tmp_path)
