"""Integers that a kernel knows only when it runs: sizes, loop counters, numbers read from memory.

Division is of numbers that are not negative by positive ones, so that Python, C++ and the chips agree; the
interpreters check it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import overload

COMPARISONS = frozenset({"<", "<=", "==", "and"})
_PRECEDENCE = {"and": 1, "==": 2, "<": 3, "<=": 3, "+": 4, "-": 4, "*": 5, "//": 5, "%": 5}


@dataclass(frozen=True)
class Scalar:
    """An operation on integers; ``var`` has its name in ``name`` and no arguments."""

    op: str
    args: tuple[Int, ...] = ()
    name: str = ""

    def __add__(self, other: Int) -> Int:
        return add(self, other)

    def __radd__(self, other: int) -> Int:
        return add(other, self)

    def __sub__(self, other: Int) -> Int:
        return sub(self, other)

    def __rsub__(self, other: int) -> Int:
        return sub(other, self)

    def __mul__(self, other: Int) -> Int:
        return mul(self, other)

    def __rmul__(self, other: int) -> Int:
        return mul(other, self)

    def __floordiv__(self, other: Int) -> Int:
        return div(self, other)

    def __rfloordiv__(self, other: int) -> Int:
        return div(other, self)

    def __mod__(self, other: Int) -> Int:
        return rem(self, other)

    def __rmod__(self, other: int) -> Int:
        return rem(other, self)

    def __str__(self) -> str:
        return text(self)


Int = int | Scalar


def var(name: str) -> Scalar:
    """A number known by name: a size of the launch, a loop counter, or something read."""
    return Scalar("var", (), name)


def add(a: Int, b: Int) -> Int:
    """a + b."""
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    if a == 0 or b == 0:
        return b if a == 0 else a
    if isinstance(b, int) and isinstance(a, Scalar) and a.op == "+" and isinstance(a.args[1], int):
        return add(a.args[0], a.args[1] + b)
    if isinstance(a, int):  # one spelling: the constant last
        return Scalar("+", (b, a)) if a > 0 else sub(b, -a)
    return Scalar("+", (a, b))


def sub(a: Int, b: Int) -> Int:
    """a - b."""
    if isinstance(a, int) and isinstance(b, int):
        return a - b
    if a == b:
        return 0
    return a if b == 0 else Scalar("-", (a, b))


def mul(a: Int, b: Int) -> Int:
    """a * b."""
    if isinstance(a, int) and isinstance(b, int):
        return a * b
    if isinstance(a, int):
        a, b = b, a
    return {0: 0, 1: a}[b] if b in (0, 1) else Scalar("*", (a, b))


def div(a: Int, b: Int) -> Int:
    """a // b."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    return a if b == 1 else Scalar("//", (a, b))


def rem(a: Int, b: Int) -> Int:
    """a % b."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    return 0 if b == 1 else Scalar("%", (a, b))


def least(a: Int, b: Int) -> Int:
    """The smaller."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if a == b else Scalar("min", (a, b))


def most(a: Int, b: Int) -> Int:
    """The larger."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return a if a == b else Scalar("max", (a, b))


def ceildiv(a: Int, b: Int) -> Int:
    """a / b, rounded up."""
    return a if b == 1 else div(add(a, sub(b, 1)), b)


@overload
def aligned(a: int, unit: int) -> int: ...
@overload
def aligned(a: Int, unit: int) -> Int: ...
def aligned(a: Int, unit: int) -> Int:
    """a, rounded up to a multiple."""
    return mul(ceildiv(a, unit), unit)


def rest(whole: Int, begin: Int, size: int) -> Int:
    """How much of a tile there is that begins at a multiple of its size; known where tiles divide the whole."""
    if isinstance(whole, int) and whole % size == 0:
        return size
    return least(size, sub(whole, begin))


def less(a: Int, b: Int) -> Int:
    """1 where a < b, else 0."""
    return int(a < b) if isinstance(a, int) and isinstance(b, int) else Scalar("<", (a, b))


def same(a: Int, b: Int) -> Int:
    """1 where a == b, else 0."""
    return int(a == b) if isinstance(a, int) and isinstance(b, int) else 1 if a == b else Scalar("==", (a, b))


def both(a: Int, b: Int) -> Int:
    """1 where neither is 0."""
    if isinstance(a, int):
        return b if a else 0
    if isinstance(b, int):
        return a if b else 0
    return Scalar("and", (a, b))


_RULES: Mapping[str, Callable[[Int, Int], Int]] = {
    "+": add, "-": sub, "*": mul, "//": div, "%": rem, "min": least, "max": most, "<": less, "==": same, "and": both,
}  # fmt: skip


def evaluate(a: Int, env: Mapping[str, int]) -> int:
    """The number, given those of the names."""
    if isinstance(a, int):
        return a
    if a.op == "var":
        return env[a.name]
    left, right = (evaluate(x, env) for x in a.args)
    if a.op in ("//", "%") and (left < 0 or right <= 0):
        raise ArithmeticError(f"{text(a)}: {left} {a.op} {right}")
    if a.op == "and":
        return int(bool(left) and bool(right))
    return int(_NUMBERS[a.op](left, right))


_NUMBERS: Mapping[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "//": lambda a, b: a // b,
    "%": lambda a, b: a % b, "min": min, "max": max, "<": lambda a, b: a < b, "==": lambda a, b: a == b,
}  # fmt: skip


def substitute(a: Int, values: Mapping[str, Int]) -> Int:
    """The scalar with names replaced."""
    if isinstance(a, int):
        return a
    if a.op == "var":
        return values.get(a.name, a)
    left, right = (substitute(x, values) for x in a.args)
    return _RULES[a.op](left, right)


def names(a: Int) -> frozenset[str]:
    """The names a scalar depends on."""
    if isinstance(a, int):
        return frozenset()
    return frozenset({a.name}) if a.op == "var" else frozenset().union(*(names(x) for x in a.args))


Range = tuple[int, int]  # smallest and largest value


def bounds(a: Int, known: Mapping[str, Range]) -> Range | None:
    """The values a scalar may take where its names have known ranges; None where one has not."""
    if isinstance(a, int):
        return (a, a)
    if a.op == "var":
        return known.get(a.name)
    left, right = (bounds(x, known) for x in a.args)
    if a.op == "%" and right is not None and right[0] == right[1]:
        return (0, right[0] - 1)
    if a.op == "min" and (left is None or right is None):
        return None
    if left is None or right is None or a.op in COMPARISONS:
        return (0, 1) if a.op in COMPARISONS else None
    if a.op == "-":
        return (left[0] - right[1], left[1] - right[0])
    if a.op == "%":
        return (0, right[1] - 1)
    rule = _NUMBERS[a.op]
    corners = [rule(x, y) for x in left for y in right if a.op != "//" or y > 0]
    return (min(corners), max(corners))


def text(a: Int, outer: int = 0, signs: Mapping[str, str] = {}) -> str:
    """As one reads it; ``signs`` replaces operators, for another language."""
    if isinstance(a, int):
        return str(a)
    if a.op == "var":
        return a.name
    if a.op in ("min", "max"):
        inner = ", ".join(text(x, 0, signs) for x in a.args)
        return f"{signs.get(a.op, a.op)}({inner})"
    rank = _PRECEDENCE[a.op]
    left, right = text(a.args[0], rank, signs), text(a.args[1], rank + 1, signs)
    out = f"{left} {signs.get(a.op, a.op)} {right}"
    return f"({out})" if rank < outer else out


Linear = tuple[int, dict[Scalar, int]]  # a constant, and how often each atom counts


def linear(a: Int) -> Linear:
    """A scalar as a sum; what is no sum, difference or multiple is an atom."""
    if isinstance(a, int):
        return a, {}
    if a.op in ("+", "-"):
        (c, x), (d, y) = (linear(b) for b in a.args)
        sign = 1 if a.op == "+" else -1
        atoms = dict(x)
        for atom, n in y.items():
            atoms[atom] = atoms.get(atom, 0) + sign * n
        return c + sign * d, {atom: n for atom, n in atoms.items() if n}
    if a.op == "*" and isinstance(a.args[1], int):
        c, x = linear(a.args[0])
        return c * a.args[1], {atom: n * a.args[1] for atom, n in x.items()}
    return 0, {a: 1}
