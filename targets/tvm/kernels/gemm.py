# mypy: ignore-errors
"""Packed matrix products: C[b, m, n] = sum over k of A[b, m, k] * Bp[b, n // nr, k, n % nr], summed in float32.

`batch` says where the batch index stands:
    none     A [M, K]         Bp [P, K, nr]         C [M, N]
    leading  A [batch, M, K]  Bp [batch, P, K, nr]  C [batch, M, N]
    middle   A [M, batch, K]  Bp [batch, P, K, nr]  C [M, batch, N]
with P = ceil(N / nr). Launch: A, Bp, C, then those of (batch, M, N, K) that were given as None, as int64.
"""

from __future__ import annotations

from functools import cache

from tvm.s_tir import Schedule
from tvm.script import tirx as T

from .expr import widen
from .kernel import ITEM_BYTES, Kernel, finish, specialise

NR = 32  # panel width: two 512-bit accumulators per row
MR = 8  # rows per tile: 16 accumulators, two panel vectors and one broadcast fit 32 registers

ROWS = {
    "none": lambda b, m, x: (m, x),
    "leading": lambda b, m, x: (b, m, x),
    "middle": lambda b, m, x: (m, b, x),
}
PANELS = {
    "none": lambda b, p, k, j: (p, k, j),
    "leading": lambda b, p, k, j: (b, p, k, j),
    "middle": lambda b, p, k, j: (b, p, k, j),
}


@cache  # parsing costs 0.3 s
def gemm_func(mr: int, nr: int, types: tuple[str, str, str], batch: str):
    """Unscheduled product. Rows are padded to a multiple of mr: padding repeats the last row and is not stored."""
    a, b, c = types
    rows, panels = ROWS[batch], PANELS[batch]
    NR = T.int64(nr)

    @T.prim_func(s_tir=True)
    def gemm(pA: T.handle, pB: T.handle, pC: T.handle, batch: T.int64, M: T.int64, N: T.int64, K: T.int64):
        T.func_attr({"tirx.noalias": True})
        A = T.match_buffer(pA, rows(batch, M, K), a, align=ITEM_BYTES[a])
        B = T.match_buffer(pB, panels(batch, (N + (nr - 1)) // nr, K, NR), b, align=ITEM_BYTES[b])
        C = T.match_buffer(pC, rows(batch, M, N), c, align=ITEM_BYTES[c])
        wide = T.sblock_alloc_buffer((batch, (M + (mr - 1)) // mr * mr, K), "float32")
        acc = T.sblock_alloc_buffer((batch, (N + (nr - 1)) // nr, (M + (mr - 1)) // mr * mr, NR), "float32")
        for g, i, k in T.grid(batch, (M + (mr - 1)) // mr * mr, K):
            with T.sblock("widen"):
                vg, vi, vk = T.axis.remap("SSS", [g, i, k])
                wide[vg, vi, vk] = widen(A[rows(vg, T.min(vi, M - 1), vk)])
        for g, jo, i, k, ji in T.grid(batch, (N + (nr - 1)) // nr, (M + (mr - 1)) // mr * mr, K, NR):
            with T.sblock("product"):
                vg, vo, vi, vk, vj = T.axis.remap("SSSRS", [g, jo, i, k, ji])
                with T.init():
                    acc[vg, vo, vi, vj] = T.float32(0)
                acc[vg, vo, vi, vj] += wide[vg, vi, vk] * widen(B[panels(vg, vo, vk, vj)])
        for g, jo, i in T.grid(batch, (N + (nr - 1)) // nr, (M + (mr - 1)) // mr * mr):
            with T.sblock("store"):
                vg, vo, vi = T.axis.remap("SSS", [g, jo, i])
                T.reads(acc[vg, vo, vi, 0:NR])
                T.writes(C[rows(vg, T.min(vi, M - 1), slice(vo * NR, T.min(vo * NR + NR, N)))])
                if vi < M:
                    if vo * NR + NR <= N:
                        for ji in T.vectorized(NR):
                            C[rows(vg, vi, vo * NR + ji)] = T.cast(acc[vg, vo, vi, ji], c)
                    else:
                        for ji in range(N - vo * NR):
                            C[rows(vg, vi, vo * NR + ji)] = T.cast(acc[vg, vo, vi, ji], c)

    return gemm


def gemm(
    name: str,
    *,
    n: int | None,
    k: int | None,
    m: int | None = None,
    batch: str = "none",
    groups: int | None = None,
    types: tuple[str, str, str] = ("float32", "float32", "float32"),
    mr: int = MR,
    nr: int = NR,
) -> Kernel:
    """Product over any number of rows; mr = 1 is the kernel for one row. `groups` is the batch size, if known."""
    sizes = {"batch": 1 if batch == "none" else groups, "M": m, "N": n, "K": k}
    before = specialise(gemm_func(mr, nr, types, batch), name, sizes)
    sch = Schedule(before)
    product, store, widen = (sch.get_sblock(block) for block in ("product", "store", "widen"))
    sch.set_scope(product, 0, "local")
    g, jo, i = sch.get_loops(store)
    io, ii = sch.split(i, [None, mr])
    sch.unroll(ii)
    sch.compute_at(product, io, preserve_unit_loops=True)  # before fusing: afterwards it needs predicates
    if types[0] == "float32":
        sch.compute_inline(widen)
    else:
        sch.compute_at(widen, io)
    sch.parallel(sch.fuse(g, jo, io))
    i, depth, j = sch.get_loops(product)[-3:]
    sch.reorder(depth, i, j)
    sch.unroll(i)
    sch.vectorize(j)
    zero = sch.decompose_reduction(product, depth)
    sch.unroll(sch.get_loops(zero)[-2])
    return finish(before, sch, name)
