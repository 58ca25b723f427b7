"""Cleaning up after a program was divided between two cores: each reads only the integers that it uses."""

from __future__ import annotations

from collections.abc import Sequence

from ..logical import Window
from ..physical import Get, If, Instr, Loop, Region, Step
from ..scalar import Int, names


def without_unused(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Integers that this core reads and never uses are not read; loops and conditions around nothing are none."""
    out = tuple(steps)
    while True:
        used = _used(out)
        kept = _without(out, used)
        if kept == out:
            return out
        out = kept


def _without(steps: Sequence[Step], used: frozenset[str]) -> tuple[Step, ...]:
    out: list[Step] = []
    for step in steps:
        if isinstance(step, Get) and step.name not in used:
            continue
        if isinstance(step, Loop):
            step = Loop(step.var, step.count, _without(step.body, used), step.tasks, step.turn)
        elif isinstance(step, If):
            step = If(step.condition, _without(step.body, used))
        if not isinstance(step, Loop | If) or step.body:
            out.append(step)
    return tuple(out)


def _used(steps: Sequence[Step]) -> frozenset[str]:
    found: set[str] = set()

    def note(a: object) -> None:
        if not isinstance(a, float | str):
            found.update(names(a))  # type: ignore[arg-type]

    for step in steps:
        if isinstance(step, Loop):
            note(step.count)
            found |= _used(step.body)
        elif isinstance(step, If):
            note(step.condition)
            found |= _used(step.body)
        elif isinstance(step, Get):
            note(step.index)
            if isinstance(step.src, Region):
                note(step.src.offset)
        elif isinstance(step, Instr):
            for value in step.args.values():
                note(value)
            for place in (*step.outs, *step.ins):
                for part in _integers(place):
                    note(part)
    return frozenset(found)


def _integers(place: Region | Window) -> tuple[Int, ...]:
    if isinstance(place, Region):
        return place.offset, place.turn
    return place.offset, place.rows, place.cols, place.pitch

