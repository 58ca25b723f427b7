"""Editing functions: splice new ops in, drop what nobody needs, keep an order in which state is read before it changes.

Functions are not changed in place: values may be shared by an old and a new function, ops that change are copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from heapq import heappop, heappush

from dsv4c.ir.builder import Builder
from dsv4c.ir.core import Function, Module, Op, Value
from dsv4c.ir.dims import Extent
from dsv4c.ir.types import is_linear
from dsv4c.ir.verify import consumes

Requires = tuple[tuple[Extent, Extent], ...]


class Splice:
    """New ops that compute values in place of old ones."""

    def __init__(self, module: Module, function: Function) -> None:
        self._module, self._function = module, function
        self._ops: dict[int, list[Op]] = {}  # by the id of the op they stand before
        self._instead: dict[int, Value] = {}
        self._requires: list[tuple[Extent, Extent]] = list(function.requires)

    def replace(self, at: Op, old: Sequence[Value], build: Callable[[], Sequence[Value]]) -> None:
        """``build`` writes ops before ``at``; its values stand for ``old`` from then on, types being equal."""
        with Builder(self._module, self._function.name) as b, b.scope(at.loc):
            new = build()
        for before, after in zip(old, new, strict=True):
            if before.type != after.type:
                raise TypeError(f"{self._function.name}:{at.loc}: {before.type} would become {after.type}")
            self._instead[id(before)] = after
        self._ops.setdefault(id(at), []).extend(b.ops)
        self._requires += [r for r in b.requires if r not in self._requires]

    def done(self) -> Function:
        """The function with all replacements made, tidied."""
        ops = [op for old in self._function.ops for op in (*self._ops.get(id(old), ()), old)]
        ops = [substituted(op, self._instead) for op in ops]
        results = tuple(resolve(r, self._instead) for r in self._function.results)
        return replace(
            self._function, ops=ordered(live(ops, results)), results=results, requires=tuple(self._requires)
        )


def resolve(value: Value, instead: Mapping[int, Value]) -> Value:
    """What stands for a value, itself perhaps replaced."""
    while id(value) in instead:
        value = instead[id(value)]
    return value


def substituted(op: Op, instead: Mapping[int, Value]) -> Op:
    """The op with replaced operands; the same object when none is."""
    operands = tuple(resolve(o, instead) for o in op.operands)
    same = all(a is b for a, b in zip(operands, op.operands, strict=True))
    return op if same else replace(op, operands=operands)


def live(ops: Sequence[Op], results: Iterable[Value]) -> list[Op]:
    """Ops that a result depends on, in their order."""
    needed = {id(r) for r in results}
    kept: list[Op] = []
    for op in reversed(in_order(ops)):
        if any(id(r) in needed for r in op.results):
            needed.update(id(o) for o in op.operands)
            kept.append(op)
    return kept[::-1]


def in_order(ops: Sequence[Op]) -> list[Op]:
    """Definitions before uses, otherwise as given."""
    return _sorted(ops, lambda op, producers: {producers[id(o)] for o in op.operands if id(o) in producers})


def ordered(ops: Sequence[Op]) -> tuple[Op, ...]:
    """Definitions before uses, and what reads a state before what updates it; otherwise as given."""
    readers: dict[int, list[int]] = {}
    for number, op in enumerate(ops):
        for position, operand in enumerate(op.operands):
            if is_linear(operand.type) and not consumes(op, position):
                readers.setdefault(id(operand), []).append(number)

    def needs(op: Op, producers: Mapping[int, int]) -> set[int]:
        found = {producers[id(o)] for o in op.operands if id(o) in producers}
        for position, operand in enumerate(op.operands):
            if is_linear(operand.type) and consumes(op, position):
                found.update(readers.get(id(operand), ()))
        return found

    return tuple(_sorted(ops, needs))


def _sorted(ops: Sequence[Op], needs: Callable[[Op, Mapping[int, int]], set[int]]) -> list[Op]:
    """Stable topological order: of the ops that are ready, the earliest goes first."""
    producers = {id(r): number for number, op in enumerate(ops) for r in op.results}
    waiting = {number: needs(op, producers) - {number} for number, op in enumerate(ops)}
    users: dict[int, list[int]] = {}
    for number, needed in waiting.items():
        for other in needed:
            users.setdefault(other, []).append(number)
    ready = [number for number, needed in waiting.items() if not needed]
    out: list[Op] = []
    while ready:
        number = heappop(ready)
        out.append(ops[number])
        for user in users.get(number, ()):
            waiting[user].discard(number)
            if not waiting[user]:
                heappush(ready, user)
    if len(out) != len(ops):
        raise ValueError("ops depend on each other in a circle")
    return out
