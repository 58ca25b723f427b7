"""Hyper-connections (architectures.md §5): tokens lie in lanes, so that a matrix of n x n is n^2 rows of numbers."""

from __future__ import annotations

from collections.abc import Iterator

from ..build import Kernel
from ..logical import Piece, Program, Tensor, Window
from ..scalar import Int, ceildiv, least, sub
from .norm import inverse_rms


def hyper_pre(
    *, n: int, width: int, dtype: str, eps: float, hc_eps: float, iterations: int, rows: int, cols: int, stages: int
) -> Program:
    """``x [T, n, d]`` to rows ``[T, d]``, ``post`` f32 ``[T, n]`` and ``mix`` f32 ``[T, n, n]``, with ``fn`` f32
    ``[(2 + n) n, n d]``, ``base [(2 + n) n]``, ``scale [3]``.
    """
    k = Kernel("hyper_pre", stages)
    count, outs = k.size("T"), (2 + n) * n
    x = k.tensor("x", dtype, count, n * width)
    fn, base = k.tensor("fn", "f32", outs, n * width), k.tensor("base", "f32", outs)
    scale = k.tensor("scale", "f32", 3)
    out = k.out("rows", dtype, count, width)
    post, mix = k.out("post", "f32", count, n), k.out("mix", "f32", count, n * n)
    scales, bases = _gate_parameters(k, scale, base, [n, n, n * n], rows)
    for task in k.tasks(ceildiv(count, rows)):
        row, tall = task * rows, least(rows, sub(count, task * rows))
        mixes = _mixes(k, x, fn, row, tall, n * width, outs, eps, rows, cols)
        k.add(k.mul(mixes, scales, out=mixes), bases, out=mixes)
        gates = k.add(_sigmoid(k, mixes.part(0, n)), hc_eps)
        k.store(post.window(row * n, tall, n, n), k.transpose(k.mul(_sigmoid(k, mixes.part(n, n)), 2.0)))
        matrix = [mixes.part(2 * n + i * n, n) for i in range(n)]
        _sinkhorn(k, matrix, iterations, hc_eps)
        k.store(mix.window(row * n * n, tall, n * n, n * n), k.transpose(mixes.part(2 * n, n * n)))
        _collapse(k, x, gates, out, row, tall, n, width, rows, cols)
    return k.done()


def hyper_head(
    *, n: int, width: int, dtype: str, eps: float, hc_eps: float, rows: int, cols: int, stages: int
) -> Program:
    """``x [T, n, d]`` to rows ``[T, d]`` with ``fn`` f32 ``[n, n d]``, ``base [n]``, ``scale [1]``."""
    k = Kernel("hyper_head", stages)
    count = k.size("T")
    x = k.tensor("x", dtype, count, n * width)
    fn, base = k.tensor("fn", "f32", n, n * width), k.tensor("base", "f32", n)
    scale = k.tensor("scale", "f32", 1)
    out = k.out("rows", dtype, count, width)
    scales, bases = _gate_parameters(k, scale, base, [n], rows)
    for task in k.tasks(ceildiv(count, rows)):
        row, tall = task * rows, least(rows, sub(count, task * rows))
        mixes = _mixes(k, x, fn, row, tall, n * width, n, eps, rows, cols)
        gates = k.add(_sigmoid(k, k.add(k.mul(mixes, scales), bases)), hc_eps)
        _collapse(k, x, gates, out, row, tall, n, width, rows, cols)
    return k.done()


def hyper_post(*, n: int, width: int, dtype: str, rows: int, cols: int, stages: int) -> Program:
    """``out [T, n, d]``: ``out_k = post_k y + sum_j mix[j, k] x_j``, in f32 with one cast out."""
    k = Kernel("hyper_post", stages)
    count = k.size("T")
    y, x = k.tensor("y", dtype, count, width), k.tensor("x", dtype, count, n * width)
    post, mix = k.tensor("post", "f32", count, n), k.tensor("mix", "f32", count, n * n)
    out = k.out("out", dtype, count, n * width)
    parts = -(-width // cols)
    for task in k.tasks(ceildiv(count, rows) * parts):  # columns too are shared out: one token has work for many cores
        row, at = task // parts * rows, task % parts * cols
        tall, wide = least(rows, sub(count, row)), cols if width % cols == 0 else least(cols, sub(width, at))
        fresh = y.window(row * width + at, tall, wide, width), rows, cols
        weights = (post.block(row, rows), rows, n), (mix.block(row, rows), rows, n * n)
        all_of = (*weights, fresh, *_streams(x, row, tall, at, wide, n, rows, cols))
        gates, matrix, added, *streams = k.load_all(all_of, fill=None)
        gates, matrix = k.transpose(gates), k.transpose(matrix)
        totals = [k.mul(added, gates.part(stream).column) for stream in range(n)]
        for stream, total in enumerate(totals):
            for j in range(n):
                k.add(total, k.mul(streams[j], matrix.part(j * n + stream).column), out=total)
        windows = [out.window((row * n + stream) * width + at, tall, wide, n * width) for stream in range(n)]
        k.store_all(zip(windows, totals, strict=True))
    return k.done()


def _columns(k: Kernel, width: int, cols: int) -> Iterator[tuple[Int, Int]]:
    """First column and number of a loop over columns."""
    for step in k.loop(-(-width // cols)):
        yield step * cols, (cols if width % cols == 0 else least(cols, sub(width, step * cols)))


def _streams(
    x: Tensor, row: Int, tall: Int, at: Int, wide: Int, n: int, rows: int, cols: int
) -> list[tuple[Window, int, int]]:
    """Some columns of every stream, to be loaded."""
    whole = x.shape[-1]
    width = whole // n
    return [(x.window(row * whole + j * width + at, tall, wide, whole), rows, cols) for j in range(n)]


def _gate_parameters(k: Kernel, scale: Tensor, base: Tensor, sizes: list[int], rows: int) -> tuple[Piece, Piece]:
    """What each row of projections ``[outs, rows]`` is multiplied by, ``sizes`` rows a scale, and a column to add."""
    windows = [(scale.window(number, 1, 1, 1), 1, 8) for number in range(len(sizes))]
    *numbers, bases = k.load_all([*windows, (base.window(0, sum(sizes), 1, 1), sum(sizes), 1)])
    scales = k.vec(sum(sizes), rows, name="scales")
    begin = 0
    for number, size in zip(numbers, sizes, strict=True):
        k.copy(k.sum(number), scales.part(begin, size))
        begin += size
    return scales, bases


def _sigmoid(k: Kernel, x: Piece) -> Piece:
    return k.div(1.0, k.add(k.exp(k.mul(x, -1.0)), 1.0))


def _mixes(
    k: Kernel, x: Tensor, fn: Tensor, row: Int, tall: Int, whole: int, outs: int, eps: float, rows: int, cols: int
) -> Piece:
    """``fn`` times the normed streams, ``[outs, rows]``: a column of products with tokens is a row of numbers."""
    sums, squares = k.copy(0.0, k.vec(outs, rows)), k.copy(0.0, k.vec(rows, 1))
    fill = None if whole % cols == 0 else 0.0  # rows beyond the last are summed for themselves
    for at, wide in _columns(k, whole, cols):
        tile = k.load(x.window(row * whole + at, tall, wide, whole), rows, cols, fill)
        k.add(squares, k.sum(k.mul(tile, tile)), out=squares)
        for j in k.loop(outs):
            weights = k.load(fn.window(j * whole + at, 1, wide, whole), 1, cols, fill=0.0)
            k.add(sums.part(j), k.sum(k.mul(tile, weights)).as_row, out=sums.part(j))
    return k.mul(sums, inverse_rms(k, squares, whole, eps).as_row)


def _sinkhorn(k: Kernel, matrix: list[Piece], iterations: int, eps: float) -> None:
    """``matrix[i]`` is row i, ``[n, tokens]``, in place."""
    for line in matrix:
        powers = k.exp(k.sub(line, k.largest(line, axis=0)))
        k.add(k.div(powers, k.sum(powers, axis=0)), eps, out=line)
    _by_columns(k, matrix, eps)
    for _ in k.loop(iterations - 1):
        for line in matrix:
            k.div(line, k.add(k.sum(line, axis=0), eps), out=line)
        _by_columns(k, matrix, eps)


def _by_columns(k: Kernel, matrix: list[Piece], eps: float) -> None:
    total = matrix[0]
    for line in matrix[1:]:
        total = k.add(total, line)
    divisor = k.add(total, eps)
    for line in matrix:
        k.div(line, divisor, out=line)


def _collapse(
    k: Kernel, x: Tensor, gates: Piece, out: Tensor, row: Int, tall: Int, n: int, width: int, rows: int, cols: int
) -> None:
    """sum_k gate_k X_k, by columns."""
    for at, wide in _columns(k, width, cols):
        first, *others = k.load_all(_streams(x, row, tall, at, wide, n, rows, cols), fill=None)
        total = k.mul(first, gates.part(0).column)
        for j, stream in enumerate(others, 1):
            k.add(total, k.mul(stream, gates.part(j).column), out=total)
        k.store(out.window(row * width + at, tall, wide, width), total)
