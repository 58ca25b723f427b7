"""Core ops between kernel ops: copies, casts and small integers. Shapes that models do not have are refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsv4c.ir.core import IRError, Op, Value, located
from dsv4c.ir.dims import Extent, product
from dsv4c.plan import View

from ...shapes import int_attr, number, out_view
from ..kernels import copies, lines
from ..kernels.select import argmax
from ..lower import FunctionLowering, Template
from ..scalar import aligned

LINE = [{"cols": cols} for cols in (4096, 2048, 1024)]


def refuse(f: FunctionLowering, op: Op, why: str) -> IRError:
    """An error at the op's place."""
    types = ", ".join(str(o.type) for o in op.operands)
    return IRError(located(f.function.name, op.loc), f"{op.name} of {types}: {why}", op)


def _line(f: FunctionLowering, value: Value) -> View:
    return f.view(value, (product(value.shape),))


def lower_cast(f: FunctionLowering, op: Op) -> None:
    """Element by element."""
    (x,), (out,) = op.operands, op.results
    name = f.table.get(lines.cast_line, {"source": x.dtype, "out": out.dtype}, LINE)
    f.run_kernel(name, (_line(f, x), _out_line(f, out)), {"N": product(x.shape)})


def constant_of(f: FunctionLowering, value: Value) -> float | None:
    """The number of a scalar constant; None for anything else."""
    op = f.keeping.producers.get(id(value))
    if op is None or op.name != "const" or product(value.shape) != 1:
        return None
    data: Any = op.attrs["data"]
    return float(data[0] if isinstance(data, tuple) else data)


def lower_binary(f: FunctionLowering, op: Op) -> None:
    """Two tensors of a shape, a tensor and a number, or a column and a row of integers."""
    (a, b), (out,) = op.operands, op.results
    for x, y in ((a, b), (b, a)):
        value = constant_of(f, y)
        if value is not None and (x is a or op.name in ("add", "mul")):
            name = f.table.get(lines.number_line, {"op": op.name, "dtype": x.dtype, "number": value}, LINE)
            f.run_kernel(name, (_line(f, x), _out_line(f, out)), {"N": product(out.shape)})
            return
    if a.shape == b.shape:
        name = f.table.get(lines.binary_line, {"op": op.name, "dtype": a.dtype}, LINE)
        f.run_kernel(name, (_line(f, a), _line(f, b), _out_line(f, out)), {"N": product(out.shape)})
        return
    column, row = _column_row(f, op)
    if op.name != "add" or a.dtype != "i32":
        raise refuse(f, op, "only integers of a column and a row are added")
    _outer(f, f.table.get(lines.outer_add, {}, LINE), column, row, out)


COMPARE = {"lt": ("<", ">"), "le": ("<=", ">="), "eq": ("==", "==")}  # of the operands as they are, and swapped


def lower_compare(f: FunctionLowering, op: Op) -> None:
    """Two tensors of a shape, or a row against a column of integers."""
    (a, b), (out,) = op.operands, op.results
    straight, swapped = COMPARE[op.name]
    if a.shape == b.shape:
        name = f.table.get(lines.compare_line, {"cmp": straight, "dtype": a.dtype}, LINE)
        f.run_kernel(name, (_line(f, a), _line(f, b), _out_line(f, out)), {"N": product(out.shape)})
        return
    column, row = _column_row(f, op)
    name = f.table.get(lines.outer_compare, {"cmp": straight if row is a else swapped}, LINE)
    _outer(f, name, column, row, out)


def _out_line(f: FunctionLowering, out: Value) -> View:
    return out_view(f, out, (product(out.shape),))


def _column_row(f: FunctionLowering, op: Op) -> tuple[Value, Value]:
    for column, row in (op.operands, op.operands[::-1]):
        if column.shape[-1] == 1 and row.shape[0] == 1 and column.tensor.rank == row.tensor.rank == 2:
            return column, row
    raise refuse(f, op, "operands have one shape, or are a column and a row")


def _outer(f: FunctionLowering, name: str, column: Value, row: Value, out: Value) -> None:
    rows, count = column.shape[0], row.shape[1]
    args = (f.view(column, (rows,)), f.view(row, (count,)), out_view(f, out, (rows, count)))
    f.run_kernel(name, args, {"A": rows, "N": count})


def lower_iota(f: FunctionLowering, op: Op) -> None:
    """0, 1, ... along the only axis."""
    (out,) = op.results
    if out.tensor.rank != 1:
        raise refuse(f, op, "along one axis only")
    f.run_kernel(f.table.get(lines.iota_line, {}, LINE), (out_view(f, out, out.shape),), {"N": out.shape[0]})


def lower_copy(f: FunctionLowering, op: Op) -> None:
    """All of a tensor."""
    lower_cast(f, op)


def _around(shape: tuple[Extent, ...], axis: int) -> tuple[Extent, int]:
    """Rows before an axis, and elements behind it."""
    return product(shape[:axis]), number(product(shape[axis + 1 :]))


def lower_slice(f: FunctionLowering, op: Op) -> None:
    """Part of an axis, as columns."""
    (x,), (out,) = op.operands, op.results
    axis, start = int_attr(op, "axis"), int_attr(op, "start")
    rows, inner = _around(x.shape, axis)
    wide = number(out.shape[axis]) * inner
    _columns(f, x, out, rows, (number(x.shape[axis]) * inner, start * inner), (wide, 0), wide)


def lower_concat(f: FunctionLowering, op: Op) -> None:
    """Parts of an axis, one after the other."""
    (out,), axis = op.results, int_attr(op, "axis")
    rows, inner = _around(out.shape, axis)
    at, whole = 0, number(out.shape[axis]) * inner
    for part in op.operands:
        wide = number(part.shape[axis]) * inner
        _columns(f, part, out, rows, (wide, 0), (whole, at), wide)
        at += wide


def _columns(
    f: FunctionLowering, x: Value, out: Value, rows: Extent, source: tuple[int, int], to: tuple[int, int], width: int
) -> None:
    options = {
        "dtype": x.dtype, "source": source[0], "start": source[1], "out": to[0], "at": to[1], "width": width,
    }  # fmt: skip
    name = f.table.get(copies.copy_columns, options, _row_tiles(width))
    f.run_kernel(name, (f.view(x, (rows, source[0])), out_view(f, out, (rows, to[0]))), {"M": rows})


def _row_tiles(width: int) -> list[Mapping[str, int]]:
    """Rows and columns of a tile that only moves."""
    whole = aligned(width, 16)
    return [{"rows": n, "cols": min(whole, cols)} for n in (64, 16, 1) for cols in (4096, 1024, 256)]


def lower_broadcast(f: FunctionLowering, op: Op) -> None:
    """One axis of 1 repeated."""
    (x,), (out,) = op.operands, op.results
    lead = out.tensor.rank - x.tensor.rank
    shape = (*[1] * lead, *x.shape)
    axes = [i for i, (a, b) in enumerate(zip(shape, out.shape, strict=True)) if a != b]
    if len(axes) != 1 or shape[axes[0]] != 1:
        raise refuse(f, op, "one axis is repeated")
    (axis,) = axes
    rows, width = _around(out.shape, axis)
    times = number(out.shape[axis])
    options = {"dtype": x.dtype, "times": times, "width": width}
    name = f.table.get(copies.repeat_rows, options, [{"cols": min(aligned(width, 16), c)} for c in (4096, 1024)])
    f.run_kernel(name, (f.view(x, (rows, width)), out_view(f, out, (rows, times, width))), {"M": rows})


def lower_transpose(f: FunctionLowering, op: Op) -> None:
    """Two axes beside each other, in front of rows."""
    (x,), (out,) = op.operands, op.results
    rank, perm = x.tensor.rank, op.attrs["perm"]
    for axis in range(rank - 2):
        if perm == (*range(axis), axis + 1, axis, *range(axis + 2, rank)):
            break
    else:
        raise refuse(f, op, "two axes beside each other are swapped, not the last one")
    outer, width = product(x.shape[:axis]), number(product(x.shape[axis + 2 :]))
    left, right = x.shape[axis : axis + 2]
    name = f.table.get(copies.swap_axes, {"dtype": x.dtype, "width": width}, _row_tiles(width))
    args = f.view(x, (outer, left, right, width)), out_view(f, out, (outer, right, left, width))
    f.run_kernel(name, args, {"A": outer, "B": left, "C": right})


def lower_gather(f: FunctionLowering, op: Op) -> None:
    """Rows by number; a third operand bounds those that count."""
    table, index, *offsets = op.operands
    batch = op.attrs.get("batch", 0)
    if batch not in (0, 1) or table.tensor.rank < 2 + int(str(batch)):
        raise refuse(f, op, "rows of a table, or of one a sequence")
    lead = int(str(batch))
    width = number(product(table.shape[lead + 1 :]))
    rows, own = product(index.shape), number(product(index.shape[1:])) if lead else 0
    counted = number(offsets[0].shape[0]) - 1 if offsets else 0
    options = {
        "dtype": table.dtype, "width": width, "shared": op.attrs.get("shared", 1), "each": own, "counted": counted,
    }  # fmt: skip
    tiles = [{"cols": min(aligned(width, 16), cols)} for cols in (8192, 2048, 512)]
    name = f.table.get(copies.gather_rows, options, tiles)
    shape = (product(table.shape[: lead + 1]), width)
    args = (f.view(table, shape), f.view(index, (rows,)), *map(f.view, offsets))
    f.run_kernel(name, (*args, out_view(f, op.results[0], (rows, width))), {"M": rows, "N": table.shape[lead]})


def lower_argmax(f: FunctionLowering, op: Op) -> None:
    """Of the last axis."""
    (x,), (out,) = op.operands, op.results
    if op.attrs["axis"] != x.tensor.rank - 1 or x.dtype not in ("f32", "bf16"):
        raise refuse(f, op, "of floats, along the last axis")
    rows, count = product(x.shape[:-1]), x.shape[-1]
    name = f.table.get(argmax, {"dtype": x.dtype}, LINE)
    f.run_kernel(name, (f.view(x, (rows, count)), out_view(f, out, (rows,))), {"M": rows, "N": count})


def lower_nothing(f: FunctionLowering, op: Op) -> None:
    """Constants are part of the kernels that use them."""


PLAIN: Mapping[str, Template] = {
    "cast": lower_cast, "copy": lower_copy, "reshape": lower_copy, "add": lower_binary, "mul": lower_binary,
    "sub": lower_binary, "lt": lower_compare, "le": lower_compare, "eq": lower_compare, "iota": lower_iota,
    "slice": lower_slice, "concat": lower_concat, "gather": lower_gather, "broadcast_to": lower_broadcast,
    "transpose": lower_transpose, "argmax": lower_argmax, "const": lower_nothing,
}  # fmt: skip
