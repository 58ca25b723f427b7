"""Pairs of token and expert sorted by expert, and the sum of what experts gave back (architectures.md §6).

Each expert counts for itself where its pairs begin, so that no core waits for another.
"""

from __future__ import annotations

from ..build import Kernel
from ..logical import Program
from ..scalar import ceildiv, least, less, sub

CHUNK = 512  # pairs looked at at a time


def live_experts(*, k: int, experts: int, rows: int, stages: int) -> Program:
    """``y [T, k] = chosen [T, k]`` where the token is ``live``, else ``experts``."""
    kernel = Kernel("live_experts", stages)
    count = kernel.size("T")
    chosen, live = kernel.tensor("chosen", "i32", count, k), kernel.tensor("live", "bool", count)
    y = kernel.out("y", "i32", count, k)
    for task in kernel.tasks(ceildiv(count, rows)):
        row = task * rows
        tall = least(rows, sub(count, row))
        numbers = kernel.cast(kernel.load(chosen.window(row * k, tall, k, k), rows, k, fill=None), "f32")
        alive = kernel.cast(kernel.load(live.window(row, tall, 1, 1), rows, 1, fill=0.0), "f32")
        spread = kernel.copy(alive, kernel.vec(rows, k))
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
    ones = k.copy(1.0, k.vec(1, CHUNK))
    for expert in k.tasks(experts + 1):
        before, mine = k.copy(0.0, k.vec(1, 8)), k.vec(1, 8, "i32")
        for block in k.loop(ceildiv(pairs, CHUNK)):
            numbers = _numbers(k, chosen.window(block * CHUNK, 1, least(CHUNK, sub(pairs, block * CHUNK)), CHUNK), experts)
            k.add(before, k.copy(k.sum(k.where(numbers, "<", expert, ones, 0.0)), k.vec(1, 8)), out=before)
        k.copy(k.cast(before, "i32"), mine)
        k.store(offsets.window(expert, 1, 1, 1), mine.flat(1, 8))
        row = k.copy(before, k.vec(1, 8, name="row"))  # the next row of this expert
        for block in k.loop(ceildiv(pairs, CHUNK)):
            begin = block * CHUNK
            numbers = _numbers(k, chosen.window(begin, 1, least(CHUNK, sub(pairs, begin)), CHUNK), experts)
            found = k.copy(-1.0, k.vec(1, CHUNK))
            k.compress(k.iota(CHUNK, begin, "f32"), numbers, "==", expert, found)
            hits = k.copy(k.sum(k.where(numbers, "==", expert, ones, 0.0)), k.vec(1, 8))
            _write_rows(k, k.cast(found, "i32"), row, hits, expert, experts, pairs, order, slot)
            k.add(row, hits, out=row)
    return k.done()


def _numbers(k: Kernel, window: object, experts: int) -> object:
    """Experts of a block of pairs; behind the last, more than any."""
    return k.cast(k.load(window, 1, CHUNK, fill=float(experts + 1)), "f32")  # type: ignore[arg-type]


def _write_rows(k, found, row, hits, expert, experts, pairs, order, slot):  # type: ignore[no-untyped-def]
    """The rows of the pairs that were found, and the pairs of those rows."""
    count = k.peek(k.cast(hits, "i32"), 0)
    first = k.peek(k.cast(row, "i32"), 0)
    with k.when(less(expert, experts)), k.when(less(0, count)):
        k.store(order.window(first, 1, count, 1), found)
    for i in k.loop(count):
        pair = k.peek(found, i)
        here = k.copy(k.add(row, i), k.vec(1, 8))
        number = k.vec(1, 8, "i32")
        k.copy(k.cast(here, "i32"), number)
        with k.when(less(expert, experts)):
            k.store(slot.window(pair, 1, 1, 1), number)
        with k.when(less(experts - 1, expert)):
            k.store(slot.window(pair, 1, 1, 1), _none(k, pairs))


def _none(k, pairs):  # type: ignore[no-untyped-def]
    number = k.vec(1, 8, "i32")
    k.copy(k.cast(k.copy(pairs, k.vec(1, 8)), "i32"), number)
    return number


def combine(*, k: int, width: int, dtype: str, cols: int, stages: int) -> Program:
    """``y [T, width] = sum_j mix[t, j] x[slot[t, j]]`` in f32 with one cast out; a slot beyond ``x [P, width]`` gives 0."""
    kernel = Kernel("combine", stages)
    count, pairs = kernel.size("T"), kernel.size("P")
    x = kernel.tensor("x", dtype, pairs, width)
    slot, mix = kernel.tensor("slot", "i32", count, k), kernel.tensor("mix", "f32", count, k)
    y = kernel.out("y", dtype, count, width)
    parts = -(-width // cols)
    for task in kernel.tasks(count * parts):
        token, col = task // parts, task % parts * cols
        wide = cols if width % cols == 0 else least(cols, sub(width, col))
        total = kernel.copy(0.0, kernel.vec(1, cols))
        for j in kernel.loop(k):
            row = kernel.read(slot, token * k + j)
            with kernel.when(less(row, pairs)):
                weight = kernel.load(mix.window(token * k + j, 1, 1, 1), 1, 8, fill=0.0)
                part = kernel.load(x.window(row * width + col, 1, wide, width), 1, cols, fill=None)
                scaled = kernel.mul(part, kernel.sum(weight))
                kernel.add(total, scaled, out=total)
        kernel.store(y.window(token * width + col, 1, wide, width), total)
    return kernel.done()
