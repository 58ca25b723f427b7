"""Mutations of one vector or move instruction: its masks and its strides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dsv4c.ir.types import BITS

from ..logical import Window
from ..physical import Instr, Place, Region
from ..scalar import add

LANES = 64
Changes = Iterator[tuple[str, Instr]]


def mask_changes(i: Instr) -> Changes:
    """All lanes of a repeat instead of some; all elements instead of those that a mask of bits names."""
    widths = {_mask(p) for p in (*i.outs, *i.ins) if isinstance(p, Region) and len(p.dims) > 1}
    (width,) = widths if len(widths) == 1 else (LANES,)
    if i.pipe == "V" and width < LANES and not i.op.startswith("whole"):
        yield f"{LANES} lanes, not {width}", _all_lanes(i)
    elif i.pipe == "V" and i.op.startswith("whole") and width < LANES:
        yield f"{LANES} lanes, not {width}", replace(i, ins=tuple(_widened(p) for p in i.ins))
    if i.op in ("select", "selects"):
        yield "every element is chosen", Instr("adds", "V", i.outs, i.ins[1:2], {"value": 0.0})
    if i.op == "compress":
        (dst,), (src, _) = i.outs, i.ins
        assert isinstance(dst, Region) and isinstance(src, Region)
        if dst.count >= src.count:
            yield "every element is kept", Instr("adds", "V", (dst.line(src.count),), (src,), {"value": 0.0})


def _all_lanes(i: Instr) -> Instr:
    return replace(i, outs=tuple(map(_widened, i.outs)), ins=tuple(map(_widened, i.ins)))


def _mask(r: Region) -> int:
    out = 1
    for extent, _ in r.dims[1:]:
        out *= extent
    return out


def _widened(p: Place) -> Place:
    if not isinstance(p, Region) or len(p.dims) < 2:
        return p
    outer, *inner = p.dims
    wide = ((LANES, 1),) if len(inner) == 1 else ((LANES // 8, inner[0][1]), (8, 1))
    return replace(p, dims=(outer, *wide))


def stride_changes(i: Instr) -> Changes:
    """Each stride between rows, a block or an element more."""
    for number, place in enumerate((*i.outs, *i.ins)):
        for what, changed in _strides(i, place):
            yield f"operand {number}: {what}", with_place(i, number, changed)
    if "rows" in i.args and i.op in ("nd2nz", "fixpipe"):
        rows = i.args["rows"]
        assert isinstance(rows, int)
        yield f"fractal columns {rows + 16} rows apart, not {rows}", replace(i, args={**i.args, "rows": rows + 16})


def with_place(i: Instr, number: int, place: Place) -> Instr:
    """The instruction with another operand, counted over outputs and inputs."""
    places = [*i.outs, *i.ins]
    places[number] = place
    return replace(i, outs=tuple(places[: len(i.outs)]), ins=tuple(places[len(i.outs) :]))


def _strides(i: Instr, place: Place) -> Iterator[tuple[str, Place]]:
    if isinstance(place, Window):
        if place.rows != 1:
            yield "pitch +1", replace(place, pitch=add(place.pitch, 1))
    elif len(place.dims) > 1 and i.pipe in ("V", "MTE2", "MTE3") and i.op != "nd2nz":
        block = 256 // BITS[place.dtype]
        (rows, stride), *inner = place.dims
        if rows > 1:
            yield f"rows {stride} + {block} apart", replace(place, dims=((rows, stride + block), *inner))
        if len(inner) == 2 and inner[0][0] > 1:
            (blocks, step), last = inner
            dims = (place.dims[0], (blocks, step + block), last)
            yield f"blocks {step} + {block} apart", replace(place, dims=dims)
