"""Rotary embedding of some channels of rows, with or without a norm before it (architectures.md §1.2, §4.3)."""

from __future__ import annotations

from dataclasses import dataclass

from ..build import Kernel
from ..logical import Piece, Program, Tensor, Window
from ..scalar import Int, add, ceildiv, div, least, mul, rem, rest, sub
from .norm import inverse_rms


def rope(
    *, width: int, half: int, heads: int, dtype: str, layout: str, start: int, inverse: bool, rows: int, stages: int
) -> Program:
    """``y [M, heads, D]``: channels ``start ... start + 2 half`` of ``x`` turn by f32 ``cos, sin [M, half]``.

    ``layout`` pairs: neighbouring channels turn together; halves: channel j with j + half.
    """
    return _turned("rope", _Channels(width, half, start, layout, inverse), heads, dtype, None, "", rows, stages)


def norm_rope(
    *, width: int, half: int, heads: int, dtype: str, weight: str, eps: float, layout: str, start: int, inverse: bool,
    rows: int, stages: int,
) -> Program:  # fmt: skip
    """As ``rope``, of rows normed and rounded first; ``weight`` is the dtype of ``w [D]``, empty for none."""
    return _turned("norm_rope", _Channels(width, half, start, layout, inverse), heads, dtype, eps, weight, rows, stages)


@dataclass(frozen=True)
class _Channels:
    width: int
    half: int
    start: int
    layout: str
    inverse: bool

    def turning(self) -> list[tuple[int, int]]:
        """First channel and number of what turns; halves are two parts."""
        if self.layout == "pairs":
            return [(self.start, 2 * self.half)]
        return [(self.start, self.half), (self.start + self.half, self.half)]

    def still(self) -> list[tuple[int, int]]:
        """Those before and behind."""
        end = self.start + 2 * self.half
        return [p for p in ((0, self.start), (end, self.width - end)) if p[1]]

    def parts(self) -> list[tuple[int, int]]:
        """All that is held apart."""
        return sorted([*self.turning(), *self.still()])


def _turned(
    name: str, c: _Channels, heads: int, dtype: str, eps: float | None, weight: str, rows: int, stages: int
) -> Program:
    k = Kernel(name, stages)
    count = k.size("M")
    x = k.tensor("x", dtype, count, heads, c.width)
    w = k.tensor("w", weight, c.width) if weight else None
    cos, sin = k.tensor("cos", "f32", count, c.half), k.tensor("sin", "f32", count, c.half)
    y = k.out("y", dtype, count, heads, c.width)
    weights = k.load_all((w.window(first, 1, n, n), 1, n) for first, n in c.parts()) if w else []
    blocks = -(-heads // rows)
    for task in k.tasks(count * blocks if heads > 1 else ceildiv(count, rows)):
        at = _heads(task, blocks, heads, rows) if heads > 1 else _tokens(task, count, rows)
        if eps is None:  # what does not turn is only moved
            for first, n in c.still():
                moved = k.vec(rows, n, dtype)
                k.load_into(moved, at.window(x, first, n), fill=None)
                k.store(at.window(y, first, n), moved)
        held = c.parts() if eps is not None else c.turning()
        angles = [(t.window(at.token * c.half, at.tokens, c.half, c.half), at.angles, c.half) for t in (cos, sin)]
        loaded = k.load_all([*((at.window(x, first, n), rows, n) for first, n in held), *angles], fill=None)
        parts, turn = loaded[:-2], loaded[-2:]
        if eps is not None:
            parts = _normed(k, parts, weights, c.width, eps, dtype, weight)
        for (first, n), part in zip(held, _turn(k, held, parts, turn, c), strict=True):
            k.store(at.window(y, first, n), part)
    return k.done()


@dataclass(frozen=True)
class _Rows:
    """Rows of x that a task takes, ``tall`` of them from ``row`` on, and the tokens whose angles they turn by."""

    rows: int
    row: Int
    tall: Int
    angles: int
    token: Int
    tokens: Int

    def window(self, t: Tensor, first: int, n: int) -> Window:
        width = t.shape[-1]
        return t.window(self.row * width + first, self.tall, n, width)


def _tokens(task: Int, count: Int, rows: int) -> _Rows:
    """Tokens of one row each, which turn by an angle each."""
    row = mul(task, rows)
    tall = rest(count, row, rows)
    return _Rows(rows, row, tall, rows, row, tall)


def _heads(task: Int, blocks: int, heads: int, rows: int) -> _Rows:
    """Heads of one token, which turn by one angle."""
    token, head = div(task, blocks), mul(rem(task, blocks), rows)
    return _Rows(rows, add(mul(token, heads), head), least(rows, sub(heads, head)), 1, token, 1)


def _normed(
    k: Kernel, parts: list[Piece], weights: list[Piece], width: int, eps: float, dtype: str, weight: str
) -> list[Piece]:
    """Each part over the root of the mean square of all, rounded as the model does between two ops."""
    total, *others = [k.sum(k.mul(part, part)) for part in parts]
    for more in others:
        total = k.add(total, more)
    scale = inverse_rms(k, total, width, eps)
    out = []
    for number, part in enumerate(parts):
        normed = k.mul(part, scale)
        if weights:
            normed = k.mul(normed if weight == "f32" else k.rounded(normed, dtype), weights[number])
        out.append(k.rounded(normed, dtype))
    return out


def _turn(
    k: Kernel, held: list[tuple[int, int]], parts: list[Piece], turn: list[Piece], c: _Channels
) -> list[Piece]:
    """The parts, those among them that turn turned."""
    out = dict(zip(held, parts, strict=True))
    cos, sin = turn
    if c.layout == "pairs":
        (both,) = c.turning()
        out[both] = k.interleave(*rotated(k, k.even(out[both]), k.odd(out[both]), cos, sin, c.inverse))
    else:
        left, right = c.turning()
        out[left], out[right] = rotated(k, out[left], out[right], cos, sin, c.inverse)
    return list(out.values())


def rotated(k: Kernel, a: Piece, b: Piece, cos: Piece, sin: Piece, inverse: bool) -> tuple[Piece, Piece]:
    """Pairs (a, b) turned by their angles, or back."""
    first, second = (k.add, k.sub) if inverse else (k.sub, k.add)
    return first(k.mul(a, cos), k.mul(b, sin)), second(k.mul(b, cos), k.mul(a, sin))
