"""Pieces that every family shares beyond the equations of ``dsv4c.ir.kernel_ops``: rope tables, expert blocks."""

from __future__ import annotations

from math import ceil, floor, inf, log, pi

from dsv4c.ir.builder import Builder, call, cast, gather, linear, reshape
from dsv4c.ir.core import Function, Module, Value
from dsv4c.ir.dims import product
from dsv4c.ir.kernel_ops.activation import mlp
from dsv4c.ir.kernel_ops.experts import experts as routed_experts
from dsv4c.ir.kernel_ops.positions import is_new
from dsv4c.ir.kernel_ops.rope import rope_angles
from dsv4c.ir.kernel_ops.routing import route_hash, route_topk
from dsv4c.ir.types import Bundle, TensorType

from .config import Moe, Rope
from .types import BundleNames
from .weights import mlp as mlp_leaves
from .weights import routed as routed_leaves

Angles = tuple[Value, Value]


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


def angles_of(positions: Value, rope: Rope) -> Angles:
    """cos and sin, f32 ``[*positions, dim / 2]``, for i32 positions of any shape."""
    return rope_angles(positions, frequencies=frequencies(rope), factor=rope.factor)


def per_head(angles: Angles) -> Angles:
    """Angles ``[B, S, half]`` that broadcast against ``[B, S, H, half]``."""
    cos, sin = (reshape(a, *a.shape[:2], 1, a.shape[2]) for a in angles)
    return cos, sin


def expert_block(
    module: Module, hidden: TensorType, weights: dict[str, Bundle], m: Moe, limit: float = inf
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
            out = routed_experts(flat, chosen, mix, live, experts.gate, experts.up, experts.down, limit=limit)
        for w in shared:
            with b.scope("shared"):
                out = out + mlp(flat, w.gate, w.up, w.down, limit=limit)
        return b.done(reshape(out, *hidden.shape))


def moe(experts: Function, x: Value, tokens: Value | None, new: Value, w: Value, m: Moe) -> Value:
    """Mixture of experts over ``x [B, S, d]``; with ``tokens`` the experts come from the hash table (§6)."""
    batch, length, width = x.shape
    count = product((batch, length))
    flat = reshape(x, count, width)
    logits = linear(cast(flat, "f32"), cast(w.router, "f32"))
    if tokens is None:
        chosen, mix = route_topk(
            logits, w.bias, scoring=m.scoring, per_token=m.per_token, groups=m.groups, groups_kept=m.groups_kept,
            normalise=m.normalise, scale=m.scale,
        )  # fmt: skip
    else:
        chosen = gather(w.table, reshape(tokens, count))
        mix = route_hash(logits, chosen, scoring=m.scoring, normalise=m.normalise, scale=m.scale)
    shared = (w.shared,) if m.shared else ()
    (out,) = call(experts, x, chosen, mix, new, w.experts, *shared)
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
