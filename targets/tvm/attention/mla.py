"""Multi-head latent attention: over the latent cache itself, and with keys and values of every head expanded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels.kernel import Arg, Kernel
from ..products.registers import ramp, with_llvm
from ..rows.emit import build, load, loop
from ..scalar import Expr, int64, rounded
from .flash import ALWAYS, NEVER, Task
from .picks import distinct
from .result import write_rows
from .tasks import Keys, Rows, run_tasks
from .tuning import CHUNK_ROWS, LANES, SUMS, TILE, WIDE
from .widths import Widths, ceil, held, i32, memory, products, up


def mla_absorbed(
    name: str, *, heads: int, rank: int, turned: int, skip: int, form: str, dtype: str, scale: float, top_k: int,
    sizes: Mapping[str, int | None],
) -> Kernel:  # fmt: skip
    """q_latent, q_rope, latents, rope_keys, limit, out; then those of ``sizes`` (B, S, T, Q: S * heads) that are None.

    ``q_latent, out [B, Q, rank]``, ``q_rope [B, Q, skip + turned]`` of which the last channels count, ``latents [B, T,
    rank]``, ``rope_keys [B, T, turned]``, ``limit`` past ``[B]`` or, with top_k, chosen ``[B, S, top_k]``. In the dot
    form channels come in pairs, as i32.
    """
    w = Widths(rank + turned, rank, form, dtype)
    rows = Rows(heads, alone=bool(top_k))
    args = [
        w.arg("q_latent", "B", "Q", width=rank), w.arg("q_rope", "B", "Q", width=skip + turned),
        w.arg("latents", "B", "T", width=rank), w.arg("rope_keys", "B", "T", width=turned),
        Arg("limit", ("B", "S", top_k) if top_k else ("B",), "i32"), w.arg("out", "B", "Q", width=rank),
    ]  # fmt: skip

    def load_rows(k: Any, task: Task, b: Expr, base: Expr, count: Expr) -> None:
        task.load_queries(k.q_latent, b, base, count, 0, rank)
        task.load_queries(k.q_rope, b, base, count, rank, turned, skip=skip)

    def keys(k: Any, task: Task, b: Expr, begin: Expr, end: Expr) -> Keys:
        def copy(i: Expr, row: Expr) -> None:
            task.copy_key(i, k.latents, b, row, 0, rank)
            task.copy_key(i, k.rope_keys, b, row, rank, turned)

        return _chosen_keys(k, task, b, begin, top_k, copy) if top_k else _all_keys(k, task, b, end, copy)

    def body(k: Any) -> None:
        seen = int64(top_k) if top_k else tirx.min(k.T, k.limit[int64(0)].astype("int64") + k.S)
        run_tasks(k, rows, w, scale, load_rows, keys, seen)

    return with_llvm(build(name, args, sizes, body), form)


def _all_keys(k: Any, task: Task, b: Expr, end: Expr, copy: Any) -> Keys:
    """Positions up to those of the tokens."""
    past = held(k.limit[b].astype("int64"))

    def key(i: Expr, u: Expr) -> None:
        copy(i, u)
        task.seen(i, u.astype("int32"), i32(ALWAYS))

    return Keys(past, held(tirx.min(past + end, k.T)), key)


def _chosen_keys(k: Any, task: Task, b: Expr, begin: Expr, top_k: int, copy: Any) -> Keys:
    """What the token has chosen. One that has chosen nothing takes the mean of the whole cache, as the reference does:
    it meets every key and sees none.
    """
    found, count = distinct(k.limit, b, begin, top_k, k.T)
    some = held(tirx.Select(count > int64(0), int64(1), int64(0)))

    def key(i: Expr, u: Expr) -> None:
        copy(i, tirx.Select(some > int64(0), found[u * some].astype("int64"), u))
        task.seen(i, i32(NEVER), tirx.Select(some > int64(0), i32(ALWAYS), i32(NEVER)))

    return Keys(int64(0), held(tirx.Select(some > int64(0), count, k.T)), key)


def mla_attention(
    name: str, *, heads: int, rank: int, nope: int, turned: int, width: int, form: str, dtype: str, scale: float,
    sizes: Mapping[str, int | None],
) -> Kernel:  # fmt: skip
    """q, latents, rope_keys, kv_b, past, out; then those of ``sizes`` (B, S, T, Q: S * heads) that are None.

    ``q [B, Q, nope + turned]``, ``latents [B, T, rank]``, ``rope_keys [B, T, turned]``, ``kv_b [1, heads * (nope +
    width), rank]``, ``out [B, Q, width]``. In the dot form channels come in pairs, as i32.

    A task is one head of many tokens: keys and values are expanded tile by tile, once for all of them.
    """
    w = Widths(nope + turned, width, form, dtype, apart=up(width, WIDE))
    args = [
        w.arg("q", "B", "Q"), w.arg("latents", "B", "T", width=rank), w.arg("rope_keys", "B", "T", width=turned),
        Arg("kv_b", (1, heads * (nope + width), rank // w.step), w.held), Arg("past", ("B",), "i32"),
        w.arg("out", "B", "Q", width=width),
    ]  # fmt: skip

    def body(k: Any) -> None:
        pieces = held(ceil(k.S, CHUNK_ROWS))
        # Heads outermost: threads take runs of tasks, and later tokens see more keys.
        with T.parallel(int64(0), int64(heads) * k.B * pieces) as number:
            h, b = held(number // (k.B * pieces)), held(number // pieces % k.B)
            begin = held(number % pieces * int64(CHUNK_ROWS))
            _head(k, w, (heads, rank, nope, turned), scale, h, b, begin)

    return with_llvm(build(name, args, sizes, body), form)


def _head(k: Any, w: Widths, sizes: tuple[int, ...], scale: float, h: Expr, b: Expr, begin: Expr) -> None:
    """Tokens ``begin ...`` of one head of sequence b."""
    heads, rank, nope, turned = sizes
    rows = held(tirx.min(k.S - begin, int64(CHUNK_ROWS)))
    start = held(k.past[b].astype("int64") + begin)
    task, expand = Task(w, CHUNK_ROWS), _Expand(k, w, rank, nope, h)
    base = begin * int64(heads) + h
    task.load_queries(k.q, b, base, rows, 0, nope + turned, stride=heads)
    task.stand(start, rows, 1)
    task.begin(rows)
    keys = held(tirx.min(start + rows, k.T))
    with loop(0, ceil(keys, TILE)) as tile:
        first = held(tile * int64(TILE))
        size = held(tirx.min(keys - first, int64(TILE)))
        expand.tile(task, b, first, size)
        with loop(0, size) as i:
            task.copy_key(i, k.rope_keys, b, first + i, nope, turned)
            task.seen(i, (first + i).astype("int32"), i32(ALWAYS))
        task.meet(rows, size, scale, tirx.max(first - start, int64(0)) // int64(task.side))
    write_rows(k.out, b, base, rows, task, int64(0), int64(1), w, task.side, stride=heads)


class _Expand:
    """The matrix of one head, turned, value channels first, and products of it with latents."""

    def __init__(self, k: Any, w: Widths, rank: int, nope: int, h: Expr) -> None:
        self.k, self.w, self.steps = k, w, rank // w.step
        self.side = 2 * LANES
        self.blocks = up(w.apart + nope, self.side) // self.side
        self.matrix = memory(self.blocks, self.steps, self.side, dtype=w.inside)
        self.latents = memory(TILE, self.steps, dtype=w.inside)
        first = h * int64(nope + w.values)
        with loop(0, self.blocks * self.side) as n, loop(0, self.steps) as d:
            # Padding between values and keys, and after the keys, repeats some row.
            value = int64(nope) + tirx.min(n, int64(w.values - 1))
            row = tirx.Select(n < int64(w.apart), value, tirx.min(n - int64(w.apart), int64(nope - 1)))
            at = [n // int64(self.side), d, n % int64(self.side)]
            T.buffer_store(self.matrix, load(k.kv_b, int64(0), first + row, d), at)

    def tile(self, task: Task, b: Expr, first: Expr, size: Expr) -> None:
        """Values and keys of ``size`` positions, rounded to the model's dtype as the reference rounds them."""
        with loop(0, size) as i, loop(0, self.steps) as d:
            T.buffer_store(self.latents, load(self.k.latents, b, first + i, d), [i, d])
        group = SUMS * LANES // self.side
        with loop(0, ceil(size, group)) as g, loop(0, self.blocks) as n:
            sums = [memory(self.side) for _ in range(group)]

            def left(i: int, d: Expr, g: Expr = g) -> Expr:
                return self.latents[g * int64(group) + int64(i), d]

            def right(d: Expr, v: int, n: Expr = n) -> Expr:
                return self.matrix[n, d, ramp(v)]

            def emit(i: int, v: int, total: Expr) -> None:
                T.buffer_store(sums[i], total, [ramp(v)])

            products(self.w.form, self.steps, group, self.side, left, right, emit)
            for i in range(group):
                self._store(task, g * int64(group) + int64(i), n, sums[i])

    def _store(self, task: Task, key: Expr, n: Expr, sums: Any) -> None:
        begin = n * int64(self.side // self.w.step)
        if self.w.form != "dot":
            for v in range(0, self.side, LANES):
                with T.vectorized(int64(0), int64(LANES)) as j:
                    value = sums[int64(v) + j]
                    value = rounded(value, self.w.dtype) if self.w.dtype != "f32" else value
                    T.buffer_store(task.keys, value, [key, begin + int64(v) + j])
            return
        parts = [sums[ramp(v)] for v in range(0, self.side, LANES)]
        even, odd = (tirx.Shuffle(parts, [i32(2 * i + half) for i in range(LANES)]) for half in (0, 1))
        pair = memory(2, LANES)
        T.buffer_store(pair, even, [int64(0), ramp(0)])
        T.buffer_store(pair, odd, [int64(1), ramp(0)])
        with T.vectorized(int64(0), int64(LANES)) as j:
            low, high = (tirx.reinterpret("int32", rounded(pair[int64(half), j], "bf16")) for half in (0, 1))
            T.buffer_store(task.keys, ((low >> i32(16)) & i32(0xFFFF)) | high, [key, begin + j])
