"""Whether every Wait finds its Set, and nothing is left set: the program is walked as its cores would, by flags alone.

What only the launch knows, how often a loop turns and whether a condition holds, is chosen: a walk for each of a few
choices, the same at every place where the same is asked in the same turn. A loop of many turns is walked for a few that
end in the same remainder: numbers depend on remainders of counters only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import lcm
from zlib import crc32

from ..physical import CrossSet, CrossWait, If, Loop, Part, Program, Set, Step, Tick, Wait
from ..scalar import Int, evaluate, names, text
from ..text import step_text
from .error import TileError
from .table import Arch

MIXED = 6  # walks in which loops and conditions differ
TURNS = 4  # 0 ... 3 turns of a loop that only the launch knows
Choice = Callable[[str, int], int]  # what is asked, and out of how many


def check_flags(program: Program, arch: Arch) -> None:
    """TileError for a Set twice, a Wait for nothing, a flag left set, or cores that wait for each other."""
    parts = [(part, _of_flags(part.body)) for part in program.parts]
    period = lcm(*(_periods(body) for _, body in parts)) if parts else 1
    for choice in _choices():
        _walk(program, arch, parts, choice, period)


def _choices() -> Iterator[Choice]:
    for turns in range(TURNS):
        for holds in (0, 1):
            yield partial(_always, turns, holds)
    for seed in range(MIXED):
        yield partial(_mixed, seed)


def _always(turns: int, holds: int, what: str, out_of: int) -> int:
    return holds if out_of == 2 else turns


def _mixed(seed: int, what: str, out_of: int) -> int:
    return crc32(f"{seed} {what}".encode()) % out_of


def _of_flags(body: Sequence[Step]) -> tuple[Step, ...]:
    """What sets, waits or counts, and the loops and conditions around it."""
    out: list[Step] = []
    for step in body:
        if isinstance(step, Loop):
            inner = _of_flags(step.body)
            if inner:
                out.append(Loop(step.var, step.count, inner, step.tasks, step.turn))
        elif isinstance(step, If):
            inner = _of_flags(step.body)
            if inner:
                out.append(If(step.condition, inner))
        elif isinstance(step, Set | Wait | CrossSet | CrossWait | Tick):
            out.append(step)
    return tuple(out)


def _periods(body: Sequence[Step]) -> int:
    """After so many more turns of anything, all numbers are the same again."""
    out = 1
    for step in body:
        if isinstance(step, Loop | If):
            out = lcm(out, _periods(step.body))
        elif isinstance(step, Set | Wait):
            out = lcm(out, _divisors(step.number))
    return out


def _divisors(a: Int) -> int:
    if isinstance(a, int) or a.op == "var":
        return 1
    own = a.args[1] if a.op in ("%", "//") and isinstance(a.args[1], int) else 1
    return lcm(own, *(_divisors(x) for x in a.args))


def _walk(
    program: Program, arch: Arch, parts: Sequence[tuple[Part, tuple[Step, ...]]], choice: Choice, period: int
) -> None:
    cross: dict[int, int] = {}
    cores = [_Core(program, arch, cross, choice, period) for _ in parts]
    running = [(core, core.block(body)) for core, (_, body) in zip(cores, parts, strict=True)]
    idle = 0
    while running:
        core, steps = running.pop(0)
        try:
            moved = next(steps)
        except StopIteration:
            idle = 0
            continue
        running.append((core, steps))
        idle = 0 if moved else idle + 1
        if idle > len(running):
            raise core.error("every core waits for another", "set the flag before")
    left = [f"{src} -> {dst} #{n}" for core in cores for src, dst, n in sorted(core.events)]
    left += [f"between cores #{number}" for number, count in sorted(cross.items()) if count]
    if left:
        raise TileError(f"left set at the end: {', '.join(left)}", "wait for it").at(program.name)


class _Core:
    def __init__(
        self, program: Program, arch: Arch, cross: dict[int, int], choice: Choice, period: int
    ) -> None:
        self.program, self.arch, self.cross, self.choice, self.period = program, arch, cross, choice, period
        self.env: dict[str, int] = {}
        self.events: set[tuple[str, str, int]] = set()
        self.now: Step | None = None

    def error(self, what: str, fix: str) -> TileError:
        """At the step at hand."""
        text_ = step_text(self.now) if self.now is not None else ""
        return TileError(what, fix).at(self.program.name, text_, self.now)

    def block(self, body: Sequence[Step]) -> Iterator[bool]:
        """Gives True where the other core may go on, False where this one waits."""
        for step in body:
            self.now = step
            match step:
                case Set() | Wait():
                    self._event(step)
                case Loop():
                    for turn in range(self._turns(step)):
                        self.env[step.var] = turn
                        if step.turn:
                            self.env[step.turn] = turn
                        yield from self.block(step.body)
                case If():
                    if self._asked(step.condition, 2):
                        yield from self.block(step.body)
                case Tick():
                    self.env[step.name] = self.env.get(step.name, 0) + 1
                case CrossSet():
                    self.cross[step.number] = self.cross.get(step.number, 0) + 1
                    most = self.arch.cross_pending
                    if self.cross[step.number] > most:
                        raise self.error(f"flag {step.number} is set more than {most} times", "wait for it before")
                    yield True
                case CrossWait():
                    while not self.cross.get(step.number):
                        self.now = step
                        yield False
                    self.cross[step.number] -= 1

    def _event(self, step: Set | Wait) -> None:
        key = (step.src, step.dst, evaluate(step.number, _Zero(self.env)))
        if isinstance(step, Set):
            if key in self.events:
                raise self.error(f"event {key[2]} is set again before it was waited for", "use another number")
            self.events.add(key)
        elif key not in self.events:
            raise self.error(f"nothing has set event {key[2]}", "set it before")
        else:
            self.events.remove(key)

    def _turns(self, loop: Loop) -> int:
        if not isinstance(loop.count, int):
            return self._asked(loop.count, TURNS)
        most = 2 * self.period + loop.count % self.period
        return min(loop.count, most)

    def _asked(self, what: Int, out_of: int) -> int:
        """A choice; the same for both cores where they ask for the same in the same turn."""
        if isinstance(what, int):
            return what
        known = [(name, self.env[name]) for name in sorted(names(what)) if name in self.env]
        return self.choice(f"{text(what)} {known}", out_of)


class _Zero(dict[str, int]):
    """Numbers that were counted; others are read, and count as 0."""

    def __init__(self, env: Mapping[str, int]) -> None:
        super().__init__(env)

    def __missing__(self, name: str) -> int:
        return 0
