"""Products of rows with the matrices of their expert, and SwiGLU of two such products; also of all rows with one.

    x [rows, K / step]   offsets int32 [E + 1]   panels [E * P, K / step, NR]   out [pairs, N]
Expert e owns the pairs offsets[e] to offsets[e + 1]; pair r reads row source[r] of x where a source is given, else row
r. Tasks are (panel, expert) with experts inside, so that threads share the experts that are hit; the weights of others
are not touched. Without experts every row belongs to the one matrix.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels.gemm import NR
from ..kernels.kernel import Arg, Kernel
from ..rows.activation import gated
from ..rows.emit import build, choose, loop, narrow
from ..scalar import Expr, int64, stored
from .registers import HELD, STEP, add_products, fetch, fold, staged, sums, with_llvm
from .tuning import LANES, RUN, SERIAL_BELOW, TILES, Tile

Epilogue = Callable[[list[Expr]], Expr]  # of one element: from the sums of each product to the result


@dataclass(frozen=True)
class _Products:
    """One kernel being written: ``panels`` names the weights, ``row`` gives the row of x of a pair."""

    k: Any
    n: int
    steps: int
    experts: int
    panels: tuple[str, ...]
    form: str
    out: str
    tile: Tile
    row: Callable[[Expr], Expr]
    epilogue: Epilogue

    @property
    def rows(self) -> int:
        """Rows of a register tile: all products share the registers."""
        return self.tile.rows // len(self.panels)

    def write(self, span: Callable[[Expr], tuple[Expr, Expr]]) -> None:
        """Every panel of every expert; ``span`` gives the first pair of an expert and how many it has."""
        across, bytes_ = -(-self.n // NR), self.steps * NR * 4
        run = min(across, -(-RUN // bytes_))
        small = self.experts == 1 and across * bytes_ * len(self.panels) < SERIAL_BELOW
        parts = (T.serial if small else T.parallel)(int64(0), int64(-(-across // run)))
        with parts as part, loop(0, self.experts) as e:
            begin, count = span(e)
            first = part * int64(run)
            stop = tirx.min(int64(across), first + int64(run))
            with loop(first, tirx.Select(count == int64(0), first, stop)) as p:
                self._panel(e * int64(across) + p, p, begin, count)

    def _panel(self, panel: Expr, p: Expr, begin: Expr, count: Expr) -> None:
        choose(
            int64(1) == count,
            lambda: self._single(panel, p, begin),
            lambda: self._tiles(panel, p, begin, count),
        )

    def _single(self, panel: Expr, p: Expr, pair: Expr) -> None:
        """One row: chains of sums hide the latency of one."""
        chains = max(1, self.tile.chains // len(self.panels))
        held = [sums(chains, NR) for _ in self.panels]
        whole = self.steps // chains
        with loop(0, whole) as s:
            for c in range(chains):
                step = s * int64(chains) + int64(c)
                for name, h in zip(self.panels, held, strict=True):
                    fetch(getattr(self.k, name), [panel, step + int64(self.tile.ahead)], NR)
                    self._step(h, name, c, panel, self.row(pair), step)
        for c in range(self.steps % chains):
            for name, h in zip(self.panels, held, strict=True):
                self._step(h, name, c, panel, self.row(pair), int64(whole * chains + c))
        for h in held:
            fold(h, chains, NR)
        self._store(held, int64(0), p, pair)

    def _tiles(self, panel: Expr, p: Expr, begin: Expr, count: Expr) -> None:
        with loop(0, (count + int64(self.rows - 1)) // int64(self.rows)) as t:
            first = begin + t * int64(self.rows)
            held = [sums(self.rows, NR) for _ in self.panels]
            last = begin + count - int64(1)
            with loop(0, self.steps) as s:
                for i in range(self.rows):
                    row = self.row(tirx.min(first + int64(i), last))
                    for name, h in zip(self.panels, held, strict=True):
                        self._step(h, name, i, panel, row, s)
            out = [staged(h) for h in held]
            with loop(0, tirx.min(int64(self.rows), begin + count - first)) as i:
                self._store(out, i, p, first + i)

    def _step(self, held: Any, name: str, i: int, panel: Expr, row: Expr, s: Expr) -> None:
        add_products(held, i, NR, self.k.x[row, s], getattr(self.k, name), [panel, s], self.form)

    def _store(self, held: list[Any], i: Expr, p: Expr, pair: Expr) -> None:
        rest = self.n % NR
        if not rest:
            self._columns(held, i, p, pair, NR)
            return
        choose(
            p == int64(self.n // NR),
            lambda: self._columns(held, i, p, pair, rest),
            lambda: self._columns(held, i, p, pair, NR),
        )

    def _columns(self, held: list[Any], i: Expr, p: Expr, pair: Expr, count: int) -> None:
        def put(j: Expr) -> None:
            value = self.epilogue([narrow(h[i, j], self.out) for h in held])
            T.buffer_store(self.k.out, stored(narrow(value, self.out), self.out), [pair, p * int64(NR) + j])

        for v in range(0, count - count % LANES, LANES):
            with T.vectorized(int64(0), int64(LANES)) as j:
                put(int64(v) + j)
        with loop(count - count % LANES, count) as j:
            put(j)


def gated_linear(
    name: str, *, n: int, k: int, form: str, out: str, limit: float, m: int | None = None,
    tile: Tile | None = None,
) -> Kernel:  # fmt: skip
    """``out [M, N] = silu(x gate) * (x up)``, clamped; each product is rounded first. x, gate, up, out, M."""
    steps = k // STEP[form]
    weights = _weights(1, n, steps, form, ("gate", "up"))
    args = [Arg("x", ("M", steps), HELD[form]), *weights, Arg("out", ("M", n), out)]

    def body(scope: Any) -> None:
        work = _Products(
            scope, n, steps, 1, ("gate", "up"), form, out, tile or TILES[form], lambda r: r,
            lambda s: gated(s[0], s[1], limit),
        )  # fmt: skip
        work.write(lambda e: (int64(0), scope.M))

    return with_llvm(build(name, args, {"M": m}, body), form)


def gated_experts(
    name: str, *, experts: int, n: int, k: int, form: str, out: str, limit: float, tokens: int | None = None,
    pairs: int | None = None, tile: Tile | None = None,
) -> Kernel:  # fmt: skip
    """As ``gated_linear``, each pair with its expert. x, source, offsets, gate, up, out, tokens, pairs."""
    steps = k // STEP[form]
    args = [
        Arg("x", ("tokens", steps), HELD[form]), Arg("source", ("pairs",), "i32"),
        Arg("offsets", (experts + 1,), "i32"), *_weights(experts, n, steps, form, ("gate", "up")),
        Arg("out", ("pairs", n), out),
    ]  # fmt: skip

    def body(scope: Any) -> None:
        work = _Products(
            scope, n, steps, experts, ("gate", "up"), form, out, tile or TILES[form],
            lambda r: scope.source[r].astype("int64"), lambda s: gated(s[0], s[1], limit),
        )  # fmt: skip
        work.write(_span(scope))

    return with_llvm(build(name, args, {"tokens": tokens, "pairs": pairs}, body), form)


def linear_experts(
    name: str, *, experts: int, n: int, k: int, form: str, out: str, pairs: int | None = None, tile: Tile | None = None
) -> Kernel:
    """``out [pairs, N]``, each pair times the matrix of its expert. x, offsets, panels, out, pairs."""
    steps = k // STEP[form]
    args = [
        Arg("x", ("pairs", steps), HELD[form]), Arg("offsets", (experts + 1,), "i32"),
        *_weights(experts, n, steps, form, ("panels",)), Arg("out", ("pairs", n), out),
    ]  # fmt: skip

    def body(scope: Any) -> None:
        work = _Products(
            scope, n, steps, experts, ("panels",), form, out, tile or TILES[form], lambda r: r, lambda s: s[0]
        )
        work.write(_span(scope))

    return with_llvm(build(name, args, {"pairs": pairs}, body), form)


def _weights(experts: int, n: int, steps: int, form: str, names: tuple[str, ...]) -> list[Arg]:
    return [Arg(name, (experts * -(-n // NR), steps, NR), HELD[form]) for name in names]


def _span(scope: Any) -> Callable[[Expr], tuple[Expr, Expr]]:
    def span(e: Expr) -> tuple[Expr, Expr]:
        begin = scope.offsets[e].astype("int64")
        return begin, scope.offsets[e + int64(1)].astype("int64") - begin

    return span
