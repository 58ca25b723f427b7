"""Pairs of token and expert sorted by expert, and the sum of what experts gave back (architectures.md §6).

Each expert counts for itself where its pairs begin, so that no core waits for another.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..build import Kernel
from ..logical import Piece, Program, Tensor
from ..scalar import Int, ceildiv, less, rest

CHUNK = 512  # pairs looked at at a time


def live_experts(*, k: int, experts: int, rows: int, stages: int) -> Program:
    """``y [T, k] = chosen [T, k]`` where the token is ``live`` and the expert is one of ours, else ``experts``."""
    kernel = Kernel("live_experts", stages)
    count = kernel.size("T")
    chosen, live = kernel.tensor("chosen", "i32", count, k), kernel.tensor("live", "bool", count)
    y = kernel.out("y", "i32", count, k)
    for task in kernel.tasks(ceildiv(count, rows)):
        row = task * rows
        tall = rest(count, row, rows)
        numbers = kernel.cast(kernel.load(chosen.window(row * k, tall, k, k), rows, k, fill=None), "f32")
        numbers = kernel.minimum(kernel.where(numbers, "<", 0.0, float(experts), numbers), float(experts))
        alive = kernel.cast(kernel.load(live.window(row, tall, 1, 1), rows, 1, fill=0.0), "f32")
        spread = kernel.full(alive, rows, k)
        kernel.store(y.window(row * k, tall, k, k), kernel.where(spread, ">", 0.5, numbers, float(experts)))
    return kernel.done()


def expert_order(*, experts: int, stages: int) -> Program:
    """Of ``chosen`` i32 ``[P]`` with ``experts`` for no expert: ``offsets [experts + 1]``, the first row of each
    expert; ``order [P]``, the pair of each row; ``slot [P]``, the row of each pair, P for none.
    """
    k = Kernel("expert_order", stages)
    pairs = k.size("P")
    chosen = k.tensor("chosen", "i32", pairs)
    offsets = k.out("offsets", "i32", experts + 1)
    order = k.tensor("order", "i32", pairs, role="inout")
    slot = k.out("slot", "i32", pairs)
    ones = k.full(1.0, 1, CHUNK)
    for expert in k.tasks(experts + 1):
        row = k.copy(0.0, k.vec(1, 8, name="row"))  # the next row of this expert
        for begin in _blocks(k, pairs):
            numbers = _numbers(k, chosen, begin, pairs, experts)
            k.add(row, _spread(k, k.sum(k.where(numbers, "<", expert, ones, 0.0))), out=row)
        k.store(offsets.window(expert, 1, 1, 1), k.cast(row, "i32"))
        for begin in _blocks(k, pairs):
            numbers = _numbers(k, chosen, begin, pairs, experts)
            found = k.full(-1.0, 1, CHUNK)
            k.compress(k.iota(CHUNK, begin, "f32"), numbers, "==", expert, found)
            hits = _spread(k, k.sum(k.where(numbers, "==", expert, ones, 0.0)))
            count, mine = k.peek(k.cast(hits, "i32"), 0), k.cast(found, "i32")
            with k.when(less(expert, experts)), k.when(less(0, count)):
                k.store(order.window(k.peek(k.cast(row, "i32"), 0), 1, count, 1), mine)
            for i in k.loop(count):
                pair = k.peek(mine, i)
                with k.when(less(expert, experts)):
                    k.store(slot.window(pair, 1, 1, 1), k.cast(k.add(row, i), "i32"))
                with k.when(less(experts - 1, expert)):
                    k.store(slot.window(pair, 1, 1, 1), k.cast(k.full(pairs, 1, 8), "i32"))
            k.add(row, hits, out=row)
    return k.done()


def _blocks(k: Kernel, pairs: Int) -> Iterator[Int]:
    """The first pair of each block."""
    for block in k.loop(ceildiv(pairs, CHUNK)):
        yield block * CHUNK


def _numbers(k: Kernel, chosen: Tensor, begin: Int, pairs: Int, experts: int) -> Piece:
    """Experts of a block of pairs; behind the last pair, more than any."""
    window = chosen.window(begin, 1, rest(pairs, begin, CHUNK), CHUNK)
    return k.cast(k.load(window, 1, CHUNK, fill=float(experts + 1)), "f32")


def _spread(k: Kernel, number: Piece) -> Piece:
    """A number in every lane of a block."""
    return k.full(number, 1, 8)


def combine(*, k: int, width: int, dtype: str, cols: int, stages: int) -> Program:
    """``y [T, width] = sum_j mix[t, j] x[slot[t, j]]``, f32 with one cast out; slots beyond ``x [P, width]`` give 0."""
    kernel = Kernel("combine", stages)
    count, pairs = kernel.size("T"), kernel.size("P")
    x = kernel.tensor("x", dtype, pairs, width)
    slot, mix = kernel.tensor("slot", "i32", count, k), kernel.tensor("mix", "f32", count, k)
    y = kernel.out("y", dtype, count, width)
    parts = -(-width // cols)
    for task in kernel.tasks(count * parts):
        token, col = task // parts, task % parts * cols
        wide = rest(width, col, cols)
        total = kernel.full(0.0, 1, cols)
        for j in kernel.loop(k):
            row = kernel.read(slot, token * k + j)
            with kernel.when(less(row, pairs)):
                weight = kernel.load(mix.window(token * k + j, 1, 1, 1), 1, 8, fill=0.0)
                part = kernel.load(x.window(row * width + col, 1, wide, width), 1, cols, fill=None)
                scaled = kernel.mul(part, kernel.sum(weight))
                kernel.add(total, scaled, out=total)
        kernel.store(y.window(token * width + col, 1, wide, width), total)
    return kernel.done()
