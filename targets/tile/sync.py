"""Synchronisation from dependences: what must wait for what, and no more.

A core's pipes run side by side, each beginning its instructions in order. A signal (a Set after the producer, a Wait
before the consumer) orders all that one pipe began before all that another begins after; a barrier does so within one
pipe. The scalar unit issues everything: what follows a Get in the program also follows it in time.

A block's steps are items; a loop or a condition inside it is one item. The block is walked in program order, keeping
for every pipe what it knows to be done, and a dependence that nothing implies gets a signal. A loop's block is walked
for as many turns as its buffers have copies: a dependence on an earlier turn gets a signal from turn to turn, whose
first Sets stand before the loop and last Waits behind it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from .chip import Chip
from .dependence import SCALAR, Place, Use, meet, uses
from .physical import Barrier, If, Instr, Loop, Region, Set, Step, Wait
from .scalar import Int, Range, add, rem, var

ALL = "ALL"
PIPES = ("S", "V", "M", "MTE1", "MTE2", "MTE3", "FIX")
NUMBERS = 8  # events of a pair of pipes


class UnsynchronisableError(Exception):
    """A program needs more events than a pair of pipes has."""


def synchronised(body: Sequence[Step], chip: Chip) -> tuple[Step, ...]:
    """The steps with Sets, Waits and Barriers.

    Where a pair of pipes has too few events for a signal each, signals are merged; where that is not enough, all pipes
    are drained behind inner loops, which then share events.
    """
    for economy in (0, 1):
        try:
            return _Program(chip, economy).once(body, frozenset(), 0)
        except UnsynchronisableError:
            continue
    return _Program(chip, 2).once(body, frozenset(), 0)


@dataclass
class _Signal:
    """From ``src`` after item ``after`` to ``dst`` before item ``before``, ``turns`` turns later."""

    src: str
    dst: str
    after: int
    before: int
    turns: int
    number: int = 0
    width: int = 1  # numbers that turns take in order

    def tag(self, turn: Int) -> Int:
        return add(self.number, rem(turn, self.width))


@dataclass(frozen=True)
class _Item:
    """A step of a block and what stands around it; behind it, ``told`` (p, q): q knows all that p did in it."""

    step: Step
    first: tuple[Step, ...] = ()
    last: tuple[Step, ...] = ()
    told: frozenset[tuple[str, str]] = frozenset()


@dataclass
class _Program:
    """What the blocks of one program share."""

    chip: Chip
    economy: int  # 1: signals are merged; 2: loops are drained as well
    ranges: dict[str, Range] = field(default_factory=dict)
    taken: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def once(self, body: Sequence[Step], outer: frozenset[str], turn: Int) -> tuple[Step, ...]:
        """A block that is not a loop's."""
        items = self._inner(body, outer)
        block = _Block(self, items, Place(turn, outer, self.ranges), 1)
        block.walk(1)
        block.number()
        return block.steps()

    def _inner(self, body: Sequence[Step], outer: frozenset[str]) -> list[_Item]:
        """The items of a block: inner loops and conditions synchronised in themselves."""
        items = []
        base, most = dict(self.taken), dict(self.taken)
        for step in body:
            if isinstance(step, Loop):
                items.append(self._loop(step, outer))
            elif isinstance(step, If):
                items.append(_Item(replace(step, body=self.once(step.body, outer, 0))))
            else:
                items.append(_Item(step))
            if self.economy > 1 and self.taken != base:
                items[-1] = _drained(items[-1])
                most = {pair: max(n, most.get(pair, 0)) for pair, n in self.taken.items()}
                self.taken = defaultdict(int, base)
        if self.economy > 1:
            self.taken = defaultdict(int, most)
        return items

    def _loop(self, loop: Loop, outer: frozenset[str]) -> _Item:
        counter = loop.turn or loop.var
        if isinstance(loop.count, int):
            self.ranges[loop.var] = (0, max(loop.count - 1, 0))
        inside = outer | {loop.var, counter}
        items = self._inner(loop.body, inside)
        stages = max((r.buffer.stages for r in _regions(loop) if r.turn == var(counter)), default=1)
        block = _Block(self, items, Place(var(counter), inside, self.ranges), stages)
        block.walk(1)
        block.walk(stages + 1)
        block.widen()
        block.number()
        first = [Set(s.src, s.dst, s.number + n) for s in block.signals if s.turns for n in range(s.turns)]
        last = [Wait(s.src, s.dst, s.number + n) for s in block.signals if s.turns for n in range(s.turns)]
        runs = isinstance(loop.count, int) and loop.count > 0
        told = block.told() if runs else frozenset((s.src, s.dst) for s in block.signals if s.turns)
        return _Item(replace(loop, body=block.steps()), tuple(first), tuple(last), told)


def _drained(item: _Item) -> _Item:
    """An item behind which every pipe has finished."""
    pipes = {use.pipe for use in uses(item.step)}
    told = frozenset((p, q) for p in pipes for q in PIPES)
    return replace(item, last=(*item.last, Barrier(ALL)), told=told)


def _regions(step: Step) -> list[Region]:
    return [use.region for use in uses(step) if use.region is not None]


Known = dict[str, dict[str, int]]  # pipe -> pipe -> the last position it knows to be done


class _Block:
    """The items of one block, and the signals and barriers between them."""

    def __init__(self, program: _Program, items: list[_Item], place: Place, stages: int) -> None:
        self.program, self.items, self.place, self.stages = program, items, place, stages
        self.uses = [list(uses(item.step)) for item in items]
        self.pipes = [sorted({use.pipe for use in of}) for of in self.uses]
        self.signals: list[_Signal] = []
        self.barriers: set[tuple[int, str]] = set()
        self._conflicts: dict[tuple[int, int, int], set[tuple[str, str]]] = {}

    # --- finding what is missing ---

    def walk(self, turns: int) -> None:
        """Add the signals and barriers that so many turns need."""
        self.known: Known = defaultdict(dict)
        self.then: dict[tuple[str, int], dict[str, int]] = {}
        self.begun: dict[str, int] = {}
        for turn in range(turns):
            for j in range(len(self.items)):
                self._arrive(turn, j)
                self._require(turn, j)
                self._begin(turn, j)

    def _position(self, turn: int, item: int) -> int:
        return turn * len(self.items) + item

    def _arrive(self, turn: int, j: int) -> None:
        """The waits and barriers that stand before an item."""
        for s in self.signals:
            if s.before == j and turn >= s.turns:
                self._learn(s.src, s.dst, self._position(turn - s.turns, s.after))
        for pipe in self.pipes[j]:
            if (j, pipe) in self.barriers:
                self.known[pipe][pipe] = self.begun.get(pipe, -1)

    def _learn(self, src: str, dst: str, position: int) -> None:
        mine = self.known[dst]
        for pipe, done in {**self.then.get((src, position), {}), src: position}.items():
            mine[pipe] = max(mine.get(pipe, -1), done)
        if dst == SCALAR:  # what is issued after a wait of the scalar unit is issued after what it waited for
            for other in list(self.known):
                for pipe, done in mine.items():
                    self.known[other][pipe] = max(self.known[other].get(pipe, -1), done)

    def _begin(self, turn: int, j: int) -> None:
        position = self._position(turn, j)
        for pipe in self.pipes[j]:
            self.begun[pipe] = position
        for p, q in self.items[j].told:
            self.known[q][p] = position
        for pipe in self.pipes[j]:
            self.then[pipe, position] = self._merged(pipe)

    def _merged(self, pipe: str) -> dict[str, int]:
        mine, scalar = self.known[pipe], self.known[SCALAR]
        return {p: max(mine.get(p, -1), scalar.get(p, -1)) for p in {*mine, *scalar}}

    def _require(self, turn: int, j: int) -> None:
        """Signals and barriers for the dependences of an item that nothing implies yet; the latest producer first."""
        missing: dict[tuple[str, str], int] = {}
        for before in range(max(0, turn - self.stages), turn + 1):
            for i in range(j if before == turn else len(self.items)):
                for p, q in self._conflict(i, j, turn - before):
                    if self._merged(q).get(p, -1) < self._position(before, i):
                        missing[p, q] = max(missing.get((p, q), -1), self._position(before, i))
        for (p, q), position in sorted(missing.items(), key=lambda entry: (-entry[1], entry[0])):
            if self._merged(q).get(p, -1) >= position:
                continue
            if p == q:
                if not _begins_with_barrier(self.items[j].step, p):
                    self.barriers.add((j, p))
                self.known[p][p] = self.begun[p]
            else:
                self._signal(p, q, position, turn, j)

    def _signal(self, p: str, q: str, position: int, turn: int, j: int) -> None:
        before, i = divmod(position, len(self.items))
        if self.program.economy:
            last = j if before == turn else len(self.items)
            i = max(k for k in range(i, last) if p in self.pipes[k])
        self.signals.append(_Signal(p, q, i, j, turn - before))
        self._learn(p, q, self._position(before, i))

    def _conflict(self, i: int, j: int, distance: int) -> set[tuple[str, str]]:
        key = (i, j, distance)
        if key not in self._conflicts:
            found: set[tuple[str, str]] = set()
            for first in self.uses[i]:
                for later in self.uses[j]:
                    pair = (first.pipe, later.pipe)
                    if pair not in found and self._matters(i, first, later) and meet(
                        first, later, self.place, distance
                    ):
                        found.add(pair)
            self._conflicts[key] = found
        return self._conflicts[key]

    def _matters(self, i: int, first: Use, later: Use) -> bool:
        if first.pipe == SCALAR:
            return False
        if first.pipe != later.pipe or first.pipe not in self.program.chip.facts["ordered_pipes"]:
            return True
        step = self.items[i].step  # sums of small products must be kept apart, larger ones are in order
        small = self.program.chip.facts["small_product"]
        return first.pipe == "M" and isinstance(step, Instr) and _tiles(step) < small

    def told(self) -> frozenset[tuple[str, str]]:
        """Who knows behind the loop all that another pipe did in it: after the last turn, and the Waits behind it."""
        last = max(self.begun.values(), default=0) // max(len(self.items), 1)
        for s in self.signals:
            if s.turns:
                self._learn(s.src, s.dst, self._position(last, s.after))
        pairs = {(p, q) for q in self.begun for p in self.begun if self._merged(q).get(p, -1) >= self.begun[p]}
        return frozenset(pairs)

    # --- numbers ---

    def widen(self) -> None:
        """Signals within a turn take turns themselves where a number would be set again before it was waited for."""
        for s in self.signals:
            s.width = s.turns or self.stages

    def number(self) -> None:
        """Give every signal numbers of its own."""
        for s in self.signals:
            s.number = self.program.taken[s.src, s.dst]
            self.program.taken[s.src, s.dst] += s.width
            if s.number + s.width > NUMBERS:
                raise UnsynchronisableError(f"{s.src} tells {s.dst} more than {NUMBERS} things")

    # --- the result ---

    def steps(self) -> tuple[Step, ...]:
        """All items with what stands between them."""
        turn = self.place.turn
        out: list[Step] = []
        for j, item in enumerate(self.items):
            out += [Wait(s.src, s.dst, s.tag(turn)) for s in self.signals if s.before == j]
            out += [Barrier(pipe) for k, pipe in sorted(self.barriers) if k == j]
            out += [*item.first, item.step, *item.last]
            out += [Set(s.src, s.dst, s.tag(turn)) for s in self.signals if s.after == j]
        return tuple(out)


def _begins_with_barrier(item: Step, pipe: str) -> bool:
    """Whether a loop that runs has a barrier of its own before anything of the pipe."""
    if not isinstance(item, Loop) or not isinstance(item.count, int) or item.count < 1:
        return False
    for step in item.body:
        if step == Barrier(pipe):
            return True
        if any(use.pipe == pipe for use in uses(step)):
            return _begins_with_barrier(step, pipe)
    return False


def _tiles(step: Instr) -> int:
    m, n = (step.args[key] for key in ("m", "n"))
    assert isinstance(m, int) and isinstance(n, int)
    return (m // 16) * (n // 16)
