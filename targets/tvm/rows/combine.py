"""Experts' rows back to their tokens."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels.kernel import Arg, Kernel
from ..scalar import Expr, int64
from .emit import build, each, f32, load, local, loop, store, vectors


def combine(name: str, *, n: int, k: int, dtype: str, tokens: int | None, rows: int | None) -> Kernel:
    """rows ``[P, n]``, slot i32 ``[tokens * k]``, mix f32 ``[tokens, k]``, out ``[tokens, n]``; P and tokens if None.

    ``out[t]`` is the sum over j of ``mix[t, j] * rows[slot[t * k + j]]`` in f32, rounded once; a slot outside P
    gives nothing.
    """
    args = [
        Arg("rows", ("P", n), dtype), Arg("slot", ("pairs",), "i32"), Arg("mix", ("tokens", k), "f32"),
        Arg("out", ("tokens", n), dtype),
    ]  # fmt: skip

    def body(s: Any) -> None:
        def token(t: Expr) -> None:
            sums = local(n)
            vectors(n, lambda i: T.buffer_store(sums, f32(0), [i]))
            with loop(0, k) as j:
                row = s.slot[t * int64(k) + j].astype("int64")
                inside = tirx.all(row >= int64(0), row < s.P)
                with loop(0, tirx.Select(inside, int64(1), int64(0))):
                    vectors(n, lambda i: T.buffer_store(sums, sums[i] + load(s.rows, row, i) * s.mix[t, j], [i]))
            vectors(n, lambda i: store(s.out, sums[i], t, i))

        each(s.tokens, n * k, token)

    pairs = None if tokens is None else tokens * k
    return build(name, args, {"P": rows, "tokens": tokens, "pairs": pairs}, body)
