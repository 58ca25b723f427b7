"""Between the cube and the vector core of a group, where the only way is global memory: rings with counting flags.

The producer waits for a free slot, writes it and tells the consumer; the consumer waits, reads and gives the slot back.
At the start the consumer gives all slots; at the end the producer takes them back, so that every count ends at 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from dsv4c.ir.types import BITS

from ..logical import Chan, Statement, Tensor, Window
from ..physical import CrossSet, CrossWait, If, Instr, Loop, Ring, Step, Tick
from ..scalar import aligned, mul, rem, var
from . import cube
from .scope import Scope, check_flags, in_rows

LINE = 512  # bytes: rings and slots begin on a line of the L2 cache


def rings_of(statements: Sequence[Statement]) -> dict[str, Ring]:
    """A ring for every channel, one behind the other in the workspace."""
    out: dict[str, Ring] = {}
    offset = 0
    for x in statements:
        if isinstance(x, Chan):
            dtype = x.src.dtype
            width = BITS[dtype] // 8
            size = aligned(x.src.rows * x.src.cols * width, LINE) // width
            out[x.name] = Ring(Tensor(x.name, dtype, (size * x.depth,), "inout"), size, x.depth, offset)
            offset += size * x.depth * width
    check_flags(len(out))
    return out


def _flags(s: Scope, name: str) -> tuple[int, int]:
    """Numbers for ``here is one`` and ``it is free again``."""
    number = list(s.rings).index(name)
    return 2 * number, 2 * number + 1


def send(s: Scope, c: Chan) -> None:
    """This core's half of a channel."""
    ring, (full, free) = s.rings[c.name], _flags(s, c.name)
    counter = f"{c.name}_turn"
    slot = Window(ring.tensor, mul(rem(var(counter), ring.depth), ring.size), c.src.rows, c.src.cols, c.src.cols)
    produces = (c.src.tile.kind == "vec") == (s.core == "AIV")
    s.step(CrossWait(free if produces else full))
    pipe = _write(s, c, slot) if produces else _read(s, c, slot)
    s.step(CrossSet(pipe, full if produces else free))
    s.step(Tick(counter))


def _write(s: Scope, c: Chan, slot: Window) -> str:
    if s.core == "AIC":
        cube.drain(s, c.src.tile, slot)
        return "FIX"
    s.emit("copy_out", "MTE3", (slot,), (in_rows(s.region(c.src), c.src.rows, c.src.cols),))
    return "MTE3"


def _read(s: Scope, c: Chan, slot: Window) -> str:
    if s.core == "AIC":
        cube.stage(s, c.dst.tile, slot)
    else:
        s.emit("copy_in", "MTE2", (in_rows(s.region(c.dst), c.dst.rows, c.dst.cols),), (slot,), fill=0.0)
    return "MTE2"


def credits(s: Scope) -> tuple[list[Step], list[Step]]:
    """Slots given at the start for what this core consumes, and taken back at the end for what it produces."""
    opened: list[Step] = []
    closed: list[Step] = []
    for name, ring in s.rings.items():
        _, free = _flags(s, name)
        mine = _produced(s.blocks[0], name)
        if mine:
            closed += [CrossWait(free)] * ring.depth
        else:
            opened += [CrossSet("MTE2", free)] * ring.depth
    return opened, closed


def _produced(body: Sequence[Step], name: str) -> bool:
    """Whether these steps write a ring."""
    for step in body:
        if isinstance(step, Loop | If):
            if _produced(step.body, name):
                return True
        elif isinstance(step, Instr) and any(isinstance(p, Window) and p.tensor.name == name for p in step.outs):
            return True
    return False
