"""The lightning indexer: scores of a token's heads against entries, summed over heads, and the best of each token.

A task is a few tokens, which meet the entries tile by tile: products with heads side by side in vectors, relu, weights
and the sum over heads before anything is stored. A token in flight keeps one row of scores. Where there is one task the
entries are shared out instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels.kernel import Arg, Kernel
from ..kernels.order import LOWEST
from ..products.registers import ramp, with_llvm
from ..rows.emit import build, choose, f32, load, loop
from ..scalar import Expr, int64
from .select import STEP, select
from .tuning import CHUNK, LANES, SCORED, SHARES, SPLIT_FROM, SUMS, TILE
from .widths import Widths, ceil, held, i32, memory, products, rows_side, spread, up


def lightning_indexer(
    name: str, *, heads: int, width: int, form: str, dtype: str, rate: int, top_k: int, scale: float,
    sizes: Mapping[str, int | None],
) -> Kernel:  # fmt: skip
    """q, head_weights, keys, past, out; then those of ``sizes`` (B, S, N) that are None.

    ``q [B, S, heads, width]``, ``head_weights`` f32 ``[B, S, heads]``, ``keys [B, N, width]``, ``out`` i32
    ``[B, S, top_k]``. In the dot form channels come in pairs, as i32; the sums are f32 as in the other.
    """
    w = Widths(width, width, form, dtype)
    args = [
        w.arg("q", "B", "S", heads), Arg("head_weights", ("B", "S", heads), "f32"), w.arg("keys", "B", "N"),
        Arg("past", ("B",), "i32"), Arg("out", ("B", "S", top_k), "i32"),
    ]  # fmt: skip

    def body(k: Any) -> None:
        tiles = held(ceil(k.S, SCORED))
        i = _Indexer(k, w, heads, rate, top_k, scale)
        with_tiles = k.B * tiles >= int64(SHARES)
        choose(with_tiles, lambda: i.tokens_shared(tiles), i.entries_shared)

    return with_llvm(build(name, args, sizes, body), form)


@dataclass(frozen=True)
class _Indexer:
    """What the steps have in common."""

    k: Any
    w: Widths
    heads: int
    rate: int
    top_k: int
    scale: float

    @property
    def side(self) -> int:
        """Heads side by side."""
        return rows_side(self.heads)

    @property
    def blocks(self) -> int:
        """Blocks of heads."""
        return up(self.heads, self.side) // self.side

    def visible(self, b: Expr, s: Expr) -> Expr:
        """How many entries a token may see."""
        done = (self.k.past[b].astype("int64") + s + int64(1)) // int64(self.rate)
        return tirx.min(done, self.k.N)

    def rows(self, count: int) -> Any:
        """Rows of scores, padded to whole steps of their selection."""
        return memory(count, (self.k.N // int64(STEP) + int64(1)) * int64(STEP), dtype="int32")

    def tokens_shared(self, tiles: Expr) -> None:
        """Tasks are tiles of tokens."""
        with T.parallel(int64(0), self.k.B * tiles) as task:
            b, begin = held(task // tiles), held(task % tiles * int64(SCORED))
            count = held(tirx.min(self.k.S - begin, int64(SCORED)))
            queries, weights, rows = self._queries(SCORED), memory(SCORED, self.blocks * self.side), self.rows(SCORED)
            with loop(0, count) as t:
                self._load(queries, weights, t, b, begin + t)
            with loop(0, ceil(self.visible(b, begin + count - int64(1)), TILE)) as tile, loop(0, count) as t:
                last = tirx.min((tile + int64(1)) * int64(TILE), self.visible(b, begin + t))
                self._score(queries, weights, rows, t, b, tile * int64(TILE), last)
            with loop(0, count) as t:
                self._finish(rows, t, b, begin + t)

    def entries_shared(self) -> None:
        """One token after the other; tasks are chunks of its entries where they are worth it."""
        queries, weights, rows = self._queries(1), memory(1, self.blocks * self.side), self.rows(1)
        zero = int64(0)
        with loop(0, self.k.B) as b, loop(0, self.k.S) as s:
            count = held(self.visible(b, s))
            self._load(queries, weights, zero, b, s)

            def run(kind: Any, b: Expr = b, count: Expr = count) -> None:
                with kind(int64(0), ceil(count, CHUNK)) as c:
                    last = tirx.min((c + int64(1)) * int64(CHUNK), count)
                    self._score(queries, weights, rows, zero, b, c * int64(CHUNK), last)

            worth = count * int64(self.heads * self.w.keys) >= int64(SPLIT_FROM)
            choose(worth, lambda run=run: run(T.parallel), lambda run=run: run(loop))  # type: ignore[misc]
            self._finish(rows, zero, b, s)

    def _queries(self, tokens: int) -> Any:
        return memory(tokens, self.blocks, self.w.keys // self.w.step, self.side, dtype=self.w.inside)

    def _load(self, queries: Any, weights: Any, t: Expr, b: Expr, s: Expr) -> None:
        """Turn the queries of a token; heads that fill up a block weigh nothing."""
        with loop(0, self.blocks * self.side) as h:
            head = tirx.min(h, int64(self.heads - 1))
            with loop(0, self.w.keys // self.w.step) as d:
                at = [t, h // int64(self.side), d, h % int64(self.side)]
                T.buffer_store(queries, load(self.k.q, b, s, head, d), at)
            weight = self.k.head_weights[b, s, head] * f32(self.scale)
            T.buffer_store(weights, tirx.Select(h < int64(self.heads), weight, f32(0)), [t, h])

    def _score(self, queries: Any, weights: Any, rows: Any, t: Expr, b: Expr, first: Expr, last: Expr) -> None:
        """Scores of entries ``first`` to ``last`` for a token, as keys that sort like them."""
        group = SUMS * LANES // self.side
        with loop(0, ceil(tirx.max(last - first, int64(0)), group)) as g:
            begin = held(first + g * int64(group))
            totals = [memory(LANES) for _ in range(group)]
            for total in totals:
                T.buffer_store(total, spread(f32(0)), [ramp(0)])
            with loop(0, self.blocks) as n:
                self._products(queries, weights, t, b, n, begin, last, totals)
            scores = sortable(fold([total[ramp(0)] for total in totals]))
            # No lane more: the next entries may be another thread's, who is ahead.
            scores = tirx.Shuffle([scores], [i32(i) for i in range(group)])
            T.buffer_store(rows, scores, [t, tirx.Ramp(begin, int64(1), group)])

    def _products(
        self, queries: Any, weights: Any, t: Expr, b: Expr, n: Expr, begin: Expr, last: Expr, totals: list[Any]
    ) -> None:
        """Add what one block of heads makes of a few entries; the last entry stands in for those beyond it."""
        entries = [held(tirx.min(begin + int64(i), last - int64(1))) for i in range(len(totals))]

        def emit(i: int, v: int, total: Expr) -> None:
            weight = weights[t, ramp(n * int64(self.side) + int64(v))]
            value = totals[i][ramp(0)] + tirx.max(total, spread(f32(0))) * weight
            T.buffer_store(totals[i], value, [ramp(0)])

        products(
            self.w.form, self.w.keys // self.w.step, len(totals), self.side,
            lambda i, d: load(self.k.keys, b, entries[i], d), lambda d, v: queries[t, n, d, ramp(v)], emit,
        )  # fmt: skip

    def _finish(self, rows: Any, t: Expr, b: Expr, s: Expr) -> None:
        """Choose from a row of scores."""
        count = held(self.visible(b, s))
        with loop(count, up_to(count)) as i:
            T.buffer_store(rows, i32(LOWEST), [t, i])
        select(rows, t, count, self.top_k, self.k.out, b, s)


def up_to(n: Expr) -> Expr:
    """The end of the last step of a selection among n."""
    return ceil(n, STEP) * int64(STEP)


def fold(parts: list[Expr]) -> Expr:
    """Sums across the lanes of up to 16 vectors, side by side: neighbours are added, two vectors become one."""
    for _ in range(LANES.bit_length() - 1):
        pairs = zip(parts[::2], parts[1::2], strict=True) if len(parts) > 1 else [(parts[0], parts[0])]
        parts = [_neighbours(a, b) for a, b in pairs]
    return parts[0]


def _neighbours(a: Expr, b: Expr) -> Expr:
    even, odd = (tirx.Shuffle([a, b], [i32(2 * i + h) for i in range(LANES)]) for h in (0, 1))
    return even + odd


def sortable(x: Expr) -> Expr:
    """``kernels.order.key`` of a vector."""
    bits = tirx.reinterpret(f"int32x{LANES}", x)
    flipped = bits ^ ((bits >> spread(i32(31))) & spread(i32(0x7FFFFFFF)))
    return tirx.Select(flipped == spread(i32(-1)), spread(i32(0)), flipped)
