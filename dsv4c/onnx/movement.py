"""Core ops that make and renumber tensors, and indexing by integers, as ONNX nodes."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsv4c.ir.dims import Shape
from dsv4c.ir.types import DTYPES, TensorType

from .graph import Emitter, Graph, Site

STORAGE = ("f8e4m3", "f8e8m0", "f4e2m1")  # most ONNX ops that move data do not take these


def carried(make: Emitter, *dtypes: str) -> Emitter:
    """The same op with values of some dtypes travelling as f32, which holds them all."""

    def emit(g: Graph, s: Site) -> str | tuple[str, ...]:
        dtype = s.outs[0].dtype
        if dtype not in dtypes:
            return make(g, s)

        def wide(t: TensorType) -> TensorType:
            return TensorType(t.shape, "f32") if t.dtype == dtype else t

        args = tuple(g.cast(x, "f32") if t.dtype == dtype else x for x, t in zip(s.args, s.ins, strict=True))
        out = make(g, Site(s.op, s.where, args, tuple(map(wide, s.ins)), tuple(map(wide, s.outs)), s.attrs))
        assert isinstance(out, str)
        return g.cast(out, dtype)

    return emit


def const(g: Graph, s: Site) -> str:
    """An initializer; one number over a symbolic shape is filled at run time."""
    data: Any = s.attrs["data"]
    dtype, shape = s.outs[0].dtype, s.outs[0].shape
    g.element(dtype)
    if len(data) == 1 and shape:
        return g.filled(data[0], shape, dtype)
    numbers = np.array(data, np.int64 if DTYPES[dtype].kind in "iub" else np.float64).astype(DTYPES[dtype])
    return g.const(numbers.reshape([int(str(e)) for e in shape]))


def iota(g: Graph, s: Site) -> str:
    """A range along one axis, repeated along the others."""
    axis: Any = s.attrs["axis"]
    shape = s.outs[0].shape
    line = g.node("Range", g.number(0, "i32"), g.scalar_dim(shape[axis], "i32"), g.number(1, "i32"))
    after = len(shape) - 1 - axis
    if after:
        line = g.node("Unsqueeze", line, g.ints(*range(1, after + 1)))
    return line if len(shape) == 1 else _expand(g, line, s.outs[0])


def _expand(g: Graph, x: str, to: TensorType) -> str:
    """Expand. onnx infers extent 1 where 1 meets a known 0, and onnxruntime believes it: made from nothing instead."""
    return g.filled(0, to.shape, to.dtype) if 0 in to.shape else g.node("Expand", x, g.shape(to.shape))


def extent(g: Graph, s: Site) -> str:
    """A dimension, read from the shape of an input."""
    value: Any = s.attrs["value"]
    return g.scalar_dim(value, "i32")


def reshape(g: Graph, s: Site) -> str:
    """Reshape in which 0 means an empty axis."""
    return g.node("Reshape", s.args[0], g.shape(s.outs[0].shape), allowzero=1)


def transpose(g: Graph, s: Site) -> str:
    """Transpose; a scalar is its own."""
    return g.node("Transpose", s.args[0], perm=s.attrs["perm"]) if s.attrs["perm"] else s.args[0]


def broadcast_to(g: Graph, s: Site) -> str:
    """Axes of extent 1 repeated."""
    return _expand(g, s.args[0], s.outs[0])


def slice_(g: Graph, s: Site) -> str:
    """Slice of one axis."""
    a: Any = s.attrs
    return g.node("Slice", s.args[0], g.dim(a["start"]), g.dim(a["stop"]), g.ints(a["axis"]))


def concat(g: Graph, s: Site) -> str:
    """Concat."""
    return g.node("Concat", *s.args, axis=s.attrs["axis"])


def _inside(g: Graph, index: str, count: str) -> str:
    return g.node("And", g.node("LessOrEqual", g.number(0), index), g.node("Less", index, count))


def _fetch(g: Graph, x: str, type_: TensorType, index: str, inside: str, batch: int) -> tuple[str, bool]:
    """Rows of x at an int64 index, and whether rows outside are already 0 rather than anything.

    An axis that may be empty has no row to point at, so one row of zeros is joined to it; tables of known extent,
    which may be large, are not copied.
    """
    rows = type_.shape[batch]
    zeroed = not isinstance(rows, int) or rows == 0
    if zeroed:
        one: Shape = (*type_.shape[:batch], 1, *type_.shape[batch + 1 :])
        x = g.node("Concat", x, g.filled(0, one, type_.dtype), axis=batch)
    at = g.node("Where", inside, index, g.scalar_dim(rows) if zeroed else g.number(0))
    if not batch:
        return g.node("Gather", x, at, axis=0), zeroed
    return g.node("GatherND", x, g.node("Unsqueeze", at, g.ints(-1)), batch_dims=batch), zeroed


def _over_rows(g: Graph, mask: str, axes: int) -> str:
    return g.node("Unsqueeze", mask, g.ints(*range(-axes, 0))) if axes else mask


def gather(g: Graph, s: Site) -> str:
    """Gather or GatherND at indices made safe; rows outside become 0."""
    batch: Any = s.attrs["batch"]
    (x, index), type_ = s.args, s.ins[0]
    at = g.cast(index, "i64")
    inside = _inside(g, at, g.scalar_dim(type_.shape[batch]))
    out, zeroed = _fetch(g, x, type_, at, inside, batch)
    if zeroed:
        return out
    mask = _over_rows(g, inside, type_.rank - batch - 1)
    zero = g.filled(0, (), type_.dtype)
    return g.where(type_.dtype, mask, out, zero)


def scatter(g: Graph, s: Site) -> str:
    """Every row of x asks which update is the last one for it, and takes that one.

    ScatterND leaves the order of equal indices open, and runtimes write in parallel. The maximum of the updates'
    numbers does not depend on an order: ScatterElements with reduction max gives the winner of every row, -1 where
    there is none; an extra row takes what is out of range and is cut off.
    """
    batch: Any = s.attrs["batch"]
    (x, index, rows), (type_, index_type, rows_type) = s.args, s.ins
    count, updates = type_.shape[batch], index_type.shape[batch]
    at, limit = g.cast(index, "i64"), g.scalar_dim(count)
    at = g.node("Where", _inside(g, at, limit), at, limit)
    order = g.node("Range", g.number(0), g.scalar_dim(updates), g.number(1))
    if batch:
        order = g.node("Expand", order, g.shape(index_type.shape))
    nobody = g.filled(-1, (*type_.shape[:batch], count + 1), "i64")
    winner = g.node("ScatterElements", nobody, at, order, axis=batch, reduction="max")
    winner = g.node("Slice", winner, g.ints(0), g.dim(count), g.ints(batch))
    written = g.node("LessOrEqual", g.number(0), winner)
    fresh, _ = _fetch(g, rows, rows_type, winner, written, batch)
    return g.where(type_.dtype, _over_rows(g, written, type_.rank - batch - 1), fresh, x)


def _table(**plain: Emitter) -> dict[str, Emitter]:
    return {name.rstrip("_"): carried(emitter, *STORAGE) for name, emitter in plain.items()}


EMIT: dict[str, Emitter] = {
    "const": const,
    "iota": iota,
    "extent": extent,
    "broadcast_to": carried(broadcast_to, "bf16", *STORAGE),
    **_table(reshape=reshape, transpose=transpose, slice=slice_, concat=concat, gather=gather, scatter=scatter),
}
