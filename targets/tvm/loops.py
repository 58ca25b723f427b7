"""Loop nests for fused elementwise work, joins and reductions: written as S-TIR, then scheduled.

Arguments of a kernel are its input buffers in order of first use, the output, then one int64 for each dimension symbol.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from dsv4c.ir.core import Op, Value
from dsv4c.ir.dims import Extent, Shape
from dsv4c.ir.types import TensorType

from .elements import Elements, concat_begins, used_extents
from .fusion import Fusion
from .kernels.kernel import Arg, Kernel, Source, finish
from .rows.emit import each, loop
from .scalar import DTYPE, NARROW, Expr, convert, int64, number, stored
from .schedules import SCHEDULES, schedule_map


@dataclass
class Signature:
    """What a nest reads, and the extents it needs as scalars: symbols, and each sum or product of them as a whole.

    TVM cannot fuse loops whose extents are sums of symbols; a scalar of its own for each sum avoids that.
    """

    inputs: list[tuple[Value, Shape]] = field(default_factory=list)
    extents: dict[str, Extent] = field(default_factory=dict)

    def load(self, value: Value, shape: Shape) -> int:
        """The position of an input, added when new."""
        shape = shape or (1,)
        for position, (known, under) in enumerate(self.inputs):
            if known is value and under == shape:
                return position
        self.inputs.append((value, shape))
        self.need(*shape)
        return len(self.inputs) - 1

    def need(self, *extents: Extent) -> None:
        """Make extents available inside the kernel."""
        self.extents.update({str(x): x for x in extents if not isinstance(x, int)})


class Nest:
    """The kernel of one kept value: what it reads, a text that is equal for equal kernels, and the PrimFunc."""

    def __init__(self, fusion: Fusion, op: Op) -> None:
        self.fusion, self.op, self.signature = fusion, op, Signature()
        self.out = op.results[0]
        parts = [self._describe(o) for o in op.operands] if op.name in SCHEDULES else [self._describe_op(op)]
        self.text = f"{op.name if op.name in SCHEDULES else 'map'}{_attrs(op)}({'; '.join(parts)}) -> {self.out.type}"
        self.signature.need(*(concat_begins(op) if op.name == "concat" else ()))
        self.signature.need(*self.out.shape, *(x for o in op.operands for x in o.shape if op.name in SCHEDULES))

    @property
    def inputs(self) -> list[tuple[Value, Shape]]:
        """Kept values that the nest reads, each under the shape it is read with."""
        return self.signature.inputs

    @property
    def scalars(self) -> list[Extent]:
        """Extents passed as scalars, in argument order."""
        return [extent for _, extent in sorted(self.signature.extents.items())]

    def _describe(self, value: Value) -> str:
        """The expression as text; loads are numbered, so that equal kernels of different values have equal texts."""
        if self.fusion.kept(value):
            return f"b{self.signature.load(value, value.shape)}:{value.dtype}[{_shape(value.shape or (1,))}]"
        return self._describe_op(self.fusion.producer(value))

    def _describe_op(self, op: Op) -> str:
        out = op.results[0]
        self.signature.need(*used_extents(op))
        if op.name == "reshape" and self.fusion.kept(op.operands[0]):
            source = op.operands[0]
            return f"b{self.signature.load(source, out.shape)}:{source.dtype}[{_shape(out.shape or (1,))}]"
        inner = ", ".join(self._describe(o) for o in op.operands)
        return f"{op.name}{_attrs(op)}({inner}):{out.dtype}[{_shape(out.shape)}]"

    def build(self, name: str) -> Kernel:
        """Write and schedule the kernel under ``name``."""
        before = self._write(name)
        sch = Schedule(before)
        SCHEDULES.get(self.op.name, schedule_map)(sch, self.op)
        kernel = finish(before, sch, name)
        return kernel if self.op.name in SCHEDULES else replace(kernel, source=self._source())

    def _source(self) -> Source:
        """The map row by row, in plain loops: as a part of a larger kernel it is short."""
        names = {str(s): f"n{i}" for i, s in enumerate(self.scalars)}
        shapes = [(f"x{i}", shape, value.dtype) for i, (value, shape) in enumerate(self.inputs)]
        shapes.append(("out", self.out.shape or (1,), self.out.dtype))
        args = tuple(Arg(n, tuple(x if isinstance(x, int) else names[str(x)] for x in s), d) for n, s, d in shapes)

        def body(k: Any) -> None:
            def load(value: Value, shape: Shape) -> Any:
                return getattr(k, f"x{self.signature.load(value, shape)}")

            write_rows(Elements(self.fusion, self.out, load, lambda s: getattr(k, names[s])), self.out, k.out)

        return Source(args, dict.fromkeys(names.values()), body)

    def _write(self, name: str) -> Any:
        with IRBuilder() as ib:
            with T.prim_func(s_tir=True):
                T.func_name(name)
                T.func_attr({"tirx.noalias": True, "global_symbol": name})
                bound = {str(s): tirx.Var(_scalar_name(i, s), "int64") for i, s in enumerate(self.scalars)}
                elements = Elements(self.fusion, self.out, self._load, lambda s: bound[s])
                buffers = [
                    T.arg(f"x{i}", T.Buffer(_extents(elements, shape), DTYPE[value.dtype], align=64))
                    for i, (value, shape) in enumerate(self.inputs)
                ]
                self._buffers = buffers
                out = T.arg(
                    "out", T.Buffer(_extents(elements, self.out.shape or (1,)), DTYPE[self.out.dtype], align=64)
                )
                for var in bound.values():
                    T.arg(var.name, var)
                WRITERS.get(self.op.name, write_map)(self, elements, out)
            return ib.get()

    def _load(self, value: Value, shape: Shape) -> Any:
        return self._buffers[self.signature.load(value, shape)]


def _scalar_name(position: int, extent: Extent) -> str:
    text = str(extent)
    return text if text.isidentifier() else f"n{position}"


def _shape(shape: Shape) -> str:
    return ", ".join(map(str, shape))


def _attrs(op: Op) -> str:
    return "{" + ", ".join(f"{k}={v!r}" for k, v in op.attrs.items()) + "}" if op.attrs else ""


def _extents(e: Elements, shape: Shape) -> list[Expr]:
    return [e.extent(x) for x in shape]


def _vars(loops: Any) -> list[Any]:
    """The variables of a grid; one extent gives a bare variable."""
    return [loops] if isinstance(loops, tirx.Var) else list(loops)


def write_map(nest: Nest, e: Elements, out: Any) -> None:
    """out[i] = expression, one block."""
    _store_block("map", e, nest.out.tensor, out, lambda index: e.at(nest.out, index))


def write_rows(e: Elements, value: Value, out: Any) -> None:
    """out[i] = expression, in loops over rows and along each of them."""
    *lead, width = _extents(e, value.shape or (1,))
    rows: Expr = int64(1)
    for extent in lead:
        rows = rows * extent

    def row(r: Expr) -> None:
        index: list[Expr] = []
        for extent in reversed(lead):
            index.insert(0, r % extent)
            r = r // extent
        with loop(0, width) as i:
            at = [*index, i]
            T.buffer_store(out, stored(e.at(value, at if value.shape else []), value.dtype), at)

    each(rows, width, row)


def _store_block(name: str, e: Elements, type_: TensorType, out: Any, element: Any, offset: Any = None) -> None:
    shape, dtype = type_.shape, type_.dtype
    extents = _extents(e, shape or (1,))
    with T.grid(*extents) as loops, T.sblock(name):
        axes = [T.axis.spatial(x, i) for x, i in zip(extents, _vars(loops), strict=True)]
        target = offset(axes) if offset else axes
        T.buffer_store(out, stored(element(axes if shape else []), dtype), target)


def write_concat(nest: Nest, e: Elements, out: Any) -> None:
    """One block for each part, writing its slice."""
    axis: Any = nest.op.attrs["axis"]
    for number_, (part, begin) in enumerate(zip(nest.op.operands, concat_begins(nest.op), strict=True)):

        def moved(axes: list[Expr], by: Extent = begin) -> list[Expr]:
            return [a + e.extent(by) if i == axis else a for i, a in enumerate(axes)]

        _store_block(f"part{number_}", e, part.tensor, out, lambda axes, p=part: e.at(p, axes), moved)


def write_reduction(nest: Nest, e: Elements, out: Any) -> None:
    """Accumulate in f32 (or the integer type); narrow floats are rounded by a second block."""
    op, (source,) = nest.op, nest.op.operands
    axis: Any = op.attrs["axis"]
    wide = "f32" if source.dtype in NARROW else source.dtype
    kept_extents = _extents(e, (*source.shape[:axis], *source.shape[axis + 1 :]) or (1,))
    target = out
    direct = wide == source.dtype and not op.attrs["keep"] and source.tensor.rank > 1
    if not direct:
        target = T.sblock_alloc_buffer(kept_extents, DTYPE[wide])
    _reduction_block(op, e, source, target, wide)
    if not direct:
        rank = source.tensor.rank

        def element(index: list[Expr]) -> Expr:
            inner = [a for i, a in enumerate(index) if not (op.attrs["keep"] and i == axis)] if rank > 1 else [int64(0)]
            return convert(target[tuple(inner)], wide, source.dtype)

        _store_block("round", e, nest.out.tensor, out, element)


def _reduction_block(op: Op, e: Elements, source: Value, target: Any, wide: str) -> None:
    axis: Any = op.attrs["axis"]
    rank = source.tensor.rank
    order = [i for i in range(rank) if i != axis] + [axis]
    extents = _extents(e, tuple(source.shape[i] for i in order))
    with T.grid(*extents) as loops, T.sblock("reduce"):
        *outer, last = _vars(loops)
        axes = [T.axis.spatial(x, i) for x, i in zip(extents[:-1], outer, strict=True)]
        along = T.axis.reduce(extents[-1], last)
        index = [*axes[:axis], along, *axes[axis:]]
        place = axes or [T.axis.spatial(1, int64(0))]
        lowest = number(float("-inf"), "f32") if wide == "f32" else tirx.min_value(DTYPE[wide])
        with T.init():
            T.buffer_store(target, tirx.const(0, DTYPE[wide]) if op.name == "sum" else lowest, place)
        element = convert(e.at(source, index), source.dtype, wide)
        held = target[tuple(place)]
        T.buffer_store(target, held + element if op.name == "sum" else tirx.max(held, element), place)


WRITERS = {"concat": write_concat, "sum": write_reduction, "max": write_reduction}
