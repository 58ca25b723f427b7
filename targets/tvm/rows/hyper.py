"""Hyper-connection sites: one launch for each half. Gates and Sinkhorn run with one token in each vector lane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels import expr
from ..kernels.gemm import NR
from ..kernels.kernel import Arg, Kernel
from ..products.registers import add_products, fold, sums, with_llvm
from ..products.tuning import TILES
from ..scalar import Expr, int64
from .activation import sigmoid
from .emit import build, choose, each, f32, lanes, load, local, loop, store, total, vectors
from .tuning import LANES, PARALLEL_FROM

ROWS = 8  # tokens of a product's register tile


@dataclass(frozen=True)
class Site:
    """What a site computes: ``outputs`` projections of the ``n`` streams, and their gates."""

    n: int
    width: int
    dtype: str
    eps: float
    hc_eps: float
    outputs: int


def hyper_pre(
    name: str, *, n: int, width: int, dtype: str, eps: float, hc_eps: float, iterations: int, tokens: int | None
) -> Kernel:
    """x ``[tokens, n, width]``, fn in a panel ``[n * width, NR]``, base, scale; rows ``[tokens, width]``, post
    ``[tokens, n]``, mix ``[tokens, n * n]``; tokens if None.
    """
    more = [Arg("post", ("tokens", n), "f32"), Arg("mix", ("tokens", n * n), "f32")]

    def gates(tile: _Tile) -> None:
        _keep(tile.pre, n, lambda i, j: sigmoid(tile.gate(i, 0, j)) + f32(hc_eps))
        post, square = local(n, LANES), local(n * n, LANES)
        _keep(post, n, lambda i, j: sigmoid(tile.gate(n + i, 1, j)) * f32(2))
        _keep(square, n * n, lambda i, j: tile.gate(2 * n + i, 2, j))
        _sinkhorn(square, n, iterations, hc_eps)
        tile.scatter(post, n, tile.k.post)
        tile.scatter(square, n * n, tile.k.mix)

    return _kernel(name, Site(n, width, dtype, eps, hc_eps, (2 + n) * n), 3, more, gates, tokens)


def hyper_head(
    name: str, *, n: int, width: int, dtype: str, eps: float, hc_eps: float, tokens: int | None
) -> Kernel:
    """x ``[tokens, n, width]``, fn in a panel, base, scale, rows ``[tokens, width]``; tokens if None."""

    def gates(tile: _Tile) -> None:
        _keep(tile.pre, n, lambda i, j: sigmoid(tile.gate(i, 0, j)) + f32(hc_eps))

    return _kernel(name, Site(n, width, dtype, eps, hc_eps, n), 1, [], gates, tokens)


@dataclass(frozen=True)
class _Tile:
    """LANES tokens from ``first``: their projections ``[LANES, NR]``, 1 / rms, and room for the streams' gates."""

    k: Any
    first: Expr
    projected: Any
    inverse: Any
    pre: Any

    def gate(self, output: int, scale: int, j: Expr) -> Expr:
        """Projection times scale plus base."""
        normed = self.projected[j, int64(output)] * self.inverse[j]
        return normed * self.k.scale[int64(scale)] + self.k.base[int64(output)]

    def scatter(self, values: Any, count: int, target: Any) -> None:
        """What the lanes hold, to the rows of tokens that exist."""
        with loop(0, LANES) as j, loop(0, count) as i:
            at = [self.first + j, i]
            choose(at[0] < self.k.tokens, lambda: T.buffer_store(target, values[i, j], at))


def _kernel(
    name: str, site: Site, scales: int, more: Sequence[Arg], gates: Callable[[_Tile], None], tokens: int | None
) -> Kernel:
    flat = site.n * site.width
    args = [
        Arg("x", ("tokens", flat), site.dtype), Arg("fn", (1, flat, NR), "f32"), Arg("base", (site.outputs,), "f32"),
        Arg("scale", (scales,), "f32"), Arg("rows", ("tokens", site.width), site.dtype), *more,
    ]  # fmt: skip

    def body(k: Any) -> None:
        def tile(t: Expr) -> None:
            first = t * int64(LANES)
            work = _Tile(k, first, local(LANES, NR), local(LANES), local(site.n, LANES))
            _project(work, flat, site.eps)
            gates(work)
            with loop(0, tirx.min(int64(LANES), k.tokens - first)) as j:
                _collapse(work, site, j)

        each((k.tokens + int64(LANES - 1)) // int64(LANES), PARALLEL_FROM, tile)

    return with_llvm(build(name, args, {"tokens": tokens}, body), "f32")


def _project(tile: _Tile, flat: int, eps: float) -> None:
    """Projections of the raw streams, and 1 / rms: the norm is a factor of each token, applied afterwards."""
    k = tile.k
    count = tirx.min(int64(LANES), k.tokens - tile.first)
    with loop(0, count) as j:
        squares = total(flat, lambda i: expr.let(load(k.x, tile.first + j, i), lambda x: x * x))
        T.buffer_store(tile.inverse, expr.rsqrt(squares[0] * f32(1.0 / flat) + f32(eps)), [j])
    with loop(count, LANES) as j:
        T.buffer_store(tile.inverse, f32(0), [j])
    choose(int64(1) == count, lambda: _one(tile, flat), lambda: _several(tile, flat, count))


def _one(tile: _Tile, flat: int) -> None:
    chains = TILES["f32"].chains
    held = sums(chains, NR)
    with loop(0, flat // chains) as s:
        for c in range(chains):
            step = s * int64(chains) + int64(c)
            add_products(held, c, NR, load(tile.k.x, tile.first, step), tile.k.fn, [int64(0), step], "f32")
    for step in range(flat // chains * chains, flat):
        add_products(held, 0, NR, load(tile.k.x, tile.first, int64(step)), tile.k.fn, [int64(0), int64(step)], "f32")
    fold(held, chains, NR)
    _copy_sums(tile, held, 0, int64(0))


def _several(tile: _Tile, flat: int, count: Expr) -> None:
    with loop(0, (count + int64(ROWS - 1)) // int64(ROWS)) as g:
        held = sums(ROWS, NR)
        with loop(0, flat) as step:
            for i in range(ROWS):
                token = tile.first + tirx.min(g * int64(ROWS) + int64(i), count - int64(1))
                add_products(held, i, NR, load(tile.k.x, token, step), tile.k.fn, [int64(0), step], "f32")
        for i in range(ROWS):
            _copy_sums(tile, held, i, g * int64(ROWS) + int64(i))


def _copy_sums(tile: _Tile, held: Any, row: int, to: Expr) -> None:
    for v in range(0, NR, LANES):
        with lanes() as j:
            T.buffer_store(tile.projected, held[int64(row), int64(v) + j], [to, int64(v) + j])


def _keep(buffer: Any, count: int, value: Callable[[int, Expr], Expr]) -> None:
    """Row i of the buffer becomes ``value(i, lane)``."""
    for i in range(count):
        with lanes() as j:
            T.buffer_store(buffer, value(i, j), [int64(i), j])


def _sinkhorn(square: Any, n: int, iterations: int, eps: float) -> None:
    """Softmax of the rows plus eps, then columns, and rows and columns in turn; ``square [n * n, LANES]`` in place."""
    norm, peak = local(n, LANES), local(n, LANES)
    rows = [[r * n + c for c in range(n)] for r in range(n)]
    columns = [[r * n + c for r in range(n)] for c in range(n)]
    for r, row in enumerate(rows):
        with lanes() as j:
            best = square[int64(row[0]), j]
            for i in row[1:]:
                best = tirx.max(best, square[int64(i), j])
            T.buffer_store(peak, best, [int64(r), j])
        for i in row:
            with lanes() as j:
                T.buffer_store(square, expr.exp(square[int64(i), j] - peak[int64(r), j]), [int64(i), j])
    _divide(square, norm, rows, 0.0)
    for i in range(n * n):
        with lanes() as j:
            T.buffer_store(square, square[int64(i), j] + f32(eps), [int64(i), j])
    _divide(square, norm, columns, eps)
    with loop(0, iterations - 1):
        _divide(square, norm, rows, eps)
        _divide(square, norm, columns, eps)


def _divide(square: Any, norm: Any, groups: Sequence[Sequence[int]], eps: float) -> None:
    """Each element by the sum of its group, plus eps."""
    for g, group in enumerate(groups):
        with lanes() as j:
            total_ = square[int64(group[0]), j]
            for i in group[1:]:
                total_ = total_ + square[int64(i), j]
            T.buffer_store(norm, total_ + f32(eps), [int64(g), j])
        for i in group:
            with lanes() as j:
                T.buffer_store(square, square[int64(i), j] / norm[int64(g), j], [int64(i), j])


def _collapse(tile: _Tile, site: Site, j: Expr) -> None:
    """rows = sum over streams of pre times stream, rounded once."""
    token = tile.first + j

    def channel(i: Expr) -> None:
        value = load(tile.k.x, token, i) * tile.pre[int64(0), j]
        for s in range(1, site.n):
            value = value + load(tile.k.x, token, int64(s * site.width) + i) * tile.pre[int64(s), j]
        store(tile.k.rows, value, token, i)

    vectors(site.width, channel)


def hyper_post(name: str, *, n: int, width: int, dtype: str, tokens: int | None) -> Kernel:
    """y ``[tokens, width]``, x ``[tokens, n * width]``, post ``[tokens, n]``, mix ``[tokens, n * n]``, out like x."""
    args = [
        Arg("y", ("tokens", width), dtype), Arg("x", ("tokens", n * width), dtype), Arg("post", ("tokens", n), "f32"),
        Arg("mix", ("tokens", n * n), "f32"), Arg("out", ("tokens", n * width), dtype),
    ]  # fmt: skip

    def body(k: Any) -> None:
        def token(t: Expr) -> None:
            def channel(i: Expr) -> None:
                streams = [load(k.x, t, int64(s * width) + i) for s in range(n)]
                for to in range(n):
                    kept = streams[0] * k.mix[t, int64(to)]
                    for s in range(1, n):
                        kept = kept + streams[s] * k.mix[t, int64(s * n + to)]
                    store(k.out, load(k.y, t, i) * k.post[t, int64(to)] + kept, t, int64(to * width) + i)

            vectors(width, channel)

        each(k.tokens, n * width * 2, token)

    return build(name, args, {"tokens": tokens}, body)
