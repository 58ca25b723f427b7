"""Places of one rule that may be rewritten together, and why the others may not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from dsv4c.ir.core import Op, Value

from .base import Log
from .graph import Graph, cheap, light, place


@dataclass(frozen=True)
class Found:
    """A place: ``roots`` are replaced by what ``build`` writes before ``at``; ``inside`` are the ops that it is."""

    at: Op
    roots: tuple[Value, ...]
    inside: tuple[Op, ...]
    build: Callable[[], Sequence[Value]]

    def interior(self) -> Iterator[Op]:
        """The ops that are not seen from outside, because their results are not roots."""
        ends = {id(r) for r in self.roots}
        return (op for op in self.inside if not any(id(r) in ends for r in op.results))


def settled(graph: Graph, rule: str, found: Sequence[Found], log: Log) -> list[Found]:
    """Places whose interior is needed by nothing outside, those given first going first.

    Two places may share what costs little: two norms of one value by two weights are two kernels. A place that is
    wholly inside another one is not rewritten, unless the other one is refused.
    """
    left = list(found)
    while True:
        chosen, hidden = [], set[int]()
        for one in left:
            if id(one.at) not in hidden:
                chosen.append(one)
                hidden.update(id(op) for op in one.interior())
        together = {id(op) for one in chosen for op in one.inside}
        refused = {id(one): why for one in chosen if (why := _needed(graph, one, together))}
        if not refused:
            return chosen
        for one in chosen:
            if id(one) in refused:
                log.refuse(rule, f"{graph.function.name}:{one.at.loc}", refused[id(one)])
        left = [one for one in left if id(one) not in refused]


def _needed(graph: Graph, one: Found, together: set[int]) -> str:
    """Why a place may not be rewritten: something inside it is needed outside; empty if nothing is."""
    mine = {id(op) for op in one.inside}
    ends = {id(r) for r in one.roots}
    for op in one.inside:
        if not cheap(op):
            for value, why in graph.outside(op, together if light(op) else mine):
                if id(value) not in ends:
                    return f"{place(op)} inside it is needed outside: {why}"
    return ""
