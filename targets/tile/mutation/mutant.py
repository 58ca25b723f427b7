"""A mutant of a physical program: some steps replaced, or one buffer with other copies or another place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..physical import Buffer, Get, If, Instr, Loop, Part, Place, Program, Region, Step

Path = tuple[int, ...]  # the part, a step in its body, a step in that step's body ...


@dataclass(frozen=True)
class Mutant:
    """``kind`` is the class of its operator; ``what`` says in a few words what changes."""

    kind: str
    what: str
    steps: Mapping[Path, tuple[Step, ...]] = field(default_factory=dict)
    buffer: Buffer | None = None
    changed: Buffer | None = None  # what the buffer becomes


def steps_of(program: Program) -> Iterator[tuple[Path, Step]]:
    """All steps, each with its path, those around before those inside."""
    for number, part in enumerate(program.parts):
        yield from steps_in(part.body, (number,))


def steps_in(body: Sequence[Step], path: Path) -> Iterator[tuple[Path, Step]]:
    """All steps of a block that lies at ``path``."""
    for index, step in enumerate(body):
        yield (*path, index), step
        if isinstance(step, Loop | If):
            yield from steps_in(step.body, (*path, index))


def block_of(program: Program, path: Path) -> tuple[Step, ...]:
    """The block that lies at ``path``: a part's body, or a loop's or a condition's."""
    block = program.parts[path[0]].body
    for index in path[1:]:
        step = block[index]
        assert isinstance(step, Loop | If)
        block = step.body
    return block


def step_of(program: Program, path: Path) -> Step:
    """The step at ``path``."""
    return block_of(program, path[:-1])[path[-1]]


def mutated(program: Program, mutant: Mutant) -> Program:
    """The program with the mutant's change."""
    parts = []
    for number, part in enumerate(program.parts):
        body = _block(part.body, (number,), mutant)
        buffers = tuple(_buffer(b, mutant) for b in part.buffers)
        parts.append(Part(part.core, buffers, body))
    return replace(program, parts=tuple(parts))


def _buffer(b: Buffer, mutant: Mutant) -> Buffer:
    return mutant.changed if b is mutant.buffer and mutant.changed is not None else b


def _block(body: Sequence[Step], path: Path, mutant: Mutant) -> tuple[Step, ...]:
    out: list[Step] = []
    for index, step in enumerate(body):
        here = (*path, index)
        for made in mutant.steps.get(here, (step,)):
            if isinstance(made, Loop | If):
                out.append(replace(made, body=_block(made.body, here, mutant)))
            else:
                out.append(_moved(made, mutant))
    return tuple(out)


def _moved(step: Step, mutant: Mutant) -> Step:
    """The step on the changed buffer."""
    if mutant.buffer is None:
        return step
    if isinstance(step, Get) and isinstance(step.src, Region):
        return replace(step, src=replace(step.src, buffer=_buffer(step.src.buffer, mutant)))
    if isinstance(step, Instr):
        outs, ins = (tuple(_place(p, mutant) for p in places) for places in (step.outs, step.ins))
        return replace(step, outs=outs, ins=ins)
    return step


def _place(place: Place, mutant: Mutant) -> Place:
    return replace(place, buffer=_buffer(place.buffer, mutant)) if isinstance(place, Region) else place
