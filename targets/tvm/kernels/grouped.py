# mypy: ignore-errors
"""Ragged product for experts: rows of X, sorted by expert, times the packed weight of their expert.

    X [M, K], offsets int32 [E + 1], W [E, ceil(N / nr), K, nr] -> Y [M, N]
Expert e owns rows offsets[e] to offsets[e + 1]; rows from offsets[E] on become zero. Sums are float32.
Launch: X, offsets, W, Y, then those of (M, E, N, K) that were given as None, as int64.
"""

from __future__ import annotations

from functools import cache

from tvm.s_tir import Schedule
from tvm.script import tirx as T

from .expr import widen
from .gemm import MR, NR
from .kernel import ITEM_BYTES, Kernel, finish, specialise


@cache  # parsing costs 0.3 s
def grouped_func(mr: int, nr: int, types: tuple[str, str, str]):
    """Unscheduled ragged product: one block for each (panel, expert), tiles of rows inside it."""
    x, w, y = types
    NR = T.int64(nr)

    @T.prim_func(s_tir=True)
    def grouped(pX: T.handle, pO: T.handle, pW: T.handle, pY: T.handle, M: T.int64, E: T.int64, N: T.int64, K: T.int64):
        T.func_attr({"tirx.noalias": True})
        X = T.match_buffer(pX, (M, K), x, align=ITEM_BYTES[x])
        offsets = T.match_buffer(pO, (E + 1,), "int32", align=4)
        W = T.match_buffer(pW, (E, (N + (nr - 1)) // nr, K, NR), w, align=ITEM_BYTES[w])
        Y = T.match_buffer(pY, (M, N), y, align=ITEM_BYTES[y])
        for o, e in T.grid((N + (nr - 1)) // nr, E):
            with T.sblock("expert"):
                vo, ve = T.axis.remap("SS", [o, e])
                T.reads(X[0:M, 0:K], offsets[ve : ve + 2], W[ve, vo, 0:K, 0:NR])
                T.writes(Y[0:M, vo * NR : T.min(vo * NR + NR, N)])
                for t in range((T.int64(offsets[ve + 1]) - T.int64(offsets[ve]) + (mr - 1)) // mr):
                    with T.sblock("tile"):
                        vt = T.axis.spatial(M, t)
                        T.reads(X[0:M, 0:K], offsets[ve : ve + 2], W[ve, vo, 0:K, 0:NR])
                        T.writes(Y[0:M, vo * NR : T.min(vo * NR + NR, N)])
                        acc = T.sblock_alloc_buffer((T.int64(mr), NR), "float32", scope="local")
                        wide = T.sblock_alloc_buffer((T.int64(mr), K), "float32")
                        for i, k in T.grid(T.int64(mr), K):
                            with T.sblock("widen"):
                                vi, vk = T.axis.remap("SS", [i, k])
                                wide[vi, vk] = widen(
                                    X[T.min(T.int64(offsets[ve]) + vt * mr + vi, T.int64(offsets[ve + 1]) - 1), vk]
                                )
                        for i, k, j in T.grid(T.int64(mr), K, NR):
                            with T.sblock("product"):
                                vi, vk, vj = T.axis.remap("SRS", [i, k, j])
                                with T.init():
                                    acc[vi, vj] = T.float32(0)
                                acc[vi, vj] += wide[vi, vk] * widen(W[ve, vo, vk, vj])
                        for i in range(T.int64(mr)):
                            with T.sblock("store"):
                                vi = T.axis.spatial(T.int64(mr), i)
                                T.reads(acc[vi, 0:NR], offsets[ve : ve + 2])
                                T.writes(Y[0:M, vo * NR : T.min(vo * NR + NR, N)])
                                if T.int64(offsets[ve]) + vt * mr + vi < T.int64(offsets[ve + 1]):
                                    if vo * NR + NR <= N:
                                        for j in T.vectorized(NR):
                                            Y[T.int64(offsets[ve]) + vt * mr + vi, vo * NR + j] = T.cast(acc[vi, j], y)
                                    else:
                                        for j in range(N - vo * NR):
                                            Y[T.int64(offsets[ve]) + vt * mr + vi, vo * NR + j] = T.cast(acc[vi, j], y)
        for m in range(M):
            with T.sblock("rest"):
                vm = T.axis.spatial(M, m)
                T.reads(offsets[E])
                T.writes(Y[vm, 0:N])
                if vm >= T.int64(offsets[E]):
                    for n in range(N):
                        Y[vm, n] = T.cast(T.float32(0), y)

    return grouped


def grouped(
    name: str,
    *,
    experts: int | None,
    n: int | None,
    k: int | None,
    m: int | None = None,
    types: tuple[str, str, str] = ("float32", "float32", "float32"),
    mr: int = MR,
    nr: int = NR,
) -> Kernel:
    """Ragged product over `experts` experts. Panels are the outer tasks, so that threads share the busy experts."""
    before = specialise(grouped_func(mr, nr, types), name, {"M": m, "E": experts, "N": n, "K": k})
    sch = Schedule(before)
    o, _ = sch.get_loops(sch.get_sblock("expert"))
    sch.parallel(o)
    if types[0] == "float32":
        sch.compute_inline(sch.get_sblock("widen"))
    product = sch.get_sblock("product")
    i, depth, j = sch.get_loops(product)[-3:]
    sch.reorder(depth, i, j)
    sch.unroll(i)
    sch.vectorize(j)
    zero = sch.decompose_reduction(product, depth)
    sch.unroll(sch.get_loops(zero)[-2])
    sch.unroll(sch.get_loops(sch.get_sblock("store"))[-1])
    sch.parallel(sch.get_loops(sch.get_sblock("rest"))[0])
    return finish(before, sch, name)
