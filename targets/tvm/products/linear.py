"""C = A times weights in panels, for any number of rows, groups side by side.

    A [M, groups * K]   panels [groups * P, K / step, NR]   C flat, M * groups * N elements
With P = ceil(N / NR). ``segments`` cut the columns of C into tensors of their own, one behind the other in memory:
columns s to s + w lie at M * s as ``[M, w]``. One row is a stream of weights; more rows share each panel.
Launch: A, panels, C, then M if it was given as None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels.gemm import NR
from ..kernels.kernel import Arg, Kernel
from ..rows.emit import build, choose, loop, narrow
from ..scalar import Expr, int64, stored
from .registers import HELD, STEP, add_products, fetch, fold, staged, sums, with_llvm
from .tuning import LANES, SERIAL_BELOW, TILES, Tile


@dataclass(frozen=True)
class _Product:
    """One kernel being written: its sizes, and the buffers in ``k``."""

    k: Any
    n: int
    steps: int
    groups: int
    segments: tuple[int, ...]
    form: str
    out: str
    tile: Tile

    @property
    def panels(self) -> int:
        """Panels of one group."""
        return -(-self.n // NR)

    def row(self) -> None:
        """A single row: every panel a task of its own, several chains of sums to hide the latency of one."""
        serial = self.groups * self.n * self.steps * 4 < SERIAL_BELOW
        with (T.serial if serial else T.parallel)(int64(0), int64(self.groups * self.panels)) as p:
            held = sums(self.tile.chains, NR)
            whole = self.steps // self.tile.chains
            with loop(0, whole) as s:
                for c in range(self.tile.chains):
                    step = s * int64(self.tile.chains) + int64(c)
                    fetch(self.k.panels, [p, step + int64(self.tile.ahead)], NR)
                    self._step(held, c, p, int64(0), step)
            for c in range(self.steps % self.tile.chains):
                self._step(held, c, p, int64(0), int64(whole * self.tile.chains + c))
            fold(held, self.tile.chains, NR)
            self._store(held, int64(0), p, int64(0))

    def rows(self) -> None:
        """Tiles of rows; a task takes a block of rows through one panel, which stays in the cache."""
        blocks = (self.k.M + int64(self.tile.block - 1)) // int64(self.tile.block)
        with T.parallel(int64(0), blocks * int64(self.groups * self.panels)) as task:
            p, begin = task // blocks, task % blocks * int64(self.tile.block)
            count = tirx.min(int64(self.tile.block), self.k.M - begin)
            with loop(0, (count + int64(self.tile.rows - 1)) // int64(self.tile.rows)) as t:
                first = begin + t * int64(self.tile.rows)
                held = sums(self.tile.rows, NR)
                with loop(0, self.steps) as s:
                    for i in range(self.tile.rows):
                        self._step(held, i, p, tirx.min(first + int64(i), self.k.M - int64(1)), s)
                out = staged(held)
                with loop(0, tirx.min(int64(self.tile.rows), self.k.M - first)) as i:
                    self._store(out, i, p, first + i)

    def _step(self, held: Any, i: int, p: Expr, m: Expr, s: Expr) -> None:
        column = s if self.groups == 1 else p // int64(self.panels) * int64(self.steps) + s
        add_products(held, i, NR, self.k.a[m, column], self.k.panels, [p, s], self.form)

    def _store(self, held: Any, i: Expr, p: Expr, m: Expr) -> None:
        inner = p if self.groups == 1 else p % int64(self.panels)
        rest = self.n % NR
        if rest:
            choose(
                inner == int64(self.panels - 1),
                lambda: self._columns(held, i, p, m, rest),
                lambda: self._columns(held, i, p, m, NR),
            )
        else:
            self._columns(held, i, p, m, NR)

    def _columns(self, held: Any, i: Expr, p: Expr, m: Expr, count: int) -> None:
        begin = self._address(p, m)
        for v in range(0, count - count % LANES, LANES):
            with T.vectorized(int64(0), int64(LANES)) as j:
                self._put(begin + int64(v) + j, held[i, int64(v) + j])
        with loop(count - count % LANES, count) as j:
            self._put(begin + j, held[i, j])

    def _put(self, at: Expr, value: Expr) -> None:
        T.buffer_store(self.k.c, stored(narrow(value, self.out), self.out), [at])

    def _address(self, p: Expr, m: Expr) -> Expr:
        """Where the columns of panel p begin in row m."""
        if self.groups > 1:
            column = p // int64(self.panels) * int64(self.n) + p % int64(self.panels) * int64(NR)
            return m * int64(self.groups * self.n) + column
        start, width, begin = int64(0), int64(self.segments[0]), 0
        for before, after in zip(self.segments, self.segments[1:], strict=False):
            begin += before
            inside = p >= int64(begin // NR)
            start = tirx.Select(inside, int64(begin), start)
            width = tirx.Select(inside, int64(after), width)
        return self.k.M * start + m * width + p * int64(NR) - start


def linear(
    name: str,
    *,
    n: int,
    k: int,
    form: str,
    out: str,
    m: int | None = None,
    groups: int = 1,
    segments: Sequence[int] = (),
    tile: Tile | None = None,
) -> Kernel:
    """The kernel; ``segments`` are widths that add up to n, each but the last a multiple of the panel width."""
    steps = k // STEP[form]
    rows = groups * -(-n // NR)
    args = [
        Arg("a", ("M", groups * steps), HELD[form]),
        Arg("panels", (rows, steps, NR), HELD[form]),
        Arg("c", ("size",), out),
    ]

    def body(scope: Any) -> None:
        work = _Product(scope, n, steps, groups, tuple(segments) or (n,), form, out, tile or TILES[form])
        choose(int64(1) == scope.M, work.row, work.rows)

    return with_llvm(build(name, args, {"M": m, "size": None if m is None else m * groups * n}, body), form)
