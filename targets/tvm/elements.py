"""One element of an IR value as a TIR expression: loops of any kernel evaluate what is not kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx

from dsv4c.ir.core import Op, Value
from dsv4c.ir.dims import Dim, Extent, Shape

from .fusion import Fusion
from .kernels import expr
from .scalar import NARROW, Expr, arithmetic, int64, number

Index = Sequence[Expr]


class Elements:
    """Turns values into expressions. ``load(value, shape)`` gives the buffer of a kept value under a shape.

    ``root`` is the value that the kernel makes: kept, but computed here and not loaded.

    A bf16 or f16 element is an f32 expression whose number the narrow type can hold (``held``): expressions of TVM's
    own bfloat16 are widened late, by rules that write the operand of a rounding three times.
    """

    def __init__(
        self, fusion: Fusion, root: Value, load: Callable[[Value, Shape], Any], scalar: Callable[[str], Expr]
    ) -> None:
        self.fusion, self.root, self.load, self.scalar = fusion, root, load, scalar

    def loaded(self, value: Value) -> bool:
        """Whether the kernel reads the value from memory."""
        return value is not self.root and self.fusion.kept(value)

    def at(self, value: Value, index: Index) -> Expr:
        """The element of ``value`` at ``index``."""
        if self.loaded(value):
            return self.read(value, value.shape, index)
        op = self.fusion.producer(value)
        if op.name in VIEWS:
            return VIEWS[op.name](self, op, index)
        operands = [self.at(o, _broadcast(o, index)) for o in op.operands]
        return arithmetic(op, operands)

    def read(self, value: Value, shape: Shape, index: Index) -> Expr:
        """The element of a kept value that lies in memory under ``shape``."""
        buffer = self.load(value, shape or (1,))
        element = buffer[tuple(index) if index else int64(0)]
        return expr.widen(element) if value.dtype in NARROW else element

    def extent(self, value: Extent) -> Expr:
        """A dimension as an int64 expression: a number or one of the kernel's scalars."""
        return int64(value) if isinstance(value, int) else self.scalar(str(value))


def _broadcast(value: Value, index: Index) -> Index:
    """The index of an operand under numpy's rules: trailing axes, position 0 where the extent is 1."""
    own = index[len(index) - value.tensor.rank :]
    return [int64(0) if extent == 1 else i for extent, i in zip(value.shape, own, strict=True)]


def _const(e: Elements, op: Op, index: Index) -> Expr:
    data: Any = op.attrs["data"]
    dtype = op.results[0].dtype
    if len(data) == 1:
        return number(data[0], dtype)
    flat: Expr = int64(0)
    for extent, i in zip(op.results[0].shape, index, strict=True):
        flat = flat * e.extent(extent) + i
    out = number(data[-1], dtype)
    for position in range(len(data) - 2, -1, -1):
        out = tirx.Select(flat == int64(position), number(data[position], dtype), out)
    return out


def _iota(e: Elements, op: Op, index: Index) -> Expr:
    axis: Any = op.attrs["axis"]
    return index[axis].astype("int32")


def _extent(e: Elements, op: Op, index: Index) -> Expr:
    value: Any = op.attrs["value"]
    return e.extent(value).astype("int32")


def _reshape(e: Elements, op: Op, index: Index) -> Expr:
    source, target = op.operands[0], op.results[0].shape
    if e.loaded(source):
        return e.read(source, target, index)
    return e.at(source, regroup(e, source.shape, target, index))


def regroup(e: Elements, source: Shape, target: Shape, index: Index) -> list[Expr]:
    """The index into ``source`` of an index into ``target``: axes are matched in groups of equal product."""
    out: list[Expr] = []
    s = t = 0
    while s < len(source) or t < len(target):
        s_end, t_end = s + (s < len(source)), t + (t < len(target))
        left, right = _product(source[s:s_end]), _product(target[t:t_end])
        while left != right:
            if s_end < len(source) and _smaller(left, right):
                s_end += 1
            elif t_end < len(target):
                t_end += 1
            else:
                s_end += 1
            left, right = _product(source[s:s_end]), _product(target[t:t_end])
        flat: Expr = int64(0)
        for extent, i in zip(target[t:t_end], index[t:t_end], strict=True):
            flat = flat * e.extent(extent) + i
        out += _unflatten(e, source[s:s_end], flat)
        s, t = s_end, t_end
    return out


def _product(shape: Shape) -> Extent:
    total: Extent = 1
    for extent in shape:
        total = total * extent
    return total


def _smaller(left: Extent, right: Extent) -> bool:
    # A symbolic product that still lacks factors has fewer terms or a smaller coefficient; a wrong guess only makes a
    # larger group.
    def weight(x: Extent) -> tuple[int, int]:
        if isinstance(x, Dim):
            return max(len(m) for m, _ in x.terms), max(abs(c) for _, c in x.terms)
        return 0, x

    return weight(left) < weight(right)


def _unflatten(e: Elements, shape: Shape, flat: Expr) -> list[Expr]:
    out: list[Expr] = []
    for extent in reversed(shape[1:]):
        out.append(tirx.floormod(flat, e.extent(extent)) if extent != 1 else int64(0))
        flat = tirx.floordiv(flat, e.extent(extent)) if extent != 1 else flat
    return [*([flat] if shape else []), *reversed(out)]


def _transpose(e: Elements, op: Op, index: Index) -> Expr:
    perm: Any = op.attrs["perm"]
    source: list[Expr] = [int64(0)] * len(perm)
    for position, axis in enumerate(perm):
        source[axis] = index[position]
    return e.at(op.operands[0], source)


def _slice(e: Elements, op: Op, index: Index) -> Expr:
    axis: Any = op.attrs["axis"]
    start: Any = op.attrs["start"]
    moved = list(index)
    moved[axis] = index[axis] + e.extent(start) if start != 0 else index[axis]
    return e.at(op.operands[0], moved)


def _concat(e: Elements, op: Op, index: Index) -> Expr:
    axis: Any = op.attrs["axis"]
    *earlier, last = op.operands
    begins = concat_begins(op)
    out = e.at(last, _moved(index, axis, e.extent(begins[-1])))
    for part, begin, end in reversed(list(zip(earlier, begins[:-1], begins[1:], strict=True))):
        inside = index[axis] < e.extent(end)
        out = tirx.if_then_else(inside, e.at(part, _moved(index, axis, e.extent(begin))), out)
    return out


def concat_begins(op: Op) -> list[Extent]:
    """Where each part of a concat begins along its axis."""
    axis: Any = op.attrs["axis"]
    begins: list[Extent] = [0]
    for part in op.operands[:-1]:
        begins.append(begins[-1] + part.shape[axis])
    return begins


def used_extents(op: Op) -> list[Extent]:
    """The extents that evaluating an element of this op, inside a loop, refers to."""
    attrs: Any = op.attrs
    if op.name == "reshape":
        return [*op.operands[0].shape, *op.results[0].shape]
    if op.name == "concat":
        return concat_begins(op)
    if op.name == "gather":
        return [op.operands[0].shape[attrs["batch"]]]
    if op.name == "const" and len(attrs["data"]) > 1:
        return list(attrs["shape"])
    return [attrs[name] for name in ("value", "start") if name in attrs]


def _moved(index: Index, axis: int, by: Expr) -> list[Expr]:
    out = list(index)
    out[axis] = index[axis] - by
    return out


def _gather(e: Elements, op: Op, index: Index) -> Expr:
    source, positions = op.operands
    batch: Any = op.attrs["batch"]
    rank = positions.tensor.rank
    row = e.at(positions, index[:rank]).astype("int64")
    inside = tirx.all(row >= int64(0), row < e.extent(source.shape[batch]))
    element = e.at(source, [*index[:batch], row, *index[rank:]])
    return tirx.if_then_else(inside, element, number(0, source.dtype))


VIEWS: dict[str, Callable[[Elements, Op, Index], Expr]] = {
    "const": _const,
    "iota": _iota,
    "extent": _extent,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "concat": _concat,
    "gather": _gather,
    "broadcast_to": lambda e, op, index: e.at(op.operands[0], _broadcast(op.operands[0], index)),
}
