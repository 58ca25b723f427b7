# mypy: ignore-errors
"""Experts' rows back to tokens: rows [P, N], slot int32 [tokens * k], mix float32 [tokens, k] -> Y [tokens, N].

Y[t] = sum over j of mix[t, j] * rows[slot[t * k + j]], in float32, rounded once; a slot outside 0 to P - 1 gives
nothing. Launch: rows, slot, mix, Y, then those of (P, tokens, k, N) that were given as None, as int64.
"""

from __future__ import annotations

from functools import cache

from tvm.s_tir import Schedule
from tvm.script import tirx as T

from .expr import widen
from .kernel import ITEM_BYTES, Kernel, finish, specialise

CHUNK = 256  # columns per task: one token still occupies several threads


@cache  # parsing costs 0.3 s
def combine_func(dtype: str):
    """Unscheduled: column chunks of a token, one expert's row after the other."""

    @T.prim_func(s_tir=True)
    def combine(
        pR: T.handle, pS: T.handle, pM: T.handle, pY: T.handle, P: T.int64, tokens: T.int64, k: T.int64, N: T.int64
    ):
        T.func_attr({"tirx.noalias": True})
        rows = T.match_buffer(pR, (P, N), dtype, align=ITEM_BYTES[dtype])
        slot = T.match_buffer(pS, (tokens * k,), "int32", align=4)
        mix = T.match_buffer(pM, (tokens, k), "float32", align=4)
        Y = T.match_buffer(pY, (tokens, N), dtype, align=ITEM_BYTES[dtype])
        for t, c in T.grid(tokens, (N + (CHUNK - 1)) // CHUNK):
            with T.sblock("combine"):
                vt, vc = T.axis.remap("SS", [t, c])
                T.reads(rows[0:P, vc * CHUNK : T.min(vc * CHUNK + CHUNK, N)], slot[vt * k : vt * k + k], mix[vt, 0:k])
                T.writes(Y[vt, vc * CHUNK : T.min(vc * CHUNK + CHUNK, N)])
                acc = T.sblock_alloc_buffer((T.int64(CHUNK),), "float32", scope="local")
                for i in range(T.int64(CHUNK)):
                    acc[i] = T.float32(0)
                for j in range(k):
                    if slot[vt * k + j] >= 0 and T.int64(slot[vt * k + j]) < P:
                        for i in range(T.min(N - vc * CHUNK, T.int64(CHUNK))):
                            acc[i] = acc[i] + widen(rows[T.int64(slot[vt * k + j]), vc * CHUNK + i]) * mix[vt, j]
                for i in range(T.min(N - vc * CHUNK, T.int64(CHUNK))):
                    Y[vt, vc * CHUNK + i] = T.cast(acc[i], dtype)

    return combine


def combine(
    name: str, *, n: int | None, k: int | None, tokens: int | None = None, rows: int | None = None,
    dtype: str = "float32",
) -> Kernel:  # fmt: skip
    """Weighted sums; parallel over tokens and column chunks."""
    before = specialise(combine_func(dtype), name, {"P": rows, "tokens": tokens, "k": k, "N": n})
    sch = Schedule(before)
    sch.parallel(sch.fuse(*sch.get_loops(sch.get_sblock("combine"))))
    return finish(before, sch, name)
