"""Pieces that every family uses, written as the equations of ``architectures.md`` read."""

from __future__ import annotations

from math import ceil, floor, log, pi

from dsv4c.ir.builder import (
    Builder,
    broadcast_to,
    call,
    cast,
    concat,
    const,
    cumsum,
    equal,
    exp,
    extent,
    gather,
    iota,
    largest,
    linear,
    maximum,
    mean,
    minimum,
    ragged_matmul,
    reshape,
    rsqrt,
    scatter,
    split,
    topk,
    total,
    unary,
    where,
)
from dsv4c.ir.core import Function, Module, Value
from dsv4c.ir.dims import Extent, product
from dsv4c.ir.types import Bundle, TensorType

from .config import Moe, Rope
from .types import BundleNames
from .weights import mlp as mlp_leaves
from .weights import routed as routed_leaves

MASKED = -1e30  # a logit no softmax can see, yet finite: a row without any key stays free of NaN


def rms_norm(x: Value, eps: float, w: Value | None = None) -> Value:
    """RMSNorm over the last axis (§1.1): statistics in fp32; an fp32 weight multiplies before the one cast out,
    a weight in the model's dtype after it.
    """
    wide = cast(x, "f32")
    normed = wide * rsqrt(mean(wide * wide, keep=True) + eps)
    if w is not None and w.dtype == "f32":
        return cast(normed * w, x.dtype)
    return cast(normed, x.dtype) if w is None else cast(normed, x.dtype) * w


def layer_norm(x: Value, w: Value, bias: Value, eps: float) -> Value:
    """LayerNorm with weight and bias over the last axis, in fp32 (§1.1)."""
    wide = cast(x, "f32")
    centred = wide - mean(wide, keep=True)
    return cast(centred * rsqrt(mean(centred * centred, keep=True) + eps) * w + bias, x.dtype)


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


def swiglu(gate: Value, up: Value, limit: float | None) -> Value:
    """silu(gate) * up with V4's clamps before both (§1.3), in fp32."""
    g, u = cast(gate, "f32"), cast(up, "f32")
    if limit is not None:
        g, u = minimum(g, limit), maximum(minimum(u, limit), -limit)
    return cast(g * sigmoid(g) * u, gate.dtype)


def mlp(x: Value, w: Value, limit: float | None) -> Value:
    """A dense SwiGLU block over the last axis."""
    return linear(swiglu(linear(x, w.gate), linear(x, w.up), limit), w.down)


def frequencies(rope: Rope) -> tuple[float, ...]:
    """Angle per position of each channel pair, in radians, with YaRN's ramp where the config has one (§1.2)."""
    plain = [rope.theta ** (-2.0 * j / rope.dim) for j in range(rope.dim // 2)]
    yarn = rope.yarn
    if yarn is None:
        return tuple(plain)

    def correction(turns: float) -> float:
        assert yarn is not None
        return rope.dim * log(yarn.original / (2 * pi * turns)) / (2 * log(rope.theta))

    low = float(max(floor(correction(yarn.beta_fast)), 0))
    high = float(min(ceil(correction(yarn.beta_slow)), rope.dim - 1))
    high += 0.001 if low == high else 0.0
    ramp = [min(max((j - low) / (high - low), 0.0), 1.0) for j in range(rope.dim // 2)]
    return tuple(f / yarn.factor * r + f * (1 - r) for f, r in zip(plain, ramp, strict=True))


def rope_angles(positions: Value, rope: Rope) -> tuple[Value, Value]:
    """cos and sin, f32 ``[*positions, dim / 2]``, for i32 positions of any shape."""
    wide = reshape(cast(positions, "f32"), *positions.shape, 1)
    angles = wide * const(frequencies(rope), "f32")
    factor = rope.yarn.attention_factor if rope.yarn else 1.0
    cos, sin = unary("cos", angles), unary("sin", angles)
    return (cos, sin) if factor == 1.0 else (cos * factor, sin * factor)


def rotate_pairs(x: Value, angles: tuple[Value, Value], inverse: bool = False) -> Value:
    """Rotate neighbouring channel pairs of the last axis; angles broadcast against ``x [..., dim]``."""
    pairs = reshape(cast(x, "f32"), *x.shape[:-1], _half(x), 2)
    even, odd = (reshape(part, *x.shape[:-1], _half(x)) for part in split(pairs, 1, 1))
    cos, sin = angles
    if inverse:
        turned = (even * cos + odd * sin, odd * cos - even * sin)
    else:
        turned = (even * cos - odd * sin, even * sin + odd * cos)
    joined = concat(*(reshape(t, *t.shape, 1) for t in turned))
    return cast(reshape(joined, *x.shape), x.dtype)


def rotate_halves(x: Value, angles: tuple[Value, Value]) -> Value:
    """Rotate channel j with channel j + dim / 2 of the last axis."""
    low, high = split(cast(x, "f32"), _half(x), _half(x))
    cos, sin = angles
    return cast(concat(low * cos - high * sin, high * cos + low * sin), x.dtype)


def _half(x: Value) -> int:
    size = x.shape[-1]
    assert isinstance(size, int)
    return size // 2


def rotate_last(x: Value, angles: tuple[Value, Value], dim: int, inverse: bool = False) -> Value:
    """Rotate pairs among the last ``dim`` channels and leave the ones before."""
    width = x.shape[-1]
    assert isinstance(width, int)
    if width == dim:
        return rotate_pairs(x, angles, inverse)
    plain, turning = split(x, width - dim, dim)
    return concat(plain, rotate_pairs(turning, angles, inverse))


def positions_of(past: Value, length: Extent) -> Value:
    """Absolute positions i32 ``[B, S]`` of a chunk of ``length`` tokens after ``past`` earlier ones."""
    return reshape(past, past.shape[0], 1) + reshape(iota(length), 1, length)


def is_new(new: Value, length: Extent) -> Value:
    """Which of ``length`` token slots hold a token, bool ``[B, S]``; the rest is padding."""
    return reshape(iota(length), 1, length) < reshape(new, new.shape[0], 1)


def masked_softmax(scores: Value, mask: Value) -> Value:
    """Softmax in fp32 over the last axis where ``mask`` holds."""
    return softmax(where(mask, cast(scores, "f32"), MASKED))


def mask_from(indices: Value, count: Extent) -> Value:
    """Bool ``[..., count]``: which positions occur in ``indices [..., k]``; -1 names none."""
    *lead, _ = indices.shape
    none = const(False, "bool", (*lead, count))
    return scatter(none, indices, broadcast_to(const(True, "bool"), *indices.shape), batch=len(lead))


def expert_scores(logits: Value, scoring: str) -> Value:
    """Router scores from fp32 logits (§6.1, §6.2)."""
    if scoring == "softmax":
        return softmax(logits)
    return sigmoid(logits) if scoring == "sigmoid" else unary("sqrt", softplus(logits))


def choose_experts(scores: Value, bias: Value, m: Moe) -> Value:
    """Indices i32 ``[tokens, per_token]`` of the chosen experts; the bias counts for the choice only (§6.1, §6.2)."""
    biased = scores + bias
    if m.groups > 1:
        tokens, size = scores.shape[0], m.experts // m.groups
        grouped = reshape(biased, tokens, m.groups, size)
        best, _ = topk(grouped, min(2, size))
        _, kept = topk(total(best), m.groups_kept)
        mask = reshape(mask_from(kept, m.groups), tokens, m.groups, 1)
        biased = reshape(where(mask, grouped, float("-inf")), tokens, m.experts)
    _, chosen = topk(biased, m.per_token)
    return chosen


def routing_weights(scores: Value, chosen: Value, m: Moe) -> Value:
    """Weights f32 ``[tokens, per_token]`` from the unbiased scores of the chosen experts."""
    picked = gather(scores, chosen, batch=1)
    if m.normalise:
        picked = picked / (total(picked, keep=True) + 1e-20)
    return picked * m.scale


def routed_experts(
    x: Value, chosen: Value, weights: Value, live: Value, w: Value, m: Moe, limit: float | None
) -> Value:
    """Sum of the chosen experts' outputs: rows sorted by expert, one ragged product a matrix, rows put back.

    ``x [tokens, d]``, ``chosen`` and ``weights [tokens, k]``, ``live`` bool ``[tokens]``; padding reaches no expert.
    """
    tokens, k = chosen.shape[0], m.per_token
    pairs = tokens * k
    alive = broadcast_to(reshape(live, tokens, 1), tokens, k)
    expert = reshape(where(alive, chosen, m.experts), pairs)
    hit = cast(equal(reshape(expert, pairs, 1), reshape(iota(m.experts), 1, m.experts)), "i32")
    counts = total(hit, axis=0)
    starts = cumsum(counts, 0) - counts
    slot = where(expert < m.experts, total(hit * (cumsum(hit, 0) + starts - 1)), reshape(extent(pairs), 1))
    source = scatter(const(0, "i32", (pairs,)), slot, iota(pairs) // k)
    rows = gather(x, source)
    inner = swiglu(ragged_matmul(rows, w.gate, counts), ragged_matmul(rows, w.up, counts), limit)
    back = gather(ragged_matmul(inner, w.down, counts), slot)
    weighted = cast(reshape(back, tokens, k, x.shape[-1]), "f32") * reshape(weights, tokens, k, 1)
    return cast(total(weighted, axis=1), x.dtype)


def expert_block(
    module: Module, hidden: TensorType, weights: dict[str, Bundle], m: Moe, limit: float | None
) -> Function:
    """The function ``experts`` (x, chosen, mix, new, experts[, shared]) -> y, whoever chose them (§6).

    ``hidden`` is the type of x ``[B, S, d]``; ``chosen`` i32 and their weights ``mix`` f32 are ``[B * S, per_token]``.
    """
    batch, length, width = hidden.shape
    count = product((batch, length))
    picks = (count, m.per_token)
    with Builder(
        module,
        "experts",
        x=hidden,
        chosen=TensorType(picks, "i32"),
        mix=TensorType(picks, "f32"),
        new=TensorType((batch,), "i32"),
        **weights,
    ) as b:
        x, chosen, mix, new, experts, *shared = b.params
        flat, live = reshape(x, count, width), reshape(is_new(new, length), count)
        with b.scope("routed"):
            out = routed_experts(flat, chosen, mix, live, experts, m, limit)
        for w in shared:
            with b.scope("shared"):
                out = out + mlp(flat, w, limit)
        return b.done(reshape(out, *hidden.shape))


def moe(experts: Function, x: Value, tokens: Value | None, new: Value, w: Value, m: Moe) -> Value:
    """Mixture of experts over ``x [B, S, d]``; with ``tokens`` the experts come from the hash table (§6)."""
    batch, length, width = x.shape
    count = product((batch, length))
    flat = reshape(x, count, width)
    scores = expert_scores(linear(cast(flat, "f32"), cast(w.router, "f32")), m.scoring)
    chosen = choose_experts(scores, w.bias, m) if tokens is None else gather(w.table, reshape(tokens, count))
    shared = (w.shared,) if m.shared else ()
    (out,) = call(experts, x, chosen, routing_weights(scores, chosen, m), new, w.experts, *shared)
    return out


def expert_bundles(names: BundleNames, m: Moe, hidden: int, dtype: str) -> dict[str, Bundle]:
    """The records of the routed and the shared experts, as ``expert_block`` takes them."""
    out = {"experts": names.from_leaves("experts", routed_leaves(m, hidden), dtype)}
    if m.shared:
        out["shared"] = names.from_leaves("shared_expert", mlp_leaves(hidden, m.shared * m.width), dtype)
    return out


def last_rows(x: Value, new: Value) -> Value:
    """The row of each sequence's last new token: ``[B, S, d]`` to ``[B, 1, d]``."""
    return gather(x, reshape(new - 1, new.shape[0], 1), batch=1)


def drop_padding(target: Value, new: Value, length: Extent) -> Value:
    """``target`` i32 ``[B, S]`` with -1 at padding, so that a scatter drops it."""
    return where(is_new(new, length), target, -1)
