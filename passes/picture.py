"""What a rewrite looks for: a graph of ops in which some attributes and constants are left open.

A picture is drawn twice, from one function of core ops over two examples of different sizes and attributes. What is
equal in both belongs to the idiom; what is the value of an attribute of the kernel op in both is *captured*; anything
else that differs follows from sizes and is left *free*: the strict comparison afterwards decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from dsv4c.ir.core import Attr, Attrs, Function, Op, Value

FREE = "*"  # in place of the name of a captured attribute
RANKED = ("axis", "batch", "perm", "shape")  # attributes that follow from ranks and sizes: never part of an idiom


@dataclass(frozen=True)
class Picture:
    """``open`` maps (id of an op, attribute) to the attribute of the kernel op it shows, or to FREE; ``name@2`` if it
    shows as element 2 of a tuple. ``tables`` are the attributes of the kernel op that are tuples.
    """

    function: Function
    producers: Mapping[int, tuple[Op, int]]
    open: Mapping[tuple[int, str], str]
    tables: frozenset[str] = frozenset()

    @property
    def roots(self) -> tuple[Value, ...]:
        """The values that the kernel op stands for."""
        return self.function.results

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of its ops."""
        return frozenset(op.name for op in self.function.ops)

    @cached_property
    def size(self) -> int:
        """How many ops it has, constants not counted."""
        return sum(1 for op in self.function.ops if op.operands)


def strict(function: Function) -> Picture:
    """A picture without anything open."""
    producers = {id(r): (op, number) for op in function.ops for number, r in enumerate(op.results)}
    return Picture(function, producers, {})


def draw(first: Function, second: Function, attrs: tuple[Attrs, Attrs]) -> Picture:
    """The picture of two examples; ValueError when they are not one graph."""
    if [op.name for op in first.ops] != [op.name for op in second.ops] or _wires(first) != _wires(second):
        raise ValueError(f"the two examples of {first.name} differ in more than sizes and attributes")
    found: dict[tuple[int, str], str] = {}
    tuples: list[tuple[int, str, tuple[Attr, Attr]]] = []
    for left, right in zip(first.ops, second.ops, strict=True):
        for name in left.attrs:
            a, b = left.attrs[name], right.attrs[name]
            if name in RANKED or a != b:
                found[id(left), name] = _shown((a, b), attrs, set())
                tuples.append((id(left), name, (a, b)))
    for op, name, (a, b) in tuples:  # what shows nowhere else may show as an extent of a shape
        if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b) and found[op, name] == FREE:
            for place, pair in enumerate(zip(a, b, strict=True)):
                known = {shown.partition("@")[0] for shown in found.values()}
                shown = _shown(pair, attrs, known)
                if shown != FREE:
                    found[op, name] = f"{shown}@{place}"
    tables = frozenset(name for name, value in attrs[0].items() if isinstance(value, tuple))
    return Picture(first, strict(first).producers, found, tables)


def _shown(values: tuple[Attr, Attr], attrs: tuple[Attrs, Attrs], known: set[str]) -> str:
    """The attribute that shows in both examples, as it is or as the only element of a table; not one of ``known``."""
    for name in sorted(attrs[0].keys() - known):
        pair = (attrs[0][name], attrs[1][name])
        if pair[0] != pair[1] and values in (pair, ((pair[0],), (pair[1],))):
            return name
    return FREE


def _wires(function: Function) -> list[tuple[int, ...]]:
    numbers: dict[int, int] = {id(p): i for i, p in enumerate(function.params)}
    for op in function.ops:
        for result in op.results:
            numbers[id(result)] = len(numbers)
    used: list[tuple[int, ...]] = [tuple(numbers[id(o)] for o in op.operands) for op in function.ops]
    return [*used, tuple(numbers[id(r)] for r in function.results)]
