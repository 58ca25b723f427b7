"""From the state of a task to rows of the result; tasks that met only a share of their keys are joined first."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels import expr
from ..products.registers import ramp
from ..rows.emit import f32, lanes, loop, store
from ..scalar import Expr, int64, rounded
from .flash import Task
from .tuning import LANES, WIDE
from .widths import Widths, ceil, i32, memory, rows_side, spread, up, vectors


class Shares:
    """States of tasks that met only a share of their keys, to be joined."""

    def __init__(self, count: Expr, rows: int, widths: Widths) -> None:
        side = rows_side(rows)
        blocks = up(rows, side) // side
        self.peak, self.mass = memory(count, blocks, side), memory(count, blocks, side)
        self.state = memory(count, blocks, side, widths.padded)

    def keep(self, number: Expr, task: Task, rows: Expr) -> None:
        """File the state of a task under a number."""
        zero = int64(0)
        with loop(0, ceil(rows, task.side)) as n:
            for v in vectors(task.side):
                T.buffer_store(self.peak, task.peak[zero, n, ramp(v)], [number, n, ramp(v)])
                T.buffer_store(self.mass, task.mass[zero, n, ramp(v)], [number, n, ramp(v)])
            with loop(0, task.side) as i, loop(0, task.w.padded // LANES) as c:
                place = ramp(c * int64(LANES))
                T.buffer_store(self.state, task.state[zero, n, i, place], [number, n, i, place])


def write_rows(
    out: Any, b: Expr, base: Expr, rows: Expr, found: Task | Shares, first: Expr, shares: Expr, w: Widths, side: int,
    sinks: tuple[Any, int] | None = None, stride: int = 1,
) -> None:  # fmt: skip
    """Join the shares of a task, divide by the mass, to which ``sinks`` (of each head) add, and write the rows, each
    ``stride`` rows after the last.
    """
    top, total = memory(side), memory(side)
    with loop(0, ceil(rows, side)) as n:
        _initial(found, n, first, sinks, side, top, total)
        with loop(0, shares) as s, lanes(side) as j:
            T.buffer_store(top, tirx.max(top[j], found.peak[first + s, n, j]), [j])
        if sinks:
            with lanes(side) as j:
                T.buffer_store(total, expr.exp_nonpositive(total[j] - top[j]), [j])
        with loop(0, shares) as s:
            with lanes(side) as j:
                factor = expr.exp_nonpositive(found.peak[first + s, n, j] - top[j])
                T.buffer_store(found.peak, factor, [first + s, n, j])
            with lanes(side) as j:
                T.buffer_store(total, total[j] + found.peak[first + s, n, j] * found.mass[first + s, n, j], [j])
        with loop(0, tirx.min(rows - n * int64(side), int64(side))) as i:
            _weigh(found, n, i, first, shares, total, w)
            _write_row(out, b, base + (n * int64(side) + i) * int64(stride), lambda c: found.state[first, n, i, c], w)


def _initial(
    found: Task | Shares, n: Expr, first: Expr, sinks: tuple[Any, int] | None, side: int, top: Any, total: Any
) -> None:
    """A sink is a key that has no value; its logit waits in ``total``."""
    with loop(0, side) as j:
        if sinks:
            values, heads = sinks
            value = values[(n * int64(side) + j) % int64(heads)]
            T.buffer_store(top, value, [j])
            T.buffer_store(total, value, [j])
        else:
            T.buffer_store(top, found.peak[first, n, j], [j])
            T.buffer_store(total, f32(0), [j])


def _weigh(found: Task | Shares, n: Expr, i: Expr, first: Expr, shares: Expr, total: Any, w: Widths) -> None:
    """The first share of a row becomes the weighted sum of all."""
    with loop(0, shares) as s, loop(0, w.padded // LANES) as c:
        factor = spread(found.peak[first + s, n, i] / total[i])
        place = ramp(c * int64(LANES))
        value = found.state[first + s, n, i, place] * factor
        before = tirx.Select(spread(s == int64(0)), spread(f32(0)), found.state[first, n, i, place])
        T.buffer_store(found.state, before + value, [first, n, i, place])


def _write_row(out: Any, b: Expr, row: Expr, element: Any, w: Widths) -> None:
    """Round a row to the dtype of the result."""
    if w.form != "dot":
        full = w.values // LANES
        if full:
            with loop(0, full) as c, lanes() as j:
                at = c * int64(LANES) + j
                store(out, element(at), b, row, at)
        if w.values % LANES:
            with loop(full * LANES, w.values) as at:
                store(out, element(at), b, row, at)
        return
    with loop(0, w.padded // WIDE) as c, lanes() as j:
        low, high = (
            tirx.reinterpret("int32", rounded(element(c * int64(WIDE) + int64(h * LANES) + j), "bf16")) for h in (0, 1)
        )
        T.buffer_store(out, ((low >> i32(16)) & i32(0xFFFF)) | high, [b, row, c * int64(LANES) + j])
