"""Normalisations (architectures.md §1.1): statistics in fp32, one cast out."""

from __future__ import annotations

from ..builder import cast, mean, rsqrt
from ..core import Value
from .define import kernel, shaped


@kernel("RMSNorm over the last axis, weighted where a weight is given (§1.1)", eps="added to the mean square")
def rms_norm(x: Value, w: Value | None = None, *, eps: float) -> Value:
    """``w ⊙ x / sqrt(mean(x²) + eps)``: an fp32 weight multiplies before the one cast out, a weight in the model's
    dtype after it.
    """
    if w is not None:
        shaped("the weight", w, x.shape[-1])
    wide = cast(x, "f32")
    normed = wide * rsqrt(mean(wide * wide, keep=True) + eps)
    if w is not None and w.dtype == "f32":
        return cast(normed * w, x.dtype)
    return cast(normed, x.dtype) if w is None else cast(normed, x.dtype) * w


@kernel("LayerNorm with weight and bias over the last axis, in fp32 (§1.1)", eps="added to the variance")
def layer_norm(x: Value, w: Value, bias: Value, *, eps: float) -> Value:
    """``(x - mean) / sqrt(var + eps) * w + bias``."""
    shaped("the weight", w, x.shape[-1])
    shaped("the bias", bias, x.shape[-1])
    wide = cast(x, "f32")
    centred = wide - mean(wide, keep=True)
    return cast(centred * rsqrt(mean(centred * centred, keep=True) + eps) * w + bias, x.dtype)
