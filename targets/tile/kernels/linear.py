"""Products with weights ``[N, K]`` (architectures.md §1): y = x w^T."""

from __future__ import annotations

from ..build import Kernel
from ..logical import Program
from ..scalar import Int, ceildiv, least, same, sub


def linear(*, n: int, k: int, dtype: str, out: str, groups: int, rows: int, cols: int, depth: int, stages: int) -> Program:
    """``y [M, groups, n] = x [M, groups, k] w[g]^T`` with ``w [groups, n, k]``, summed in f32.

    ``rows x cols`` of y a task, K in slices of ``depth``.
    """
    kernel = Kernel("linear", stages)
    count = kernel.size("M")
    x = kernel.tensor("x", dtype, count, groups * k)
    w = kernel.tensor("w", dtype, groups * n, k)
    y = kernel.out("y", out, count, groups * n)
    across = -(-n // cols)
    for task in kernel.tasks(ceildiv(count, rows) * groups * across):
        row, part = task // (groups * across) * rows, task % (groups * across)
        group, col = part // across, part % across * cols
        acc = kernel.acc(rows, cols)
        for step in kernel.loop(-(-k // depth)):
            a, b = kernel.mat(rows, depth, dtype, "a"), kernel.mat(cols, depth, dtype, "b")
            at, wide = step * depth, _rest(k, step * depth, depth)
            kernel.load_into(a, x.window(row * (groups * k) + group * k + at, _rest(count, row, rows), wide, groups * k))
            kernel.load_into(b, w.window((group * n + col) * k + at, _rest(n, col, cols), wide, k))
            kernel.mma(acc, a, b, same(step, 0), rows)
        here = row * (groups * n) + group * n + col
        kernel.store(y.window(here, _rest(count, row, rows), _rest(n, col, cols), groups * n), acc)
    return kernel.done()


def _rest(whole: Int, begin: Int, size: int) -> Int:
    """How much of a tile of ``size`` from ``begin`` on there is; known where tiles divide the whole."""
    if isinstance(whole, int) and whole % size == 0:
        return size
    return least(size, sub(whole, begin))
