"""Whether what is read was written, and is still there: buffers that share addresses own them in turns.

The program is walked with the set of buffers that hold what was written to them. Who writes a buffer owns its bytes:
buffers that overlap it hold nothing any more. Who reads one must find it in the set, on every path: of the two ways
past a condition both are tried, of a loop no turn (where it may have none), a first turn and later ones. A buffer is
one thing here, with all its copies and elements: which of them were written, the emulators say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..physical import Buffer, Get, If, Instr, Loop, Part, Place, Program, Region, Step, places, walk
from ..scalar import Int, linear, sub, substitute
from ..text import step_text
from .error import TileError

Held = int  # a bit a buffer


def check_lifetimes(program: Program, part: Part) -> None:
    """TileError for a read of what is not there."""
    _Walk(program, part).block(part.body, 0, {})


class _Walk:
    def __init__(self, program: Program, part: Part) -> None:
        self.program = program
        mine = [b for b in part.buffers if b.address >= 0 and not b.shared]  # flags keep what both cores reach
        self.bits = {b: 1 << number for number, b in enumerate(mine)}
        self.rivals = {b: [c for c in mine if c is not b and _overlap(b, c)] for b in mine}
        self.evicted = {b: sum(self.bits[c] for c in self.rivals[b]) for b in mine}
        self.lost: dict[Buffer, str] = {}  # who overwrote it last

    def block(self, body: Sequence[Step], held: Held, turns: Mapping[str, Int]) -> Held:
        """What is held behind a block; ``turns`` has the loops that are in their first turn."""
        one_way: dict[Int, Held] = {}  # by condition, what is held where it is true
        for step in body:
            gone = self._overwritten(step) if one_way else 0
            if isinstance(step, Instr):
                held = self._instr(step, held, turns)
            elif isinstance(step, Get):
                self._read(step, step.src, held)
            elif isinstance(step, If):
                found = self.block(step.body, held, turns)
                both = next((way & found for c, way in one_way.items() if opposite(c, step.condition)), 0)
                held = held & found | both
                one_way = {c: way & ~gone for c, way in one_way.items()} | {step.condition: found}
                continue
            elif isinstance(step, Loop):
                held = self._loop(step, held, turns)
            one_way = {c: way & ~gone for c, way in one_way.items()}
        return held

    def _overwritten(self, step: Step) -> Held:
        out = 0
        for inner in walk((step,)):
            for place in places(inner):
                if isinstance(place, Region):
                    out |= self.evicted.get(place.buffer, 0)
        return out

    def _loop(self, loop: Loop, held: Held, turns: Mapping[str, Int]) -> Held:
        first = turns if loop.tasks else {**turns, loop.var: 0}
        end = self.block(loop.body, held, first)
        if loop.count != 1:
            later = {name: turn for name, turn in turns.items() if name != loop.var}
            before = None
            while end != before:  # at most once for each buffer that a turn takes from the next
                before = end
                end &= self.block(loop.body, end, later)
        runs = isinstance(loop.count, int) and loop.count > 0 and not loop.tasks
        return end if runs else end & held

    def _instr(self, i: Instr, held: Held, turns: Mapping[str, Int]) -> Held:
        ins: tuple[Place, ...] = i.ins
        if i.op == "mmad":
            first = i.args["first"]
            assert not isinstance(first, float | str)
            if substitute(first, turns) == 1:  # sums begin at zero
                ins = ins[:2]
        for place in ins:
            self._read(i, place, held)
        for place in i.outs:
            if isinstance(place, Region) and place.buffer in self.bits:
                gone = held & self.evicted[place.buffer]
                if gone:
                    self.lost.update({b: place.buffer.name for b in self.rivals[place.buffer] if gone & self.bits[b]})
                held = held & ~gone | self.bits[place.buffer]
        return held

    def _read(self, step: Step, place: object, held: Held) -> None:
        if isinstance(place, Region) and place.buffer in self.bits and not held & self.bits[place.buffer]:
            name = place.buffer.name
            by = self.lost.get(place.buffer)
            what = f"{by} has overwritten {name}" if by else f"nothing was written to {name} on some way here"
            fix = "give them different addresses" if by else "write it first"
            raise TileError(what, fix).at(self.program.name, step_text(step), step)


def _overlap(a: Buffer, b: Buffer) -> bool:
    return a.scope == b.scope and a.address < b.address + b.total and b.address < a.address + a.total


def opposite(a: Int, b: Int) -> bool:
    """Whether of ``x < y`` and ``y - 1 < x`` one always holds."""
    if isinstance(a, int) or isinstance(b, int) or a.op != "<" or b.op != "<":
        return False
    crossed = sub(a.args[1], 1), a.args[0]
    return all(linear(x) == linear(y) for x, y in zip(crossed, b.args, strict=True))
