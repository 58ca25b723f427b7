"""``dequantize`` against how codes are made (quantise.py), and the pass that keeps weights as codes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from quantise import fp4_rows, fp8_blocks, pack_nibbles, quantise
from tiling import reference

from dsv4c.driver.compile import Model, open_model
from dsv4c.driver.passes import run_pass, run_passes
from dsv4c.driver.proof import Prover
from dsv4c.driver.storage import pipeline_of
from dsv4c.frontend.loading import add_load_functions, load_leaf
from dsv4c.ir.builder import Builder
from dsv4c.ir.core import IRError, Module
from dsv4c.ir.dims import symbol
from dsv4c.ir.interp import run, tree, zeros
from dsv4c.ir.parser import parse
from dsv4c.ir.printer import to_text
from dsv4c.ir.registry import lookup
from dsv4c.ir.types import TensorType, leaves
from dsv4c.models.build import build_module
from dsv4c.passes.absorb_mla import AbsorbMla
from dsv4c.passes.base import Log, Pass
from dsv4c.passes.canonicalize import Canonicalize
from dsv4c.passes.fuse_kernels import FuseKernels
from dsv4c.passes.inline import Inline
from dsv4c.passes.quantize import Quantize, Storage, scales_of
from dsv4c.passes.rewrite_sparse_attention import RewriteSparseAttention
from dsv4c.passes.specialize import Specialize
from dsv4c.targets.target import find_target

ROOT = Path(__file__).resolve().parents[1]


def drawn(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("out", ["f32", "bf16"])
@pytest.mark.parametrize(("shape", "block"), [((256, 384), (128, 128)), ((70, 90), (128, 128)), ((33, 50), (7, 20))])
def test_f8e4m3(shape: tuple[int, int], block: tuple[int, int], out: str):
    codes, scale, meant = fp8_blocks(drawn(1, *shape), block, ue8m0=False)
    (got,) = reference("dequantize", codes, scale, codes="f8e4m3", rows=block[0], columns=block[1], out=out)
    want = meant.astype(ml_dtypes.bfloat16) if out == "bf16" else meant
    assert got.dtype == want.dtype and (got == want).all()


def test_f4e2m1_of_experts():
    codes, scale, meant = fp4_rows(drawn(2, 3 * 20, 96))
    bytes_, scales = pack_nibbles(codes).reshape(3, 20, 48), scale.astype(ml_dtypes.float8_e8m0fnu).reshape(3, 20, 3)
    (got,) = reference("dequantize", bytes_, scales, codes="f4e2m1", rows=1, columns=32, out="f32")
    assert got.shape == (3, 20, 96) and (got == meant.reshape(3, 20, 96)).all()


def test_i8_by_channel():
    codes, scale = np.arange(-12, 12, dtype=np.int8).reshape(4, 6), np.array([[1], [0.5], [2], [0.25]], np.float32)
    (got,) = reference("dequantize", codes, scale, codes="i8", rows=1, columns=6, out="f32")
    assert (got == codes * scale).all()


@pytest.mark.parametrize(
    ("w", "scale", "codes", "why"),
    [
        (("i8", 4, 8), ("f32", 4, 1), "f8e4m3", "w is i8.4, 8. for codes 'f8e4m3'; use f8e4m3, f4e2m1, i8"),
        (("f8e4m3", 4, 8), ("i32", 4, 1), "f8e4m3", "scale is i32.4, 1. of 1 x 8; use f32, bf16, f8e8m0"),
        (("i8", 4, 8), ("f32", 4, 1), "f4e2m1", "scale is f32.4, 1., expected .4, 2."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(w: Any, scale: Any, codes: str, why: str):
    types = {key: TensorType(tuple(shape), dtype) for key, (dtype, *shape) in {"w": w, "scale": scale}.items()}
    with pytest.raises(IRError, match=why), Builder(Module("m"), "f", **types) as b:
        b.emit("dequantize", b.params, {"codes": codes, "rows": 1, "columns": 8, "out": "f32"})


def test_cost_counts_what_is_stored():
    n = symbol("N")
    operands = [TensorType((n, 64), "i8"), TensorType((n, 4), "f8e8m0")]
    cost = lookup("dequantize").cost(
        operands, [TensorType((n, 128), "bf16")], {"codes": "f4e2m1", "rows": 1, "columns": 32, "out": "bf16"}
    )
    assert cost.bytes == n * (64 + 4 + 2 * 128) and cost.flops["f32"] == n * 128


# --- the pass ------------------------------------------------------------------------------------------------------
BEFORE: tuple[Pass, ...] = (Canonicalize(), FuseKernels(), RewriteSparseAttention(), Specialize(), AbsorbMla())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    out = tmp_path_factory.mktemp("quantised")
    for name, source in (("v4", "examples/tiny-v4"), ("v3", "tests/data/tiny-v3")):
        quantise(ROOT / source, out / name, experts="mxfp4" if name == "v4" else "fp8", block=(32, 32))
    return {"v4": out / "v4", "v3": out / "v3"}


def packed(folder: Path, change: Any = lambda stored: stored) -> tuple[Model, Module, Module, Log]:
    """The model, its module before and after the pass, which is told what the checkpoint stores."""
    model = open_model(str(folder))
    module = run_passes(build_module(model.config, "f32"), BEFORE)[-1].after
    cpu = replace(find_target("cpu"), keeps=lambda codes, columns: True, pipeline=(Quantize(),))
    (step,) = pipeline_of(cpu, model.sources)
    stage = run_pass(module, replace(step, stored=change(step.stored)), None)  # type: ignore[type-var]
    return model, module, stage.after, stage.log


def logits(model: Model, module: Module) -> Any:
    """Of a prefill, from the checkpoint's weights as the module wants them."""
    types = {p.name: p.type for p in module.functions["prefill"].params}
    kept = scales_of(types["weights"])
    calls = add_load_functions(module, model.config, model.sources, "f32", kept)
    wanted = [path for path, _ in leaves(types["weights"])]
    held = {path: load_leaf(module, model.checkpoint, model.config, calls[path]) for path in wanted}
    dims = {"B": 2, "S": 9, "T": 12}
    tokens = np.random.default_rng(4).integers(0, model.config.vocab, (2, 9)).astype(np.int32)
    past, new = np.zeros(2, np.int32), np.array([9, 5], np.int32)
    operands = [tokens, past, new, tree(types["weights"], held), zeros(types["state"], dims)]
    return run(module, "prefill", operands, dims)[0]


@pytest.mark.parametrize("name", ["v4", "v3"])
def test_the_pass_keeps_the_numbers(name: str, folders: dict[str, Path]):
    model, before, after, log = packed(folders[name])
    assert log.applied["quantize"] > 5 and "dequantize(" in to_text(after)
    assert to_text(parse(to_text(after))) == to_text(after)
    assert (logits(model, after) == logits(model, before)).all()


def test_experts_are_four_bits(folders: dict[str, Path]):
    _, _, after, _ = packed(folders["v4"])
    types = dict(leaves(next(p.type for p in after.functions["prefill"].params if p.name == "weights")))
    assert str(types["layers.1.ffn.experts.gate"]) == "i8[8, 32, 32]"
    assert str(types["layers.1.ffn.experts.gate_scale"]) == "f8e8m0[8, 32, 2]"


def test_a_weight_that_is_turned_stays_whole(folders: dict[str, Path]):
    _, _, after, log = packed(folders["v3"])
    assert any("kv_b" in r.where and "is no product with it" in r.why for r in log.refusals)
    types = dict(leaves(next(p.type for p in after.functions["prefill"].params if p.name == "weights")))
    assert types["layers.1.attn.kv_b"].dtype == "f32" and types["layers.1.attn.o"].dtype == "f8e4m3"


def test_layers_of_one_record_that_differ_stay_whole(folders: dict[str, Path]):
    _, before, after, log = packed(folders["v4"], lambda stored: ("layers.1.attn.q_a=f8e4m3:f8e8m0:32x32",))
    assert [r.why for r in log.refusals] == ["is dequantised when packed: its layers store it differently"]
    assert after is before


def test_what_is_stored_is_spelled():
    text = "layers.*.attn.q_a=f8e4m3:f8e8m0:128x128"
    path, how = Storage.parse(text)
    assert path == "layers.*.attn.q_a" and how.text(path) == text
    with pytest.raises(ValueError, match=r"write for instance layers.\*.attn.q_a=f8e4m3"):
        Quantize(stored=("q_a",))


def test_proof_goes_on_behind_it(folders: dict[str, Path]):
    model = open_model(str(folders["v4"]))
    cpu = find_target("cpu")
    steps = pipeline_of(replace(cpu, keeps=lambda c, n: True, pipeline=(*BEFORE, Quantize(), Inline())), model.sources)
    stages = run_passes(build_module(model.config, "f32"), steps, Prover())
    quantised, last = stages[-2], stages[-1]
    assert any("stored in another form" in row.detail for row in quantised.compared)
    assert {row.status for row in last.compared} <= {"equal", "unchanged"} and last.compared
