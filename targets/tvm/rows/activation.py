"""Activations as expressions, and SwiGLU."""

from __future__ import annotations

from math import inf
from typing import Any

from tvm import tirx

from ..kernels import expr
from ..kernels.kernel import Arg, Kernel
from ..scalar import Expr
from .emit import build, each, f32, load, store, vectors
from .tuning import HEAVY


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + e^-x)."""
    return f32(1) / (expr.exp(f32(-1) * x) + f32(1))


def softplus(x: Expr) -> Expr:
    """log(1 + e^x), without overflow."""
    return expr.let(x, lambda x: tirx.max(x, f32(0)) + expr.log1p(expr.exp(f32(-1) * tirx.abs(x))))


def gated(gate: Expr, up: Expr, limit: float) -> Expr:
    """silu(min(gate, limit)) * clamp(up, -limit, limit) in f32."""
    if limit != inf:
        gate, up = tirx.min(gate, f32(limit)), tirx.max(tirx.min(up, f32(limit)), f32(-limit))
    return expr.let(gate, lambda g: g * sigmoid(g) * up)


def swiglu(name: str, *, rows: int | None, width: int, dtype: str, limit: float) -> Kernel:
    """``gate``, ``up`` and ``out [rows, width]``."""
    args = [Arg(a, ("rows", width), dtype) for a in ("gate", "up", "out")]

    def body(k: Any) -> None:
        def row(r: Expr) -> None:
            vectors(width, lambda i: store(k.out, gated(load(k.gate, r, i), load(k.up, r, i), limit), r, i))

        each(k.rows, width * HEAVY, row)

    return build(name, args, {"rows": rows}, body)
