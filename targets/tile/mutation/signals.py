"""The signals of a synchronised program: which Sets belong to which Waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..physical import If, Loop, Program, Set, Step, Wait
from ..scalar import Int, linear
from .mutant import Path


@dataclass(frozen=True)
class Signal:
    """From ``src`` to ``dst``: a Set and a Wait of one block, and those that stand around its loop."""

    src: str
    dst: str
    sets: tuple[Path, ...]
    waits: tuple[Path, ...]
    width: int  # numbers that turns take in order

    @property
    def paths(self) -> tuple[Path, ...]:
        """All its steps."""
        return self.sets + self.waits


def signals_of(program: Program) -> list[Signal]:
    """All signals, inner loops first."""
    found: list[Signal] = []
    for number, part in enumerate(program.parts):
        taken: set[Path] = set()
        for signal in _signals(part.body, (number,), (), taken):
            found.append(signal)
    return found


Around = tuple[tuple[Path, Step], ...]


def _signals(body: Sequence[Step], path: Path, around: Around, taken: set[Path]) -> Iterator[Signal]:
    """Those of a block; ``around`` are the Sets before its loop and the Waits behind it."""
    for index, step in enumerate(body):
        if isinstance(step, Loop):
            yield from _signals(step.body, (*path, index), tuple(_beside(body, path, index)), taken)
        elif isinstance(step, If):
            yield from _signals(step.body, (*path, index), (), taken)
    keys: dict[tuple[str, str, Int], list[Path]] = {}
    for index, step in enumerate(body):
        if isinstance(step, Set | Wait) and (*path, index) not in taken:
            keys.setdefault((step.src, step.dst, step.number), []).append((*path, index))
    for (src, dst, number), paths in keys.items():
        first, atoms = linear(number)
        width = max((a.args[1] for a in atoms if isinstance(a.args[1], int)), default=1)
        for there, step in around:
            if not isinstance(step, Set | Wait) or (step.src, step.dst) != (src, dst):
                continue
            if isinstance(step.number, int) and first <= step.number < first + width:
                paths.append(there)
                taken.add(there)
        here = {p: body[p[-1]] for p in paths if p[:-1] == path} | dict(around)
        sets = tuple(p for p in paths if isinstance(here[p], Set))
        waits = tuple(p for p in paths if isinstance(here[p], Wait))
        yield Signal(src, dst, sets, waits, width)


def _beside(body: Sequence[Step], path: Path, index: int) -> Iterator[tuple[Path, Step]]:
    """The Sets that stand right before a loop and the Waits right behind it."""
    for kind, at, step in ((Set, index - 1, -1), (Wait, index + 1, 1)):
        while 0 <= at < len(body) and isinstance(body[at], kind):
            yield (*path, at), body[at]
            at += step
