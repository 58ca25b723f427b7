"""``dequantize``: codes and scales of weights, against how they are made (quantise.py)."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from quantise import fp4_rows, fp8_blocks, pack_nibbles
from tiling import reference

from dsv4c.ir.builder import Builder
from dsv4c.ir.core import IRError, Module
from dsv4c.ir.dims import symbol
from dsv4c.ir.kernel_ops.quantised import dequantize
from dsv4c.ir.registry import lookup
from dsv4c.ir.types import TensorType


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
    assert dequantize.__name__ == "dequantize"
