"""A kernel with mutants in one text: the launch says which one runs, and 0 is none.

A size ``mutant`` more is passed. A step that mutants replace is spelled for each of them under an ``if``; counts,
conditions, copies and addresses are spelled as integers that depend on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..tile.mutation.mutant import Mutant, Path
from ..tile.physical import Buffer, If, Loop, Part, Program, Step
from ..tile.scalar import Int, Scalar, add, mul, sub, var
from .spell import Spelled, Writer, spell

CHOSEN = "mutant"


def spell_mutants(program: Program, mutants: Mapping[int, Mutant]) -> Spelled:
    """The text of a kernel and of its mutants, by their numbers from 1 on."""
    wider = replace(program, sizes=(*program.sizes, CHOSEN))
    return spell(wider, lambda p, part, depth: _Writer(p, part, depth, mutants))


def _either(number: int, changed: Int, usual: Int) -> Int:
    """``changed`` where that mutant is chosen, else ``usual``."""
    return add(usual, mul(Scalar("==", (var(CHOSEN), number)), sub(changed, usual)))


class _Writer(Writer):
    """Writes one part with all mutants of it."""

    def __init__(self, program: Program, part: Part, depth: int, mutants: Mapping[int, Mutant]) -> None:
        super().__init__(program, part, depth)
        self.path: Path = (next(n for n, p in enumerate(program.parts) if p is part),)
        self.mutants = mutants

    def block(self, body: Sequence[Step]) -> None:
        outer = self.path
        for index, step in enumerate(body):
            self.path = (*outer, index)
            self._with_mutants(step)
        self.path = outer

    def _with_mutants(self, step: Step) -> None:
        found = {number: m.steps[self.path] for number, m in self.mutants.items() if self.path in m.steps}
        if isinstance(step, Loop | If):
            for number, (made,) in found.items():
                if isinstance(step, Loop) and isinstance(made, Loop):
                    step = replace(step, count=_either(number, made.count, step.count))
                elif isinstance(step, If) and isinstance(made, If):
                    step = replace(step, condition=_either(number, made.condition, step.condition))
            self.step(step)
            return
        for place, (number, steps) in enumerate(found.items()):
            self.line(f"{'} else ' if place else ''}if ({CHOSEN} == {number}) {{")
            self._indented(steps)
        if found:
            self.line("} else {")
            self._indented((step,))
            self.line("}")
        else:
            self.step(step)

    def _indented(self, steps: Sequence[Step]) -> None:
        self.depth += 1
        for step in steps:
            self.step(step)
        self.depth -= 1

    def copies(self, b: Buffer) -> Int:
        out: Int = b.stages
        for number, made in self._changes(b):
            out = _either(number, made.stages, out)
        return out

    def address(self, b: Buffer) -> Int:
        out: Int = b.address
        for number, made in self._changes(b):
            out = _either(number, made.address, out)
        return out

    def _changes(self, b: Buffer) -> list[tuple[int, Buffer]]:
        return [(n, m.changed) for n, m in self.mutants.items() if m.buffer is b and m.changed is not None]
