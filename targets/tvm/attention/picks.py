"""The entries that a token has chosen, as a list without holes."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..products.registers import ramp
from ..rows.emit import choose, loop
from ..scalar import Expr, int64
from .tuning import LANES
from .widths import ceil, i32, memory, spread, up


def distinct(chosen: Any, b: Expr, s: Expr, top_k: int, limit: Expr) -> tuple[Any, Expr]:
    """The indices of chosen[b, s] below ``limit`` that exist, each once, in order; and how many."""
    found, hits, count = memory(up(top_k, LANES), dtype="int32"), memory(LANES, dtype="int32"), memory(1, dtype="int64")
    zero = int64(0)
    T.buffer_store(count, zero, [zero])
    with loop(0, up(top_k, LANES)) as i:
        T.buffer_store(found, i32(-1), [i])
    with loop(0, top_k) as i:
        index = chosen[b, s, i]

        def add(index: Expr = index) -> None:
            T.buffer_store(hits, spread(i32(0)), [ramp(0)])
            with loop(0, ceil(count[zero], LANES)) as c:
                same = tirx.Select(found[ramp(c * int64(LANES))] == spread(index), spread(i32(1)), spread(i32(0)))
                T.buffer_store(hits, hits[ramp(0)] | same, [ramp(0)])
            with loop(1, LANES) as j:
                T.buffer_store(hits, hits[zero] | hits[j], [zero])
            choose(hits[zero] == i32(0), lambda: _append(found, count, index))

        choose(tirx.all(index >= i32(0), index.astype("int64") < limit), add)
    return found, count[zero]


def _append(found: Any, count: Any, index: Expr) -> None:
    T.buffer_store(found, index, [count[int64(0)]])
    T.buffer_store(count, count[int64(0)] + int64(1), [int64(0)])
