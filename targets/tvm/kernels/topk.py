# mypy: ignore-errors
"""Largest k of each row: X float32 [R, N] -> values float32 [R, k] (descending), indices int32 [R, k].

Ties go to the lowest index; -0.0 equals +0.0; where N < k the rest is -inf with index -1. NaN is not supported.
Launch: X, values, indices, then those of (R, N) that were given as None, as int64.
"""

from __future__ import annotations

from functools import cache

from tvm.s_tir import Schedule
from tvm.script import tirx as T

from .kernel import Kernel, finish, specialise
from .order import LOWEST, digit, key

LANES = 64  # keys per vector step
FEW = 16  # up to this k, k rounds of a maximum are cheaper than a threshold search


@cache  # parsing costs 0.3 s
def few_func(k: int):
    """k rounds: largest (key, lower index first) as one int64, then take it out."""
    NONE = T.int64(-(2**63))

    @T.prim_func(s_tir=True)
    def topk(pX: T.handle, pV: T.handle, pI: T.handle, R: T.int64, N: T.int64):
        T.func_attr({"tirx.noalias": True})
        X = T.match_buffer(pX, (R, N), "float32", align=4)
        values = T.match_buffer(pV, (R, T.int64(k)), "float32", align=4)
        indices = T.match_buffer(pI, (R, T.int64(k)), "int32", align=4)
        for r in range(R):
            with T.sblock("row"):
                vr = T.axis.spatial(R, r)
                T.reads(X[vr, 0:N])
                T.writes(values[vr, 0 : T.int64(k)], indices[vr, 0 : T.int64(k)])
                rank = T.sblock_alloc_buffer(((N + (LANES - 1)) // LANES * LANES,), "int64")
                best = T.sblock_alloc_buffer((T.int64(LANES),), "int64", scope="local")
                for i in range(N):
                    rank[i] = T.bitwise_or(T.shift_left(T.int64(key(X[vr, i])), T.int64(32)), T.int64(0x7FFFFFFF) - i)
                for i in range(N, (N + (LANES - 1)) // LANES * LANES):
                    rank[i] = NONE
                for n in range(T.int64(k)):
                    for j in T.vectorized(T.int64(LANES)):
                        best[j] = NONE
                    for i in range((N + (LANES - 1)) // LANES):
                        for j in T.vectorized(T.int64(LANES)):
                            best[j] = T.max(best[j], rank[i * LANES + j])
                    for j in range(1, LANES):
                        best[0] = T.max(best[0], best[j])
                    if best[0] == NONE:
                        values[vr, n] = T.float32(float("-inf"))
                        indices[vr, n] = -1
                    else:
                        indices[vr, n] = T.int32(0x7FFFFFFF) - T.int32(T.bitwise_and(best[0], T.int64(0x7FFFFFFF)))
                        values[vr, n] = X[vr, indices[vr, n]]
                        rank[indices[vr, n]] = NONE

    return topk


@cache  # parsing costs 0.3 s
def many_func(k: int):
    """Threshold by bits, collect in index order, then a stable radix sort by key, largest first."""

    @T.prim_func(s_tir=True)
    def topk(pX: T.handle, pV: T.handle, pI: T.handle, R: T.int64, N: T.int64):
        T.func_attr({"tirx.noalias": True})
        X = T.match_buffer(pX, (R, N), "float32", align=4)
        values = T.match_buffer(pV, (R, T.int64(k)), "float32", align=4)
        indices = T.match_buffer(pI, (R, T.int64(k)), "int32", align=4)
        for r in range(R):
            with T.sblock("row"):
                vr = T.axis.spatial(R, r)
                T.reads(X[vr, 0:N])
                T.writes(values[vr, 0 : T.int64(k)], indices[vr, 0 : T.int64(k)])
                keys = T.sblock_alloc_buffer(((N + (LANES - 1)) // LANES * LANES,), "int32")
                lanes = T.sblock_alloc_buffer((T.int64(LANES),), "int32", scope="local")
                # threshold, trial threshold, count, ties still to take, candidates found
                s = T.sblock_alloc_buffer((T.int64(5),), "int32", scope="local")
                chosen = T.sblock_alloc_buffer((T.int64(2), T.int64(k + 1)), "int32")  # one slot too many
                starts = T.sblock_alloc_buffer((T.int64(257),), "int32")
                for i in range(N):
                    keys[i] = key(X[vr, i])
                for i in range(N, (N + (LANES - 1)) // LANES * LANES):
                    keys[i] = T.int32(LOWEST)
                s[0] = T.int32(LOWEST)
                s[3] = T.int32(T.min(N, T.int64(k)))
                for bit in range(32):  # largest threshold that at least min(N, k) keys reach
                    s[1] = T.bitwise_xor(s[0], T.shift_left(T.int32(1), 31 - bit))
                    for j in T.vectorized(T.int64(LANES)):
                        lanes[j] = 0
                    for i in range((N + (LANES - 1)) // LANES):
                        for j in T.vectorized(T.int64(LANES)):
                            lanes[j] = lanes[j] + T.Select(keys[i * LANES + j] >= s[1], T.int32(1), T.int32(0))
                    s[2] = 0
                    for j in range(LANES):
                        s[2] = s[2] + lanes[j]
                    if s[2] >= T.int32(T.min(N, T.int64(k))):
                        s[0] = s[1]
                for i in range(N):  # ties to take = wanted - those above the threshold
                    s[3] = s[3] - T.Select(keys[i] > s[0], T.int32(1), T.int32(0))
                s[4] = 0
                for i in range((N + (LANES - 1)) // LANES):
                    s[2] = 0
                    for j in range(LANES):
                        s[2] = s[2] + T.Select(keys[i * LANES + j] >= s[0], T.int32(1), T.int32(0))
                    if s[2] > 0:
                        for j in range(T.min(N - i * LANES, T.int64(LANES))):  # no branch: each one is a coin toss
                            chosen[0, s[4]] = T.int32(i * LANES + j)
                            s[4] = s[4] + T.Select(
                                keys[i * LANES + j] > s[0] or (keys[i * LANES + j] == s[0] and s[3] > 0),
                                T.int32(1),
                                T.int32(0),
                            )
                            s[3] = s[3] - T.Select(keys[i * LANES + j] == s[0], T.int32(1), T.int32(0))
                for p in range(4):
                    for b in range(257):
                        starts[b] = 0
                    for n in range(s[4]):
                        starts[digit(keys[chosen[p % 2, n]], p) + 1] = starts[digit(keys[chosen[p % 2, n]], p) + 1] + 1
                    for b in range(256):
                        starts[b + 1] = starts[b + 1] + starts[b]
                    for n in range(s[4]):
                        chosen[1 - p % 2, starts[digit(keys[chosen[p % 2, n]], p)]] = chosen[p % 2, n]
                        starts[digit(keys[chosen[p % 2, n]], p)] = starts[digit(keys[chosen[p % 2, n]], p)] + 1
                for n in range(T.int64(k)):
                    if n < T.int64(s[4]):
                        indices[vr, n] = chosen[0, n]
                        values[vr, n] = X[vr, chosen[0, n]]
                    else:
                        indices[vr, n] = -1
                        values[vr, n] = T.float32(float("-inf"))

    return topk


def topk(name: str, *, k: int, n: int | None, rows: int | None = None) -> Kernel:
    """Sorted selection; parallel over rows."""
    before = specialise((few_func if k <= FEW else many_func)(k), name, {"R": rows, "N": n})
    sch = Schedule(before)
    sch.parallel(sch.get_loops(sch.get_sblock("row"))[0])
    return finish(before, sch, name)
