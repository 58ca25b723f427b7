"""Dimensions: integers, or polynomials over named symbols with floor division by constants.

Every expression has one normal form, so that ``a == b`` is a proof of equality and never a guess. ``x % c`` is
normalised to ``x - c * (x // c)``. A result without symbols is a plain ``int``.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from math import gcd


@dataclass(frozen=True)
class FloorDiv:
    """``numerator // divisor`` that could not be simplified further; ``divisor`` is at least 2."""

    numerator: Dim
    divisor: int

    def __str__(self) -> str:
        return f"({self.numerator}) // {self.divisor}" if len(self.numerator.terms) > 1 else (
            f"{self.numerator} // {self.divisor}"
        )


Atom = str | FloorDiv
Monomial = tuple[Atom, ...]


def _key(monomial: Monomial) -> tuple[int, tuple[str, ...]]:
    return (-len(monomial), tuple(str(atom) for atom in monomial))


@dataclass(frozen=True)
class Dim:
    """A polynomial: ``terms`` are (monomial, coefficient) pairs in a fixed order, none with coefficient 0."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: Extent) -> Extent:
        return _sum(_terms(self), _terms(other), 1)

    def __radd__(self, other: int) -> Extent:
        return self + other

    def __sub__(self, other: Extent) -> Extent:
        return _sum(_terms(self), _terms(other), -1)

    def __rsub__(self, other: int) -> Extent:
        return _sum(_terms(other), _terms(self), -1)

    def __neg__(self) -> Extent:
        return self * -1

    def __mul__(self, other: Extent) -> Extent:
        out: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in _terms(other).items():
                key = tuple(sorted(left + right, key=str))
                out[key] = out.get(key, 0) + a * b
        return _dim(out)

    def __rmul__(self, other: int) -> Extent:
        return self * other

    def __floordiv__(self, divisor: int) -> Extent:
        return _floordiv(self, divisor)

    def __mod__(self, divisor: int) -> Extent:
        return self - divisor * (self // divisor)

    def __str__(self) -> str:
        text = ""
        for monomial, coefficient in self.terms:
            sign = "-" if coefficient < 0 else "+"
            factor = _factor(monomial, abs(coefficient))
            if text:
                text += f" {sign} {factor}"
            elif coefficient > 0:
                text = factor
            else:  # -S // 2 would read as (-S) // 2
                text = f"-({factor})" if coefficient == -1 and isinstance(monomial[0], FloorDiv) else f"-{factor}"
        return text

    __repr__ = __str__


Extent = int | Dim
Shape = tuple[Extent, ...]


def symbol(name: str) -> Dim:
    """A named dimension, unknown until a call binds it; never negative."""
    return Dim((((name,), 1),))


def symbols(extent: Extent) -> tuple[str, ...]:
    """The names that occur in ``extent``, sorted."""
    return tuple(sorted(_symbols(extent)))


def _symbols(extent: Extent) -> set[str]:
    if isinstance(extent, int):
        return set()
    atoms = {atom for monomial, _ in extent.terms for atom in monomial}
    return {a for a in atoms if isinstance(a, str)}.union(
        *(_symbols(a.numerator) for a in atoms if isinstance(a, FloorDiv))
    )


def substitute(extent: Extent, binding: Mapping[str, Extent]) -> Extent:
    """``extent`` with symbols replaced; symbols that ``binding`` lacks stay."""
    if isinstance(extent, int):
        return extent
    return _map_atoms(extent, lambda name: binding.get(name, symbol(name)), lambda n, d: n // d)


def evaluate(extent: Extent, binding: Mapping[str, int]) -> int:
    """The value of ``extent``; raises KeyError for a symbol that ``binding`` lacks."""
    if isinstance(extent, int):
        return extent
    value = _map_atoms(extent, lambda name: binding[name], lambda n, d: n // d)
    assert isinstance(value, int)
    return value


def product(extents: Shape) -> Extent:
    """The product of all extents, 1 for none."""
    one: Extent = 1
    return reduce(lambda a, b: a * b, extents, one)


def degree(extent: Extent, names: frozenset[str]) -> int:
    """The polynomial degree in ``names``; a floor division counts as its numerator."""
    if isinstance(extent, int):
        return 0

    def of(atom: Atom) -> int:
        return degree(atom.numerator, names) if isinstance(atom, FloorDiv) else int(atom in names)

    return max(sum(of(atom) for atom in monomial) for monomial, _ in extent.terms)


def _map_atoms(dim: Dim, leaf: Callable[[str], Extent], divide: Callable[[Extent, int], Extent]) -> Extent:
    total: Extent = 0
    for monomial, coefficient in dim.terms:
        term: Extent = coefficient
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                term = term * divide(_map_atoms(atom.numerator, leaf, divide), atom.divisor)
            else:
                term = term * leaf(atom)
        total = total + term
    return total


def _terms(extent: Extent) -> dict[Monomial, int]:
    if isinstance(extent, int):
        return {(): extent} if extent else {}
    return dict(extent.terms)


def _dim(terms: Mapping[Monomial, int]) -> Extent:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    return Dim(tuple(sorted(kept.items(), key=lambda term: _key(term[0]))))


def _sum(left: Mapping[Monomial, int], right: Mapping[Monomial, int], sign: int) -> Extent:
    out = dict(left)
    for monomial, coefficient in right.items():
        out[monomial] = out.get(monomial, 0) + sign * coefficient
    return _dim(out)


def _floordiv(dim: Dim, divisor: int) -> Extent:
    if divisor < 1:
        raise ValueError(f"cannot divide {dim} by {divisor}; divisors are positive integers")
    if divisor == 1:
        return dim
    # floor((c q + r) / c) = q + floor(r / c) for integers: whole multiples leave the division.
    whole = {m: c // divisor for m, c in dim.terms}
    rest = _dim({m: c - divisor * whole[m] for m, c in dim.terms})
    if isinstance(rest, int):
        return _dim(whole) + rest // divisor
    # floor((g a + b) / (g d)) = floor((a + b // g) / d) when g divides all but the constant.
    common = gcd(divisor, *(c for m, c in rest.terms if m))
    reduced = _dim({m: c // common for m, c in rest.terms})
    if divisor == common:
        return _dim(whole) + reduced
    assert isinstance(reduced, Dim)
    return _dim(whole) + _flatten(reduced, divisor // common)


def _flatten(dim: Dim, divisor: int) -> Extent:
    # (x // a) // b = x // (a b)
    if len(dim.terms) == 1:
        ((monomial, coefficient),) = dim.terms
        if coefficient == 1 and len(monomial) == 1 and isinstance(monomial[0], FloorDiv):
            inner = monomial[0]
            return inner.numerator // (inner.divisor * divisor)
    return Dim((((FloorDiv(dim, divisor),), 1),))


def _factor(monomial: Monomial, coefficient: int) -> str:
    parts = [f"({atom})" if isinstance(atom, FloorDiv) and (len(monomial) > 1 or coefficient != 1) else str(atom)
             for atom in monomial]
    if coefficient != 1 or not parts:
        parts.insert(0, str(coefficient))
    return " * ".join(parts)


def parse_extent(text: str) -> Extent:
    """The extent that ``str`` printed; ValueError for anything else."""
    try:
        return _from_ast(ast.parse(text, mode="eval").body)
    except (SyntaxError, TypeError) as error:
        raise ValueError(f"{text!r} is not a dimension: {error}") from None


def _from_ast(node: ast.expr) -> Extent:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return symbol(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return 0 - _from_ast(node.operand)
    if isinstance(node, ast.BinOp):
        left, right = _from_ast(node.left), _from_ast(node.right)
        if isinstance(node.op, ast.Add):
            return left + right
        if isinstance(node.op, ast.Sub):
            return left - right
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.FloorDiv | ast.Mod) and isinstance(right, int):
            return left // right if isinstance(node.op, ast.FloorDiv) else left % right
    raise ValueError(f"a dimension has names, integers and + - * // % only, not {ast.unparse(node)}")
