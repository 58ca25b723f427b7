"""Temporaries to slots: two buffers share a slot when no step needs both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from dsv4c.ir.dims import Extent, evaluate, symbols
from dsv4c.plan import Buffer, CallSite, Launch, RefTree

ALIGN = 64  # bytes: a cache line, and a 512-bit vector
TYPICAL = 512  # what every symbol is taken for when slots of different symbolic sizes are compared

Sizes = Mapping[str, tuple[Extent, Extent, str]]  # name -> bytes, elements, dtype


def assign_slots(
    steps: Sequence[Launch | CallSite], temps: Sizes
) -> tuple[dict[str, Buffer], tuple[tuple[Extent, ...], ...]]:
    """Slots in order of first use; a free slot of the nearest typical size is taken first. Deterministic."""
    first, last = _lifetimes(steps)
    free: list[int] = []
    members: list[list[Extent]] = []
    holding: dict[str, int] = {}
    buffers: dict[str, Buffer] = {}
    for index in range(len(steps)):
        for name in sorted((n for n, at in first.items() if at == index), key=_number):
            size, count, dtype = temps[name]
            slot = _take(free, members, size)
            members[slot].append(size)
            holding[name] = slot
            buffers[name] = Buffer(count, dtype, slot)
        for name in sorted((n for n, at in last.items() if at == index), key=_number):
            free.append(holding[name])
    return buffers, tuple(_distinct(sizes) for sizes in members)


def _number(name: str) -> int:
    return int(name[1:])


def _take(free: list[int], members: list[list[Extent]], size: Extent) -> int:
    if not free:
        members.append([])
        return len(members) - 1
    wanted = _typical(size)
    best = min(free, key=lambda slot: (abs(max(map(_typical, members[slot])) - wanted), slot))
    free.remove(best)
    return best


def _typical(size: Extent) -> int:
    return evaluate(size, dict.fromkeys(symbols(size), TYPICAL))


def _distinct(sizes: Sequence[Extent]) -> tuple[Extent, ...]:
    return tuple({str(s): s for s in sizes}.values())


def _lifetimes(steps: Sequence[Launch | CallSite]) -> tuple[dict[str, int], dict[str, int]]:
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for index, step in enumerate(steps):
        for name in _temps(step):
            first.setdefault(name, index)
            last[name] = index
    return first, last


def _temps(step: Launch | CallSite) -> Iterator[str]:
    trees: list[RefTree] = (
        [v.ref for v in step.args] if isinstance(step, Launch) else [*step.args.values(), *step.results]
    )
    while trees:
        tree = trees.pop(0)
        if isinstance(tree, dict):
            trees += tree.values()
        elif tree.kind == "temp":
            yield tree.base
