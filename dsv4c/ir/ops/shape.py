"""Ops that renumber elements, and indexing by integers."""

from __future__ import annotations

from math import prod

import numpy as np

from ..dims import Extent, Shape, product
from ..registry import Array, Require, checked, define
from ..types import INTEGERS, TensorType


def _reshape_infer(x: TensorType, require: Require, shape: Shape) -> tuple[TensorType, ...]:
    require(product(x.shape), product(shape))
    return (TensorType(shape, x.dtype),)


define(
    "reshape", _reshape_infer, lambda x, shape: x.reshape(shape),
    "The same elements in row-major order under another shape",
    kind="view", attrs={"shape": "the new shape"},
)


def _transpose_infer(x: TensorType, require: Require, perm: tuple[int, ...]) -> tuple[TensorType, ...]:
    checked(sorted(perm) == list(range(x.rank)), f"perm {perm} does not name each of the {x.rank} axes once")
    return (TensorType(tuple(x.shape[p] for p in perm), x.dtype),)


define(
    "transpose", _transpose_infer, lambda x, perm: np.transpose(x, perm).copy(),
    "Axes in another order: result axis i is operand axis perm[i]",
    kind="view", attrs={"perm": "the operand axis of each result axis"},
)


def _broadcast_infer(x: TensorType, require: Require, shape: Shape) -> tuple[TensorType, ...]:
    checked(x.rank <= len(shape), f"cannot broadcast {x} to {len(shape)} axes")
    for have, want in zip(x.shape, shape[len(shape) - x.rank :], strict=True):
        if have != 1:
            require(have, want)
    return (TensorType(shape, x.dtype),)


define(
    "broadcast_to", _broadcast_infer, lambda x, shape: np.broadcast_to(x, shape).copy(),
    "Axes of extent 1 repeated, and new leading axes", kind="view", attrs={"shape": "the new shape"},
)


def _slice_infer(x: TensorType, require: Require, axis: int, start: Extent, stop: Extent) -> tuple[TensorType, ...]:
    checked(0 <= axis < x.rank, f"axis {axis} of {x}, which has {x.rank} axes")
    numbers = all(isinstance(v, int) for v in (start, stop, x.shape[axis]))
    fits = not numbers or 0 <= int(start) <= int(stop) <= int(x.shape[axis])  # type: ignore[arg-type]
    checked(fits, f"elements {start} to {stop} of axis {axis} of {x}")
    return (TensorType((*x.shape[:axis], stop - start, *x.shape[axis + 1 :]), x.dtype),)


def _slice(x: Array, axis: int, start: int, stop: int) -> Array:
    index = [slice(None)] * x.ndim
    index[axis] = slice(start, stop)
    return x[tuple(index)]


define(
    "slice", _slice_infer, _slice, "Elements start to stop (excluded) of one axis",
    kind="view",
    attrs={"axis": "the axis, counted from 0", "start": "first element", "stop": "one past the last element"},
)


def _concat_infer(*xs: TensorType, require: Require, axis: int) -> tuple[TensorType, ...]:
    checked(len(xs) > 0, "takes one operand or more")
    first = xs[0]
    checked(0 <= axis < first.rank, f"axis {axis} of {first}, which has {first.rank} axes")
    total: Extent = 0
    for x in xs:
        checked(x.dtype == first.dtype and x.rank == first.rank, f"cannot join {first} and {x}")
        for i in range(first.rank):
            if i != axis:
                require(first.shape[i], x.shape[i])
        total = total + x.shape[axis]
    return (TensorType((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype),)


define(
    "concat", _concat_infer, lambda *xs, axis: np.concatenate(xs, axis=axis),
    "Operands one after the other along an axis",
    kind="view", attrs={"axis": "the axis, counted from 0"},
)


def _gather_infer(x: TensorType, index: TensorType, require: Require, batch: int) -> tuple[TensorType, ...]:
    checked(index.dtype in INTEGERS, f"indices are {index}; they are integers")
    checked(batch < x.rank and batch <= index.rank, f"{batch} batch axes of {x} and {index}")
    for i in range(batch):
        require(x.shape[i], index.shape[i])
    return (TensorType((*index.shape, *x.shape[batch + 1 :]), x.dtype),)


def _flat_index(index: Array, batch: int, rows: int) -> tuple[Array, Array]:
    """Indices as [batches, n], clipped, and whether they were in range."""
    flat = index.reshape(prod(index.shape[:batch]), prod(index.shape[batch:])).astype(np.int64)
    return np.clip(flat, 0, max(rows - 1, 0)), (flat >= 0) & (flat < rows)


def _gather(x: Array, index: Array, batch: int) -> Array:
    rows, rest = x.shape[batch], x.shape[batch + 1 :]
    flat, inside = _flat_index(index, batch, rows)
    source = x.reshape(flat.shape[0], rows, prod(rest))
    if not rows:
        return np.zeros((*index.shape, *rest), x.dtype)
    out = source[np.arange(flat.shape[0])[:, None], flat]
    out[~inside] = 0
    return out.reshape((*index.shape, *rest))


define(
    "gather", _gather_infer, _gather,
    "Rows of x picked by index along axis `batch`; the first `batch` axes go in step; out of range gives 0",
    attrs={"batch": "how many leading axes x and index share"}, kind="elementwise",
)


def _scatter_infer(
    x: TensorType, index: TensorType, rows: TensorType, require: Require, batch: int
) -> tuple[TensorType, ...]:
    checked(index.dtype in INTEGERS, f"indices are {index}; they are integers")
    checked(batch < x.rank and index.rank == batch + 1, f"indices {index} for {x} with {batch} batch axes")
    checked(rows.dtype == x.dtype, f"cannot write {rows} into {x}")
    want = (*index.shape, *x.shape[batch + 1 :])
    checked(len(want) == rows.rank, f"rows are {rows}, expected {len(want)} axes")
    for a, b in zip((*x.shape[:batch], *want), (*index.shape[:batch], *rows.shape), strict=True):
        require(a, b)
    return (TensorType(x.shape, x.dtype, x.state),)


def _scatter(x: Array, index: Array, rows: Array, batch: int) -> Array:
    count, rest = x.shape[batch], x.shape[batch + 1 :]
    flat, inside = _flat_index(index, batch, count)
    out = x.reshape(flat.shape[0], count, prod(rest)).copy()
    source = rows.reshape(flat.shape[0], flat.shape[1], prod(rest))
    for b in range(flat.shape[0]):
        out[b, flat[b][inside[b]]] = source[b][inside[b]]
    return out.reshape(x.shape)


define(
    "scatter", _scatter_infer, _scatter,
    "x with rows written at index along axis `batch`; out of range is dropped, the last of equal indices wins",
    attrs={"batch": "how many leading axes x and index share"},
)
