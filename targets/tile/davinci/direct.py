"""Between the cube and the vector core of a group, where each writes into the other's memory: sums go from L0C to UB,
operands from UB to L1, into slots that the consumer uses where they lie.

The producer waits for a free slot, writes it and tells the consumer; the consumer waits, and gives the slot back after
its last use. Only the pipes at either end wait. Slots lie at the start of their memory, so that both cores know where.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dsv4c.ir.types import BITS

from ..logical import Chan, If, Loop, Piece, Statement, Tile
from ..memory import ALIGN
from ..physical import Buffer, CrossSet, CrossWait, Instr, Region, Step, Tick, walk
from ..scalar import aligned, var
from . import cube
from .scope import IllegalError, Scope, check_flags

ONE = 4  # the mode of flags between the cube core and one vector core
PRODUCER = {"UB": "FIX", "L1": "MTE3"}  # the pipe that writes the memory, and the one that reads it
CONSUMER = {"UB": "V", "L1": "MTE1"}


@dataclass(frozen=True)
class Slots:
    """Where a channel ends, and its flags: ``full`` for here is one, ``free`` for it was used."""

    buffer: Buffer
    full: int
    free: int

    @property
    def counter(self) -> str:
        """How many a core has sent or used."""
        return f"{self.buffer.name}_turn"


def separated(body: Sequence[Statement]) -> tuple[Statement, ...]:
    """Channels whose slot is held while another of the same name passes get a name of their own: slots are given back
    in the order in which they were filled.
    """
    out: list[Statement] = [replace(x, body=separated(x.body)) if isinstance(x, Loop | If) else x for x in body]
    ends = {id(chan): end for end, chans in last_uses(body).items() for chan in chans}
    for number, x in reversed(list(enumerate(out))):
        if isinstance(x, Chan):
            between = {name for y in out[number + 1 : ends[id(x)] + 1] for name in _channels(y)}
            name = f"{x.name}_held" if x.name in between else x.name
            if name in between:
                raise IllegalError(f"{x.name}: more than two are held at the same time")
            out[number] = replace(x, name=name)
    return tuple(out)


def last_uses(body: Sequence[Statement]) -> dict[int, list[Chan]]:
    """The channels of a block by the statement that is the last to use what they bring."""
    out: dict[int, list[Chan]] = {}
    for number, x in enumerate(body):
        if isinstance(x, Chan):
            end = max(at for at in range(number, len(body)) if _mentions(body[at], x.dst.tile))
            out.setdefault(end, []).append(x)
    return out


def _channels(x: Statement) -> Iterator[str]:
    """Names of the channels in a statement."""
    if isinstance(x, Chan):
        yield x.name
    elif isinstance(x, Loop | If):
        for inner in x.body:
            yield from _channels(inner)


def _mentions(x: object, tile: Tile) -> bool:
    if isinstance(x, Piece):
        return x.tile is tile
    if isinstance(x, tuple):
        return any(_mentions(each, tile) for each in x)
    return isinstance(x, Statement) and any(_mentions(each, tile) for each in vars(x).values())


def slots_of(statements: Sequence[Statement]) -> dict[str, Slots]:
    """Slots for every channel, one behind the other in UB and in L1."""
    out: dict[str, Slots] = {}
    used = {"UB": 0, "L1": 0}
    for x in statements:
        if isinstance(x, Chan) and x.name not in out:
            scope = "UB" if x.dst.tile.kind == "vec" else "L1"
            number = 2 * len(out)
            buffer = Buffer(x.name, scope, aligned(_bytes(x), ALIGN), x.depth, used[scope], shared=True)
            out[x.name] = Slots(buffer, number, number + 1)
            used[scope] += buffer.total
    check_flags(len(out))
    return out


def _bytes(c: Chan) -> int:
    tile = c.dst.tile
    if tile.dtype != c.src.dtype or c.dst.shape != (tile.rows, tile.cols) or tile.cols % cube.depth(tile.dtype):
        raise IllegalError(f"{c.name}: a channel carries whole tiles of whole blocks")
    return tile.rows * tile.cols * BITS[tile.dtype] // 8


def send(s: Scope, c: Chan) -> None:
    """This core's half of a channel."""
    slots, counter = s.slots[c.name], var(s.slots[c.name].counter)
    scope = slots.buffer.scope
    if consumes(s, slots):
        s.tiles[c.dst.tile] = slots.buffer, counter
        s.step(CrossWait(slots.full, CONSUMER[scope], ONE))
        return
    pipe = PRODUCER[scope]
    s.step(CrossWait(slots.free, pipe, ONE))
    rows, cols = c.src.shape
    if scope == "UB":
        whole = Region(slots.buffer, c.dst.dtype, 0, ((rows, cols), (cols, 1)), counter)
        s.emit("fixpipe_ub", pipe, (whole,), (cube.whole(s, c.src.tile),), rows=rows)
    else:
        whole = Region(slots.buffer, c.dst.dtype, 0, ((rows * cols, 1),), counter)
        s.emit("copy_nz", pipe, (whole,), (s.region(c.src),), rows=rows)
    s.step(CrossSet(pipe, slots.full, ONE))
    s.step(Tick(slots.counter))


def release(s: Scope, c: Chan) -> None:
    """The consumer gives a slot back."""
    slots = s.slots[c.name]
    if consumes(s, slots):
        s.step(CrossSet(CONSUMER[slots.buffer.scope], slots.free, ONE))
        s.step(Tick(slots.counter))


def consumes(s: Scope, slots: Slots) -> bool:
    """Whether the slots are of this core's memory."""
    return (slots.buffer.scope == "UB") == (s.core == "AIV")


def credits(s: Scope) -> tuple[list[Step], list[Step]]:
    """Slots given at the start for what this core consumes, and taken back at the end for what it produces."""
    opened: list[Step] = []
    closed: list[Step] = []
    for slots in s.slots.values():
        scope, depth = slots.buffer.scope, slots.buffer.stages
        if consumes(s, slots):
            opened += [CrossSet(CONSUMER[scope], slots.free, ONE)] * depth
        else:
            closed += [CrossWait(slots.free, PRODUCER[scope], ONE)] * depth
    return opened, closed


def check(steps: tuple[Step, ...]) -> None:
    """A slot is given back by one pipe, so that no other may use it."""
    for step in walk(steps):
        if isinstance(step, Instr):
            places = [(p, PRODUCER) for p in step.outs] + [(p, CONSUMER) for p in step.ins]
            wrong = [
                p for p, pipes in places
                if isinstance(p, Region) and p.buffer.shared and pipes[p.buffer.scope] != step.pipe
            ]  # fmt: skip
            if wrong:
                raise IllegalError(f"{step.op} on pipe {step.pipe} uses what a channel brings")
