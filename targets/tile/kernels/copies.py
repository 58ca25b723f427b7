"""Rows moved as they are: columns cut out or put together, rows repeated, rows chosen by number."""

from __future__ import annotations

from ..build import Kernel
from ..logical import Program
from ..scalar import ceildiv, less, rest, sub


def copy_columns(
    *, dtype: str, source: int, start: int, out: int, at: int, width: int, rows: int, cols: int, stages: int
) -> Program:
    """Columns ``start ... start + width`` of ``x [M, source]`` to columns ``at ...`` of ``y [M, out]``."""
    k = Kernel("copy_columns", stages)
    count = k.size("M")
    x = k.tensor("x", dtype, count, source)
    y = k.tensor("y", dtype, count, out, role="out" if width == out else "inout")
    parts = -(-width // cols)
    for task in k.tasks(ceildiv(count, rows) * parts):
        row, col = task // parts * rows, task % parts * cols
        tall, wide = rest(count, row, rows), rest(width, col, cols)
        tile = k.vec(rows, cols, dtype)
        k.load_into(tile, x.window(row * source + start + col, tall, wide, source), fill=None)
        k.store(y.window(row * out + at + col, tall, wide, out), tile)
    return k.done()


def repeat_rows(*, dtype: str, times: int, width: int, cols: int, stages: int) -> Program:
    """``y [M, times, width]``: each row of ``x [M, width]`` so many times."""
    k = Kernel("repeat_rows", stages)
    count = k.size("M")
    x, y = k.tensor("x", dtype, count, width), k.out("y", dtype, count, times, width)
    parts = -(-width // cols)
    for task in k.tasks(count * parts):
        row, col = task // parts, task % parts * cols
        wide = rest(width, col, cols)
        tile = k.vec(1, cols, dtype)
        k.load_into(tile, x.window(row * width + col, 1, wide, width), fill=None)
        for n in range(times):
            k.store(y.window((row * times + n) * width + col, 1, wide, width), tile)
    return k.done()


def swap_axes(*, dtype: str, width: int, rows: int, cols: int, stages: int) -> Program:
    """``y [A, C, B, width] = x [A, B, C, width]`` with its middle axes swapped."""
    k = Kernel("swap_axes", stages)
    outer, left, right = (k.size(name) for name in ("A", "B", "C"))
    x = k.tensor("x", dtype, outer, left, right, width)
    y = k.out("y", dtype, outer, right, left, width)
    parts, across = ceildiv(right, rows), -(-width // cols)
    for task in k.tasks(outer * left * parts * across):
        row, col = task // across, task % across * cols
        block, begin = row // parts, row % parts * rows  # which [C, width], and the first of its rows
        tall, wide = rest(right, begin, rows), rest(width, col, cols)
        tile = k.vec(rows, cols, dtype)
        k.load_into(tile, x.window((block * right + begin) * width + col, tall, wide, width), fill=None)
        to = (block // left * right + begin) * left + block % left
        k.store(y.window(to * width + col, tall, wide, left * width), tile)
    return k.done()


def gather_rows(
    *, dtype: str, width: int, shared: int, each: int, counted: int, cols: int, stages: int
) -> Program:
    """``y [M, width]``: rows of ``x [N, width]`` whose numbers, divided by ``shared``, stand in ``index`` i32 ``[M]``.

    With ``each``, so many numbers in turn choose from a table of their own, ``x [M / each, N, width]``. With
    ``counted``, only as many rows as ``offsets[counted]`` says; the others are not written.
    """
    k = Kernel("gather_rows", stages)
    count, table = k.size("M"), k.size("N")
    x = k.tensor("x", dtype, count // each * table if each else table, width)
    index = k.tensor("index", "i32", count)
    offsets = k.tensor("offsets", "i32", counted + 1) if counted else None
    y = k.tensor("y", dtype, count, width, role="inout" if counted else "out")
    last = k.read(offsets, counted) if offsets else count
    parts = -(-width // cols)
    for task in k.tasks(last * parts):
        row, col = task // parts, task % parts * cols
        wide = rest(width, col, cols)
        tile = k.vec(1, cols, dtype)
        number = k.read(index, row) // shared + (row // each * table if each else 0)
        k.load_into(tile, x.window(number * width + col, 1, wide, width), fill=None)
        k.store(y.window(row * width + col, 1, wide, width), tile)
    return k.done()


def append(*, dtype: str, width: int, ring: int, cols: int, stages: int) -> Program:
    """Rows of a chunk ``[B, S, D]`` into a cache ``[B, T, D]`` at their positions, or into a ring of ``ring`` slots, of
    which the last ``ring`` tokens take one each; padding writes nothing (architectures.md §4.6).
    """
    k = Kernel("append", stages)
    batch, length = k.size("B"), k.size("S")
    slots = ring or k.size("T")
    cache = k.tensor("cache", dtype, batch, slots, width, role="inout")
    rows = k.tensor("rows", dtype, batch, length, width)
    past, fresh = k.tensor("past", "i32", batch), k.tensor("fresh", "i32", batch)
    parts = -(-width // cols)
    for task in k.tasks(batch * length * parts):
        row, col = task // parts, task % parts * cols
        b, s = row // length, row % length
        there, before = k.read(fresh, b), k.read(past, b)
        begins = sub(there, ring + 1)  # a ring keeps the tokens behind this one
        wide = rest(width, col, cols)
        slot = (before + s) % ring if ring else before + s
        kept = less(begins, s) if ring else less(slot, slots)  # what has no room is dropped
        with k.when(less(s, there)), k.when(kept):
            tile = k.vec(1, cols, dtype)
            k.load_into(tile, rows.window(row * width + col, 1, wide, width), fill=None)
            k.store(cache.window((b * slots + slot) * width + col, 1, wide, width), tile)
    return k.done()
