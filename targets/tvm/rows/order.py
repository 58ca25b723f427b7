"""Token-expert pairs sorted by expert."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels.kernel import Arg, Kernel
from ..scalar import Expr, int64
from .emit import build, choose, loop


def expert_order(name: str, *, k: int, experts: int, tokens: int | None) -> Kernel:
    """chosen i32 ``[tokens, k]``, live bool ``[tokens]``; offsets i32 ``[experts + 1]``, slot and source i32
    ``[tokens * k]``; tokens and tokens * k if None.

    Pair p is row ``slot[p]`` of the sorted rows, tokens * k if its token is padding or its expert is none of ours;
    sorted row r comes from token ``source[r]``, for r below ``offsets[experts]``. A stable counting sort, serial: a few
    thousand pairs take microseconds.
    """
    args = [
        Arg("chosen", ("tokens", k), "i32"), Arg("live", ("tokens",), "bool"), Arg("offsets", (experts + 1,), "i32"),
        Arg("slot", ("pairs",), "i32"), Arg("source", ("pairs",), "i32"),
    ]  # fmt: skip
    zero, one = tirx.const(0, "int32"), tirx.const(1, "int32")

    def body(s: Any) -> None:
        def pairs(take: Callable[[Expr, Expr, Expr], None], leave: Callable[[Expr], None] | None = None) -> None:
            with loop(0, s.tokens) as t, loop(0, k) as j:
                expert, pair = s.chosen[t, j].astype("int64"), t * int64(k) + j
                ours = tirx.all(s.live[t], expert >= int64(0), expert < int64(experts))
                choose(ours, lambda: take(t, pair, expert), (lambda: leave(pair)) if leave else None)

        def counted(t: Expr, pair: Expr, expert: Expr) -> None:
            T.buffer_store(s.offsets, s.offsets[expert + int64(1)] + one, [expert + int64(1)])

        def placed(t: Expr, pair: Expr, expert: Expr) -> None:
            T.buffer_store(s.slot, s.offsets[expert], [pair])
            T.buffer_store(s.source, t.astype("int32"), [s.slot[pair].astype("int64")])
            T.buffer_store(s.offsets, s.offsets[expert] + one, [expert])

        def left(pair: Expr) -> None:
            T.buffer_store(s.slot, s.pairs.astype("int32"), [pair])

        with loop(0, experts + 1) as e:
            T.buffer_store(s.offsets, zero, [e])
        pairs(counted)
        with loop(0, experts) as e:
            T.buffer_store(s.offsets, s.offsets[e + int64(1)] + s.offsets[e], [e + int64(1)])
        pairs(placed, left)
        # Each expert's begin has become its end, which is the begin of the next one.
        with loop(0, experts) as e:
            T.buffer_store(s.offsets, s.offsets[int64(experts - 1) - e], [int64(experts) - e])
        T.buffer_store(s.offsets, zero, [int64(0)])

    return build(name, args, {"tokens": tokens, "pairs": None if tokens is None else tokens * k}, body)
