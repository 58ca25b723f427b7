"""What is known of an integer before it is: between which two numbers it lies, and of what it is a multiple.

This is the verifier's own arithmetic; what ``sync`` and ``memory`` derive from is not used here.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd, inf

from ..scalar import Int

Interval = tuple[float, float]  # whole numbers, or infinite
ANY: Interval = (-inf, inf)
NATURAL: Interval = (0, inf)


def interval(a: Int, known: Mapping[str, Interval]) -> Interval:
    """The smallest and the largest value; names that are not known may be anything."""
    if isinstance(a, int):
        return a, a
    if a.op == "var":
        return known.get(a.name, ANY)
    left, right = (interval(x, known) for x in a.args)
    match a.op:
        case "+":
            return left[0] + right[0], left[1] + right[1]
        case "-":
            return left[0] - right[1], left[1] - right[0]
        case "*":
            corners = [_product(x, y) for x in left for y in right]
            return min(corners), max(corners)
        case "//":
            return _quotient(left, right)
        case "%":
            return left if left[0] >= 0 and left[1] < right[0] else (0, max(right[1] - 1, 0))
        case "min":
            return min(left[0], right[0]), min(left[1], right[1])
        case "max":
            return max(left[0], right[0]), max(left[1], right[1])
        case "<":
            return (1, 1) if left[1] < right[0] else (0, 0) if left[0] >= right[1] else (0, 1)
    return 0, 1


def _product(x: float, y: float) -> float:
    return 0 if x == 0 or y == 0 else x * y


def _quotient(left: Interval, right: Interval) -> Interval:
    """Divisors are positive."""
    low, high = max(right[0], 1), max(right[1], 1)
    ends = [_floor(x, y) for x in left for y in (low, high)]
    return min(ends), max(ends)


def _floor(x: float, y: float) -> float:
    if abs(x) == inf:
        return x
    return (0 if x >= 0 else -1) if y == inf else x // y


def factor(a: Int) -> int:
    """A number that the integer is always a multiple of; 0 for 0."""
    if isinstance(a, int):
        return abs(a)
    if a.op == "*":
        return factor(a.args[0]) * factor(a.args[1])
    if a.op in ("+", "-", "min", "max", "%"):
        return gcd(factor(a.args[0]), factor(a.args[1]))
    if a.op == "//" and isinstance(a.args[1], int) and factor(a.args[0]) % a.args[1] == 0:
        return factor(a.args[0]) // a.args[1]
    return 1
