"""Reductions over one axis, running sums and top-k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..dims import Extent, product
from ..registry import Array, Kwargs, Require, checked, define, per_operand
from ..types import COMPUTE_FLOATS, TensorType

_ARITHMETIC = (*COMPUTE_FLOATS, "i32", "i64")


def _infer(x: TensorType, require: Require, axis: int, keep: bool) -> tuple[TensorType, ...]:
    checked(0 <= axis < x.rank, f"axis {axis} of {x}, which has {x.rank} axes")
    checked(x.dtype in _ARITHMETIC, f"does not work on {x.dtype}; use {', '.join(_ARITHMETIC)}")
    middle: tuple[Extent, ...] = (1,) if keep else ()
    return (TensorType(x.shape[:axis] + middle + x.shape[axis + 1 :], x.dtype),)


def _sum(x: Array, axis: int, keep: bool) -> Array:
    if x.dtype.kind == "i":
        whole: Array = np.sum(x, axis=axis, keepdims=keep, dtype=x.dtype)
        return whole
    # fp32 inside, one rounding out (design.md §2, "Numbers").
    out: Array = np.sum(x.astype(np.float32), axis=axis, keepdims=keep).astype(x.dtype)
    return out


def _max(x: Array, axis: int, keep: bool) -> Array:
    out: Array = np.max(x, axis=axis, keepdims=keep)
    return out


_ATTRS = {"axis": "the axis, counted from 0", "keep": "whether the axis stays, with extent 1"}
define(
    "sum", _infer, _sum, "Sum over one axis; floats accumulate in f32 and round once", work=per_operand, attrs=_ATTRS,
)
define("max", _infer, _max, "Largest element along one axis, which is not empty", work=per_operand, attrs=_ATTRS)


def _argmax_infer(x: TensorType, require: Require, axis: int) -> tuple[TensorType, ...]:
    (out,) = _infer(x, require, axis, False)
    return (TensorType(out.shape, "i32"),)


def _argmax(x: Array, axis: int) -> Array:
    out: Array = np.argmax(x, axis=axis).astype(np.int32)
    return out


define(
    "argmax", _argmax_infer, _argmax, "Position of the largest element along one axis; the lowest one on ties",
    work=per_operand, attrs={"axis": "the axis, counted from 0"},
)


def _cumsum_infer(x: TensorType, require: Require, axis: int) -> tuple[TensorType, ...]:
    (out,) = _infer(x, require, axis, True)
    return (TensorType(x.shape, out.dtype),)


def _cumsum(x: Array, axis: int) -> Array:
    wide = x.dtype if x.dtype.kind == "i" else np.dtype(np.float32)
    return np.cumsum(x, axis=axis, dtype=wide).astype(x.dtype)


define(
    "cumsum", _cumsum_infer, _cumsum, "Running sum along one axis, the element itself included",
    work=per_operand, attrs={"axis": "the axis, counted from 0"},
)


def _topk_infer(x: TensorType, require: Require, k: int) -> tuple[TensorType, ...]:
    checked(x.rank >= 1 and k >= 1, f"k = {k} of {x}; k is at least 1 and there is at least one axis")
    checked(x.dtype == "f32", f"works on f32, not {x.dtype}; cast first")
    shape = (*x.shape[:-1], k)
    return (TensorType(shape, x.dtype), TensorType(shape, "i32"))


def _topk(x: Array, k: int) -> tuple[Array, Array]:
    n = x.shape[-1]
    # A stable sort of -x keeps the lower index first on ties; x + 0 makes -0 and +0 one value.
    order = np.argsort(-(x + np.float32(0)), axis=-1, kind="stable")[..., :k].astype(np.int32)
    values = np.take_along_axis(x, order, -1)
    if n < k:
        pad = [(0, 0)] * (x.ndim - 1) + [(0, k - n)]
        values = np.pad(values, pad, constant_values=-np.inf)
        order = np.pad(order, pad, constant_values=-1)
    return values, order


def _topk_work(operands: Sequence[TensorType], results: Sequence[TensorType], attrs: Kwargs) -> Mapping[str, Extent]:
    return {operands[0].dtype: product(operands[0].shape)}


define(
    "topk", _topk_infer, _topk,
    "Values and indices of the k largest along the last axis, descending, ties to the lower index; "
    "where there are fewer than k, value -inf and index -1",
    work=_topk_work, attrs={"k": "how many, exactly"},
)


