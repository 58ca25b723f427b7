# mypy: ignore-errors
"""Index of the largest element of each row: X [R, N] -> index int32 [R]; ties go to the lowest index.

Launch: X, index, then those of (R, N) that were given as None, as int64. NaN is never chosen; a row of NaN gives 0.
"""

from __future__ import annotations

from functools import cache

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script import tirx as T

from .kernel import ITEM_BYTES, Kernel, finish, specialise

LANES = 64  # independent maxima per row: four vectors hide the latency of compare and select


@cache
def argmax_func(dtype: str):
    """Unscheduled search: LANES maxima side by side, then the best of them, then the tail."""
    lowest = T.float32(float("-inf")) if dtype == "float32" else tirx.min_value(dtype)

    @T.prim_func(s_tir=True)
    def argmax(pX: T.handle, pI: T.handle, R: T.int64, N: T.int64):
        T.func_attr({"tirx.noalias": True})
        X = T.match_buffer(pX, (R, N), dtype, align=ITEM_BYTES[dtype])
        index = T.match_buffer(pI, (R,), "int32", align=4)
        for r in range(R):
            with T.sblock("row"):
                vr = T.axis.spatial(R, r)
                T.reads(X[vr, 0:N])
                T.writes(index[vr])
                best = T.sblock_alloc_buffer((T.int64(LANES),), dtype, scope="local")
                block = T.sblock_alloc_buffer((T.int64(LANES),), "int32", scope="local")
                top = T.sblock_alloc_buffer((T.int64(1),), dtype, scope="local")
                for j in T.vectorized(T.int64(LANES)):
                    best[j] = lowest
                    block[j] = 0
                for i in range(N // LANES):
                    for j in T.vectorized(T.int64(LANES)):
                        block[j] = T.Select(X[vr, i * LANES + j] > best[j], T.int32(i), block[j])
                        best[j] = T.max(best[j], X[vr, i * LANES + j])
                top[0] = best[0]
                index[vr] = block[0] * LANES
                for j in range(1, T.int64(LANES)):
                    if best[j] > top[0] or (best[j] == top[0] and block[j] * LANES + T.int32(j) < index[vr]):
                        top[0] = best[j]
                        index[vr] = block[j] * LANES + T.int32(j)
                for j in range(N // LANES * LANES, N):
                    if X[vr, j] > top[0]:
                        top[0] = X[vr, j]
                        index[vr] = T.int32(j)

    return argmax


def argmax(name: str, *, n: int | None, rows: int | None = None, dtype: str = "float32") -> Kernel:
    """Greedy choice among float32 or integers; parallel over rows."""
    before = specialise(argmax_func(dtype), name, {"R": rows, "N": n})
    sch = Schedule(before)
    sch.parallel(sch.get_loops(sch.get_sblock("row"))[0])
    return finish(before, sch, name)
