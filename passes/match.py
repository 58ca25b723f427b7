"""Matching a picture in a function: DAG to DAG, node to node, with a memo, so that the work is linear in both.

First names alone decide, with a memo of pairs (``alike``); then nodes are bound one to one, trying both orders of the
operands of a commutative op. Constants and other ops without operands are compared, not bound: they may be shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsv4c.ir.core import Op, Value
from dsv4c.ir.types import TensorType

from .canonicalize import COMMUTATIVE
from .graph import Graph, cheap
from .picture import FREE, Picture

Orders = Sequence[Sequence[Value]]


@dataclass
class Binding:
    """What a picture's nodes are in the function: operands by parameter, captured attributes, ops by id."""

    values: dict[int, Value] = field(default_factory=dict)
    ops: dict[int, Op] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)


class Matcher:
    """One picture in one function."""

    def __init__(self, picture: Picture, graph: Graph) -> None:
        self._picture, self._graph = picture, graph
        self._alike: dict[tuple[int, int], bool] = {}
        self._bound = Binding()
        self._trail: list[tuple[dict[Any, Any], Any]] = []

    def match(self, at: Op, given: Sequence[Value] | None = None) -> Binding | None:
        """Bind the picture so that the first root is made by ``at``; with ``given`` its parameters are these."""
        self._bound, self._trail = Binding(), []
        for param, value in zip(self._picture.function.params, given or (), strict=False):
            self._bound.values[id(param)] = value
        first, *others = self._picture.roots
        _, number = self._picture.producers[id(first)]
        if not self._pair(first, at.results[number]) or not all(map(self._climb, others)):
            return None
        return self._bound

    def candidates(self) -> list[Op]:
        """The ops that could make the first root, by name."""
        op, _ = self._picture.producers[id(self._picture.roots[0])]
        return self._graph.by_name.get(op.name, [])

    def refusal(self, bound: Binding, roots: Sequence[Value]) -> str:
        """Why a match may not be rewritten: something inside it is needed outside; empty if nothing is."""
        inside = {id(op) for op in bound.ops.values()}
        free = {id(r) for r in roots}
        for op in bound.ops.values():
            for value, why in self._graph.outside(op, inside):
                if id(value) not in free and not cheap(op):
                    return f"{op.name} inside it is needed outside: {why}"
        return ""

    def near_miss(self, at: Op) -> tuple[int, str]:
        """How many ops agree and where picture and function part, if they agree on most of it; else (0, "")."""
        first = self._picture.roots[0]
        _, number = self._picture.producers[id(first)]
        agreed, why = self._compare(first, at.results[number], set())
        return (agreed, why) if 2 * agreed >= self._picture.size() else (0, "")

    def _compare(self, p: Value, s: Value, seen: set[int]) -> tuple[int, str]:
        if self._alike_pair(p, s) or id(p) in seen or id(p) not in self._picture.producers:
            return self._below(p, seen), ""
        seen.add(id(p))
        (mine, _), theirs = self._picture.producers[id(p)], self._graph.producer(s)
        if theirs is None or theirs[0].name != mine.name or not self._same_attrs(mine, theirs[0]):
            return 0, f"expected {_said(mine)}, found {_said(theirs[0]) if theirs else 'a parameter'}"
        best = max(
            ([self._compare(a, b, set(seen)) for a, b in zip(order, theirs[0].operands, strict=False)]
             for order in _orders(mine)),
            key=lambda parts: sum(n for n, _ in parts),
        )
        return 1 + sum(n for n, _ in best), next((why for _, why in best if why), "operands that do not fit each other")

    def _below(self, p: Value, seen: set[int]) -> int:
        """Ops of the picture under a value, each counted once."""
        made = self._picture.producers.get(id(p))
        if made is None or id(p) in seen:
            return 0
        seen.add(id(p))
        return (1 if made[0].operands else 0) + sum(self._below(o, seen) for o in made[0].operands)

    def _alike_pair(self, p: Value, s: Value) -> bool:
        """Whether names, numbers of operands and closed attributes agree all the way down."""
        key = (id(p), id(s))
        if key not in self._alike:
            self._alike[key] = False  # no cycles in a graph: only a placeholder
            self._alike[key] = self._agrees(p, s)
        return self._alike[key]

    def _agrees(self, p: Value, s: Value) -> bool:
        made = self._picture.producers.get(id(p))
        if made is None:
            return isinstance(s.type, TensorType) and p.dtype == s.dtype
        (mine, number), theirs = made, self._graph.producer(s)
        if theirs is None or theirs[1] != number or theirs[0].name != mine.name:
            return False
        op = theirs[0]
        if len(op.operands) != len(mine.operands) or not self._same_attrs(mine, op):
            return False
        return any(all(map(self._alike_pair, order, op.operands)) for order in _orders(mine))

    def _same_attrs(self, mine: Op, theirs: Op) -> bool:
        return all(
            (id(mine), name) in self._picture.open or theirs.attrs.get(name) == value
            for name, value in mine.attrs.items()
        )

    def _pair(self, p: Value, s: Value) -> bool:
        """Bind a value of the picture to one of the function, and everything below."""
        if not self._alike_pair(p, s):
            return False
        made = self._picture.producers.get(id(p))
        if made is None:
            return self._set(self._bound.values, id(p), s)
        (mine, _), theirs = made, self._graph.producer(s)
        assert theirs is not None
        if not self._capture(mine, theirs[0]):
            return False
        if not mine.operands:
            return True
        if id(mine) in self._bound.ops:
            return self._bound.ops[id(mine)] is theirs[0]
        self._set(self._bound.ops, id(mine), theirs[0])
        return any(self._attempt(order, theirs[0].operands) for order in _orders(mine))

    def _attempt(self, order: Sequence[Value], operands: Sequence[Value]) -> bool:
        mark = len(self._trail)
        if all(map(self._pair, order, operands)):
            return True
        while len(self._trail) > mark:
            table, key = self._trail.pop()
            del table[key]
        return False

    def _set(self, table: dict[Any, Any], key: Any, value: Any) -> bool:
        if key in table:
            known = table[key]
            return bool(known is value or (isinstance(key, str) and known == value))
        table[key] = value
        self._trail.append((table, key))
        return True

    def _capture(self, mine: Op, theirs: Op) -> bool:
        for name in mine.attrs:
            shown = self._picture.open.get((id(mine), name), FREE)
            if shown == FREE:
                continue
            value: Any = theirs.attrs[name]
            shown, _, place = shown.partition("@")
            if isinstance(value, tuple) and shown not in self._picture.tables:
                if len(value) <= int(place or 0) or (not place and len(value) != 1):
                    return False
                value = value[int(place or 0)]
            if not self._set(self._bound.attrs, shown, value):
                return False
        return True

    def _climb(self, root: Value) -> bool:
        """Bind another root: from a value that is bound already, along users, up to it."""
        op, number = self._picture.producers[id(root)]
        if id(op) in self._bound.ops:
            return self._pair(root, self._bound.ops[id(op)].results[number])
        return any(self._attempt((root,), (s,)) for s in self._above(root))

    def _above(self, root: Value) -> Iterator[Value]:
        """Values of the function that stand where ``root`` does, seen from what is bound below it."""
        op, number = self._picture.producers[id(root)]
        for operand in op.operands:
            made = self._picture.producers.get(id(operand))
            if made is None:
                below = [self._bound.values[id(operand)]] if id(operand) in self._bound.values else []
            elif id(made[0]) in self._bound.ops:
                below = [self._bound.ops[id(made[0])].results[made[1]]]
            else:
                below = list(self._above(operand)) if made[0].operands else []
            for value in below:
                for user in self._graph.users(value):
                    if user.name == op.name and len(user.results) > number:
                        yield user.results[number]


def _orders(op: Op) -> Orders:
    if op.name in COMMUTATIVE and len(op.operands) == 2:
        return (op.operands, op.operands[::-1])
    return (op.operands,)


def _said(op: Op) -> str:
    if op.name == "const":
        return f"the constant {op.attrs['data']}"
    return op.name
