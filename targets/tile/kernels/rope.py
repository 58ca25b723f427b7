"""Rotary embedding of some channels of rows, with or without a norm before it (architectures.md §1.2, §4.3)."""

from __future__ import annotations

from dataclasses import dataclass

from ..build import Kernel
from ..logical import Piece, Program, Tensor, Window
from ..scalar import Int, ceildiv, least, sub
from .norm import inverse_rms


def rope(
    *, width: int, half: int, heads: int, dtype: str, layout: str, start: int, inverse: bool, rows: int, stages: int
) -> Program:
    """``y [M, heads, D]``: channels ``start ... start + 2 half`` of ``x`` turned by ``cos`` and ``sin`` f32 ``[M, half]``.

    ``layout`` pairs: neighbouring channels turn together; halves: channel j with j + half.
    """
    return _turned("rope", _Channels(width, half, start, layout, inverse), heads, dtype, None, "", rows, stages)


def norm_rope(
    *, width: int, half: int, heads: int, dtype: str, weight: str, eps: float, layout: str, start: int, inverse: bool,
    rows: int, stages: int,
) -> Program:  # fmt: skip
    """As ``rope``, of rows normed and rounded first; ``weight`` is the dtype of ``w [D]``, empty where there is none."""
    return _turned("norm_rope", _Channels(width, half, start, layout, inverse), heads, dtype, eps, weight, rows, stages)


@dataclass(frozen=True)
class _Channels:
    width: int
    half: int
    start: int
    layout: str
    inverse: bool

    def parts(self) -> list[tuple[int, int]]:
        """First channel and number of what is held apart: before, what turns (halves in two), behind."""
        end = self.start + 2 * self.half
        turning = [(self.start, 2 * self.half)] if self.layout == "pairs" else [
            (self.start, self.half), (self.start + self.half, self.half),
        ]  # fmt: skip
        return [p for p in ((0, self.start), *turning, (end, self.width - end)) if p[1]]

    def turns(self, first: int) -> bool:
        """Whether a part turns."""
        return self.start <= first < self.start + 2 * self.half


def _turned(
    name: str, c: _Channels, heads: int, dtype: str, eps: float | None, weight: str, rows: int, stages: int
) -> Program:
    k = Kernel(name, stages)
    count = k.size("M")
    x = k.tensor("x", dtype, count, heads, c.width)
    w = k.tensor("w", weight, c.width) if weight else None
    cos, sin = k.tensor("cos", "f32", count, c.half), k.tensor("sin", "f32", count, c.half)
    y = k.out("y", dtype, count, heads, c.width)
    weights = {first: k.load(w.window(first, 1, n, n), 1, n) for first, n in c.parts()} if w else {}
    blocks = ceildiv(heads, rows) if heads > 1 else 1
    for task in k.tasks(count * blocks if heads > 1 else ceildiv(count, rows)):
        if heads > 1:  # the heads of one token turn by one angle
            token, head = task // blocks, task % blocks * rows
            row, tall, angles = token * heads + head, least(rows, heads - head), (1, token, 1)
        else:
            row, tall = task * rows, least(rows, sub(count, task * rows))
            angles = (rows, row, tall)
        parts = {first: k.load(_window(x, row, tall, first, n, c), rows, n, fill=None) for first, n in c.parts()}
        if eps is not None:
            parts = _normed(k, parts, weights, c.width, eps, dtype, weight)
        held, at, there = angles
        turn = [k.load(t.window(at * c.half, there, c.half, c.half), held, c.half, fill=None) for t in (cos, sin)]
        done = {first: part for first, part in parts.items() if not c.turns(first)}
        done.update(_turn(k, {f: p for f, p in parts.items() if c.turns(f)}, turn[0], turn[1], c))
        for first, n in c.parts():
            k.store(_window(y, row, tall, first, n, c), done[first])
    return k.done()


def _window(t: Tensor, row: Int, tall: Int, first: int, n: int, c: _Channels) -> Window:
    return t.window(row * c.width + first, tall, n, c.width)


def _normed(
    k: Kernel, parts: dict[int, Piece], weights: dict[int, Piece], width: int, eps: float, dtype: str, weight: str
) -> dict[int, Piece]:
    """Each part over the root of the mean square of all, rounded as the model does between two ops."""
    sums = [k.sum(k.mul(part, part)) for part in parts.values()]
    total = sums[0]
    for more in sums[1:]:
        total = k.add(total, more)
    scale = inverse_rms(k, total, width, eps)
    out = {}
    for first, part in parts.items():
        normed = k.mul(part, scale)
        if weights:
            normed = k.mul(normed if weight == "f32" else k.rounded(normed, dtype), weights[first])
        out[first] = k.rounded(normed, dtype)
    return out


def _turn(k: Kernel, parts: dict[int, Piece], cos: Piece, sin: Piece, c: _Channels) -> dict[int, Piece]:
    if c.layout == "pairs":
        ((first, part),) = parts.items()
        a, b = _rotated(k, k.even(part), k.odd(part), cos, sin, c.inverse)
        return {first: k.interleave(a, b)}
    (first, left), (second, right) = parts.items()
    a, b = _rotated(k, left, right, cos, sin, c.inverse)
    return {first: a, second: b}


def _rotated(k: Kernel, a: Piece, b: Piece, cos: Piece, sin: Piece, inverse: bool) -> tuple[Piece, Piece]:
    first, second = (k.add, k.sub) if inverse else (k.sub, k.add)
    return first(k.mul(a, cos), k.mul(b, sin)), second(k.mul(b, cos), k.mul(a, sin))
