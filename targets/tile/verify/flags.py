"""Whether every Wait finds its Set, and nothing is left set: the program is walked as its cores would, by flags alone.

An event is one bit, and its pipe must know that the last Wait is over before it sets it again: each pipe carries how
many Waits of the others it knows to be over, and a Set hands that on. What the scalar unit has waited for, all that it
issues later knows.

What only the launch knows, how often a loop turns and whether a condition holds, is chosen: a walk for each of a few
choices, the same at every place where the same is asked in the same turn. A loop of many turns is walked for a few that
end in the same remainder: numbers depend on remainders of counters only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import lcm
from zlib import crc32

from ..physical import Barrier, CrossSet, CrossWait, If, Loop, Part, Program, Set, Step, Tick, Wait
from ..scalar import Int, evaluate, names, text
from ..text import step_text
from .error import TileError
from .table import Arch

SCALAR, ALL = "S", "ALL"
MIXED = 6  # walks in which loops and conditions differ
TURNS = 4  # 0 ... 3 turns of a loop that only the launch knows
Known = dict[tuple[int, str], int]  # by core and pipe, how many of its Waits are over
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
        elif isinstance(step, Set | Wait | CrossSet | CrossWait | Tick) or step == Barrier(ALL):
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
    cross: dict[int, list[Known]] = {}
    cores = [_Core(program, arch, number, cross, choice, period) for number in range(len(parts))]
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
    left += [f"between cores #{number}" for number, told in sorted(cross.items()) if told]
    if left:
        raise TileError(f"left set at the end: {', '.join(left)}", "wait for it").at(program.name)


class _Core:
    def __init__(
        self, program: Program, arch: Arch, number: int, cross: dict[int, list[Known]], choice: Choice, period: int
    ) -> None:
        self.program, self.arch, self.number, self.cross = program, arch, number, cross
        self.choice, self.period = choice, period
        self.env: dict[str, int] = {}
        self.events: dict[tuple[str, str, int], Known] = {}
        self.waited: dict[tuple[str, str, int], int] = {}  # the last Wait of an event, counted on its pipe
        self.known: dict[str, Known] = defaultdict(dict)
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
                case Barrier():
                    for known in list(self.known.values()):
                        self._learn(SCALAR, known)
                case CrossSet():
                    self.cross.setdefault(step.number, []).append(self._knows(step.pipe))
                    most = self.arch.cross_pending
                    if len(self.cross[step.number]) > most:
                        raise self.error(f"flag {step.number} is set more than {most} times", "wait for it before")
                    yield True
                case CrossWait():
                    while not self.cross.get(step.number):
                        self.now = step
                        yield False
                    self._learn(step.pipe, self.cross[step.number].pop(0))

    def _event(self, step: Set | Wait) -> None:
        key = (step.src, step.dst, evaluate(step.number, _Zero(self.env)))
        if isinstance(step, Set):
            if key in self.events:
                raise self.error(f"event {key[2]} is set again before it was waited for", "use another number")
            told = self._knows(step.src)
            if step.dst != SCALAR and told.get((self.number, step.dst), 0) < self.waited.get(key, 0):
                what = f"event {key[2]} is set again, and {step.src} does not know that the last wait is over"
                raise self.error(what, f"let {step.dst} tell {step.src} first, or use another number")
            self.events[key] = told
        elif key not in self.events:
            raise self.error(f"nothing has set event {key[2]}", "set it before")
        else:
            mine = self.known[step.dst]
            mine[self.number, step.dst] = self.waited[key] = mine.get((self.number, step.dst), 0) + 1
            self._learn(step.dst, self.events.pop(key))

    def _knows(self, pipe: str) -> Known:
        """What a pipe knows when it begins something now."""
        out = dict(self.known[pipe])
        for lane, over in self.known[SCALAR].items():
            if over > out.get(lane, 0):
                out[lane] = over
        return out

    def _learn(self, pipe: str, told: Known) -> None:
        mine = self.known[pipe]
        for lane, over in told.items():
            if over > mine.get(lane, 0):
                mine[lane] = over

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
