"""Sinkhorn's normalisation with any number of steps: a chain that no fixed picture shows.

The chain is walked upwards once, which gives the number of steps; then the place is proven like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dsv4c.ir.core import Op, Value
from dsv4c.ir.registry import lookup

from .base import Log
from .graph import Graph, place
from .overlap import Found, settled
from .rules import Rule, prove


class SinkhornRule:
    """softmax(x) + eps, then division by the sums of columns, rows, columns ... -> sinkhorn(x, iterations, eps)"""

    name = "sinkhorn"

    def find(self, graph: Graph, tier: tuple[Rule, ...], log: Log) -> Iterator[Found]:
        """The longest chains: steps of a chain that was walked do not begin another."""
        walked: set[int] = set()
        places: list[Found] = []
        for at in reversed(graph.by_name.get("div", [])):
            if id(at) in walked:
                continue
            steps, base = _steps(graph, at, walked)
            logits = _logits(graph, base)
            if len(steps) % 2 == 0 or logits is None:
                if len(steps) > 1:
                    log.refuse(self.name, f"{graph.function.name}:{at.loc}", _why(graph, len(steps), base, logits))
                continue
            text = lookup(self.name).decompose
            assert text is not None
            attrs = {"iterations": (len(steps) + 1) // 2, "eps": steps[-1]}
            found = prove(self.name, text, graph, tier, at, [logits], attrs)
            if isinstance(found, str):
                log.refuse(self.name, f"{graph.function.name}:{at.loc}", found)
            else:
                places.append(found)
        yield from settled(graph, self.name, places, log)


def _why(graph: Graph, steps: int, base: Value, logits: Value | None) -> str:
    if logits is not None:
        return f"expected an odd number of divisions by sums after the softmax, found {steps}"
    made = graph.producer(base)
    found = place(made[0]) if made else f"the parameter {base.name}"
    return f"expected softmax + eps before {steps} divisions by sums, found {found}"


def _steps(graph: Graph, at: Op, walked: set[int]) -> tuple[list[float], Value]:
    """The eps of each division by sums on the way up, last one first, and the value that the first one divides."""
    steps: list[float] = []
    value, op = at.results[0], at
    while True:
        eps = _eps(graph, op)
        if eps is None:
            return steps, value
        walked.add(id(op))
        steps.append(eps)
        value = op.operands[0]
        made = graph.producer(value)
        if made is None:
            return steps, value
        op = made[0]


def _eps(graph: Graph, op: Op) -> float | None:
    """The eps of x / (sum(x) + eps), if ``op`` is such a division."""
    added = _made(graph, op.operands[1], "add") if op.name == "div" else None
    if added is None or len(added.operands) != 2:
        return None
    total, eps = _made(graph, added.operands[0], "sum"), _made(graph, added.operands[1], "const")
    if total is None or eps is None or total.operands[0] is not op.operands[0] or not total.attrs["keep"]:
        return None
    data: Any = eps.attrs["data"]
    return float(data[0]) if len(data) == 1 else None


def _logits(graph: Graph, value: Value) -> Value | None:
    """x, if ``value`` is softmax(x) + eps."""
    added = _made(graph, value, "add")
    softmax = _made(graph, added.operands[0], "div") if added else None
    powers = _made(graph, softmax.operands[0], "exp") if softmax else None
    shifted = _made(graph, powers.operands[0], "sub") if powers else None
    return shifted.operands[0] if shifted else None


def _made(graph: Graph, value: Value, name: str) -> Op | None:
    made = graph.producer(value)
    return made[0] if made is not None and made[0].name == name else None
