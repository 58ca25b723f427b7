# mypy: ignore-errors
"""Token-expert pairs sorted by expert, stable: chosen int32 [tokens, k], live bool [tokens] ->
offsets int32 [E + 1], slot int32 [tokens * k], source int32 [tokens * k].

Pair p is row slot[p] of the sorted rows, tokens * k if its token is padding or its expert is none of ours; sorted row r
comes from token source[r], for r below offsets[E]. Launch: chosen, live, offsets, slot, source, then those of
(tokens, k, E) that were given as None, as int64.
"""

from __future__ import annotations

from tvm.s_tir import Schedule
from tvm.script import tirx as T

from .kernel import Kernel, finish, specialise


@T.prim_func(s_tir=True)
def order_func(  # noqa: D103 - TVMScript takes no docstring
    pC: T.handle, pL: T.handle, pO: T.handle, pS: T.handle, pR: T.handle, tokens: T.int64, k: T.int64, E: T.int64
):
    T.func_attr({"tirx.noalias": True})
    chosen = T.match_buffer(pC, (tokens, k), "int32", align=4)
    live = T.match_buffer(pL, (tokens,), "bool", align=1)
    offsets = T.match_buffer(pO, (E + 1,), "int32", align=4)
    slot = T.match_buffer(pS, (tokens * k,), "int32", align=4)
    source = T.match_buffer(pR, (tokens * k,), "int32", align=4)
    with T.sblock("order"):
        T.reads(chosen[0:tokens, 0:k], live[0:tokens])
        T.writes(offsets[0 : E + 1], slot[0 : tokens * k], source[0 : tokens * k])
        next_row = T.sblock_alloc_buffer((E,), "int32")
        for e in range(E + 1):
            offsets[e] = 0
        for t, j in T.grid(tokens, k):
            if live[t] and chosen[t, j] >= 0 and T.int64(chosen[t, j]) < E:
                offsets[T.int64(chosen[t, j]) + 1] = offsets[T.int64(chosen[t, j]) + 1] + 1
        for e in range(E):
            next_row[e] = offsets[e]
            offsets[e + 1] = offsets[e + 1] + offsets[e]
        for t, j in T.grid(tokens, k):
            if live[t] and chosen[t, j] >= 0 and T.int64(chosen[t, j]) < E:
                slot[t * k + j] = next_row[chosen[t, j]]
                source[T.int64(next_row[chosen[t, j]])] = T.int32(t)
                next_row[chosen[t, j]] = next_row[chosen[t, j]] + 1
            else:
                slot[t * k + j] = T.int32(tokens * k)


def expert_order(name: str, *, k: int | None, experts: int | None, tokens: int | None = None) -> Kernel:
    """A counting sort, serial: a few thousand pairs take microseconds."""
    before = specialise(order_func, name, {"tokens": tokens, "k": k, "E": experts})
    return finish(before, Schedule(before), name)
