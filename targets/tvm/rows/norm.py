"""Normalisations of rows: statistics in f32, the roundings of the decomposition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..kernels import expr
from ..kernels.kernel import Arg, Kernel
from ..scalar import Expr
from .emit import Element, build, each, f32, load, narrow, scalar, store, total, vectors


def inverse_rms(width: int, element: Element, eps: float) -> Any:
    """1 / sqrt(mean(x²) + eps) of ``width`` elements, as a scalar."""
    squares = total(width, lambda i: expr.let(element(i), lambda x: x * x))
    return scalar(expr.rsqrt(squares[0] * f32(1.0 / width) + f32(eps)))


def weighted(dtype: str, w: Any | None) -> Callable[[Expr, Expr], Expr]:
    """What an element x at i becomes after the normalisation: an f32 weight multiplies before x is rounded to
    ``dtype``, a narrow one after it.
    """
    if w is None:
        return lambda x, i: x
    if w.dtype == "float32":
        return lambda x, i: x * load(w, i)
    return lambda x, i: narrow(x, dtype) * load(w, i)


def rms_norm(name: str, *, rows: int | None, width: int, dtype: str, weight: str, eps: float) -> Kernel:
    """``x [rows, width]``, ``w [width]`` of dtype ``weight`` unless that is empty, ``out [rows, width]``."""
    w = [Arg("w", (width,), weight)] if weight else []
    args = [Arg("x", ("rows", width), dtype), *w, Arg("out", ("rows", width), dtype)]

    def body(k: Any) -> None:
        finish = weighted(dtype, k.w if weight else None)

        def row(r: Expr) -> None:
            inv = inverse_rms(width, lambda i: load(k.x, r, i), eps)
            vectors(width, lambda i: store(k.out, finish(load(k.x, r, i) * inv[0], i), r, i))

        each(k.rows, width, row)

    return build(name, args, {"rows": rows}, body)


def layer_norm(
    name: str, *, rows: int | None, width: int, dtype: str, weights: tuple[str, str], eps: float
) -> Kernel:
    """``x [rows, width]``, ``w`` and ``bias [width]`` of dtypes ``weights``, ``out [rows, width]``."""
    args = [
        Arg("x", ("rows", width), dtype), Arg("w", (width,), weights[0]), Arg("bias", (width,), weights[1]),
        Arg("out", ("rows", width), dtype),
    ]  # fmt: skip

    def body(k: Any) -> None:
        def row(r: Expr) -> None:
            mean = scalar(total(width, lambda i: load(k.x, r, i))[0] * f32(1.0 / width))
            inv = inverse_rms(width, lambda i: load(k.x, r, i) - mean[0], eps)
            vectors(
                width,
                lambda i: store(k.out, (load(k.x, r, i) - mean[0]) * inv[0] * load(k.w, i) + load(k.bias, i), r, i),
            )

        each(k.rows, width, row)

    return build(name, args, {"rows": rows}, body)
