"""One instruction: its pipe, its operands' memories and dtypes, its arguments, its elements within their buffers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import gcd

from ..logical import Window
from ..physical import Instr, Place, Region, Value
from ..scalar import linear
from . import moves, shapes
from .error import TileError
from .shapes import Context, refuse, size
from .table import GM, Row

RULES: Mapping[str, Callable[[Context, Instr], None]] = {
    "line": shapes.line, "repeat": shapes.repeat, "cast": shapes.cast, "brcb": shapes.brcb,
    "compare": shapes.compare, "select": shapes.select, "whole": shapes.whole, "gather": shapes.gather,
    "compress": shapes.compress, "copy_in": moves.copy_in, "copy_out": moves.copy_out, "nd2nz": moves.nd2nz,
    "load": moves.load, "load_turned": moves.load_turned, "mmad": moves.mmad, "fixpipe": moves.fixpipe,
    "fixpipe_ub": moves.fixpipe_ub, "copy_nz": moves.copy_nz, "unpack": shapes.unpack,
}  # fmt: skip


def check_instruction(c: Context, i: Instr) -> None:
    """TileError where the architecture has no such instruction."""
    row = c.arch.rows.get(i.op)
    if row is None:
        raise TileError(f"dav-{c.arch.name} has no {i.op}", f"it has {', '.join(sorted(c.arch.rows))}")
    refuse(i.pipe != row.pipe, f"{i.op} on pipe {i.pipe}", f"it is an instruction of {row.pipe}")
    _places(row, i)
    _arguments(row, i)
    for number, place in enumerate((*i.outs, *i.ins)):
        if isinstance(place, Region):
            check_region(c, place, row.aligns.get(number, c.arch.align[place.buffer.scope]))
        elif number < row.outs:
            refuse(place.tensor.role == "in", f"{place.tensor.name} is written, and is an input", "write an output")
    RULES[row.shape](c, i)
    if i.pipe == "V":
        _alone(c, i)


def _places(row: Row, i: Instr) -> None:
    operands = (*i.outs, *i.ins)
    refuse(
        (len(i.outs), len(operands)) != (row.outs, len(row.places)),
        f"{i.op} with {len(i.outs)} results and {len(i.ins)} operands",
        f"it has {row.outs} and {len(row.places) - row.outs}",
    )  # fmt: skip
    for place, want in zip(operands, row.places, strict=True):
        found = memory(place)
        refuse(found not in want.split("|"), f"{i.op} with an operand in {found}", f"it must lie in {want}")
    dtypes = tuple(dtype(p) for p in operands)
    if row.shape != "cast":
        known = " or ".join(sorted(" ".join(each) for each in row.dtypes))
        refuse(dtypes not in row.dtypes, f"{i.op} of {' '.join(dtypes)}", f"use {known}")


def memory(place: Place) -> str:
    """The memory a place is in."""
    return GM if isinstance(place, Window) else place.buffer.scope


def dtype(place: Place) -> str:
    """What its elements are."""
    return place.tensor.dtype if isinstance(place, Window) else place.dtype


def _arguments(row: Row, i: Instr) -> None:
    refuse(
        set(i.args) != set(row.args), f"{i.op} with arguments {' '.join(sorted(i.args)) or 'none'}",
        f"it has {' '.join(sorted(row.args)) or 'none'}",
    )  # fmt: skip
    for name, kind in row.args.items():
        refuse(not _fits(i.args[name], kind), f"{name}={i.args[name]}", f"use {_said(kind)}")
    value = i.args.get("value", i.args.get("fill"))
    whole = isinstance(value, float) and not value.is_integer() and dtype((*i.outs, *i.ins)[0]) == "i32"
    refuse(whole, f"{value} for i32", "use a whole number")


def _fits(value: Value, kind: str | tuple[str, ...]) -> bool:
    if isinstance(kind, tuple):
        return value in kind
    if kind == "int":
        return isinstance(value, int)
    return not isinstance(value, str) and (kind == "number" or not isinstance(value, float))


def _said(kind: str | tuple[str, ...]) -> str:
    if isinstance(kind, tuple):
        return " or ".join(kind)
    return {"int": "an integer that is known", "integer": "an integer", "number": "a number"}[kind]


def check_region(c: Context, r: Region, align: int) -> None:
    """Within its buffer, from an address that its memory allows (1.1)."""
    refuse(not r.dims or r.count < 1, f"no elements of {r.buffer.name}", "use at least 1")
    low, high = c.least(r.offset), c.most(r.offset)
    wrong = low < 0 and low != -float("inf")
    refuse(wrong, f"{r.buffer.name} from element {low:.0f} on", "begin inside the buffer")
    end = r.reach if high == float("inf") else int(high) + r.reach
    refuse(
        end * size(r.dtype) > r.buffer.size, f"{end} elements of {r.dtype} in {r.buffer.name} of {r.buffer.size} B",
        f"it holds {r.buffer.size // size(r.dtype)}",
    )  # fmt: skip
    refuse(
        shapes.misaligned(r, align), f"{r.buffer.name} is used from an element that begins no {align} bytes",
        f"use a multiple of {align // gcd(align, size(r.dtype))} elements",
    )  # fmt: skip


def _alone(c: Context, i: Instr) -> None:
    """Results and operands are the same elements, or others (3.1)."""
    for out in i.outs:
        for source in i.ins:
            if not isinstance(out, Region) or not isinstance(source, Region) or out.buffer is not source.buffer:
                continue
            same = (out.offset, out.dims) == (source.offset, source.dims) and size(out.dtype) == size(source.dtype)
            refuse(
                not same and _surely_meet(c, out, source), f"results overlap operands of {out.buffer.name}, shifted",
                "use the same elements, or other memory",
            )  # fmt: skip


def _surely_meet(c: Context, a: Region, b: Region) -> bool:
    """Whether two regions of a buffer overlap at a known distance; of lines, exactly."""
    (x, of), (y, to) = linear(a.offset), linear(b.offset)
    if of != to or a.turn != b.turn or not (a.dense and b.dense):
        return False
    start, end = x * size(a.dtype), y * size(b.dtype)
    return start < end + b.count * size(b.dtype) and end < start + a.count * size(a.dtype)
