"""Addresses: buffers that are never needed at the same time share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .chip import Chip
from .physical import Buffer, If, Loop, Region, Step, places
from .scalar import aligned

ALIGN = 64  # bytes; the strictest a vector or L0C operand needs, sorting apart


class CapacityError(Exception):
    """A program's tiles do not fit on the chip."""


def assign(body: Sequence[Step], buffers: Sequence[Buffer], homes: Mapping[Buffer, str], chip: Chip) -> None:
    """Give every buffer its address, larger ones first; shared ones have theirs. CapacityError where a scope is too
    small.
    """
    lives = _lives(body, homes)
    for scope in sorted({b.scope for b in buffers}):
        placed: list[Buffer] = []
        fixed = [b for b in buffers if b.scope == scope and b.shared]
        mine = [b for b in buffers if b.scope == scope and b in lives and not b.shared]
        for buffer in sorted(mine, key=lambda b: (-b.total, lives[b])):
            buffer.address = _free(buffer, fixed + [p for p in placed if _meet(lives[p], lives[buffer])])
            placed.append(buffer)
        need = max((b.address + b.total for b in mine + fixed), default=0)
        if need > chip.scopes[scope]:
            raise CapacityError(f"{need} bytes of {scope} where {chip.name} has {chip.scopes[scope]}")


def _free(buffer: Buffer, others: list[Buffer]) -> int:
    at = 0
    for other in sorted(others, key=lambda b: b.address):
        if at + buffer.total <= other.address:
            break
        at = max(at, aligned(other.address + other.total, ALIGN))
    return at


Life = tuple[int, int]


def _meet(a: Life, b: Life) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def _lives(body: Sequence[Step], homes: Mapping[Buffer, str]) -> dict[Buffer, Life]:
    """First and last step that use a buffer.

    It lives through a whole loop where it outlives the loop's turns: declared outside, or in copies that take turns.
    """
    lives: dict[Buffer, Life] = {}
    position = 0

    def visit(steps: Sequence[Step]) -> tuple[set[Buffer], set[str]]:
        nonlocal position
        used: set[Buffer] = set()
        loops: set[str] = set()
        for step in steps:
            begin = position
            position += 1
            if isinstance(step, Loop | If):
                inner, counters = visit(step.body)
                if isinstance(step, Loop):
                    own = counters | {step.var}
                    for b in inner:
                        if homes[b] not in own or (homes[b] == step.var and b.stages > 1):
                            _extend(lives, b, begin, position)
                    counters = own
                used |= inner
                loops |= counters
            for place in places(step):
                if isinstance(place, Region):
                    _extend(lives, place.buffer, begin, begin)
                    used.add(place.buffer)
        return used, loops

    visit(body)
    return lives


def _extend(lives: dict[Buffer, Life], b: Buffer, begin: int, end: int) -> None:
    first, last = lives.get(b, (begin, end))
    lives[b] = min(first, begin), max(last, end)
