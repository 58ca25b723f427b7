"""Attention over explicit caches: V4's window with compressed entries (architectures.md §4.3), MLA naive and absorbed
(§2). Softmax is in fp32; weights are cast to the model's dtype before they meet the values.
"""

from __future__ import annotations

from ..builder import (
    broadcast_to,
    cast,
    concat,
    exp,
    iota,
    largest,
    linear,
    matmul,
    maximum,
    reshape,
    split,
    total,
    transpose,
    where,
)
from ..core import Value
from .activation import softmax
from .define import kernel
from .indexer import visible_entries
from .positions import MASKED, drop_padding, mask_from, positions_of, ring_positions


@kernel(
    "Attention over a window and, where given, compressed entries: all visible ones, or those chosen (§4.3)",
    scale="of the logits", rate="tokens to an entry; 1 where there are none",
)  # fmt: skip
def sparse_attention(
    q: Value, ring: Value, kv: Value, past: Value, new: Value, sinks: Value, entries: Value | None = None,
    chosen: Value | None = None, *, scale: float, rate: int,
) -> Value:  # fmt: skip
    """``q [B, S, H, D]``; ``ring [B, W, D]`` and ``kv [B, S, D]`` are the last W and the new keys, which are the values
    too; ``entries [B, N, D]``, ``chosen`` i32 ``[B, S, k]`` with -1 for none; ``sinks`` f32 ``[H]`` add to the
    denominator only. Out ``[B, S, H, D]``.
    """
    keys, seen = _window(ring, kv, past, new)
    if entries is not None:
        count = entries.shape[1]
        visible = visible_entries(past, kv.shape[1], count, rate) if chosen is None else mask_from(chosen, count)
        keys, seen = concat(keys, entries, axis=1), concat(seen, visible, axis=2)
    return _with_sinks(q, keys, seen, sinks, scale)


def _window(ring: Value, kv: Value, past: Value, new: Value) -> tuple[Value, Value]:
    """Keys of the ring and the chunk ``[B, W + S, D]``, and who sees which ``[B, S, W + S]``."""
    (batch, size, _), length = ring.shape, kv.shape[1]
    assert isinstance(size, int)
    positions = positions_of(past, length)
    held = concat(ring_positions(past, size), drop_padding(positions, new), axis=1)
    key_at, query_at = reshape(held, batch, 1, size + length), reshape(positions, batch, length, 1)
    seen = (key_at >= 0) & (key_at <= query_at) & (key_at > query_at - size)
    return concat(ring, kv, axis=1), seen


def _with_sinks(q: Value, keys: Value, seen: Value, sinks: Value, scale: float) -> Value:
    (batch, length, heads, width), count = q.shape, keys.shape[1]
    flat = reshape(q, batch, length * heads, width)
    scores = reshape(matmul(flat, keys, trans_b=True, out="f32"), batch, length, heads, count) * scale
    scores = where(reshape(seen, batch, length, 1, count), scores, MASKED)
    sink = reshape(sinks, 1, 1, heads, 1)
    peak = maximum(largest(scores, keep=True), sink)
    powers = exp(scores - peak)
    weights = powers / (total(powers, keep=True) + exp(sink - peak))
    out = matmul(reshape(cast(weights, q.dtype), batch, length * heads, count), keys)
    return reshape(out, batch, length, heads, width)


def _seen(limit: Value, q: Value, cache: Value) -> Value:
    """Bool ``[B, S, T]``: positions up to the query's own where ``limit`` is past ``[B]``, or those it names."""
    (batch, length, *_), count = q.shape, cache.shape[1]
    if limit.tensor.rank == 3:
        return mask_from(limit, count)
    return reshape(iota(count), 1, 1, count) <= reshape(positions_of(limit, length), batch, length, 1)


@kernel(
    "MLA in its naive form: keys and values of every head expanded from the latent cache (§2)",
    scale="of the logits", nope="channels of a head without rotation", width="channels of a head's value",
)  # fmt: skip
def mla_attention(
    q: Value, latents: Value, rope_keys: Value, kv_b: Value, limit: Value, *, scale: float, nope: int, width: int
) -> Value:
    """``q [B, S, H, nope + r]``, ``latents [B, T, R]``, ``rope_keys [B, T, r]``, ``kv_b [H (nope + width), R]``,
    ``limit`` i32: past ``[B]``, or the positions chosen ``[B, S, k]`` with -1 for none; out ``[B, S, H, width]``.
    """
    (batch, _, heads, _), (_, count, turned) = q.shape, rope_keys.shape
    expanded = reshape(linear(latents, kv_b), batch, count, heads, nope + width)
    plain, values = split(expanded, nope, width)
    shared = broadcast_to(reshape(rope_keys, batch, count, 1, turned), batch, count, heads, turned)
    keys = transpose(concat(plain, shared), 0, 2, 1, 3)
    scores = matmul(transpose(q, 0, 2, 1, 3), keys, trans_b=True, out="f32") * scale
    weights = _masked_softmax(scores, _seen(limit, q, latents))
    return transpose(matmul(cast(weights, q.dtype), transpose(values, 0, 2, 1, 3)), 0, 2, 1, 3)


def _masked_softmax(scores: Value, seen: Value) -> Value:
    """Softmax of ``scores`` f32 ``[B, H, S, T]`` over what is ``seen [B, S, T]``."""
    batch, length, count = seen.shape
    return softmax(where(reshape(seen, batch, 1, length, count), scores, MASKED))


@kernel("MLA over the latent cache itself, weights absorbed into query and output (§2)", scale="of the logits")
def mla_absorbed(
    q_latent: Value, q_rope: Value, latents: Value, rope_keys: Value, limit: Value, *, scale: float
) -> Value:
    """``q_latent [B, S, H, R]``, ``q_rope [B, S, H, r]``, ``limit`` as in ``mla_attention``; out ``[B, S, H, R]``, sums
    of latents.
    """
    (batch, length, heads, rank), count = q_latent.shape, latents.shape[1]
    flat, turned = (reshape(q, batch, length * heads, q.shape[-1]) for q in (q_latent, q_rope))
    plain = matmul(flat, latents, trans_b=True, out="f32")
    scores = (plain + matmul(turned, rope_keys, trans_b=True, out="f32")) * scale
    seen = reshape(_seen(limit, q_latent, latents), batch, length, 1, count)
    masked = where(seen, reshape(scores, batch, length, heads, count), MASKED)
    weights = reshape(cast(softmax(masked), q_latent.dtype), batch, length * heads, count)
    return reshape(matmul(weights, latents), batch, length, heads, rank)
