"""Attention over explicit caches (architectures.md §4.3): one online softmax over panels of keys.

Scores and weighted sums are products on the cube core; scaling, masks, running maxima and sums are on the vector core.
Keys are values too, so that a panel is loaded once a task.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..build import Kernel
from ..logical import Piece, Program, Tensor, Window
from ..scalar import Int, ceildiv, least, less, most, mul, sub

MASKED = -1e30  # as in the reference


@dataclass(frozen=True)
class Sizes:
    """What a kernel is built for: ``heads`` rows a task, ``panel`` keys a turn, ``chunk`` channels of a sum at a time."""

    heads: int
    panel: int
    chunk: int


@dataclass
class _Running:
    """The state of one task: peak and sum of each head, and the weighted values by chunks of channels."""

    peak: Piece
    total: Piece
    values: list[Piece]


Mask = Callable[[Piece], Piece]  # scores [heads, panel] -> masked


def sparse_attention(
    *, heads: int, width: int, window: int, entries: bool, top_k: int, rate: int, scale: float, dtype: str,
    rows: int, panel: int, chunk: int, stages: int,
) -> Program:  # fmt: skip
    """``q [B, S, H, D]`` over the ring ``[B, W, D]``, the chunk's ``kv [B, S, D]``, and entries ``[B, N, D]``: all
    visible ones, or those ``chosen`` ``[B, S, k]``; ``sinks [H]`` add to the denominator. Out ``[B, S, H, D]``.
    """
    k = Kernel("sparse_attention", stages)
    batch, length = k.size("B"), k.size("S")
    count = k.size("N") if entries else 0
    sizes = Sizes(rows, panel, chunk)
    q = k.tensor("q", dtype, batch, length, heads, width)
    ring = k.tensor("ring", dtype, batch, window, width)
    kv = k.tensor("kv", dtype, batch, length, width)
    past, new = k.tensor("past", "i32", batch), k.tensor("fresh", "i32", batch)
    sinks = k.tensor("sinks", "f32", heads)
    cache = k.tensor("entries", dtype, batch, count, width) if entries else None
    chosen = k.tensor("chosen", "i32", batch, length, top_k) if top_k else None
    out = k.out("out", dtype, batch, length, heads, width)
    parts = ceildiv(heads, rows)
    for task in k.tasks(batch * length * parts):
        token, head = task // parts, task % parts * rows
        b, s = token // length, token % length
        before = k.read(past, b)
        here = token * heads + head
        task_ = _Task(k, sizes, width, dtype, scale)
        task_.begin(q.window(here * width, least(rows, heads - head), width, width), sinks, head, least(rows, heads - head))
        position = before + s
        _ring_keys(task_, ring, b, before, position, window)
        _chunk_keys(task_, kv, b * length, s, k.read(new, b), window)
        if cache is not None and chosen is None:
            seen = least(count, (position + 1) // rate)
            task_.contiguous(cache, b * count * width, seen)
        elif cache is not None and chosen is not None:
            task_.gathered(cache, b * count, chosen, token * top_k, top_k)
        task_.end(out, here, least(rows, heads - head))
    return k.done()


def _ring_keys(task: _Task, ring: Tensor, b: Int, before: Int, position: Int, window: int) -> None:
    """Slots of the ring; slot j holds position ``last - (last - j) mod W``, where that is one."""
    k = task.k
    held = least(before, window)

    def mask(scores: Piece, first: Int) -> Piece:
        # With last = before - 1: age(j) = (last - j) mod W; seen where age < held and last - age > position - W.
        slot = k.iota(task.sizes.panel, first, "f32")
        behind = k.sub(_number(k, (before + window - 1) % window), slot)
        age = k.where(behind, "<", 0.0, k.add(behind, float(window)), behind)
        limit = least(held, most(sub(window + before - 1, position), 0))
        return k.where(_spread(k, age, scores), "<", _number_like(limit), scores, MASKED)

    task.masked(ring, mul(b, window * task.width), less(0, held) * window, mask)


def _number(k: Kernel, a: Int) -> Piece | float:
    return float(a) if isinstance(a, int) else a  # type: ignore[return-value]


def _number_like(a: Int) -> float:
    return float(a) if isinstance(a, int) else a  # type: ignore[return-value]


def _spread(k: Kernel, row: Piece, like: Piece) -> Piece:
    """A row for every head."""
    return k.copy(row, k.vec(like.rows, like.cols))


def _chunk_keys(task: _Task, kv: Tensor, base: Int, s: Int, new: Int, window: int) -> None:
    """Tokens of the chunk up to the query's own, at most ``window`` of them, of those that are there."""
    first = most(sub(s + 1, window), 0)
    task.contiguous(kv, (base + first) * task.width, most(sub(least(s + 1, new), first), 0))


@dataclass
class _Task:
    """One query's block of heads over all its keys."""

    k: Kernel
    sizes: Sizes
    width: int
    dtype: str
    scale: float

    def begin(self, q: Window, sinks: Tensor, head: Int, valid: Int) -> None:
        """The query as an operand; the sink is where peak and sum start."""
        k, rows = self.k, self.sizes.heads
        self.query = k.mat(rows, self.width, self.dtype, "q")
        k.load_into(self.query, q)
        sink = k.vec(rows, 1)
        k.load_into(sink, sinks.window(head, valid, 1, 1))
        peak, total = k.vec(rows, 1, name="peak"), k.vec(rows, 1, name="total")
        k.copy(sink, peak)
        k.copy(1.0, total)
        values = [k.vec(rows, self.sizes.chunk, name="values") for _ in range(self.width // self.sizes.chunk)]
        for part in values:
            k.copy(0.0, part)
        self.running = _Running(peak, total, values)

    def contiguous(self, keys: Tensor, offset: Int, count: Int) -> None:
        """Keys side by side, all of them seen."""
        self.masked(keys, offset, count, None)

    def masked(self, keys: Tensor, offset: Int, count: Int, mask: Callable[[Piece, Int], Piece] | None) -> None:
        """Keys side by side; those beyond the last, and what ``mask`` says, are not seen."""
        k, panel = self.k, self.sizes.panel
        for turn in k.loop(ceildiv(count, panel)):
            first = turn * panel
            here = keys.window(offset + first * self.width, least(panel, sub(count, first)), self.width, self.width)
            operand = k.mat(panel, self.width, self.dtype, "keys")
            k.load_into(operand, here)
            self._panel(operand, sub(count, first), (lambda s, f=first: mask(s, f)) if mask else None, here)

    def gathered(self, keys: Tensor, base: Int, chosen: Tensor, at: Int, top_k: int) -> None:
        """Keys by number; a negative number ends them."""
        raise NotImplementedError

    def _panel(self, keys: Piece, count: Int, mask: Mask | None, source: Window) -> None:
        k, run, rows, panel = self.k, self.running, self.sizes.heads, self.sizes.panel
        products = k.acc(rows, panel, "scores")
        k.mma(products, self.query, keys, 1, rows)
        scores = k.mul(k.to_vector(products), self.scale)
        column = k.iota(panel, 0, "f32")
        scores = k.where(_spread(k, column, scores), "<", _number_like(count), scores, MASKED)
        if mask is not None:
            scores = mask(scores)
        peak = k.maximum(run.peak, k.largest(scores))
        fade = k.exp(k.sub(run.peak, peak))
        powers = k.exp(k.sub(scores, peak))
        k.add(k.mul(run.total, fade), k.sum(powers), out=run.total)
        k.copy(peak, run.peak)
        weights = k.to_cube(powers, self.dtype)
        for number, values in enumerate(run.values):
            self._weighted(number, values, weights, keys, fade, source)

    def _weighted(
        self, number: int, values: Piece, weights: Piece, keys: Piece, fade: Piece, source: Window
    ) -> None:
        """One chunk of channels: faded, plus the panel's weighted values."""
        k, chunk = self.k, self.sizes.chunk
        part = Window(source.tensor, source.offset + number * chunk, source.rows, chunk, source.pitch)
        sums = k.acc(self.sizes.heads, chunk, "sums")
        if self.dtype == "f32":  # [K, N] operands are of 16 bits: the vector core turns the panel
            turned = k.transpose(k.load(part, self.sizes.panel, chunk))
            k.mma(sums, weights, k.to_cube(turned, "f32"), 1, self.sizes.heads)
        else:
            operand = k.mat(self.sizes.panel, chunk, self.dtype, "values")
            k.load_into(operand, part)
            k.mma(sums, weights, operand, 1, self.sizes.heads, turned=True)
        k.add(k.mul(values, fade), k.to_vector(sums), out=values)

    def end(self, out: Tensor, row: Int, valid: Int) -> None:
        """Divided by the sum."""
        for number, values in enumerate(self.running.values):
            chunk = self.sizes.chunk
            window = out.window(row * self.width + number * chunk, valid, chunk, self.width)
            self.k.store(window, self.k.div(values, self.running.total))
