"""Caches that a chunk is appended to, in place: every sequence writes its own new tokens, padding writes nothing."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from ..kernels.kernel import Arg, Kernel
from ..scalar import Expr, int64
from .emit import build, copy, each, loop, vectors


def append(
    name: str, *, width: int, dtype: str, ring: bool, batch: int | None, length: int | None, room: int | None
) -> Kernel:
    """cache ``[B, R, width]``, rows ``[B, S, width]``, past, new; then those of B, S, R that are None.

    Position p goes to row p, or in a ring of R rows to row p mod R; there only the last R tokens are written.
    """
    args = [
        Arg("cache", ("B", "R", width), dtype), Arg("rows", ("B", "S", width), dtype), Arg("past", ("B",), "i32"),
        Arg("new", ("B",), "i32"),
    ]  # fmt: skip

    def body(k: Any) -> None:
        def token(i: Expr) -> None:
            b, s = i // k.S, i % k.S
            write_token(k.cache, k.rows, k, b, s, k.R, width, ring)

        each(k.B * k.S, width, token)

    return build(name, args, {"B": batch, "S": length, "R": room}, body)


def write_token(cache: Any, rows: Any, k: Any, b: Expr, s: Expr, room: Expr, width: int, ring: bool) -> None:
    """Token s of sequence b, if it is one and has a place. Tokens of one chunk have different places."""
    new, at = k.new[b].astype("int64"), k.past[b].astype("int64") + s
    first = tirx.max(new - room, int64(0)) if ring else int64(0)
    place = at % room if ring else at
    here = tirx.all(s >= first, s < new) if ring else tirx.all(s < new, at < room)
    with loop(0, tirx.Select(here, int64(1), int64(0))):
        vectors(width, lambda c: copy(cache, (b, place, c), rows, (b, s, c)))
