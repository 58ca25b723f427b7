"""Activations and the dense SwiGLU block (architectures.md §1.3)."""

from __future__ import annotations

from math import inf

from ..builder import cast, exp, largest, linear, maximum, minimum, total, unary
from ..core import Value
from .define import kernel, shaped


def sigmoid(x: Value) -> Value:
    """1 / (1 + e^-x)."""
    return 1.0 / (exp(-1.0 * x) + 1.0)


def softplus(x: Value) -> Value:
    """log(1 + e^x), without overflow."""
    return maximum(x, 0.0) + unary("log1p", exp(-1.0 * unary("abs", x)))


def softmax(logits: Value, axis: int = -1) -> Value:
    """Softmax over one axis."""
    powers = exp(logits - largest(logits, axis, keep=True))
    return powers / total(powers, axis, keep=True)


@kernel("silu(gate) * up in fp32, both clamped to the limit first (§1.3)", limit="V4's swiglu_limit; inf for none")
def swiglu(gate: Value, up: Value, *, limit: float) -> Value:
    """``gate`` and ``up`` of one shape; silu(min(gate, limit)) * clamp(up, -limit, limit), one cast out."""
    shaped("up", up, *gate.shape)
    g, u = cast(gate, "f32"), cast(up, "f32")
    if limit != inf:
        g, u = minimum(g, limit), maximum(minimum(u, limit), -limit)
    return cast(g * sigmoid(g) * u, gate.dtype)


@kernel("A dense SwiGLU block over the last axis (§1.3)", limit="V4's swiglu_limit; inf for none")
def mlp(x: Value, gate: Value, up: Value, down: Value, *, limit: float) -> Value:
    """``x [.., d]``, ``gate`` and ``up [I, d]``, ``down [d, I]``."""
    return linear(swiglu(linear(x, gate), linear(x, up), limit=limit), down)
