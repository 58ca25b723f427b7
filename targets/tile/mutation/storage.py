"""Mutations of where buffers lie and how many copies they have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

from ..physical import Buffer, Instr, Part, Program, Step
from ..scalar import Int, Scalar
from .mutant import Mutant, steps_of

STRICTEST = 512  # bytes: L0A and L0B begin at multiples of it


def copies(program: Program) -> Iterator[Mutant]:
    """A buffer with one copy, or one more than it has room for; a ring whose slots are counted so."""
    for part in program.parts:
        for b in placed(part):
            if b.stages > 1:
                for stages in (1, b.stages + 1):
                    made = Buffer(b.name, b.scope, b.size, stages, b.address)
                    yield Mutant("stage count", f"{b.name} has {stages} copies", {}, b, made)
    for path, step in steps_of(program):
        if isinstance(step, Instr):
            for ring in program.rings:
                for by in (-1, 1):
                    changed = _slots(step, ring.tensor.name, ring.depth, by)
                    if changed is not None:
                        what = f"{step.op} counts {ring.depth + by} slots of {ring.tensor.name}"
                        yield Mutant("stage count", what, {path: (changed,)})


def placed(part: Part) -> list[Buffer]:
    """Buffers that have a place, by scope and address."""
    return sorted((b for b in part.buffers if b.address >= 0), key=lambda b: (b.scope, b.address, b.name))


def _slots(step: Instr, name: str, depth: int, by: int) -> Step | None:
    def other(a: Int) -> Int:
        if isinstance(a, int) or a.op == "var":
            return a
        if a.op == "%" and a.args[1] == depth:
            return Scalar("%", (a.args[0], depth + by)) if depth + by > 1 else 0
        return Scalar(a.op, tuple(other(x) for x in a.args))

    def place(p: object) -> object:
        inside = not hasattr(p, "buffer") and p.tensor.name == name  # type: ignore[attr-defined]
        return replace(p, offset=other(p.offset)) if inside else p  # type: ignore[type-var,attr-defined]

    changed = replace(step, outs=tuple(map(place, step.outs)), ins=tuple(map(place, step.ins)))  # type: ignore[arg-type]
    return None if changed == step else changed


def overlaps(program: Program) -> Iterator[Mutant]:
    """A buffer at the address of the one below it, or over that one's end."""
    for part in program.parts:
        mine = placed(part)
        for below, b in pairwise(mine):
            if below.scope == b.scope and below.address + below.total <= b.address:
                last = below.address + (below.total - 1) // STRICTEST * STRICTEST
                for what, address in (("at", below.address), ("over the end of", last)):
                    if what == "at" or last != below.address:
                        made = Buffer(b.name, b.scope, b.size, b.stages, address)
                        yield Mutant("address overlap", f"{b.name} {what} {below.name}", {}, b, made)
