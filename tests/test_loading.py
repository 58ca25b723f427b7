"""Every leaf is made from its tensors bit by bit as the formats say, one at a time, by few functions."""

import json
import re
import tracemalloc
from dataclasses import replace
from types import SimpleNamespace

import ml_dtypes
import numpy as np
import pytest
from quantise import V4_RELEASED, e2m1, fp4_rows, fp8_blocks, pack_nibbles, pow2ceil, quantise, renamed, write
from safetensors.numpy import load_file
from test_names import SAVED, TO_MODULES, V3_SHORT

from dsv4c.frontend.checkpoint import DTYPES, Checkpoint
from dsv4c.frontend.config import parse_config
from dsv4c.frontend.declared import declared_sources
from dsv4c.frontend.loading import STORED, LoadCall, add_load_functions, load_function, load_leaf, stream_weights
from dsv4c.frontend.names import Source, _scheme, resolve
from dsv4c.frontend.presets import load_preset
from dsv4c.frontend.spellings import spellings
from dsv4c.ir import types
from dsv4c.ir.builder import Builder, transpose
from dsv4c.ir.core import Module
from dsv4c.ir.parser import parse
from dsv4c.ir.printer import to_text
from dsv4c.ir.types import TensorType
from dsv4c.ir.verify import verify
from dsv4c.models.build import build_module
from dsv4c.models.config import V4Config
from dsv4c.models.types import tensor_of
from dsv4c.models.weights import Leaf, weight_leaves

V3 = json.loads((SAVED["v3"] / "config.json").read_text())


def same_bits(actual, expected):
    assert (actual.shape, actual.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(actual.view(f"u{actual.itemsize}"), expected.view(f"u{actual.itemsize}"))


def made(source, dtype, *tensors):
    """The leaf that the function for ``source`` makes from the tensors."""
    module = Module("weights")
    shape = tensors[0].shape
    function = load_function(module, source, TensorType(shape, dtype))
    names = ("w", "scale")[: len(tensors)]
    read = dict(zip(names, tensors, strict=True)).__getitem__
    return load_leaf(module, SimpleNamespace(read=read), None, LoadCall(function.name, names))


def load(folder, dtype="f32"):
    checkpoint = Checkpoint.open(folder)
    module = Module("weights")
    calls = add_load_functions(module, checkpoint.config, resolve(checkpoint.config, checkpoint), dtype)
    wanted = [(path, "") for path in calls]
    stream = stream_weights(module, checkpoint, checkpoint.config, calls, wanted, lambda path, form: None)
    out = {path: array for path, _, array in stream}
    for path, leaf in weight_leaves(checkpoint.config).items():
        want = tensor_of(leaf, dtype)
        assert (out[path].shape, out[path].dtype) == (want.shape, types.DTYPES[want.dtype])
    return out


# --- formats


@pytest.mark.parametrize("dtype", ["f32", "bf16", "f16"])
@pytest.mark.parametrize("kind", ["F32", "F8_E8M0"])
@pytest.mark.parametrize(
    ("shape", "block"),
    [((256, 384), (128, 128)), ((576, 200), (128, 128)), ((40, 70), (32, 32)), ((3, 5), (128, 128)), ((7, 9), (1, 4))],
)
def test_fp8(shape, block, kind, dtype):
    draw = np.random.default_rng(0)
    w = draw.integers(0, 256, shape, np.uint8)
    w[w & 127 == 127] = 1  # not a number
    w = w.view(ml_dtypes.float8_e4m3fn)
    blocks = [-(-n // size) for n, size in zip(shape, block, strict=True)]
    scale = draw.uniform(1e-5, 2, blocks).astype(np.float32)
    scale = scale if kind == "F32" else pow2ceil(scale).astype(DTYPES[kind])
    expected = np.empty(shape, np.float32)
    for (row, column), number in np.ndenumerate(w):
        expected[row, column] = np.float32(number) * np.float32(scale[row // block[0], column // block[1]])
    source = Source("x", "w", "plain", "F8_E4M3", "scale", "fp8_block", block, kind)
    same_bits(made(source, dtype, w, scale), expected.astype(types.DTYPES[dtype]))


def mxfp4_decoder(packed, scale, columns):
    pairs = np.stack([packed.view(np.uint8) & 15, packed.view(np.uint8) >> 4], -1)
    numbers = pairs.reshape(len(packed), columns).view(ml_dtypes.float4_e2m1fn).astype(np.float32)
    exponents = np.repeat(scale.view(np.uint8).astype(np.int32) - 127, 32, 1)[:, :columns]
    with np.errstate(over="ignore"):
        return np.ldexp(numbers, exponents)


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize("columns", [512, 48, 2])
def test_mxfp4(columns, dtype):
    """Every byte under every scale; the largest scales overflow to infinity, which is not an error."""
    scale = np.repeat(np.arange(255, dtype=np.uint8)[:, None], -(-columns // 32), 1)
    packed = np.tile(np.arange(256), (255, 1)).astype(np.uint8)[:, 256 - columns // 2 :].view(np.int8)
    expected = mxfp4_decoder(packed, scale, columns)
    assert np.isinf(expected).any()
    source = Source("x", "w", "plain", "I8", "scale", "mxfp4", (1, 32), "F8_E8M0")
    actual = made(source, dtype, packed, scale.view(ml_dtypes.float8_e8m0fnu))
    with np.errstate(over="ignore"):
        same_bits(actual, expected.astype(types.DTYPES[dtype]))


def test_mxfp4_codes():
    """The table of §9.2, and which nibble comes first."""
    packed = np.arange(16, dtype=np.int8)[:, None]
    scale = np.full((16, 1), 2.0, ml_dtypes.float8_e8m0fnu)
    source = Source("x", "w", "plain", "I8", "scale", "mxfp4", (1, 32), "F8_E8M0")
    sizes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], np.float32) * 2
    same_bits(made(source, "f32", packed, scale)[:, 0], np.concatenate([sizes, -sizes]))
    same_bits(made(source, "f32", packed, scale)[:, 1], np.zeros(16, np.float32))


def test_values_that_are_not_finite():
    w = np.array([[np.nan, 1], [2, 3]], ml_dtypes.float8_e4m3fn)
    source = Source("x", "w", "plain", "F8_E4M3", "scale", "fp8_block", (1, 1), "F32")
    scale = np.array([[1, np.nan], [np.inf, 1]], np.float32)
    np.testing.assert_array_equal(made(source, "bf16", w, scale).astype(np.float32), [[np.nan] * 2, [np.inf, 3]])


def test_casts():
    numbers = np.array([[1 + 2**-8, 1 + 3 * 2**-8, 65520.0, 1e-40]], np.float32)
    for stored in ("BF16", "F16", "F32"):
        for dtype in ("bf16", "f16", "f32"):
            if STORED[stored] == dtype:
                continue
            with np.errstate(over="ignore"):
                w = numbers.astype(DTYPES[stored])
                want = w.astype(np.float32).astype(types.DTYPES[dtype])
            same_bits(made(Source("x", "w", "plain", stored), dtype, w), want)
    table = np.array([[5, 0], [1, 383]], np.int64)
    same_bits(made(Source("x", "w", "plain", "I64"), "i32", table), table.astype(np.int32))


def test_rounders():
    """The golden values of §9.3."""
    row = np.array([[6.5, 0.74, 1.25, 2.51, 5.0, -1.1, 0.26]], np.float32)
    codes, scale, meant = fp4_rows(row)
    assert scale.tolist() == [[2.0]]
    assert meant[0, 1:].tolist() == [1.0, 1.0, 3.0, 4.0, -1.0, 0.0]
    x = np.arange(-7, 7.01, 1 / 64, np.float32)
    same_bits(e2m1(x), x.astype(ml_dtypes.float4_e2m1fn).view(np.uint8))
    x = np.random.default_rng(0).uniform(1e-6, 100, 999).astype(np.float32)
    np.testing.assert_array_equal(pow2ceil(x), np.exp2(np.ceil(np.log2(x))))
    assert pow2ceil(np.array([0.25, 1, 448], np.float32)).tolist() == [0.25, 1, 512]
    assert fp8_blocks(np.zeros((1, 1), np.float32), (1, 1), ue8m0=False)[1] == np.float32(1e-4) / np.float32(448)
    assert pack_nibbles(np.array([[1, 15]], np.uint8)).tolist() == [[-15]]
    assert codes[0, 0] == 5 and meant[0, 0] == 6.0


# --- checkpoints


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_what_transformers_wrote(name, dtype):
    checkpoint = Checkpoint.open(SAVED[name])
    tensors = load_file(SAVED[name] / "model.safetensors")
    sources = resolve(checkpoint.config, checkpoint)
    leaves = weight_leaves(checkpoint.config)
    for path, leaf in load(SAVED[name], dtype).items():
        arrays = [tensors[n] for n in sources[path].names(checkpoint.config.moe.experts)]
        whole = np.stack(arrays) if "experts" in path and "shared" not in path else arrays[0]
        same_bits(leaf, whole.astype({"compute": types.DTYPES[dtype], "f32": "f4", "i32": "i4"}[leaves[path].role]))


@pytest.mark.parametrize(
    ("name", "rules"),
    [("v4", TO_MODULES), ("v4-odd", TO_MODULES), ("v3", V3_SHORT), ("v32", V3_SHORT), ("v4", V4_RELEASED)],
)
def test_dialects_give_the_same_leaves(tmp_path, name, rules):
    tensors = renamed(load_file(SAVED[name] / "model.safetensors"), rules)
    assert not tensors.keys() & {n for n in Checkpoint.open(SAVED[name]).tensors if ".layers." in n}
    write(tmp_path, json.loads((SAVED[name] / "config.json").read_text()), tensors)
    ours, theirs = load(SAVED[name]), load(tmp_path)
    assert ours.keys() == theirs.keys()
    for path in ours:
        same_bits(theirs[path], ours[path])


@pytest.mark.parametrize("stored", [np.float32, ml_dtypes.bfloat16])
def test_fused_experts(tmp_path, stored):
    """transformers' fused tensors and one tensor for each expert are the same model."""
    tensors = {n: t.astype(stored) for n, t in load_file(SAVED["v3"] / "model.safetensors").items()}
    write(tmp_path / "apart", V3, tensors)
    for stem in sorted({n.split(".experts.")[0] for n in tensors if ".experts." in n}):
        gate, up, down = (
            np.stack([tensors.pop(f"{stem}.experts.{e}.{part}_proj.weight") for e in range(8)])
            for part in ("gate", "up", "down")
        )
        tensors[f"{stem}.experts.gate_up_proj"] = np.concatenate([gate, up], 1)
        tensors[f"{stem}.experts.down_proj"] = down
    write(tmp_path / "fused", V3, tensors)
    for dtype in ("f32", "bf16"):
        apart, fused = load(tmp_path / "apart", dtype), load(tmp_path / "fused", dtype)
        for path in apart:
            same_bits(fused[path], apart[path])


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
@pytest.mark.parametrize(
    ("name", "experts", "block"),
    [("v3", "fp8", (128, 128)), ("v32-odd", "fp8", (16, 32)), ("v4", "mxfp4", (32, 32)), ("v4-odd", "mxfp4", (7, 20))],
)
def test_quantised_checkpoints(tmp_path, name, experts, block, dtype):
    """A quantised folder gives what its plain copy gives; blocks divide nothing in the odd models."""
    meant = quantise(SAVED[name], tmp_path / "small", experts=experts, block=block, rest=ml_dtypes.bfloat16)
    write(tmp_path / "plain", json.loads((SAVED[name] / "config.json").read_text()), meant)
    small, plain = load(tmp_path / "small", dtype), load(tmp_path / "plain", dtype)
    for path in plain:
        same_bits(small[path], plain[path])


def test_tensors_that_are_not_aligned(tmp_path):
    """A header of any length is legal; what comes out can be handed to a kernel."""
    tensors = load_file(SAVED["v3"] / "model.safetensors")
    header, at = {}, 1
    header["pad"] = {"dtype": "I8", "shape": [1], "data_offsets": [0, 1]}
    for name, array in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    header["mtp.pad"] = header.pop("pad")
    text = json.dumps(header).encode()
    data = b"\0" + b"".join(t.tobytes() for t in tensors.values())
    (tmp_path / "config.json").write_text(json.dumps(V3))
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    plain = load(SAVED["v3"])
    for path, array in load(tmp_path).items():
        assert array.flags.aligned and array.flags.c_contiguous
        same_bits(array, plain[path])


# --- streaming


def deep(folder):
    """A random V3 model of 20 layers."""
    raw = V3 | {"num_hidden_layers": 20, "hidden_size": 128, "moe_intermediate_size": 256}
    config, draw, tensors = parse_config(raw, "config.json"), np.random.default_rng(0), {}
    for path, leaf in weight_leaves(config).items():
        template = spellings(config, path)[0]
        stacked = "{e}" in template
        for e in range(config.moe.experts if stacked else 1):
            tensors[template.format(e=e)] = draw.standard_normal(leaf.shape[1:] if stacked else leaf.shape, np.float32)
    return write(folder, raw, tensors)


def transposing(module, leaves):
    """Gives the pack function of form "t" for a path; one a shape."""

    def pack(path, form):
        assert form == "t"
        shape = leaves[path].shape
        name = f"t_{'x'.join(map(str, shape))}"
        if name not in module.functions:
            with Builder(module, name, w=TensorType(shape, "f32")) as b:
                b.done(transpose(b.params[0], *reversed(range(len(shape)))), kind="weights")
        return module.functions[name]

    return pack


def prepared(folder):
    """Everything that streaming needs, up to what is wanted."""
    checkpoint, module = Checkpoint.open(folder), Module("weights")
    config = checkpoint.config
    calls = add_load_functions(module, config, resolve(config, checkpoint), "f32")
    return (module, checkpoint, config, calls), transposing(module, weight_leaves(config))


@pytest.mark.parametrize("stored", ["plain", "fp8"])
def test_one_leaf_at_a_time(tmp_path, stored):
    folder = deep(tmp_path / "plain")
    if stored == "fp8":
        quantise(folder, tmp_path / "fp8", experts="fp8", rest=ml_dtypes.bfloat16)
    given, pack = prepared(tmp_path / stored)
    leaves = weight_leaves(given[2])
    wanted = sorted((path, form) for path in leaves for form in ("", "t"))
    largest = 4 * max(leaf.count for leaf in leaves.values())
    order, total = [], 0
    tracemalloc.start()
    for path, form, array in stream_weights(*given, wanted, pack):
        order.append((path, form))
        total += array.nbytes
        del array
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert order == wanted
    assert total > 50 * largest
    assert peak < 2 * largest + 500_000  # lists of names, and CPython's spare tuples


def test_two_forms_read_the_file_once(monkeypatch):
    given, pack = prepared(SAVED["v3"])
    names, read = [], Checkpoint.read
    monkeypatch.setattr(Checkpoint, "read", lambda self, name: names.append(name) or read(self, name))
    path = "layers.1.ffn.experts.up"
    wanted = [("embed", ""), (path, ""), (path, "t"), ("norm", "")]
    out = list(stream_weights(*given, wanted, pack))
    assert [(p, f) for p, f, _ in out] == wanted
    same_bits(out[2][2], np.ascontiguousarray(out[1][2].transpose()))
    assert len(names) == len(set(names)) == 10


# --- functions


def test_an_odd_row_is_not_mxfp4():
    """Two codes a byte: such a tensor is of the wrong dtype, which resolve reports."""
    assert [_scheme("I8", Leaf((4, k)), (4, k)) for k in (4, 5)] == ["mxfp4", "none"]


def as_released(config):
    """Sources as the released checkpoints have them: FP8 matrices, V4's experts in MXFP4, the rest by §9.1."""
    v4, out = isinstance(config, V4Config), {}
    kept = re.compile(r"embed|head|norm|router|compressor|hc|sinks|bias|table")
    for path, leaf in weight_leaves(config).items():
        name = next(s for s in spellings(config, path)[::-1] if not s.endswith("]"))
        form = "stack" if "{e}" in name else "plain"
        scale = name.removesuffix("weight") + ("scale" if v4 else "weight_scale_inv")
        if path.endswith("table"):
            out[path] = Source(path, name, form, "I64")
        elif kept.search(path):
            out[path] = Source(path, name, form, "BF16" if "norm" in path or leaf.role == "compute" else "F32")
        elif v4 and form == "stack":
            out[path] = Source(path, name, form, "I8", scale, "mxfp4", (1, 32), "F8_E8M0")
        else:
            kind = "F8_E8M0" if v4 else "F32"
            out[path] = Source(path, name, form, "F8_E4M3", scale, "fp8_block", (128, 128), kind)
    return out


def test_released_models_need_few_functions():
    needed = {}
    for name in ("deepseek-v3", "deepseek-v3.2", "deepseek-v4-flash", "deepseek-v4-pro"):
        config, module = load_preset(name), Module("weights")
        calls = add_load_functions(module, config, as_released(config), "bf16")
        assert list(calls) == list(weight_leaves(config))
        needed[name] = sorted(module.functions)
        assert to_text(module).count("\n") < 50
    fp8 = "load_fp8_128x128_f8e8m0_to_bf16"
    v4 = ["load_bf16_1d_to_f32", fp8, "load_i64_2d_to_i32", "load_mxfp4_to_bf16"]
    assert needed["deepseek-v4-pro"] == needed["deepseek-v4-flash"] == v4
    assert needed["deepseek-v3"] == ["load_fp8_128x128_f32_to_bf16"]
    assert calls["layers.7.ffn.experts.up"] == LoadCall(
        "load_mxfp4_to_bf16", ("layers.7.ffn.experts.{e}.w3.weight", "layers.7.ffn.experts.{e}.w3.scale")
    )
    assert calls["embed"] == LoadCall(None, ("embed.weight",))


@pytest.mark.parametrize("name", ["v3", "v32-odd", "v4", "v4-odd"])
def test_a_config_declares_what_its_checkpoint_stores(name, tmp_path):
    quantise(SAVED[name], tmp_path / "q", experts="mxfp4" if name.startswith("v4") else "fp8", block=(32, 32))
    checkpoint = Checkpoint.open(tmp_path / "q")
    found = {k: s for k, s in resolve(checkpoint.config, checkpoint).items() if s.scheme != "none"}
    raw = checkpoint.raw | {"expert_dtype": "fp4" if name.startswith("v4") else "fp8"}
    declared = declared_sources(checkpoint.config, raw, "config.json:")
    told = [
        {key: (s.form, s.scheme, s.block, s.stored, s.scale_stored) for key, s in sources.items()}
        for sources in (declared, found)
    ]
    assert told[0] == told[1]
    assert declared_sources(checkpoint.config, {}, "config.json:") == {}


@pytest.mark.parametrize("name", ["v3", "v4"])
def test_functions_do_not_grow_with_layers(name):
    config = Checkpoint.open(SAVED[name]).config
    texts = []
    for layers in (4, 40):
        deeper = replace(config, layers=layers)
        if isinstance(config, V4Config):
            kinds = ("window", "csa", "hca", "csa") * 10
            deeper = replace(deeper, attention=kinds[:layers], routing=("hash", *["learned"] * 39)[:layers])
        module = Module("weights")
        add_load_functions(module, deeper, as_released(deeper), "bf16")
        texts.append(to_text(module))
    assert texts[0] == texts[1]


def test_text_form():
    config = Checkpoint.open(SAVED["v4"]).config
    module = build_module(config, "bf16")
    add_load_functions(module, config, as_released(config), "bf16")
    add_load_functions(module, config, as_released(config), "f32")
    verify(module)
    text = to_text(module)
    assert to_text(parse(text)) == text
    assert "weights func load_mxfp4_to_bf16(%w: i8[N, H]" in text
