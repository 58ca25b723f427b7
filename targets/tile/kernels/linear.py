"""Products with weights ``[N, K]`` (architectures.md §1): y = x w^T. With ``codes``, w is codes with scales."""

from __future__ import annotations

from ..build import Kernel
from ..logical import Piece, Program, Tensor
from ..scalar import Int, ceildiv, least, rest, same, sub
from .packed import Codes, Packed


def linear(
    *, n: int, k: int, dtype: str, out: str, groups: int, rows: int, cols: int, depth: int, stages: int,
    codes: Codes | None = None,
) -> Program:  # fmt: skip
    """``y [M, groups, n] = x [M, groups, k] w[g]^T`` with ``w [groups, n, k]``, summed in f32.

    ``rows x cols`` of y a task, K in slices of ``depth``.
    """
    kernel = Kernel("linear", stages)
    count = kernel.size("M")
    x = kernel.tensor("x", dtype, count, groups * k)
    w = _weight(kernel, dtype, groups * n, k, codes)
    y = kernel.out("y", out, count, groups * n)
    across = -(-n // cols)
    for task in kernel.tasks(ceildiv(count, rows) * groups * across):
        row, part = task // (groups * across) * rows, task % (groups * across)
        group, col = part // across, part % across * cols
        tall, wide = rest(count, row, rows), rest(n, col, cols)
        acc = kernel.acc(rows, cols)
        left = row * (groups * k) + group * k
        _product(kernel, acc, x, left, tall, groups * k, w, group * n + col, wide, k, depth)
        kernel.store(y.window(row * (groups * n) + group * n + col, tall, wide, groups * n), acc)
    return kernel.done()


def linear_experts(
    *, n: int, k: int, dtype: str, out: str, experts: int, rows: int, cols: int, depth: int, stages: int,
    codes: Codes | None = None,
) -> Program:  # fmt: skip
    """``y [M, n]``: the rows of each expert, ``offsets`` i32 ``[experts + 1]`` apart in ``x [M, k]``, times its
    ``w [experts, n, k]``; rows behind the last expert's are not written.
    """
    kernel = Kernel("linear_experts", stages)
    count = kernel.size("M")
    x = kernel.tensor("x", dtype, count, k)
    w = _weight(kernel, dtype, experts * n, k, codes)
    offsets = kernel.tensor("offsets", "i32", experts + 1)
    y = kernel.tensor("y", out, count, n, role="inout")
    across = -(-n // cols)
    for task in kernel.tasks(experts * across):
        expert, col = task // across, task % across * cols
        begin, end = kernel.read(offsets, expert), kernel.read(offsets, expert + 1)
        wide = rest(n, col, cols)
        for block in kernel.loop(ceildiv(sub(end, begin), rows)):
            row = begin + block * rows
            tall = least(rows, sub(end, row))
            acc = kernel.acc(rows, cols)
            _product(kernel, acc, x, row * k, tall, k, w, expert * n + col, wide, k, depth)
            kernel.store(y.window(row * n + col, tall, wide, n), acc)
    return kernel.done()


def _weight(kernel: Kernel, dtype: str, rows: int, k: int, codes: Codes | None) -> Tensor | Packed:
    if codes is None:
        return kernel.tensor("w", dtype, rows, k)
    return Packed.arguments(kernel, codes, rows, k)


def _product(
    kernel: Kernel, acc: Piece, x: Tensor, left: Int, tall: Int, pitch: Int, w: Tensor | Packed, right: Int, wide: Int,
    k: int, depth: int,
) -> None:  # fmt: skip
    """acc = rows of x from ``left`` on times rows of w from row ``right`` on, K in slices."""
    for step in kernel.loop(-(-k // depth)):
        deep = rest(k, step * depth, depth)
        a = kernel.mat(acc.rows, depth, x.dtype, "a")
        if isinstance(w, Packed):
            kernel.load_into(a, x.window(left + step * depth, tall, deep, pitch))
            b = w.operand(right, wide, step, acc.cols, depth, x.dtype)
        else:
            b = kernel.mat(acc.cols, depth, w.dtype, "b")
            kernel.load_into(a, x.window(left + step * depth, tall, deep, pitch))
            kernel.load_into(b, w.window(right * k + step * depth, wide, deep, k))
        kernel.mma(acc, a, b, same(step, 0), acc.rows)
