"""Matching a picture in a function: DAG to DAG, node to node, with a memo, so that the work is linear in both.

First names alone decide, with a memo of pairs (``alike``); then nodes are bound one to one, trying both orders of the
operands of a commutative op. Constants and other ops without operands are compared, not bound: they may be shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsv4c.ir.core import Op, Value
from dsv4c.ir.types import DTYPES, TensorType

from .canonicalize import COMMUTATIVE
from .deep import Deep, deep
from .graph import Graph, place
from .picture import FREE, Picture

Orders = Sequence[Sequence[Value]]


@dataclass
class Binding:
    """What a picture's nodes are in the function: operands by parameter, captured attributes, ops by id."""

    values: dict[int, Value] = field(default_factory=dict)
    ops: dict[int, Op] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)


class Matcher:
    """One picture in one function. ``visits`` counts the pairs of ops whose operands were compared."""

    def __init__(self, picture: Picture, graph: Graph) -> None:
        self.picture, self.graph, self.visits = picture, graph, 0
        self.clash = ""  # the first value that stood for two different ones in the last match
        self.choices: dict[int, None] = {}  # ops of the picture that could be bound with operands in either order
        self._flipped: frozenset[int] = frozenset()
        self.bound = Binding()
        self._alike: dict[tuple[int, int], bool] = {}
        self._trail: list[tuple[dict[Any, Any], Any]] = []

    def match(
        self, at: Op, given: Sequence[Value] | None = None, flipped: frozenset[int] = frozenset()
    ) -> Binding | None:
        """Bind the picture so that the first root is made by ``at``; with ``given`` its parameters are these.

        Ops that are ``flipped``, by id, are tried the other way round first.
        """
        self.bound, self._trail, self.clash = Binding(), [], ""
        self._flipped, self.choices = flipped, {}
        for param, value in zip(self.picture.function.params, given or (), strict=False):
            self.bound.values[id(param)] = value
        first, *others = self.picture.roots
        _, number = self.picture.producers[id(first)]
        if not self.alike(first, at.results[number]):
            return None
        if not deep(self._bind(first, at.results[number])) or not all(map(self._climb, others)):
            return None
        return self.bound

    def candidates(self) -> list[Op]:
        """The ops that could make the first root, by name."""
        op, _ = self.picture.producers[id(self.picture.roots[0])]
        return self.graph.by_name.get(op.name, [])

    def alike(self, p: Value, s: Value) -> bool:
        """Whether names, numbers of operands and closed attributes agree all the way down."""
        known = self._quickly(p, s)
        return deep(self._agrees(p, s)) if known is None else known

    def same_head(self, p: Value, s: Value) -> bool:
        """Whether the ops that make two values agree, whatever their operands are."""
        made, theirs = self.picture.producers.get(id(p)), self.graph.producer(s)
        if made is None:
            return isinstance(s.type, TensorType) and p.dtype == s.dtype
        mine, number = made
        if theirs is None or theirs[1] != number or theirs[0].name != mine.name:
            return False
        return len(theirs[0].operands) == len(mine.operands) and not self.other_attr(mine, theirs[0])

    def other_attr(self, mine: Op, theirs: Op) -> str:
        """A closed attribute that differs between two ops of one name; empty if none does."""
        for name, value in mine.attrs.items():
            if (id(mine), name) in self.picture.open or theirs.attrs.get(name) == value:
                continue
            if name != "data" or _numbers(mine) != _numbers(theirs):
                return name
        return ""

    def _quickly(self, p: Value, s: Value) -> bool | None:
        """What is known of a pair without a look at operands; None if that does not decide."""
        key = (id(p), id(s))
        if key not in self._alike:
            made = self.picture.producers.get(id(p))
            same = self.same_head(p, s)
            if same and made is not None and made[0].operands:
                return None
            self._alike[key] = same
        return self._alike[key]

    def _agrees(self, p: Value, s: Value) -> Deep:
        """Whether operands agree, in some order, of two ops that agree themselves."""
        self.visits += 1
        theirs = self.graph.producer(s)
        assert theirs is not None
        mine, _ = self.picture.producers[id(p)]
        out = False
        for order in orders(mine):
            for a, b in zip(order, theirs[0].operands, strict=True):
                known = self._quickly(a, b)
                if not ((yield self._agrees(a, b)) if known is None else known):
                    break
            else:
                out = True
                break
        self._alike[id(p), id(s)] = out
        return out

    def _bind(self, p: Value, s: Value) -> Deep:
        """Bind a value of the picture to one of the function that it is alike, and everything below."""
        made = self.picture.producers.get(id(p))
        if made is None:
            return self._set(self.bound.values, id(p), s)
        (mine, _), theirs = made, self.graph.producer(s)
        assert theirs is not None
        if not self._capture(mine, theirs[0]):
            return False
        if not mine.operands:
            return True
        if id(mine) in self.bound.ops:
            return self._set(self.bound.ops, id(mine), theirs[0])
        self._set(self.bound.ops, id(mine), theirs[0])
        ways = [o for o in orders(mine) if all(map(self.alike, o, theirs[0].operands))]
        if len(ways) > 1:
            self.choices[id(mine)] = None
        for order in ways[::-1] if id(mine) in self._flipped else ways:
            mark = len(self._trail)
            for a, b in zip(order, theirs[0].operands, strict=True):
                if not (yield self._bind(a, b)):
                    break
            else:
                return True
            self._undo(mark)
        return False

    def _undo(self, mark: int) -> None:
        while len(self._trail) > mark:
            table, key = self._trail.pop()
            del table[key]

    def _set(self, table: dict[Any, Any], key: Any, value: Any) -> bool:
        if key not in table:
            table[key] = value
            self._trail.append((table, key))
            return True
        known = table[key]
        if known is value or (isinstance(key, str) and known == value):
            return True
        self.clash = self.clash or f"{_said(self.graph, known)} in one place is {_said(self.graph, value)} in another"
        return False

    def _capture(self, mine: Op, theirs: Op) -> bool:
        for name in mine.attrs:
            shown = self.picture.open.get((id(mine), name), FREE)
            if shown == FREE:
                continue
            value: Any = theirs.attrs[name]
            shown, _, part = shown.partition("@")
            if isinstance(value, tuple) and shown not in self.picture.tables:
                if len(value) <= int(part or 0) or (not part and len(value) != 1):
                    return False
                value = value[int(part or 0)]
            if not self._set(self.bound.attrs, shown, value):
                return False
        return True

    def _climb(self, root: Value) -> bool:
        """Bind another root: from a value that is bound already, along users, up to it."""
        if id(self.picture.producers[id(root)][0]) in self.bound.ops:
            return True
        for value in self._above(root):
            mark = len(self._trail)
            if self.alike(root, value) and deep(self._bind(root, value)):
                return True
            self._undo(mark)
        return False

    def _above(self, root: Value) -> Iterator[Value]:
        """Values of the function that stand where ``root`` does, seen from what is bound below it."""
        op, number = self.picture.producers[id(root)]
        known = [value for operand in op.operands if (value := self.standing(operand)) is not None]
        if known:  # every candidate uses each of these: the one with the fewest users will do
            below = [min(known, key=lambda value: len(self.graph.users(value)))]
        else:
            computed = [o for o in op.operands if id(o) in self.picture.producers]
            below = next(filter(None, (list(self._above(o)) for o in computed)), [])
        for value in below:
            for user in self.graph.users(value):
                if user.name == op.name and len(user.results) > number:
                    yield user.results[number]

    def standing(self, p: Value) -> Value | None:
        """The value of the function that is bound to a value of the picture."""
        made = self.picture.producers.get(id(p))
        if made is None:
            return self.bound.values.get(id(p))
        op = self.bound.ops.get(id(made[0]))
        return op.results[made[1]] if op is not None else None


def orders(op: Op) -> Orders:
    """The orders in which the operands of an op may stand."""
    if op.name in COMMUTATIVE and len(op.operands) == 2:
        return (op.operands, op.operands[::-1])
    return (op.operands,)


def _numbers(const: Op) -> bytes:
    """The numbers of a constant as its dtype holds them: 0.1 in f32 is what an exporter wrote as 0.10000000149."""
    data: Any = const.attrs["data"]
    return np.array(data, np.float64).astype(DTYPES[str(const.attrs["dtype"])]).tobytes()


def _said(graph: Graph, what: Any) -> str:
    if isinstance(what, Value):
        made = graph.producer(what)
        return place(made[0]) if made else f"the parameter {what.name}"
    return place(what) if isinstance(what, Op) else str(what)
