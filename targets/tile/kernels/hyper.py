"""Hyper-connections (architectures.md §5): tokens lie in lanes, so that a matrix of n x n is n^2 rows of numbers."""

from __future__ import annotations

from collections.abc import Iterator

from ..build import Kernel
from ..logical import Piece, Program, Tensor, Window
from ..scalar import Int, ceildiv, least, less, rest, sub
from .norm import inverse_rms
from .route import sigmoid

LANES = 8  # tokens of a block: as few as a row of numbers may be, so that the others have work too
PART = 1024  # columns whose products one task sums; V4-Pro has 28 such parts, a chip some 40 cores
MORE = 2  # rows behind the projections: the squares, and one that makes their number even


def hyper_mixes(*, outs: int, whole: int, dtype: str, cols: int, stages: int) -> Program:
    """``sums`` f32 ``[ceil(T / LANES), parts, (outs + MORE) LANES]`` of ``x [T, n d]`` and ``fn`` f32 ``[outs, n d]``:
    products of ``PART`` columns with every row of ``fn``, LANES tokens side by side, and behind them the squares.
    Lanes beyond the last token hold anything.
    """
    k = Kernel("hyper_mixes", stages)
    count, parts, held = k.size("T"), -(-whole // PART), outs + MORE
    x, fn = k.tensor("x", dtype, count, whole), k.tensor("fn", "f32", outs, whole)
    out = k.out("sums", "f32", ceildiv(count, LANES), parts, held * LANES)
    even = whole % cols == PART % cols == 0
    for task in k.tasks(ceildiv(count, LANES) * parts):
        row, begin = task // parts * LANES, task % parts * PART
        tall, left = rest(count, row, LANES), least(PART, sub(whole, begin))
        sums = k.full(0.0, held, LANES)
        for step in k.loop(ceildiv(left, cols)):
            at, wide = begin + step * cols, cols if even else least(cols, sub(left, step * cols))
            # Rows beyond the last are summed for themselves; columns beyond it must be 0.
            tile = k.load(x.window(row * whole + at, tall, wide, whole), LANES, cols, None if even else 0.0)
            k.add(sums.part(outs), k.sum(k.mul(tile, tile)).as_row, out=sums.part(outs))
            for j in k.loop(outs):
                weights = k.load(fn.window(j * whole + at, 1, wide, whole), 1, cols, fill=0.0)
                k.add(sums.part(j), k.sum(k.mul(tile, weights)).as_row, out=sums.part(j))
        k.store(out.window(task * (held * LANES), held, LANES, LANES), sums)
    return k.done()


def hyper_pre(
    *, n: int, width: int, dtype: str, eps: float, hc_eps: float, iterations: int, cols: int, stages: int
) -> Program:
    """``x [T, n, d]`` to rows ``[T, d]``, ``post`` f32 ``[T, n]`` and ``mix`` f32 ``[T, n, n]``, with the ``sums`` of
    ``hyper_mixes``, ``base [(2 + n) n]``, ``scale [3]``.
    """
    k = Kernel("hyper_pre", stages)
    site = _Site(k, n, width, dtype, eps, [n, n, n * n])
    post, mix = k.out("post", "f32", site.count, n), k.out("mix", "f32", site.count, n * n)
    for block, at, wide in site.tasks(cols):
        mixes = site.mixes(block)
        site.collapse(k.add(sigmoid(k, mixes.part(0, n)), hc_eps), block, at, wide, cols)
        with k.when(less(at, 1)):  # once for a block of tokens
            k.store(post.block(block * LANES, LANES), k.transpose(k.mul(sigmoid(k, mixes.part(n, n)), 2.0)))
            _sinkhorn(k, [mixes.part(2 * n + i * n, n) for i in range(n)], iterations, hc_eps)
            k.store(mix.block(block * LANES, LANES), k.transpose(mixes.part(2 * n, n * n)))
    return k.done()


def hyper_head(*, n: int, width: int, dtype: str, eps: float, hc_eps: float, cols: int, stages: int) -> Program:
    """``x [T, n, d]`` to rows ``[T, d]`` with the ``sums`` of ``hyper_mixes``, ``base [n]``, ``scale [1]``."""
    k = Kernel("hyper_head", stages)
    site = _Site(k, n, width, dtype, eps, [n])
    for block, at, wide in site.tasks(cols):
        site.collapse(k.add(sigmoid(k, site.mixes(block).part(0, n)), hc_eps), block, at, wide, cols)
    return k.done()


class _Site:
    """What the first half of a site and the head share; ``sizes`` rows of projections a scale."""

    def __init__(self, k: Kernel, n: int, width: int, dtype: str, eps: float, sizes: list[int]) -> None:
        self.k, self.n, self.width, self.eps = k, n, width, eps
        self.outs, self.parts = sum(sizes), -(-n * width // PART)
        self.count = k.size("T")
        self.x = k.tensor("x", dtype, self.count, n * width)
        blocks, held = ceildiv(self.count, LANES), (self.outs + MORE) * LANES
        self.sums = k.tensor("sums", "f32", blocks, self.parts, held)
        base, scale = k.tensor("base", "f32", self.outs), k.tensor("scale", "f32", len(sizes))
        self.rows = k.out("rows", dtype, self.count, width)
        self.scales, self.bases = _gate_parameters(k, scale, base, sizes)

    def tasks(self, cols: int) -> Iterator[tuple[Int, Int, Int]]:
        """Blocks of tokens, and in each some columns: the first, and how many."""
        across = -(-self.width // cols)
        for task in self.k.tasks(ceildiv(self.count, LANES) * across):
            at = task % across * cols
            yield task // across, at, rest(self.width, at, cols)

    def mixes(self, block: Int) -> Piece:
        """Normed projections times scale plus base, ``[outs, LANES]``."""
        k, held = self.k, self.outs + MORE
        line = held * LANES
        sums = k.load(self.sums.window(block * (self.parts * line), self.parts, line, line), self.parts, line)
        mixes = k.full(k.sum(sums, axis=0).flat(held, LANES), held, LANES)
        inverse = inverse_rms(k, mixes.part(self.outs), self.n * self.width, self.eps)
        ours = mixes.part(0, self.outs)
        return k.add(k.mul(k.mul(ours, inverse), self.scales), self.bases)

    def collapse(self, gates: Piece, block: Int, at: Int, wide: Int, cols: int) -> None:
        """sum_k gate_k X_k of some columns."""
        k, row = self.k, block * LANES
        tall = rest(self.count, row, LANES)
        first, *others = k.load_all(_streams(self.x, row, tall, at, wide, self.n, LANES, cols), fill=None)
        total = k.mul(first, gates.part(0).column)
        for j, stream in enumerate(others, 1):
            k.add(total, k.mul(stream, gates.part(j).column), out=total)
        k.store(self.rows.window(row * self.width + at, tall, wide, self.width), total)


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
        tall, wide = rest(count, row, rows), rest(width, at, cols)
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


def _streams(
    x: Tensor, row: Int, tall: Int, at: Int, wide: Int, n: int, rows: int, cols: int
) -> list[tuple[Window, int, int]]:
    """Some columns of every stream, to be loaded."""
    whole = x.shape[-1]
    width = whole // n
    return [(x.window(row * whole + j * width + at, tall, wide, whole), rows, cols) for j in range(n)]


def _gate_parameters(k: Kernel, scale: Tensor, base: Tensor, sizes: list[int]) -> tuple[Piece, Piece]:
    """What each row of projections ``[outs, LANES]`` is multiplied by, ``sizes`` rows a scale, and a column to add."""
    windows = [(scale.window(number, 1, 1, 1), 1, 8) for number in range(len(sizes))]
    *numbers, bases = k.load_all([*windows, (base.window(0, sum(sizes), 1, 1), sum(sizes), 1)])
    scales = k.vec(sum(sizes), LANES, name="scales")
    begin = 0
    for number, size in zip(numbers, sizes, strict=True):
        k.copy(k.sum(number), scales.part(begin, size))
        begin += size
    return scales, bases


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
