"""Attention over explicit caches (architectures.md §2, §4.3): one online softmax over panels of keys.

Scores and weighted sums are products on the cube core; scaling, masks, running maxima and sums are on the vector core.
Keys are values too, so that a panel is loaded once a task.
"""

from __future__ import annotations

from collections.abc import Callable

from dsv4c.ir.kernel_ops.positions import MASKED

from ..build import Kernel
from ..logical import Piece, Program
from ..scalar import Int, ceildiv, least, less, most, mul, rest, sub
from .online import Cache, Sizes, Task, masked


def sparse_attention(
    *, heads: int, width: int, window: int, entries: bool, top_k: int, rate: int, scale: float, dtype: str,
    rows: int, panel: int, chunk: int, stages: int,
) -> Program:  # fmt: skip
    """``q [B, S, H, D]`` over the ring ``[B, W, D]``, the chunk's ``kv [B, S, D]``, and entries ``[B, N, D]``: all
    visible ones, or those ``chosen`` i32 ``[B, S, k]``; ``sinks`` f32 ``[H]`` add to the denominator only.
    Out ``[B, S, H, D]``.
    """
    k = Kernel("sparse_attention", stages)
    batch, length = k.size("B"), k.size("S")
    count = k.size("N") if entries else 0
    q = k.tensor("q", dtype, batch, length, heads, width)
    ring = k.tensor("ring", dtype, batch, window, width)
    kv = k.tensor("kv", dtype, batch, length, width)
    past, fresh = k.tensor("past", "i32", batch), k.tensor("fresh", "i32", batch)
    sinks = k.tensor("sinks", "f32", heads)
    cache = k.tensor("entries", dtype, batch, count, width) if entries else None
    chosen = k.tensor("chosen", "i32", batch, length, top_k) if top_k else None
    out = k.out("out", dtype, batch, length, heads, width)
    parts = ceildiv(heads, rows)
    for number in k.tasks(batch * length * parts):
        token, head = number // parts, number % parts * rows
        b, s = token // length, token % length
        before, valid = k.read(past, b), least(rows, heads - head)
        task = Task(k, Sizes(rows, panel, chunk), dtype, scale)
        task.begin([q.window((token * heads + head) * width, valid, width, width)])
        task.sink(sinks.window(head, valid, 1, 1))
        held = mul(less(0, before), window)
        task.contiguous([Cache(ring, b * window, width)], held, _ring_mask(k, before, s, window, panel))
        first = most(sub(s + 1, window), 0)
        there = most(sub(least(s + 1, k.read(fresh, b)), first), 0)
        task.contiguous([Cache(kv, b * length + first, width)], there)
        if cache is not None and chosen is None:
            task.contiguous([Cache(cache, b * count, width)], least(count, (before + s + 1) // rate))
        elif cache is not None and chosen is not None:
            task.gathered([Cache(cache, b * count, width)], chosen, token * top_k, top_k)
        task.end(out, token * heads + head, valid)
    return k.done()


def _ring_mask(k: Kernel, before: Int, s: Int, window: int, panel: int) -> Callable[[Int, Piece], Piece]:
    """Slot j of the ring holds the token that is ``(last - j) mod W`` behind the last of those before the chunk; the
    query sees it where there is one and it is less than W behind the query.
    """
    seen = least(before, most(sub(window - 1, s), 0))

    def mask(first: Int, scores: Piece) -> Piece:
        slot = k.iota(panel, first, "f32")
        behind = k.sub((before + window - 1) % window, slot)
        age = k.where(behind, "<", 0.0, k.add(behind, float(window)), behind)
        return masked(k, age, "<", seen, scores)

    return mask


def mla_absorbed(
    *, heads: int, rank: int, turned: int, skip: int, top_k: int, scale: float, dtype: str, rows: int, panel: int,
    chunk: int, stages: int,
) -> Program:  # fmt: skip
    """``q_latent [B, S, H, R]`` and ``q_rope [B, S, H, skip + r]``, of which ``skip`` channels do not count, over
    ``latents [B, T, R]`` and ``rope_keys [B, T, r]``: those up to the query, or those ``chosen`` i32 ``[B, S, k]``.
    Out ``[B, S, H, R]``, sums of latents.
    """
    k = Kernel("mla_absorbed", stages)
    batch, length, count = k.size("B"), k.size("S"), k.size("T")
    q_latent = k.tensor("q_latent", dtype, batch, length, heads, rank)
    q_rope = k.tensor("q_rope", dtype, batch, length, heads, skip + turned)
    latents = k.tensor("latents", dtype, batch, count, rank)
    rope_keys = k.tensor("rope_keys", dtype, batch, count, turned)
    limit = k.tensor("chosen", "i32", batch, length, top_k) if top_k else k.tensor("past", "i32", batch)
    out = k.out("out", dtype, batch, length, heads, rank)
    parts = ceildiv(heads, rows)
    for number in k.tasks(batch * length * parts):
        token, head = number // parts, number % parts * rows
        b, s = token // length, token % length
        row, valid = token * heads + head, least(rows, heads - head)
        task = Task(k, Sizes(rows, panel, chunk), dtype, scale)
        wide = skip + turned
        plain = q_latent.window(row * rank, valid, rank, rank)
        task.begin([plain, q_rope.window(row * wide + skip, valid, turned, wide)])
        caches = [Cache(latents, b * count, rank), Cache(rope_keys, b * count, turned)]
        if top_k:
            task.gathered(caches, limit, token * top_k, top_k)
        else:
            task.contiguous(caches, least(count, k.read(limit, b) + s + 1))
        task.end(out, row, valid)
    return k.done()




def mla_naive(
    *, heads: int, nope: int, turned: int, width: int, scale: float, dtype: str, rows: int, panel: int, chunk: int,
    stages: int,
) -> Program:  # fmt: skip
    """``q [B, S, H, nope + r]`` over ``expanded [B, T, H, nope + width]``, keys and values of every head, and
    ``rope_keys [B, T, r]``, which heads share: those up to each query's own place, ``past`` being i32 ``[B]``. A task
    is a block of tokens of one head. Out ``[B, S, H, width]``.
    """
    k = Kernel("mla_naive", stages)
    batch, length, count = k.size("B"), k.size("S"), k.size("T")
    wide, held = nope + turned, nope + width
    q = k.tensor("q", dtype, batch, length, heads, wide)
    expanded = k.tensor("expanded", dtype, batch, count, heads, held)
    rope_keys, past = k.tensor("rope_keys", dtype, batch, count, turned), k.tensor("past", "i32", batch)
    out = k.out("out", dtype, batch, length, heads, width)
    blocks = ceildiv(length, rows)
    for number in k.tasks(batch * blocks * heads):
        head, block = number % heads, number // heads
        b, s = block // blocks, block % blocks * rows
        before, valid = k.read(past, b), rest(length, s, rows)
        row = (b * length + s) * heads + head
        task = Task(k, Sizes(rows, panel, chunk), dtype, scale)
        at, pitch = row * wide, heads * wide
        task.begin([q.window(at, valid, nope, pitch), q.window(at + nope, valid, turned, pitch)], width)
        plain, values = (
            Cache(expanded, b * count, n, head * held + start, heads * held) for n, start in ((nope, 0), (width, nope))
        )
        caches = [plain, Cache(rope_keys, b * count, turned)]
        task.contiguous(caches, least(count, before + s + valid), _causal(k, before + s, rows, panel), values)
        task.end(out, row, valid, heads)
    return k.done()


def _causal(k: Kernel, first: Int, rows: int, panel: int) -> Callable[[Int, Piece], Piece]:
    """Row i of the scores is the query at place ``first + i``, and sees what is not behind it."""

    def mask(begin: Int, scores: Piece) -> Piece:
        places = k.full(k.iota(panel, sub(begin, first), "f32"), rows, panel)
        behind = k.sub(places, k.iota(rows, 0, "f32").flat(rows, 1))
        return k.where(behind, "<=", 0.0, scores, MASKED)

    return mask
