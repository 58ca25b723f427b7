# mypy: ignore-errors
"""Inclusive sums along the middle axis of X [outer, n, inner]: Y[o, i, c] = sum of X[o, j, c] over j <= i.

Launch: X, Y, then those of (outer, n, inner) that were given as None, as int64.
"""

from __future__ import annotations

from functools import cache

from tvm.s_tir import Schedule
from tvm.script import tirx as T

from .expr import widen
from .kernel import ITEM_BYTES, Kernel, finish, specialise

CHUNK = 64  # columns per task, added side by side


@cache  # parsing costs 0.3 s
def cumsum_func(dtype: str):
    """Unscheduled running sum over column chunks; the first row is a copy."""

    narrow = dtype in ("bfloat16", "float16")
    wide, load = ("float32", widen) if narrow else (dtype, lambda x: x)

    @T.prim_func(s_tir=True)
    def cumsum(pX: T.handle, pY: T.handle, outer: T.int64, n: T.int64, inner: T.int64):
        T.func_attr({"tirx.noalias": True})
        X = T.match_buffer(pX, (outer, n, inner), dtype, align=ITEM_BYTES[dtype])
        Y = T.match_buffer(pY, (outer, n, inner), dtype, align=ITEM_BYTES[dtype])
        for o, c in T.grid(outer, (inner + (CHUNK - 1)) // CHUNK):
            with T.sblock("cumsum"):
                vo, vc = T.axis.remap("SS", [o, c])
                T.reads(X[vo, 0:n, vc * CHUNK : T.min(vc * CHUNK + CHUNK, inner)])
                T.writes(Y[vo, 0:n, vc * CHUNK : T.min(vc * CHUNK + CHUNK, inner)])
                acc = T.sblock_alloc_buffer((T.int64(CHUNK),), wide, scope="local")
                for k in range(T.int64(CHUNK)):
                    acc[k] = T.cast(0, wide)
                for i in range(n):
                    for k in range(T.min(inner - vc * CHUNK, T.int64(CHUNK))):
                        acc[k] = acc[k] + load(X[vo, i, vc * CHUNK + k])
                        Y[vo, i, vc * CHUNK + k] = T.cast(acc[k], dtype)

    return cumsum


def cumsum(name: str, *, n: int | None, inner: int | None, outer: int | None = None, dtype: str = "float32") -> Kernel:
    """Running sums, of narrow floats in float32; parallel over outer entries and column chunks."""
    before = specialise(cumsum_func(dtype), name, {"outer": outer, "n": n, "inner": inner})
    sch = Schedule(before)
    sch.parallel(sch.fuse(*sch.get_loops(sch.get_sblock("cumsum"))))
    return finish(before, sch, name)
