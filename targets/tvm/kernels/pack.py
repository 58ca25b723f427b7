# mypy: ignore-errors
"""Panel packing for `gemm`: B [batch, N, K] ("nk") or [batch, K, N] ("kn") to [batch, ceil(N / nr), K, nr].

The last panel is padded with zeros. Launch: B, panels, then those of (batch, N, K) that were given as None, as int64.
"""

from __future__ import annotations

from functools import cache

from tvm.ir import Expr
from tvm.s_tir import Schedule
from tvm.script import tirx as T

from .expr import widen
from .gemm import NR
from .kernel import ITEM_BYTES, Kernel, finish, specialise

LINE = 16  # columns of the source per step of a transposing pack: one cache line of float32


def unchanged(x: Expr) -> Expr:
    """The element as it is."""
    return x


@cache  # parsing costs 0.3 s
def pack_nk(nr: int, src: str, dst: str):
    """Transposing pack: one cache line of each source row at a time, so that few lines are live."""
    load = unchanged if src == dst else widen

    @T.prim_func(s_tir=True)
    def pack(pB: T.handle, pP: T.handle, batch: T.int64, N: T.int64, K: T.int64):
        T.func_attr({"tirx.noalias": True})
        B = T.match_buffer(pB, (batch, N, K), src, align=ITEM_BYTES[src])
        P = T.match_buffer(pP, (batch, (N + (nr - 1)) // nr, K, T.int64(nr)), dst, align=ITEM_BYTES[dst])
        for g, o, ko in T.grid(batch, (N + (nr - 1)) // nr, (K + (LINE - 1)) // LINE):
            with T.sblock("pack"):
                vg, vo, vk = T.axis.remap("SSS", [g, o, ko])
                T.reads(B[vg, vo * nr : T.min(vo * nr + nr, N), vk * LINE : T.min(vk * LINE + LINE, K)])
                T.writes(P[vg, vo, vk * LINE : T.min(vk * LINE + LINE, K), 0 : T.int64(nr)])
                for j in range(T.min(N - vo * nr, T.int64(nr))):
                    for k in range(T.min(K - vk * LINE, T.int64(LINE))):
                        P[vg, vo, vk * LINE + k, j] = T.cast(load(B[vg, vo * nr + j, vk * LINE + k]), dst)
                for j in range(T.min(N - vo * nr, T.int64(nr)), T.int64(nr)):
                    for k in range(T.min(K - vk * LINE, T.int64(LINE))):
                        P[vg, vo, vk * LINE + k, j] = T.cast(T.float32(0), dst)

    return pack


@cache  # parsing costs 0.3 s
def pack_kn(nr: int, src: str, dst: str):
    """Copying pack: one row of a panel at a time."""
    load = unchanged if src == dst else widen

    @T.prim_func(s_tir=True)
    def pack(pB: T.handle, pP: T.handle, batch: T.int64, N: T.int64, K: T.int64):
        T.func_attr({"tirx.noalias": True})
        B = T.match_buffer(pB, (batch, K, N), src, align=ITEM_BYTES[src])
        P = T.match_buffer(pP, (batch, (N + (nr - 1)) // nr, K, T.int64(nr)), dst, align=ITEM_BYTES[dst])
        for g, o, k in T.grid(batch, (N + (nr - 1)) // nr, K):
            with T.sblock("pack"):
                vg, vo, vk = T.axis.remap("SSS", [g, o, k])
                T.reads(B[vg, vk, vo * nr : T.min(vo * nr + nr, N)])
                T.writes(P[vg, vo, vk, 0 : T.int64(nr)])
                if vo * nr + nr <= N:
                    for j in T.vectorized(T.int64(nr)):
                        P[vg, vo, vk, j] = T.cast(load(B[vg, vk, vo * nr + j]), dst)
                else:
                    for j in range(T.int64(nr)):  # not vectorised: TVM 0.27 cannot store a broadcast bfloat16
                        P[vg, vo, vk, j] = T.cast(T.float32(0), dst)
                    for j in range(N - vo * nr):
                        P[vg, vo, vk, j] = T.cast(load(B[vg, vk, vo * nr + j]), dst)

    return pack


def pack(
    name: str,
    *,
    order: str,
    n: int | None,
    k: int | None,
    batch: int | None = None,
    types: tuple[str, str] = ("float32", "float32"),
    nr: int = NR,
) -> Kernel:
    """Pack `order` "nk" or "kn", converting types[0] to types[1]."""
    make = {"nk": pack_nk, "kn": pack_kn}[order]
    before = specialise(make(nr, *types), name, {"batch": batch, "N": n, "K": k})
    sch = Schedule(before)
    g, o, _ = sch.get_loops(sch.get_sblock("pack"))
    sch.parallel(sch.fuse(g, o))
    return finish(before, sch, name)
