"""The core of every attention: one tile of gathered keys meets the query rows of a task; online softmax, f32 sums.

A task owns query rows that share their keys: the heads of one token or of a few. ``side`` rows stand side by side in
vectors and are a block. Scores are keys times queries, so that maximum, exp and sum over keys need no step across
lanes; the product with the values has channels in the lanes. Both read the gathered tile as it lies, and nothing but
the queries is ever turned.

Two forms. ``f32``: everything widened. ``dot``: bf16 pairs held in int32 words and multiplied by ``vdpbf16ps``; there
a tile of values joins two keys in a word, channels split in even and odd ones, which is also how words of the output
are put together. Weights are rounded to bf16 before they are divided by their sum, the reference does it after: both
are off by half a unit.
"""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels import expr
from ..products.registers import ramp
from ..rows.emit import f32, lanes, load, loop
from ..scalar import Expr, int64, rounded
from .tuning import LANES, SUMS, TILE, WIDE
from .widths import Widths, ceil, i32, memory, multiply_add, products, rows_side, spread, up, vectors

MASKED = -1e30  # as the references write it: a row that sees no key weighs all that it meets alike
NEVER, ALWAYS = -(2**31), 2**31 - 1  # below and above every position


class Task:
    """The memory of one task and the steps over it. ``blocks`` is the number of blocks of rows, known or not."""

    def __init__(self, widths: Widths, rows: int) -> None:
        self.w, self.side = widths, rows_side(rows)
        self.blocks = up(rows, self.side) // self.side
        w = widths
        self.queries = memory(self.blocks, w.keys // w.step, self.side, dtype=w.inside)
        self.at = memory(self.blocks, self.side, dtype="int32")  # position of a row's token
        self.keys = memory(TILE, w.stride, dtype=w.inside)
        self.pairs = memory(TILE // 2, w.padded, dtype="int32") if w.form == "dot" else None
        self.first, self.last = memory(TILE, dtype="int32"), memory(TILE, dtype="int32")  # positions that see a key
        self.scores = memory(TILE, self.side)
        self.weights = memory(TILE // 2, self.side, dtype="int32") if w.form == "dot" else self.scores
        self.peak, self.mass = memory(1, self.blocks, self.side), memory(1, self.blocks, self.side)
        self.state = memory(1, self.blocks, self.side, w.padded)

    def begin(self, rows: Expr) -> None:
        """No key met yet."""
        with loop(0, ceil(rows, self.side)) as n:
            for v in vectors(self.side):
                T.buffer_store(self.peak, spread(f32(MASKED)), [int64(0), n, ramp(v)])
                T.buffer_store(self.mass, spread(f32(0)), [int64(0), n, ramp(v)])
            with loop(0, self.side) as i, loop(0, self.w.padded // LANES) as c:
                T.buffer_store(self.state, spread(f32(0)), [int64(0), n, i, ramp(c * int64(LANES))])

    def load_queries(
        self, source: Any, b: Expr, base: Expr, rows: Expr, begin: int, width: int, *, skip: int = 0, stride: int = 1
    ) -> None:
        """Channels ``begin ...`` of the queries, turned, from every ``stride``-th row of ``source [B, rows, channels]``
        from ``base`` on, where ``skip`` channels come before them.
        """
        begin, width, skip = (n // self.w.step for n in (begin, width, skip))
        with loop(0, ceil(rows, self.side) * int64(self.side)) as r, loop(0, width) as d:
            row = base + tirx.min(r, rows - int64(1)) * int64(stride)  # rows that fill a block are not stored
            value = load(source, b, row, int64(skip) + d)
            T.buffer_store(self.queries, value, [r // int64(self.side), int64(begin) + d, r % int64(self.side)])

    def stand(self, begin: Expr, rows: Expr, heads: int) -> None:
        """Say where the tokens of the rows are: position ``begin`` and on, ``heads`` rows each."""
        with loop(0, ceil(rows, self.side) * int64(self.side)) as r:
            at = (begin + r // int64(heads)).astype("int32")
            T.buffer_store(self.at, at, [r // int64(self.side), r % int64(self.side)])

    def copy_key(self, i: Expr, source: Any, b: Expr, row: Expr, begin: int = 0, width: int = 0) -> None:
        """Channels ``begin ...`` of gathered key i from a row of ``source [B, rows, width]``."""
        step = self.w.step
        begin, width = (self.w.apart + begin) // step, (width or self.w.keys) // step
        if width // LANES:
            with loop(0, width // LANES) as c, lanes() as j:
                at = c * int64(LANES) + j
                T.buffer_store(self.keys, load(source, b, row, at), [i, int64(begin) + at])
        if width % LANES:
            with loop(width // LANES * LANES, width) as j:
                T.buffer_store(self.keys, load(source, b, row, j), [i, int64(begin) + j])

    def seen(self, i: Expr, first: Expr, last: Expr) -> None:
        """Gathered key i is visible from the positions ``first`` to ``last``."""
        T.buffer_store(self.first, first, [i])
        T.buffer_store(self.last, last, [i])

    def join_pairs(self, count: Expr) -> None:
        """Gathered values two keys to a word; key ``count`` of an odd number is zero."""
        if self.pairs is None:
            return
        half = WIDE // 2
        with loop(0, ceil(count, 2)) as p, loop(0, self.w.padded // WIDE) as c:
            even, odd = (self.keys[p * int64(2) + int64(h), ramp(c * int64(half))] for h in (0, 1))
            odd = tirx.Select(spread(p * int64(2) + int64(1) < count), odd, spread(i32(0)))
            low = (even & spread(i32(0xFFFF))) | (odd << spread(i32(16)))
            high = ((even >> spread(i32(16))) & spread(i32(0xFFFF))) | (odd & spread(i32(-65536)))
            T.buffer_store(self.pairs, low, [p, ramp(c * int64(WIDE))])
            T.buffer_store(self.pairs, high, [p, ramp(c * int64(WIDE) + int64(half))])

    def meet(self, rows: Expr, count: Expr, scale: float, start: Expr | int = 0) -> None:
        """All rows, from block ``start`` on, meet the ``count`` keys of the tile."""
        self.join_pairs(count)
        with loop(start, ceil(rows, self.side)) as n:
            self._score(n, count, scale)
            shrink = self._softmax(n, count)
            self._sum(n, count, shrink)

    def _score(self, n: Expr, count: Expr, scale: float) -> None:
        """scores[key, row] = key . query, or MASKED where the row does not see the key."""
        group, begin = SUMS * LANES // self.side, self.w.apart // self.w.step
        with loop(0, ceil(count, group)) as g:

            def emit(i: int, v: int, total: Expr, g: Expr = g) -> None:
                key, at = g * int64(group) + int64(i), self.at[n, ramp(v)]
                sees = tirx.And(spread(self.first[key]) <= at, at <= spread(self.last[key]))
                value = tirx.Select(sees, total * spread(f32(scale)), spread(f32(MASKED)))
                T.buffer_store(self.scores, value, [key, ramp(v)])

            products(
                self.w.form, self.w.keys // self.w.step, group, self.side,
                lambda i, d, g=g: self.keys[g * int64(group) + int64(i), int64(begin) + d],  # type: ignore[misc]
                lambda d, v: self.queries[n, d, ramp(v)], emit,
            )  # fmt: skip

    def _softmax(self, n: Expr, count: Expr) -> Any:
        """Scores become weights relative to the highest so far; gives what earlier sums are then worth."""
        top, more, shrink = memory(self.side), memory(self.side), memory(self.side)
        zero = int64(0)
        for v in vectors(self.side):
            T.buffer_store(top, self.peak[zero, n, ramp(v)], [ramp(v)])
            with loop(0, count) as k:
                T.buffer_store(top, tirx.max(top[ramp(v)], self.scores[k, ramp(v)]), [ramp(v)])
        with lanes(self.side) as j:
            T.buffer_store(shrink, expr.exp_nonpositive(self.peak[zero, n, j] - top[j]), [j])
        for v in vectors(self.side):
            T.buffer_store(self.peak, top[ramp(v)], [zero, n, ramp(v)])
            T.buffer_store(more, spread(f32(0)), [ramp(v)])
        with loop(0, count) as k, lanes(self.side) as j:
            T.buffer_store(self.scores, expr.exp_nonpositive(self.scores[k, j] - top[j]), [k, j])
        with loop(0, count) as k:
            for v in vectors(self.side):
                T.buffer_store(more, more[ramp(v)] + self.scores[k, ramp(v)], [ramp(v)])
        for v in vectors(self.side):
            mass = self.mass[zero, n, ramp(v)] * shrink[ramp(v)] + more[ramp(v)]
            T.buffer_store(self.mass, mass, [zero, n, ramp(v)])
        if self.w.form == "dot":
            self._pack(count)
        return shrink

    def _pack(self, count: Expr) -> None:
        """Weights rounded to bf16, those of two keys in a word; an odd one stands beside zero."""
        with loop(0, ceil(count, 2)) as p, lanes(self.side) as j:
            low, high = (
                tirx.reinterpret("int32", rounded(self.scores[p * int64(2) + int64(h), j], "bf16")) for h in (0, 1)
            )
            high = tirx.Select(p * int64(2) + int64(1) < count, high, i32(0))
            T.buffer_store(self.weights, ((low >> i32(16)) & i32(0xFFFF)) | high, [p, j])

    def _sum(self, n: Expr, count: Expr, shrink: Any) -> None:
        """state = state * shrink + weights . values."""
        part = SUMS * LANES // WIDE
        source = self.keys if self.pairs is None else self.pairs
        steps = count if self.pairs is None else ceil(count, 2)
        with loop(0, self.w.padded // WIDE) as c, loop(0, self.side // part) as p:
            sums = [memory(WIDE) for _ in range(part)]

            def at(i: int, v: int, c: Expr = c, p: Expr = p) -> list[Expr]:
                return [int64(0), n, p * int64(part) + int64(i), ramp(c * int64(WIDE) + int64(v))]

            for i in range(part):
                for v in vectors(WIDE):
                    value = self.state[tuple(at(i, v))] * spread(shrink[p * int64(part) + int64(i)])
                    T.buffer_store(sums[i], value, [ramp(v)])
            with loop(0, steps) as k:
                for i in range(part):
                    x = spread(self.weights[k, p * int64(part) + int64(i)])
                    for v in vectors(WIDE):
                        y = source[k, ramp(c * int64(WIDE) + int64(v))]
                        T.buffer_store(sums[i], multiply_add(self.w.form, sums[i][ramp(v)], x, y), [ramp(v)])
            for i in range(part):
                for v in vectors(WIDE):
                    T.buffer_store(self.state, sums[i][ramp(v)], at(i, v))
