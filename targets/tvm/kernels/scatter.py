# mypy: ignore-errors
"""In-place row scatter: for each (b, s) with 0 <= idx[b, s] < R, state[b, idx[b, s]] = rows[b, s]; later s wins.

    state [batch, R, W], idx [batch, S] of any integers, rows [batch, S, W]
Launch: state, idx, rows, then those of (batch, R, S, W) that were given as None, as int64.
"""

from __future__ import annotations

from functools import cache

from tvm.s_tir import Schedule
from tvm.script import tirx as T

from .kernel import ITEM_BYTES, Kernel, finish, specialise

CHUNK = 512  # columns per task: the writes of one row spread over threads when the batch is small


@cache  # parsing costs 0.3 s
def scatter_func(dtype: str, index: str):
    """Unscheduled scatter; s is the innermost task loop, so that writes to one row keep their order."""

    @T.prim_func(s_tir=True)
    def scatter(pS: T.handle, pI: T.handle, pR: T.handle, batch: T.int64, R: T.int64, S: T.int64, W: T.int64):
        T.func_attr({"tirx.noalias": True})
        state = T.match_buffer(pS, (batch, R, W), dtype, align=ITEM_BYTES[dtype])
        idx = T.match_buffer(pI, (batch, S), index, align=ITEM_BYTES[index])
        rows = T.match_buffer(pR, (batch, S, W), dtype, align=ITEM_BYTES[dtype])
        for b, c in T.grid(batch, (W + (CHUNK - 1)) // CHUNK):
            with T.sblock("scatter"):
                vb, vc = T.axis.remap("SS", [b, c])
                T.reads(idx[vb, 0:S], rows[vb, 0:S, vc * CHUNK : T.min(vc * CHUNK + CHUNK, W)])
                T.writes(state[vb, 0:R, vc * CHUNK : T.min(vc * CHUNK + CHUNK, W)])
                for s in range(S):
                    if T.int64(idx[vb, s]) >= 0 and T.int64(idx[vb, s]) < R:
                        for w in range(T.min(W - vc * CHUNK, T.int64(CHUNK))):
                            state[vb, T.int64(idx[vb, s]), vc * CHUNK + w] = rows[vb, s, vc * CHUNK + w]

    return scatter


def scatter(
    name: str,
    *,
    width: int | None,
    batch: int | None = None,
    capacity: int | None = None,
    count: int | None = None,
    dtype: str = "float32",
    index: str = "int32",
) -> Kernel:
    """Scatter `count` rows of `width` elements per batch entry; parallel over batch entries and column chunks."""
    sizes = {"batch": batch, "R": capacity, "S": count, "W": width}
    before = specialise(scatter_func(dtype, index), name, sizes)
    sch = Schedule(before)
    sch.parallel(sch.fuse(*sch.get_loops(sch.get_sblock("scatter"))))
    return finish(before, sch, name)
