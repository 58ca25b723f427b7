"""Rotary embedding (architectures.md §1.2)."""

from __future__ import annotations

from ..builder import cast, concat, const, reshape, split, unary
from ..core import Value
from .define import kernel
from .norm import rms_norm


@kernel(
    "cos and sin of position times frequency, f32 [.., len(frequencies)] (§1.2)",
    frequencies="radians per position of each channel pair", factor="multiplies both; YaRN's attention factor",
)  # fmt: skip
def rope_angles(positions: Value, *, frequencies: tuple[float, ...], factor: float) -> tuple[Value, Value]:
    """``positions`` i32 of any shape; angles are formed in fp32."""
    wide = reshape(cast(positions, "f32"), *positions.shape, 1)
    angles = wide * const(frequencies, "f32")
    cos, sin = unary("cos", angles), unary("sin", angles)
    return (cos, sin) if factor == 1.0 else (cos * factor, sin * factor)


@kernel(
    "Rotary embedding of some channels of the last axis, in fp32 (§1.2)",
    layout="pairs: neighbouring channels turn together; halves: channel j with j + width / 2",
    start="the first channel that turns", inverse="whether the angle is negated",
)  # fmt: skip
def rope(x: Value, cos: Value, sin: Value, *, layout: str, start: int, inverse: bool) -> Value:
    """``x [.., D]``; ``cos`` and ``sin [.., width / 2]`` broadcast against it; ``width`` channels from ``start``."""
    width, half = x.shape[-1], cos.shape[-1]
    assert isinstance(width, int) and isinstance(half, int)
    before, turning, after = split(x, start, 2 * half, width - start - 2 * half) if width > 2 * half else (x, x, x)
    turned = cast((_pairs if layout == "pairs" else _halves)(cast(turning, "f32"), cos, sin, inverse), x.dtype)
    parts = [*([before] if start else []), turned, *([after] if start + 2 * half < width else [])]
    return concat(*parts) if len(parts) > 1 else turned


@kernel(
    "RMSNorm, then rotary embedding: what V4 does to queries and keys (§4.3)",
    eps="added to the mean square", layout="as of rope", start="as of rope", inverse="as of rope",
)  # fmt: skip
def norm_rope(
    x: Value, cos: Value, sin: Value, w: Value | None = None, *, eps: float, layout: str, start: int, inverse: bool
) -> Value:
    """Operands as of ``rms_norm`` and ``rope``; the normed value is rounded to the dtype of ``x`` in between."""
    return rope(rms_norm(x, w, eps=eps), cos, sin, layout=layout, start=start, inverse=inverse)


def _turn(first: Value, second: Value, cos: Value, sin: Value, inverse: bool) -> tuple[Value, Value]:
    if inverse:
        return first * cos + second * sin, second * cos - first * sin
    return first * cos - second * sin, second * cos + first * sin


def _pairs(x: Value, cos: Value, sin: Value, inverse: bool) -> Value:
    half = cos.shape[-1]
    pairs = reshape(x, *x.shape[:-1], half, 2)
    even, odd = (reshape(part, *x.shape[:-1], half) for part in split(pairs, 1, 1))
    joined = concat(*(reshape(t, *t.shape, 1) for t in _turn(even, odd, cos, sin, inverse)))
    return reshape(joined, *x.shape)


def _halves(x: Value, cos: Value, sin: Value, inverse: bool) -> Value:
    half = cos.shape[-1]
    assert isinstance(half, int)
    first, second = split(x, half, half)
    return concat(*_turn(first, second, cos, sin, inverse))
