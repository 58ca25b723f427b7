# mypy: ignore-errors
"""Where each group begins: counts int32 [E] -> offsets int32 [E + 1].

Launch: counts, offsets, then E if it was None.
"""

from __future__ import annotations

from tvm.s_tir import Schedule
from tvm.script import tirx as T

from .kernel import Kernel, finish, specialise


@T.prim_func(s_tir=True)
def offsets_func(pC: T.handle, pO: T.handle, E: T.int64):  # noqa: D103 - TVMScript takes no docstring
    T.func_attr({"tirx.noalias": True})
    counts = T.match_buffer(pC, (E,), "int32", align=4)
    offsets = T.match_buffer(pO, (E + 1,), "int32", align=4)
    with T.sblock("scan"):
        T.reads(counts[0:E])
        T.writes(offsets[0 : E + 1])
        offsets[0] = 0
        for e in range(E):
            offsets[e + 1] = offsets[e] + counts[e]


def offsets(name: str, *, experts: int | None) -> Kernel:
    """Exclusive running sum with the total at the end; one short serial loop, nothing to schedule."""
    before = specialise(offsets_func, name, {"E": experts})
    return finish(before, Schedule(before), name)
