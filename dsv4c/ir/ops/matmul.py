"""Matrix products. Products are accumulated in f32 and rounded once to the result's dtype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..dims import Extent, product
from ..registry import Array, Kwargs, Require, checked, define
from ..types import COMPUTE_FLOATS, DTYPES, TensorType
from .elementwise import broadcast


def _operands(a: TensorType, b: TensorType, out: str) -> None:
    checked(a.dtype == b.dtype and a.dtype in COMPUTE_FLOATS, f"operands are {a} and {b}; cast to one float dtype")
    checked(out in ("", "f32", a.dtype), f"the result is {out}; use f32 or {a.dtype}")


def _infer(a: TensorType, b: TensorType, require: Require, trans_b: bool, out: str) -> tuple[TensorType, ...]:
    _operands(a, b, out)
    checked(a.rank >= 2 and b.rank >= 2, f"operands are {a} and {b}; both need two axes or more")
    n, k = (b.shape[-2], b.shape[-1]) if trans_b else (b.shape[-1], b.shape[-2])
    require(a.shape[-1], k)
    batch = broadcast([a.shape[:-2], b.shape[:-2]], require) if a.rank > 2 or b.rank > 2 else ()
    return (TensorType((*batch, a.shape[-2], n), out or a.dtype),)


def _matmul(a: Array, b: Array, trans_b: bool, out: str) -> Array:
    right = np.swapaxes(b, -1, -2) if trans_b else b
    wide: Array = np.matmul(a.astype(np.float32), right.astype(np.float32))
    return wide.astype(DTYPES[out] if out else a.dtype)


def _work(operands: Sequence[TensorType], results: Sequence[TensorType], attrs: Kwargs) -> Mapping[str, Extent]:
    return {operands[0].dtype: 2 * (product(results[0].shape) * operands[0].shape[-1])}


define(
    "matmul", _infer, _matmul, "Matrix product over the last two axes, leading axes broadcast",
    work=_work,
    attrs={"trans_b": "whether b is [N, K], as checkpoints store it", "out": "f32 to keep the accumulator, else empty"},
)


def _ragged_infer(x: TensorType, w: TensorType, counts: TensorType, require: Require) -> tuple[TensorType, ...]:
    _operands(x, w, "")
    checked(x.rank == 2 and w.rank == 3, f"operands are {x} and {w}; they are [M, K] and [E, N, K]")
    checked(counts.rank == 1 and counts.dtype == "i32", f"counts are {counts}; they are i32[E]")
    require(x.shape[1], w.shape[2])
    require(counts.shape[0], w.shape[0])
    return (TensorType((x.shape[0], w.shape[1]), x.dtype),)


def _ragged(x: Array, w: Array, counts: Array) -> Array:
    out = np.zeros((x.shape[0], w.shape[1]), x.dtype)
    start = 0
    for expert, count in enumerate(counts.tolist()):
        rows = x[start : start + count].astype(np.float32)
        if count:
            out[start : start + count] = (rows @ w[expert].astype(np.float32).T).astype(x.dtype)
        start += count
    return out


def _ragged_work(operands: Sequence[TensorType], results: Sequence[TensorType], attrs: Kwargs) -> Mapping[str, Extent]:
    x, w, _ = operands
    return {x.dtype: 2 * (product(x.shape) * w.shape[1])}


define(
    "ragged_matmul", _ragged_infer, _ragged,
    "Rows of x [M, K], sorted by group, times their group's w[e] ([N, K]); counts[e] rows each, rows beyond are 0",
    work=_ragged_work,
)
