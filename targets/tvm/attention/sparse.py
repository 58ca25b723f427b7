"""V4's attention: a window, and compressed entries beside it. One task takes some heads of one token.

All heads share the keys, which are the values too. The keys a token sees are visited where they lie, in three runs: the
ring, the chunk itself, and the entries. Scores of all of them stand in a workspace of the task, heads side by side in
vectors, so that softmax needs no sum across lanes and is rounded as the reference rounds it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels import expr
from ..kernels.kernel import Kernel
from ..products.registers import HELD, STEP, add_products, staged, sums, with_llvm
from ..products.tuning import LANES
from ..rows.emit import Arg, build, choose, f32, lanes, load, local, loop, narrow, store
from ..scalar import Expr, int64

BLOCK = 32  # heads of a task at most: two vectors
KEYS = 8  # keys of a register tile
ROWS, WIDE = 8, 32  # heads and channels of a register tile of the output


@dataclass(frozen=True)
class Run:
    """Keys that lie in one buffer: how many, which row key i is, and the buffer as scores and as sums read it."""

    count: Expr
    row: Callable[[Expr], Expr]
    keys: Any
    values: Any


def sparse_attention(
    name: str, *, heads: int, width: int, window: int, form: str, dtype: str, scale: float, rate: int, entries: bool,
    top_k: int, sizes: Mapping[str, int | None],
) -> Kernel:  # fmt: skip
    """q, ring, kv, past, new, sinks, entries, chosen, then ring, kv, entries again as values, out; then those of
    ``sizes`` (B, S, and N with entries) that are None.

    ``q [B, S, heads, width]``, ``ring [B, window, width]``, ``kv [B, S, width]``, ``entries [B, N, width]``,
    ``chosen [B, S, top_k]``; those that the op lacks are left out. ``form`` says how scores read q and the keys.
    """
    steps, held = width // STEP[form], HELD[form]
    args = [
        Arg("q", ("B", "S", heads, steps), held), Arg("ring", ("B", window, steps), held),
        Arg("kv", ("B", "S", steps), held), Arg("past", ("B",), "i32"), Arg("new", ("B",), "i32"),
        Arg("sinks", (heads,), "f32"), *([Arg("entries", ("B", "N", steps), held)] if entries else []),
        *([Arg("chosen", ("B", "S", top_k), "i32")] if top_k else []), Arg("ring_v", ("B", window, width), dtype),
        Arg("kv_v", ("B", "S", width), dtype), *([Arg("entries_v", ("B", "N", width), dtype)] if entries else []),
        Arg("out", ("B", "S", heads, width), dtype),
    ]  # fmt: skip
    block = min(BLOCK, -(-heads // LANES) * LANES)

    def body(k: Any) -> None:
        blocks = -(-heads // block)
        tasks = k.B * k.S * int64(blocks)

        def task(i: Expr) -> None:
            token, first = i // int64(blocks), i % int64(blocks) * int64(block)
            b, s = token // k.S, token % k.S
            room = int64(2 * window + top_k) if top_k or not entries else k.N + int64(2 * window)
            work = _Token(k, b, s, first, heads, width, block, form, dtype, room)
            work.write(_runs(k, b, s, window, rate, entries, top_k), scale)

        def run(kind: Any) -> None:
            with kind(int64(0), tasks) as i:
                task(i)

        choose(tasks <= int64(1), lambda: run(T.serial), lambda: run(T.parallel))

    return with_llvm(build(name, args, sizes, body), form)


def _runs(k: Any, b: Expr, s: Expr, window: int, rate: int, entries: bool, top_k: int) -> list[Run]:
    """The keys that token s of sequence b sees."""
    past, new = k.past[b].astype("int64"), k.new[b].astype("int64")
    at = past + s
    oldest = tirx.max(at - int64(window - 1), int64(0))
    begin = tirx.max(s - int64(window - 1), int64(0))
    runs = [
        Run(tirx.max(past - oldest, int64(0)), lambda i: (oldest + i) % int64(window), k.ring, k.ring_v),
        Run(tirx.max(tirx.min(s + int64(1), new) - begin, int64(0)), lambda i: begin + i, k.kv, k.kv_v),
    ]
    if top_k:
        found = _chosen(k, b, s, top_k)
        runs.append(Run(found[1][0], lambda i: found[0][i].astype("int64"), k.entries, k.entries_v))
    elif entries:
        done = tirx.min((at + int64(1)) // int64(rate), k.N)
        runs.append(Run(done, lambda i: i, k.entries, k.entries_v))
    return runs


def _chosen(k: Any, b: Expr, s: Expr, top_k: int) -> tuple[Any, Any]:
    """The chosen entries that exist, moved together, and how many they are."""
    rows, count = local(top_k, dtype="int32"), local(1, dtype="int64")
    T.buffer_store(count, int64(0), [0])
    with loop(0, top_k) as j:
        row = k.chosen[b, s, j]
        inside = tirx.all(row >= tirx.const(0, "int32"), row.astype("int64") < k.N)

        def keep() -> None:
            T.buffer_store(rows, row, [count[0]])
            T.buffer_store(count, count[0] + int64(1), [0])

        choose(inside, keep)
    return rows, count


@dataclass(frozen=True)
class _Token:
    """The heads ``first`` to ``first + block`` of token s of sequence b."""

    k: Any
    b: Expr
    s: Expr
    first: Expr
    heads: int
    width: int
    block: int
    form: str
    dtype: str
    room: Expr  # keys that a token can see at most

    def write(self, runs: list[Run], scale: float) -> None:
        """Scores, softmax, sums."""
        begins = [int64(0)]
        for run in runs:
            begins.append(begins[-1] + run.count)
        scores = T.sblock_alloc_buffer([self.room + int64(KEYS), int64(self.block)], "float32")
        panel = self._queries()
        for run, begin in zip(runs, begins, strict=False):
            self._scores(run, begin, panel, scores, scale)
        self._softmax(scores, begins[-1])
        with loop(0, -(-min(self.block, self.heads) // ROWS)) as h, loop(0, -(-self.width // WIDE)) as d:
            self._sums(runs, begins, scores, h * int64(ROWS), d)

    def _head(self, h: Expr) -> Expr:
        """A head that exists: those of the last vector that do not repeat the last one and are not stored."""
        return tirx.min(self.first + h, int64(self.heads - 1))

    def _queries(self) -> Any:
        """The queries of the task, heads side by side: ``[steps, block]``."""
        steps = self.width // STEP[self.form]
        panel = T.sblock_alloc_buffer([int64(steps), int64(self.block)], self.k.q.dtype)
        with loop(0, self.block) as h, loop(0, steps) as c:
            T.buffer_store(panel, self.k.q[self.b, self.s, self._head(h), c], [c, h])
        return panel

    def _scores(self, run: Run, begin: Expr, panel: Any, scores: Any, scale: float) -> None:
        """Keys in tiles; the last tile repeats its last key, and the next run writes over what that gave."""
        with loop(0, (run.count + int64(KEYS - 1)) // int64(KEYS)) as t:
            rows, held = local(KEYS, dtype="int64"), sums(KEYS, self.block)
            for i in range(KEYS):
                T.buffer_store(rows, run.row(tirx.min(t * int64(KEYS) + int64(i), run.count - int64(1))), [i])
            with loop(0, self.width // STEP[self.form]) as c:
                for i in range(KEYS):
                    add_products(held, i, self.block, run.keys[self.b, rows[i], c], panel, [c], self.form)
            for i in range(KEYS):
                for v in range(0, self.block, LANES):
                    with lanes() as j:
                        value = held[int64(i), int64(v) + j] * f32(scale)
                        T.buffer_store(scores, value, [begin + t * int64(KEYS) + int64(i), int64(v) + j])

    def _softmax(self, scores: Any, count: Expr) -> None:
        """Over the keys of each head, with its sink in the denominator; weights are rounded to the model's dtype."""
        peak, total = local(self.block), local(self.block)
        for v in range(0, self.block, LANES):
            with loop(0, LANES) as j:
                T.buffer_store(peak, self.k.sinks[self._head(int64(v) + j)], [int64(v) + j])
            with loop(0, count) as i, lanes() as j:
                at = int64(v) + j
                T.buffer_store(peak, tirx.max(peak[at], scores[i, at]), [at])
            with loop(0, LANES) as j:
                at = int64(v) + j
                T.buffer_store(total, expr.exp(self.k.sinks[self._head(at)] - peak[at]), [at])
            with loop(0, count) as i, lanes() as j:
                at = int64(v) + j
                T.buffer_store(scores, expr.exp(scores[i, at] - peak[at]), [i, at])
                T.buffer_store(total, total[at] + scores[i, at], [at])
            with loop(0, count) as i, lanes() as j:
                at = int64(v) + j
                T.buffer_store(scores, narrow(scores[i, at] / total[at], self.dtype), [i, at])

    def _sums(self, runs: list[Run], begins: list[Expr], weights: Any, first: Expr, d: Expr) -> None:
        """A tile of the output: weighted sums of some channels of the keys, for some heads."""
        held = sums(ROWS, WIDE)
        for run, begin in zip(runs, begins, strict=False):
            with loop(0, run.count) as i:
                row = run.row(i)
                for r in range(ROWS):
                    for v in range(0, min(WIDE, self.width), LANES):
                        with lanes(min(LANES, self.width)) as j:
                            at = int64(v) + j
                            value = load(run.values, self.b, row, d * int64(WIDE) + at)
                            weight = weights[begin + i, tirx.min(first + int64(r), int64(self.block - 1))]
                            T.buffer_store(held, held[int64(r), at] + value * weight, [int64(r), at])
        out, head = staged(held), self.first + first
        with loop(0, tirx.min(int64(ROWS), int64(self.heads) - head)) as r:
            self._put(out, r, head + r, d)

    def _put(self, held: Any, r: Expr, head: Expr, d: Expr) -> None:
        for v in range(0, min(WIDE, self.width), LANES):
            with lanes(min(LANES, self.width)) as j:
                at = int64(v) + j
                store(self.k.out, held[r, at], self.b, self.s, head, d * int64(WIDE) + at)
