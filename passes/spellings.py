"""Other ways to write what a kernel op computes, as exporters do, where no rule of ``canonicalize`` makes them one.

A spelling is a function of core ops like the kernel op's own; ``bound`` says how far numbers may be apart, relative to
the largest, and tests/test_spellings.py holds it to that. Operands that the kernel op wants in another layout are
turned where it is put in.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from dsv4c.ir.builder import (
    broadcast_to,
    cast,
    concat,
    const,
    exp,
    iota,
    linear,
    matmul,
    maximum,
    mean,
    minimum,
    reshape,
    slice_axis,
    split,
    transpose,
    unary,
    where,
)
from dsv4c.ir.core import Attrs, Value
from dsv4c.ir.kernel_ops.activation import softmax
from dsv4c.ir.kernel_ops.define import shaped
from dsv4c.ir.kernel_ops.positions import MASKED, positions_of

ROUNDED = 3e-7  # two or three roundings of f32 more or less
Adapted = tuple[Sequence[Value], Attrs]


def _root(x: Value) -> Value:
    return unary("sqrt", x)


def rms_norm_divided(x: Value, w: Value | None = None, *, eps: float) -> Value:
    """x / sqrt(mean(x x) + eps) where the kernel op has x * rsqrt(...)."""
    if w is not None:
        shaped("the weight", w, x.shape[-1])
    wide = cast(x, "f32")
    normed = wide / _root(mean(wide * wide, keep=True) + eps)
    if w is not None and w.dtype == "f32":
        return cast(normed * w, x.dtype)
    return cast(normed, x.dtype) if w is None else cast(normed, x.dtype) * w


def layer_norm_divided(x: Value, w: Value, bias: Value, *, eps: float) -> Value:
    """(x - mean) / sqrt(var + eps) * w + bias."""
    for what, value in (("the weight", w), ("the bias", bias)):
        shaped(what, value, x.shape[-1])
    wide = cast(x, "f32")
    centred = wide - mean(wide, keep=True)
    return cast(centred / _root(mean(centred * centred, keep=True) + eps) * w + bias, x.dtype)


def swiglu_divided(gate: Value, up: Value, *, limit: float) -> Value:
    """gate / (1 + e^-gate) * up."""
    shaped("up", up, *gate.shape)
    g, u = cast(gate, "f32"), cast(up, "f32")
    if limit != inf:
        g, u = minimum(g, limit), maximum(minimum(u, limit), -limit)
    return cast(g / (exp(-1.0 * g) + 1.0) * u, gate.dtype)


def angles_by_product(positions: Value, *, frequencies: tuple[float, ...], factor: float) -> tuple[Value, Value]:
    """Frequencies as a column times positions as a row, and the transpose of that."""
    batch, length = positions.shape
    column = const(frequencies, "f32", (1, len(frequencies), 1))
    row = cast(reshape(positions, batch, 1, length), "f32")
    angles = transpose(matmul(column, row), 0, 2, 1)
    cos, sin = unary("cos", angles), unary("sin", angles)
    return (cos, sin) if factor == 1.0 else (cos * factor, sin * factor)


def rotated_halves(x: Value, cos: Value, sin: Value, *, start: int) -> Value:
    """x cos + rotate_half(x) sin, with tables repeated to full width; some channels of the last axis."""
    width, half = x.shape[-1], cos.shape[-1]
    assert isinstance(width, int) and isinstance(half, int)
    after = start + 2 * half
    wide = cast(slice_axis(x, start, after), "f32")
    turned = concat(-1.0 * slice_axis(wide, half, 2 * half), slice_axis(wide, 0, half))
    out = cast(wide * concat(cos, cos) + turned * concat(sin, sin), x.dtype)
    before, rest = slice_axis(x, 0, start), slice_axis(x, after, width)
    return concat(*([before] if start else []), out, *([rest] if after < width else []))


def with_halves(operands: Sequence[Value], attrs: Attrs) -> Adapted:
    """What rope has as attributes."""
    return operands, {**attrs, "layout": "halves", "inverse": False}


def heads_first(
    q: Value, latents: Value, rope_keys: Value, kv_b: Value, past: Value | None = None, *, nope: int, width: int,
    scale: float | None = None, root: float | None = None,
) -> Value:  # fmt: skip
    """MLA as exporters write it: ``q [B, H, S, nope + r]``, ``rope_keys [B, 1, T, r]``; without ``past`` the chunk is
    all there is. With ``root`` both sides of the product are scaled by it.
    """
    (batch, heads, length, _), (_, _, count, turned) = q.shape, rope_keys.shape
    expanded = transpose(reshape(linear(latents, kv_b), batch, count, heads, nope + width), 0, 2, 1, 3)
    plain, values = split(expanded, nope, width)
    keys = concat(plain, broadcast_to(rope_keys, batch, heads, count, turned))
    if root is not None:
        scores = matmul(q * root, transpose(keys, 0, 1, 3, 2) * root)
    else:
        assert scale is not None
        scores = matmul(q, keys, trans_b=True) * scale
    if past is None:
        shaped("the latents", latents, batch, length, latents.shape[2])
        last = reshape(iota(length), 1, 1, length, 1)
    else:
        last = reshape(positions_of(past, length), batch, 1, length, 1)
    weights = softmax(where(reshape(iota(count), 1, 1, 1, count) <= last, scores, MASKED))
    return transpose(matmul(weights, values), 0, 2, 1, 3)


def tokens_first(operands: Sequence[Value], attrs: Attrs) -> Adapted:
    """Operands as ``mla_attention`` takes them: ``q [B, S, H, D]``, ``rope_keys [B, T, r]``, past 0 where none is."""
    q, latents, rope_keys, kv_b, *past = operands
    batch, _, count, turned = rope_keys.shape
    limit = past[0] if past else const(0, "i32", (batch,))
    scale = attrs["root"] * attrs["root"] if "root" in attrs else attrs["scale"]  # type: ignore[operator]
    turned_back = transpose(q, 0, 2, 1, 3), latents, reshape(rope_keys, batch, count, turned), kv_b, limit
    return turned_back, {"scale": scale, "nope": attrs["nope"], "width": attrs["width"]}
