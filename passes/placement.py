"""Which rank holds which experts: evenly, or so that the expected load is balanced, hot experts more than once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isfinite


@dataclass(frozen=True)
class Placement:
    """``held[rank]`` has one entry a slot: the expert whose weights lie there, -1 for none. Ranks have equally many."""

    held: tuple[tuple[int, ...], ...]

    @property
    def ranks(self) -> int:
        """How many ranks."""
        return len(self.held)

    @property
    def slots(self) -> int:
        """Slots of one rank."""
        return len(self.held[0])

    def homes(self, experts: int) -> tuple[tuple[int, ...], ...]:
        """The slots of each expert, counted over all ranks, ascending."""
        flat = [expert for rank in self.held for expert in rank]
        return tuple(tuple(s for s, held in enumerate(flat) if held == expert) for expert in range(experts))

    def expected(self, loads: tuple[float, ...]) -> tuple[float, ...]:
        """The load of each rank when an expert's is shared equally by its copies."""
        copies = [max(len(h), 1) for h in self.homes(len(loads))]
        return tuple(sum(loads[e] / copies[e] for e in rank if e >= 0) for rank in self.held)


def place(experts: int, ranks: int, loads: tuple[float, ...] = (), copies: int = 0) -> Placement:
    """A placement; ValueError with what would work if there is none.

    Args:
        experts: how many there are.
        ranks: how many ranks. Where they do not divide the slots needed, some ranks have an empty slot.
        loads: the expected load of each expert in any unit; none for equal loads.
        copies: how many copies to add beyond the first of each expert. Each goes to the expert with the largest load a
            copy at that time, ties to the lower number, as in DeepSeek's EPLB.

    Without loads and copies neighbours stay together. Otherwise the heaviest copy is placed first, each on the rank
    with the least load so far that has a free slot, and if possible not the same expert.
    """
    _check(experts, ranks, loads, copies)
    slots = -(-(experts + copies) // ranks)
    if not loads and not copies:
        starts = [-(-experts * rank // ranks) for rank in range(ranks + 1)]
        return _padded([list(range(*pair)) for pair in pairwise(starts)], slots)
    weights = loads or (1.0,) * experts
    count = [1] * experts
    for _ in range(copies):
        free = [e for e in range(experts) if count[e] < ranks]
        count[max(free, key=lambda e: (weights[e] / count[e], -e))] += 1
    queue = sorted((-weights[e] / count[e], e) for e in range(experts) for _ in range(count[e]))
    held: list[list[int]] = [[] for _ in range(ranks)]
    load = [0.0] * ranks
    for negative, expert in queue:
        free = [r for r in range(ranks) if len(held[r]) < slots]
        best = min(free, key=lambda r: (expert in held[r], load[r], len(held[r]), r))
        held[best].append(expert)
        load[best] -= negative
    return _padded([sorted(rank) for rank in held], slots)


def _padded(held: list[list[int]], slots: int) -> Placement:
    return Placement(tuple((*rank, *[-1] * (slots - len(rank))) for rank in held))


def _check(experts: int, ranks: int, loads: tuple[float, ...], copies: int) -> None:
    if ranks > experts + copies:
        raise ValueError(
            f"{ranks} ranks, but {experts} experts with {copies} copies: some ranks would hold none; "
            f"use ranks <= {experts + copies}, or copies >= {ranks - experts}"
        )
    if copies > experts * (ranks - 1):
        raise ValueError(f"{copies} copies; {experts} experts on {ranks} ranks have room for {experts * (ranks - 1)}")
    if loads and len(loads) != experts:
        raise ValueError(f"{len(loads)} loads for {experts} experts; give one for each, in their order")
    if not all(isfinite(load) and load >= 0 for load in loads):
        raise ValueError("a load is negative or no number; loads are counts of tokens, in any unit")
