"""Synchronisation from dependences: what must wait for what, and no more.

A core's pipes run side by side, each beginning its instructions in order. A signal (a Set after the producer, a Wait
before the consumer) orders all that one pipe began before all that another begins after; a barrier does so within one
pipe. The scalar unit issues everything: what follows a Get in the program also follows it in time.

A block's steps are items; a loop or a condition inside it is one item. The block is walked in program order, keeping
for every pipe what it knows to be done, and a dependence that nothing implies gets a signal. A loop's block is walked
for as many turns as its buffers have copies: a dependence on an earlier turn gets a signal from turn to turn, whose
first Sets stand before the loop and last Waits behind it.

A signal's number is one bit of hardware, so a pipe that sets it again must know that the last Wait is over. Mostly the
data's way back says so; where nothing does, one more signal leads from the Wait to the Set.
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
Flag = tuple[str, str, int]  # from pipe, to pipe, number


class UnsynchronisableError(Exception):
    """A program needs more events than a pair of pipes has."""


def synchronised(body: Sequence[Step], chip: Chip) -> tuple[Step, ...]:
    """The steps with Sets, Waits and Barriers.

    Where a pair of pipes has too few events for a signal each, signals are merged; where that is not enough, all pipes
    are drained behind inner loops, which then share events.
    """
    for economy in (0, 1):
        try:
            return _Program(chip, economy).once(body, frozenset(), 0).steps()
        except UnsynchronisableError:
            continue
    return _Program(chip, 2).once(body, frozenset(), 0).steps()


@dataclass
class _Signal:
    """From ``src`` after item ``after`` to ``dst`` before item ``before``, ``turns`` turns later."""

    src: str
    dst: str
    after: int
    before: int
    turns: int
    width: int  # numbers that turns take in order
    number: int = 0

    def tag(self, turn: Int) -> Int:
        return add(self.number, rem(turn, self.width))

    def flags(self) -> frozenset[Flag]:
        return frozenset((self.src, self.dst, self.number + n) for n in range(self.width))


@dataclass(frozen=True)
class _Item:
    """Steps of a block that stay together: one of its own, or the Sets before a loop, or the Waits behind it.

    ``sets`` and ``waits`` are the flags of what is inside; ``told`` (p, q): behind this item, q knows all that p did
    before it.
    """

    steps: tuple[Step, ...] = ()
    sets: frozenset[Flag] = frozenset()
    waits: frozenset[Flag] = frozenset()
    told: frozenset[tuple[str, str]] = frozenset()

    def pipes(self) -> set[str]:
        """The pipes that take part."""
        mine = {use.pipe for step in self.steps for use in uses(step)}
        return mine | {src for src, _, _ in self.sets} | {dst for _, dst, _ in self.waits}


DRAIN = _Item((Barrier(ALL),), told=frozenset((p, q) for p in PIPES for q in PIPES))


@dataclass
class _Program:
    """What the blocks of one program share."""

    chip: Chip
    economy: int  # 1: signals are merged; 2: loops are drained as well
    ranges: dict[str, Range] = field(default_factory=dict)
    taken: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))

    def once(self, body: Sequence[Step], outer: frozenset[str], turn: Int) -> _Block:
        """A block that is not a loop's."""
        block = _Block(self, self._inner(body, outer), Place(turn, outer, self.ranges), 1)
        block.close(repeats=False)
        return block

    def _inner(self, body: Sequence[Step], outer: frozenset[str]) -> list[_Item]:
        """The items of a block: inner loops and conditions synchronised in themselves."""
        items: list[_Item] = []
        base, most = dict(self.taken), dict(self.taken)
        for step in body:
            if isinstance(step, Loop):
                items += self._loop(step, outer)
            elif isinstance(step, If):
                block = self.once(step.body, outer, 0)
                items.append(_Item((replace(step, body=block.steps()),), block.flags(), block.flags()))
            else:
                items.append(_Item((step,)))
            if self.economy > 1 and self.taken != base:
                items.append(DRAIN)
                most = {pair: max(n, most.get(pair, 0)) for pair, n in self.taken.items()}
                self.taken = defaultdict(int, base)
        if self.economy > 1:
            self.taken = defaultdict(int, most)
        return items

    def _loop(self, loop: Loop, outer: frozenset[str]) -> list[_Item]:
        """A loop, the first Sets before it and the last Waits behind it."""
        counter = loop.turn or loop.var
        if isinstance(loop.count, int):
            self.ranges[loop.var] = (0, max(loop.count - 1, 0))
        inside = outer | {loop.var, counter}
        items = [*self._inner(loop.body, inside), _Item()]  # the end of a turn, where a Set may stand as well
        stages = max((r.buffer.stages for r in _regions(loop) if r.turn == var(counter)), default=1)
        block = _Block(self, items, Place(var(counter), inside, self.ranges), stages)
        block.close(repeats=True)
        carried = [s for s in block.signals if s.turns]
        flags = [flag for s in carried for flag in sorted(s.flags())]
        runs = isinstance(loop.count, int) and loop.count > 0
        told = block.told() if runs else frozenset((s.src, s.dst) for s in carried)
        return [
            _Item(tuple(Set(*flag) for flag in flags), sets=frozenset(flags)),
            _Item((replace(loop, body=block.steps()),), block.flags(), block.flags()),
            _Item(tuple(Wait(*flag) for flag in flags), waits=frozenset(flags), told=told),
        ]


def _regions(step: Step) -> list[Region]:
    return [use.region for use in uses(step) if use.region is not None]


Known = dict[str, dict[str, int]]  # pipe -> pipe -> the last position it knows to be done


class _Block:
    """The items of one block, and the signals and barriers between them."""

    def __init__(self, program: _Program, items: list[_Item], place: Place, stages: int) -> None:
        self.program, self.items, self.place, self.stages = program, items, place, stages
        self.uses = [[use for step in item.steps for use in uses(step)] for item in items]
        self.pipes = [sorted(item.pipes()) for item in items]
        self.signals: list[_Signal] = []
        self.barriers: set[tuple[int, str]] = set()
        self._conflicts: dict[tuple[int, int, int], set[tuple[str, str]]] = {}

    # --- finding what is missing ---

    def close(self, repeats: bool) -> None:
        """Find all signals and barriers, and number them."""
        self.walk(1)
        before = -1 if repeats else len(self.signals)
        while len(self.signals) > before:  # a signal more is a number more that is set again
            before = len(self.signals)
            self.walk(2 * self.stages + 1)
        self.number()

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
                self._reuse(turn, j)

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
            self.known[q][p] = position - 1
        for pipe in self.pipes[j] or PIPES:
            self.then[pipe, position] = self._merged(pipe)

    def _reuse(self, turn: int, j: int) -> None:
        """Behind an item flags are set again: what sets them must know that the Waits before are over."""
        for s in self.signals:
            waited = turn - s.width + s.turns
            if s.after != j or waited < 0 or s.dst == SCALAR:
                continue
            position = self._position(waited, s.before)
            if self._merged(s.src).get(s.dst, -1) >= position:
                continue
            if position < self._position(turn, j):
                self._signal(s.dst, s.src, position, turn, j)
            else:
                s.after = len(self.items) - 1

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
                if not _begins_with_barrier(self.items[j].steps, p):
                    self.barriers.add((j, p))
                self.known[p][p] = self.begun[p]
            else:
                self._signal(p, q, position, turn, j)

    def _signal(self, p: str, q: str, position: int, turn: int, j: int) -> None:
        before, i = divmod(position, len(self.items))
        if self.program.economy:
            last = j if before == turn else len(self.items)
            i = max(k for k in range(i, last) if p in self.pipes[k])
        self.signals.append(_Signal(p, q, i, j, turn - before, turn - before or self.stages))
        self._learn(p, q, self._position(before, i))

    def _conflict(self, i: int, j: int, distance: int) -> set[tuple[str, str]]:
        key = (i, j, distance)
        if key not in self._conflicts:
            again = self.items[i].waits & self.items[j].sets
            found = {(dst, src) for src, dst, _ in again if dst != SCALAR}
            for first in self.uses[i]:
                for later in self.uses[j]:
                    pair = (first.pipe, later.pipe)
                    if (
                        pair not in found
                        and self._matters(i, first, later)
                        and meet(first, later, self.place, distance)
                    ):
                        found.add(pair)
            self._conflicts[key] = found
        return self._conflicts[key]

    def _matters(self, i: int, first: Use, later: Use) -> bool:
        if first.pipe == SCALAR:
            return False
        if first.pipe != later.pipe or first.pipe not in self.program.chip.facts["ordered_pipes"]:
            return True
        step = self.items[i].steps[0]  # sums of small products must be kept apart, larger ones are in order
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

    def number(self) -> None:
        """Give every signal numbers of its own."""
        for s in self.signals:
            s.number = self.program.taken[s.src, s.dst]
            self.program.taken[s.src, s.dst] += s.width
            if s.number + s.width > NUMBERS:
                raise UnsynchronisableError(f"{s.src} tells {s.dst} more than {NUMBERS} things")

    # --- the result ---

    def flags(self) -> frozenset[Flag]:
        """All flags of the block and of the blocks in it."""
        inner = (flag for item in self.items for flag in item.sets | item.waits)
        return frozenset(inner).union(*(s.flags() for s in self.signals))

    def steps(self) -> tuple[Step, ...]:
        """All items with what stands between them."""
        turn = self.place.turn
        out: list[Step] = []
        for j, item in enumerate(self.items):
            out += [Wait(s.src, s.dst, s.tag(turn)) for s in self.signals if s.before == j]
            out += [Barrier(pipe) for k, pipe in sorted(self.barriers) if k == j]
            out += item.steps
            out += [Set(s.src, s.dst, s.tag(turn)) for s in self.signals if s.after == j]
        return tuple(out)


def _begins_with_barrier(steps: Sequence[Step], pipe: str) -> bool:
    """Whether this is a loop that runs and has a barrier of its own before anything of the pipe."""
    if not steps or not isinstance(loop := steps[0], Loop) or not isinstance(loop.count, int) or loop.count < 1:
        return False
    for step in loop.body:
        if step == Barrier(pipe):
            return True
        if any(use.pipe == pipe for use in uses(step)):
            return _begins_with_barrier((step,), pipe)
    return False


def _tiles(step: Instr) -> int:
    m, n = (step.args[key] for key in ("m", "n"))
    assert isinstance(m, int) and isinstance(n, int)
    return (m // 16) * (n // 16)
