"""What a physical program's steps touch, and which two of them must keep their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dsv4c.ir.types import BITS

from .physical import Buffer, Get, If, Instr, Loop, Region, Step
from .scalar import Int, Range, bounds, linear, names

SCALAR = "S"
Ranges = Mapping[str, Range]  # of the counters of loops


@dataclass(frozen=True)
class Use:
    """One access of ``pipe``: of an on-chip region, or of a tensor in global memory by name."""

    pipe: str
    writes: bool
    tensor: str = ""
    region: Region | None = None


def uses(step: Step) -> Iterator[Use]:
    """All accesses of a step and of what is inside it."""
    if isinstance(step, Get):
        region = step.src if isinstance(step.src, Region) else None
        yield Use(SCALAR, False, "" if isinstance(step.src, Region) else step.src.name, region)
    elif isinstance(step, Instr):
        for places, writes in ((step.ins, False), (step.outs, True)):
            for place in places:
                if isinstance(place, Region):
                    yield Use(step.pipe, writes, "", place)
                else:
                    yield Use(step.pipe, writes, place.tensor.name)
    elif isinstance(step, Loop | If):
        for inner in step.body:
            yield from uses(inner)


@dataclass(frozen=True)
class Place:
    """Where two accesses are compared: in turns of the loop ``turn`` (its counter on this core), ``outer`` counters
    being those of the loops around both.
    """

    turn: Int
    outer: frozenset[str]
    ranges: Ranges


def meet(first: Use, later: Use, place: Place, distance: int) -> bool:
    """Whether an access must wait for one that is ``distance`` turns before it (0: earlier in the same turn)."""
    if not (first.writes or later.writes):
        return False
    if first.region is None or later.region is None:
        # Stores to one tensor go to different places: a kernel writes each element once.
        return first.tensor == later.tensor != "" and first.writes != later.writes
    a, b = first.region, later.region
    if a.buffer.scope != b.buffer.scope or a.buffer.shared or b.buffer.shared:
        return False  # what both cores reach is kept in order by flags between them
    if a.buffer is not b.buffer:
        return _overlap(a.buffer, b.buffer)
    if isinstance(a.turn, int) and isinstance(b.turn, int) and a.turn != b.turn:
        return False
    if a.buffer.stages > 1 and a.turn == b.turn == place.turn and distance % a.buffer.stages:
        return False
    return _reach_each_other(a, b, place, distance)


def _overlap(a: Buffer, b: Buffer) -> bool:
    return a.address < b.address + b.total and b.address < a.address + a.total


def _reach_each_other(a: Region, b: Region, place: Place, distance: int) -> bool:
    """Whether elements of two regions of one buffer, both in the buffer's dtype width, may be the same."""
    size_a, size_b = BITS[a.dtype] // 8, BITS[b.dtype] // 8
    low, high = _difference(a, b, place, distance)
    if low is None or high is None:
        return True
    if low == high and _between_rows(a, b, low):
        return False
    return low < a.reach * size_a and -high < b.reach * size_b


def _between_rows(a: Region, b: Region, difference: int) -> bool:
    """Whether the rows of two regions with one row stride lie beside each other."""
    _, stride = a.dims[0]
    if len(a.dims) < 2 or len(b.dims) < 2 or a.dtype != b.dtype or b.dims[0][1] != stride or stride == 0:
        return False
    size = BITS[a.dtype] // 8
    width_a, width_b = (size * (1 + sum((n - 1) * s for n, s in r.dims[1:])) for r in (a, b))
    shift = difference % (stride * size)
    return shift >= width_a and shift + width_b <= stride * size


def _difference(a: Region, b: Region, place: Place, distance: int) -> tuple[int | None, int | None]:
    """Bytes from where ``a`` begins to where ``b`` does, at least and at most; None where unknown."""
    size_a, size_b = BITS[a.dtype] // 8, BITS[b.dtype] // 8
    (start, x), (end, y) = linear(a.offset), linear(b.offset)
    low = high = end * size_b - start * size_a
    for atom in {**x, **y}:
        first, later = x.get(atom, 0) * size_a, y.get(atom, 0) * size_b
        shared = names(atom) <= place.outer
        if shared and first == later:
            if atom == place.turn:
                low, high = low + distance * later, high + distance * later
                continue
            if distance == 0 or not names(atom) & names(place.turn):
                continue
        span = bounds(atom, place.ranges)
        if span is None:
            return None, None
        ends = [v * later - u * first for u in span for v in span]
        low, high = low + min(ends), high + max(ends)
    return low, high
