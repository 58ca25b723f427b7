"""The dependence graph of a program, unrolled: which value every instruction reads, and what nothing orders.

A walk is one way through the program: every loop takes at most ``TURNS`` turns, conditions hold or not, by a choice.
Memory is kept in blocks of 32 bytes: who wrote a block last, as a hash of all writers since it was covered whole, and
how far each pipe had got when it last read or wrote it. What a pipe knows to be done is kept as in sync.py. Sizes and
integers that a kernel reads are not known here, so that nothing depends on inputs: offsets that hold such an integer
stand for all of their buffer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..physical import (
    Barrier,
    CrossSet,
    CrossWait,
    Get,
    If,
    Instr,
    Loop,
    Place,
    Program,
    Region,
    Set,
    Step,
    Tick,
    Wait,
)
from ..scalar import Int, evaluate
from .blocks import BLOCK, ROOM, Memory, Span, spans_of

TURNS = 3  # of a loop: a first one, one with the other copy, and one that meets the first copy again
SCALAR = "S"
SMALL = 10  # fractals of a product; larger ones are in order (ascend.md §3.11)
Known = dict[tuple[int, str], int]  # (core, pipe) -> how many of its ticks are over
Choice = Callable[[str, int], int]  # (what is chosen, out of how many) -> 0 ...


class StuckError(Exception):
    """A wait that nothing ends, a flag set twice, or one left set."""


@dataclass
class Graph:
    """What a walk found: ``reads`` by instance, in order; ``unordered`` pairs of a step and what it should follow."""

    reads: list[tuple[str, str, int]] = field(default_factory=list)
    unordered: set[tuple[str, str]] = field(default_factory=set)


def walked(program: Program, choice: Choice) -> Graph:
    """The graph of one walk on one core of each kind. Raises StuckError."""
    shared = _Shared(choice)
    cores = [_Core(shared, number, program) for number in range(len(program.parts))]
    running = [core.block(part.body) for core, part in zip(cores, program.parts, strict=True)]
    idle = 0
    while running:
        now = running.pop(0)
        try:
            moved = next(now)
        except StopIteration:
            idle = 0
            continue
        running.append(now)
        idle = 0 if moved else idle + 1
        if idle > len(running):
            raise StuckError("every core waits")
    if any(shared.cross.values()) or any(any(core.flags.values()) for core in cores):
        raise StuckError("a flag is left set")
    return shared.graph


@dataclass
class _Shared:
    choice: Choice
    graph: Graph = field(default_factory=Graph)
    memory: dict[str, Memory] = field(default_factory=dict)
    cross: dict[tuple[int, int], list[Known]] = field(default_factory=lambda: defaultdict(list))

    def scope(self, name: str, blocks: int) -> Memory:
        if name not in self.memory:
            self.memory[name] = Memory(blocks)
        return self.memory[name]


class _Core:
    def __init__(self, shared: _Shared, number: int, program: Program) -> None:
        self.shared, self.number, self.program = shared, number, program
        self.rings = {ring.tensor.name for ring in program.rings}
        self.env: dict[str, int] = {}
        self.open: list[str] = []  # loops around
        self.known: dict[str, Known] = defaultdict(dict)
        self.count: dict[str, int] = defaultdict(int)  # ticks of a pipe: its instructions, and the waits that it passed
        self.begun: dict[str, int] = defaultdict(int)  # its instructions alone
        self.flags: dict[tuple[str, str, int], list[Known]] = defaultdict(list)
        self.waited: dict[tuple[str, str, int], int] = {}  # when the last wait for a flag came, in its pipe

    # --- steps ---

    def block(self, body: Sequence[Step]) -> Iterator[bool]:
        for step in body:
            match step:
                case Loop():
                    yield from self._loop(step)
                case If():
                    if self._chosen(str(step.condition), 2) == 0:
                        yield from self.block(step.body)
                case Set():
                    self._set(step)
                case Wait():
                    self._wait(step)
                case Barrier():
                    self._barrier(step)
                case CrossSet():
                    self.shared.cross[1 - self.number, step.number].append(self._done(step.pipe))
                    yield True
                case CrossWait():
                    tokens = self.shared.cross[self.number, step.number]
                    while not tokens:
                        yield False
                    self._learn(SCALAR, tokens.pop(0))
                case Tick():
                    self.env[step.name] = self.env.get(step.name, 0) + 1
                case Get():
                    self._get(step)
                case Instr():
                    self._instr(step)

    def _loop(self, loop: Loop) -> Iterator[bool]:
        most = min(TURNS, _most(loop.count))
        count = most if isinstance(loop.count, int) else most - self._chosen(loop.var, most + 1)
        self.open.append(loop.var)
        for turn in range(count):
            self.env[loop.var] = turn
            if loop.turn:
                self.env[loop.turn] = turn
            yield from self.block(loop.body)
        self.open.pop()

    def _chosen(self, what: str, out_of: int) -> int:
        """The same on both cores: by the counters of loops that both have, and what is asked."""
        counters = [(k, self.env[k]) for k in self.open if k[0] in "ti"]  # the others are made by one core alone
        return self.shared.choice(f"{what} {counters}", out_of)

    def _barrier(self, step: Barrier) -> None:
        pipes = [step.pipe] if step.pipe != "ALL" else sorted(self.count)
        for pipe in pipes:
            done = self._done(pipe)
            self._learn(SCALAR if step.pipe == "ALL" else pipe, done)

    def _done(self, pipe: str) -> Known:
        """All that a pipe began, and what it knows."""
        return {**self._merged(pipe), (self.number, pipe): self.count[pipe]}

    def _set(self, step: Set) -> None:
        key = (step.src, step.dst, evaluate(step.number, self.env))
        if self.flags[key]:
            raise StuckError(f"{key} is set twice")
        over = self._merged(step.src).get((self.number, step.dst), 0) >= self.waited.get(key, 0)
        if not over and step.dst != SCALAR:
            self.shared.graph.unordered.add((f"set {key}", "its last wait"))
        self.flags[key].append(self._done(step.src))

    def _wait(self, step: Wait) -> None:
        key = (step.src, step.dst, evaluate(step.number, self.env))
        if not self.flags[key]:
            raise StuckError(f"nothing sets {key}")
        self._learn(step.dst, self.flags[key].pop(0))
        self.count[step.dst] += 1
        self.waited[key] = self.count[step.dst]

    def _learn(self, pipe: str, token: Known) -> None:
        mine = self.known[pipe]
        for lane, done in token.items():
            mine[lane] = max(mine.get(lane, 0), done)

    def _merged(self, pipe: str) -> Known:
        out = dict(self.known[pipe])
        for lane, done in self.known[SCALAR].items():
            out[lane] = max(out.get(lane, 0), done)
        return out

    # --- accesses ---

    def _get(self, step: Get) -> None:
        self.env.pop(step.name, None)  # not known here
        if isinstance(step.src, Region):
            for span in self._spans(step.src):
                self._check(f"get {step.name}", self._merged(SCALAR), span, False)
                self._note(f"get {step.name}", span)

    def _instr(self, step: Instr) -> None:
        name = f"{step.op} {[_label(p) for p in (*step.outs, *step.ins)]} {sorted(self.env.items())}"
        lane = (self.number, step.pipe)
        if step.pipe == "FIX" or (step.pipe == "M" and _fractals(step) >= SMALL):
            self.known[step.pipe][lane] = self.count[step.pipe]
        clock = self._merged(step.pipe)
        self.count[step.pipe] += 1
        tick = self.count[step.pipe]
        self.begun[step.pipe] += 1
        read = step.ins
        if step.op == "mmad" and evaluate(step.args["first"], self.env) == 1:  # type: ignore[arg-type]
            read = step.ins[:2]  # the sum begins at zero
        ins, outs = ([s for p in places for s in self._spans(p)] for places in (read, step.outs))
        if step.op in ("copy_in", "nd2nz"):  # their rows are filled up to whole blocks
            outs = [(scope, blocks, np.ones_like(whole)) for scope, blocks, whole in outs]
        for span in ins:
            self._check(name, clock, span, False)
            self._note(name, span)
        for span in outs:
            self._check(name, clock, span, True)
        self._alone(name, step)
        for (scope, blocks, _), writes in [*((s, False) for s in ins), *((s, True) for s in outs)]:
            memory = self.shared.scope(scope, ROOM // BLOCK)
            memory.last(memory.written if writes else memory.read, lane)[blocks] = tick
        for scope, blocks, whole in outs:
            memory, here = self.shared.scope(scope, ROOM // BLOCK), hash((name, self.begun[step.pipe]))
            mixed = memory.value[blocks] * 1000003 + here
            memory.value[blocks] = np.where(whole, here, mixed)

    def _spans(self, place: Place) -> Iterator[Span]:
        return spans_of(place, self.env, self.number, self.rings)

    def _alone(self, name: str, step: Instr) -> None:
        """An instruction reads what it writes element by element, or not at all."""
        for out in step.outs:
            for source in step.ins:
                if not isinstance(out, Region) or not isinstance(source, Region) or out.buffer is source.buffer:
                    continue
                if out.buffer.scope == source.buffer.scope:
                    ((_, a, _),), ((_, b, _),) = list(self._spans(out)), list(self._spans(source))
                    same = out.dims == source.dims and a.size == b.size and bool((a == b).all())
                    if not same and np.intersect1d(a, b).size:
                        self.shared.graph.unordered.add((name, "itself"))

    def _check(self, name: str, clock: Known, span: Span, writes: bool) -> None:
        scope, blocks, _ = span
        memory = self.shared.scope(scope, ROOM // BLOCK)
        kinds = [memory.written] + ([memory.read] if writes else [])
        for kind in kinds:
            if kind is memory.written and writes and scope.startswith("GM "):
                continue  # stores to one tensor go to different places
            for lane, last in kind.items():
                if lane[1] != SCALAR and int(last[blocks].max(initial=0)) > clock.get(lane, 0):
                    self.shared.graph.unordered.add((name, f"{lane}"))

    def _note(self, name: str, span: Span) -> None:
        scope, blocks, _ = span
        value = self.shared.scope(scope, ROOM // BLOCK).value[blocks]
        self.shared.graph.reads.append((f"{self.number} {name}", scope, hash(value.tobytes())))


def _most(a: Int) -> int:
    """No fewer than the integer can be."""
    if isinstance(a, int):
        return a
    if a.op == "min":
        return min(_most(x) for x in a.args)
    if a.op in ("+", "//") and isinstance(a.args[1], int):
        left = _most(a.args[0])
        return left + a.args[1] if a.op == "+" else left // a.args[1]
    return ROOM


def _label(p: Place) -> str:
    return p.buffer.name if isinstance(p, Region) else p.tensor.name


def _fractals(step: Instr) -> int:
    m, n = (step.args.get(key, 0) for key in ("m", "n"))
    assert isinstance(m, int) and isinstance(n, int)
    return (m // 16) * (n // 16)
