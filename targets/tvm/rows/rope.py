"""Rotary embedding and its angles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm.script.ir_builder import tirx as T

from ..kernels import expr
from ..kernels.kernel import Arg, Kernel
from ..scalar import Expr, int64
from .emit import build, copy, each, f32, load, local, loop, scalar, store, vectors
from .norm import inverse_rms, weighted
from .tuning import HEAVY

Cell = Callable[[Expr], tuple[Expr, ...]]  # channel -> index


def turned(first: Expr, second: Expr, cos: Expr, sin: Expr, inverse: bool) -> tuple[Expr, Expr]:
    """A pair of channels after the rotation."""
    if inverse:
        return first * cos + second * sin, second * cos - first * sin
    return first * cos - second * sin, second * cos + first * sin


def pair_of(layout: str, start: int, half: int, j: Expr) -> tuple[Expr, Expr]:
    """The two channels that turn together by angle ``j``."""
    if layout == "pairs":
        return int64(start) + j * int64(2), int64(start) + j * int64(2) + int64(1)
    return int64(start) + j, int64(start + half) + j


def rope(
    name: str, *, sizes: Sequence[int | None], width: int, half: int, dtype: str, layout: str, start: int, inverse: bool
) -> Kernel:
    """``x`` and ``out [outer, tokens, inner, width]``, ``cos`` and ``sin [tokens, half]``; ``sizes`` are the first
    three.
    """
    names = ("outer", "tokens", "inner")
    wide, angles = (*names, width), ("tokens", half)
    args = [Arg("x", wide, dtype), Arg("cos", angles, "f32"), Arg("sin", angles, "f32"), Arg("out", wide, dtype)]

    def body(k: Any) -> None:
        def token(t: Expr) -> None:
            outer, token = (int64(0), t) if sizes[0] == 1 else (t // k.tokens, t % k.tokens)
            with loop(0, k.inner) as h:
                row = (outer, token, h)
                _turn_row(k, row, half, layout, start, inverse, k.x)
                _copy_rest(k, row, width, start, start + 2 * half)

        each(k.outer * k.tokens, k.inner * int64(width), token)

    return build(name, args, dict(zip(names, sizes, strict=True)), body)


def norm_rope(
    name: str, *, sizes: Sequence[int | None], width: int, half: int, dtype: str, weight: str, layout: str, start: int,
    inverse: bool, eps: float,
) -> Kernel:  # fmt: skip
    """As ``rope``, of rows that are normed first; ``w [width]`` of dtype ``weight``, if any, after ``x``."""
    names = ("outer", "tokens", "inner")
    wide, angles = (*names, width), ("tokens", half)
    args = [
        Arg("x", wide, dtype), *([Arg("w", (width,), weight)] if weight else []), Arg("cos", angles, "f32"),
        Arg("sin", angles, "f32"), Arg("out", wide, dtype),
    ]  # fmt: skip

    def body(k: Any) -> None:
        finish = weighted(dtype, k.w if weight else None)

        def row_of(t: Expr) -> None:
            outer, token = (int64(0), t) if sizes[0] == 1 else (t // k.tokens, t % k.tokens)
            with loop(0, k.inner) as h:
                at = (outer, token, h)
                inv = inverse_rms(width, lambda i: load(k.x, *at, i), eps)
                vectors(width, lambda i: store(k.out, finish(load(k.x, *at, i) * inv[0], i), *at, i))
                _turn_row(k, at, half, layout, start, inverse, k.out)

        each(k.outer * k.tokens, k.inner * int64(2 * width), row_of)

    return build(name, args, dict(zip(names, sizes, strict=True)), body)


def _turn_row(
    k: Any, row: tuple[Expr, ...], half: int, layout: str, start: int, inverse: bool, source: Any
) -> None:
    def channel(j: Expr) -> None:
        at = pair_of(layout, start, half, j)
        first, second = (load(source, *row, i) for i in at)
        if source is k.out:  # read both before one is written
            first, second = scalar(first)[0], scalar(second)[0]
        for i, out in zip(at, turned(first, second, k.cos[row[1], j], k.sin[row[1], j], inverse), strict=True):
            store(k.out, out, *row, i)

    if layout == "pairs" or source is k.out:
        # A plain loop: LLVM makes vectors of neighbouring pairs with shuffles, TVM would load lane by lane.
        with loop(0, half) as j:
            channel(j)
    else:
        vectors(half, channel)


def _copy_rest(k: Any, row: tuple[Expr, ...], width: int, start: int, stop: int) -> None:
    for begin, end in ((0, start), (stop, width)):
        vectors(
            end - begin,
            lambda i, b=begin: copy(k.out, (*row, int64(b) + i), k.x, (*row, int64(b) + i)),  # type: ignore[misc]
        )


def constants(values: Sequence[float]) -> Any:
    """A small table in memory."""
    table = local(len(values))
    for i, value in enumerate(values):
        T.buffer_store(table, f32(value), [i])
    return table


def angle(position: Expr, frequency: Expr, factor: float) -> tuple[Expr, Expr]:
    """cos and sin of an i32 position times a frequency, both times ``factor``."""
    radians = position.astype("float32") * frequency
    out = (expr.cos(radians), expr.sin(radians))
    return out if factor == 1.0 else (out[0] * f32(factor), out[1] * f32(factor))


def rope_angles(name: str, *, rows: int | None, frequencies: tuple[float, ...], factor: float) -> Kernel:
    """``positions`` i32 ``[rows]``; ``cos`` and ``sin`` f32 ``[rows, len(frequencies)]``."""
    half = len(frequencies)
    args = [Arg("positions", ("rows",), "i32"), *(Arg(a, ("rows", half), "f32") for a in ("cos", "sin"))]

    def body(k: Any) -> None:
        table = constants(frequencies)

        def row(r: Expr) -> None:
            def channel(j: Expr) -> None:
                cos, sin = angle(k.positions[r], table[j], factor)
                store(k.cos, cos, r, j)
                store(k.sin, sin, r, j)

            vectors(half, channel)

        each(k.rows, half * 2 * HEAVY, row)

    return build(name, args, {"rows": rows}, body)
