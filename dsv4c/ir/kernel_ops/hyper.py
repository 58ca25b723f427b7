"""Hyper-connections: n residual streams, mixed by a nearly doubly stochastic matrix (architectures.md §5).

``x`` is ``[B, S, n, d]``; the parameters of a site are fp32: ``fn [(2 + n) n, n d]``, ``base``, ``scale``.
"""

from __future__ import annotations

from ..builder import cast, linear, reshape, split, total
from ..core import Value
from .activation import sigmoid, softmax
from .define import kernel, shaped
from .norm import rms_norm


def _sizes(x: Value) -> tuple[int, int]:
    n, d = x.shape[-2:]
    assert isinstance(n, int) and isinstance(d, int)
    return n, d


def _mixes(x: Value, fn: Value, eps: float) -> Value:
    n, d = _sizes(x)
    return linear(rms_norm(cast(reshape(x, *x.shape[:-2], n * d), "f32"), eps=eps), fn)


def _collapse(x: Value, weights: Value) -> Value:
    """sum_k weights_k X_k: streams ``[B, S, n, d]`` to rows ``[B, S, d]``."""
    wide = cast(x, "f32") * reshape(weights, *weights.shape, 1)
    return cast(total(wide, axis=-2), x.dtype)


@kernel(
    "Softmax over rows, then columns first and rows, until a matrix is nearly doubly stochastic (§5)",
    iterations="hc_sinkhorn_iters: normalisations of the columns", eps="added to every divisor",
)  # fmt: skip
def sinkhorn(logits: Value, *, iterations: int, eps: float) -> Value:
    """``logits`` f32 ``[.., n, n]``."""
    mix = softmax(logits) + eps
    mix = mix / (total(mix, -2, keep=True) + eps)
    for _ in range(iterations - 1):
        mix = mix / (total(mix, -1, keep=True) + eps)
        mix = mix / (total(mix, -2, keep=True) + eps)
    return mix


@kernel(
    "First half of a hyper-connection site: collapsed rows, post f32 [.., n] and mix f32 [.., n, n] (§5)",
    eps="of the norm", hc_eps="added to the gates and to Sinkhorn's divisors", iterations="of Sinkhorn",
)  # fmt: skip
def hyper_pre(
    x: Value, fn: Value, base: Value, scale: Value, *, eps: float, hc_eps: float, iterations: int
) -> tuple[Value, Value, Value]:
    """``x [B, S, n, d]`` to rows ``[B, S, d]``."""
    n, _ = _sizes(x)
    shaped("base", base, (2 + n) * n)
    shaped("scale", scale, 3)
    parts = zip(split(_mixes(x, fn, eps), n, n, n * n), split(scale, 1, 1, 1), split(base, n, n, n * n), strict=True)
    pre, post, comb = (m * s + t for m, s, t in parts)
    rows = _collapse(x, sigmoid(pre) + hc_eps)
    mix = sinkhorn(reshape(comb, *x.shape[:-2], n, n), iterations=iterations, eps=hc_eps)
    return rows, sigmoid(post) * 2.0, mix


@kernel("Second half of a site: X'_k = post_k y + sum_j mix[j, k] X_j, in fp32 with one cast out (§5)")
def hyper_post(y: Value, x: Value, post: Value, mix: Value) -> Value:
    """``y [B, S, d]``, ``x [B, S, n, d]``, ``post`` f32 ``[B, S, n]``, ``mix`` f32 ``[B, S, n, n]``."""
    *lead, n, d = x.shape
    added = reshape(post, *lead, n, 1) * reshape(cast(y, "f32"), *lead, 1, d)
    kept = total(reshape(mix, *lead, n, n, 1) * reshape(cast(x, "f32"), *lead, n, 1, d), axis=len(lead))
    return cast(added + kept, x.dtype)


@kernel("Streams to rows before the final norm (§5, HyperHead)", eps="of the norm", hc_eps="added to the gates")
def hyper_head(x: Value, fn: Value, base: Value, scale: Value, *, eps: float, hc_eps: float) -> Value:
    """``x [B, S, n, d]``, ``fn`` f32 ``[n, n d]``, ``base [n]``, ``scale [1]`` to rows ``[B, S, d]``."""
    shaped("base", base, x.shape[-2])
    shaped("scale", scale, 1)
    return _collapse(x, sigmoid(_mixes(x, fn, eps) * scale + base) + hc_eps)
