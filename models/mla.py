"""DeepSeek-V3 and V3.2: multi-head latent attention, the lightning indexer, grouped routing (§2, §3, §6.1)."""

from __future__ import annotations

from dsv4c.ir.builder import (
    Builder,
    broadcast_to,
    bundle,
    call,
    cast,
    concat,
    iota,
    linear,
    matmul,
    maximum,
    reshape,
    scatter,
    split,
    topk,
    total,
    transpose,
    where,
)
from dsv4c.ir.core import Function, Module, Value
from dsv4c.ir.types import Bundle, TensorType

from .blocks import (
    drop_padding,
    expert_block,
    expert_bundles,
    layer_norm,
    mask_from,
    masked_softmax,
    mlp,
    moe,
    positions_of,
    rms_norm,
    rope_angles,
    rotate_halves,
    rotate_pairs,
)
from .config import Indexer, MlaConfig
from .skeleton import COUNTS, TOKENS, B, Family, S, T, build_entries
from .types import BundleNames, state_tensor
from .weights import layer_leaves, mla
from .weights import mlp as mlp_leaves
from .weights import moe as moe_leaves

NORM_EPS = 1e-6  # q_a_layernorm, kv_a_layernorm and the indexer's LayerNorm ignore the config field (§1.1)


def build_mla(config: MlaConfig, dtype: str) -> Module:
    """The module of a V3 or V3.2 model computing in ``dtype``."""
    module, names = Module(config.family), BundleNames()
    blocks = _Blocks(module, names, config, dtype)
    family = Family(
        config,
        dtype,
        blocks.layer,
        blocks.weights,
        lambda index: blocks.state,
        opening=lambda x: x,
        closing=lambda x, w: x,
    )
    build_entries(module, names, family)
    return module


class _Blocks:
    """Functions of one model, each built once."""

    def __init__(self, module: Module, names: BundleNames, config: MlaConfig, dtype: str) -> None:
        self.module, self.names, self.config, self.dtype = module, names, config, dtype
        self.hidden = TensorType((B, S, config.hidden), dtype)
        self.state = names.make("attention_state", _state(config, dtype))
        self.attention_weights = names.from_leaves("attention", mla(config), dtype)
        self._layers: dict[str, Function] = {}
        self._attention: Function | None = None

    def weights(self, index: int) -> Bundle:
        """The record of one layer's weights."""
        kind = "dense" if index < self.config.dense_layers else "moe"
        return self.names.from_leaves(f"layer_{kind}", layer_leaves(self.config, index), self.dtype)

    def layer(self, index: int) -> Function:
        """The function of one layer: two kinds, dense and mixture of experts."""
        kind = "dense" if index < self.config.dense_layers else "moe"
        if kind not in self._layers:
            self._layers[kind] = self._build(kind, self.weights(index))
        return self._layers[kind]

    def _build(self, kind: str, weights: Bundle) -> Function:
        if self._attention is None:
            self._attention = _attention(self.module, self.config, self.hidden, self.attention_weights, self.state)
        feed_forward = self._feed_forward(kind)
        with Builder(
            self.module,
            f"layer_{kind}",
            x=self.hidden,
            tokens=TOKENS,
            past=COUNTS,
            new=COUNTS,
            w=weights,
            state=self.state,
        ) as b:
            x, _, past, new, w, state = b.params
            with b.scope("attn"):
                y, state = call(self._attention, rms_norm(x, self.config.eps, w.attn_norm), past, new, w.attn, state)
                x = x + y
            with b.scope("ffn"):
                (y,) = call(feed_forward, rms_norm(x, self.config.eps, w.ffn_norm), new, w.ffn)
                x = x + y
            return b.done(x, state)

    def _feed_forward(self, kind: str) -> Function:
        c = self.config
        dense = kind == "dense"
        leaves = mlp_leaves(c.hidden, c.dense_width) if dense else moe_leaves(c.moe, c.hidden, c.vocab, hashed=False)
        weights = self.names.from_leaves(f"ffn_{kind}", leaves, self.dtype)
        records = expert_bundles(self.names, c.moe, c.hidden, self.dtype)
        experts = None if dense else expert_block(self.module, self.hidden, records, c.moe, None)
        with Builder(self.module, f"ffn_{kind}", x=self.hidden, new=COUNTS, w=weights) as b:
            x, new, w = b.params
            return b.done(moe(experts, x, None, new, w, c.moe) if experts else mlp(x, w, None))


def _state(c: MlaConfig, dtype: str) -> dict[str, TensorType]:
    out = {"latent": state_tensor((B, T, c.kv_rank), dtype), "rope_key": state_tensor((B, T, c.rope.dim), dtype)}
    if c.indexer:
        out["index_key"] = state_tensor((B, T, c.indexer.head_dim), dtype)
    return out


def _attention(module: Module, c: MlaConfig, hidden: TensorType, weights: Bundle, state: Bundle) -> Function:
    """MLA in its naive form: keys and values of every head are expanded from the latent cache (§2)."""
    with Builder(module, "attention", x=hidden, past=COUNTS, new=COUNTS, w=weights, state=state) as b:
        x, past, new, w, s = b.params
        positions = positions_of(past, S)
        slots = drop_padding(positions, new, S)
        angles = rope_angles(positions, c.rope)
        rotate = rotate_pairs if c.rope_interleaved else rotate_halves
        with b.scope("q"):
            rank = None if c.q_rank is None else rms_norm(linear(x, w.q_a), NORM_EPS, w.q_norm)
            q = reshape(linear(x, w.q) if rank is None else linear(rank, w.q_b), B, S, c.heads, c.qk_dim)
            plain, turning = split(q, c.nope_dim, c.rope.dim)
            q = concat(plain, rotate(turning, _per_head(angles)))
        with b.scope("kv"):
            latent, rope_key = split(linear(x, w.kv_a), c.kv_rank, c.rope.dim)
            latents = scatter(s.latent, slots, rms_norm(latent, NORM_EPS, w.kv_norm), batch=1)
            rope_keys = scatter(s.rope_key, slots, rotate(rope_key, angles), batch=1)
        seen = reshape(iota(T), 1, 1, T) <= reshape(positions, B, S, 1)
        parts = [latents, rope_keys]
        if c.indexer:
            with b.scope("indexer"):
                chosen, keys = _indexer(
                    x, x if rank is None else rank, slots, angles, seen, w.indexer, s.index_key, c.indexer, c.rope.dim
                )
                seen = seen & mask_from(chosen, T)
                parts.append(keys)
        with b.scope("core"):
            out = _core(q, latents, rope_keys, seen, w.kv_b, c)
        with b.scope("o"):
            y = linear(out, w.o)
        return b.done(y, bundle(state, *parts))


def _per_head(angles: tuple[Value, Value]) -> tuple[Value, Value]:
    cos, sin = (reshape(a, B, S, 1, a.shape[-1]) for a in angles)
    return cos, sin


def _core(q: Value, latents: Value, rope_keys: Value, seen: Value, kv_b: Value, c: MlaConfig) -> Value:
    """Softmax attention of ``q [B, S, H, qk]`` over the cache; out ``[B, S, H * v]``."""
    expanded = reshape(linear(latents, kv_b), B, T, c.heads, c.nope_dim + c.v_dim)
    plain, values = split(expanded, c.nope_dim, c.v_dim)
    shared = broadcast_to(reshape(rope_keys, B, T, 1, c.rope.dim), B, T, c.heads, c.rope.dim)
    keys = transpose(concat(plain, shared), 0, 2, 1, 3)
    scores = matmul(transpose(q, 0, 2, 1, 3), keys, trans_b=True, out="f32") * c.softmax_scale
    weights = cast(masked_softmax(scores, reshape(seen, B, 1, S, T)), q.dtype)
    out = matmul(weights, transpose(values, 0, 2, 1, 3))
    return reshape(transpose(out, 0, 2, 1, 3), B, S, c.heads * c.v_dim)


def _indexer(
    x: Value,
    rank: Value,
    slots: Value,
    angles: tuple[Value, Value],
    seen: Value,
    w: Value,
    cache: Value,
    i: Indexer,
    rope: int,
) -> tuple[Value, Value]:
    """DSA's lightning indexer (§3), without the Hadamard rotation, which cancels without quantisation.

    Gives the chosen positions i32 ``[B, S, top_k]``, -1 for none, and the updated key cache.
    """
    q = reshape(linear(rank, w.q_b), B, S, i.heads, i.head_dim)
    key = layer_norm(linear(x, w.k), w.k_norm, w.k_norm_bias, NORM_EPS)
    keys = scatter(cache, slots, _rotate_first(key, angles, rope), batch=1)
    head_weights = linear(cast(x, "f32"), cast(w.head_weights, "f32")) * (i.heads**-0.5)
    flat = reshape(cast(_rotate_first(q, _per_head(angles), rope), "f32"), B, S * i.heads, i.head_dim)
    products = reshape(matmul(flat, cast(keys, "f32"), trans_b=True), B, S, i.heads, T)
    scaled = maximum(products * (i.head_dim**-0.5), 0.0)
    scores = total(scaled * reshape(head_weights, B, S, i.heads, 1), axis=2)
    best, chosen = topk(where(seen, scores, float("-inf")), i.top_k)
    return where(best > float("-inf"), chosen, -1), keys


def _rotate_first(x: Value, angles: tuple[Value, Value], dim: int) -> Value:
    """The indexer rotates halves of its first ``dim`` channels (§1.2)."""
    width = x.shape[-1]
    assert isinstance(width, int)
    if width == dim:
        return rotate_halves(x, angles)
    turning, plain = split(x, dim, width - dim)
    return concat(rotate_halves(turning, angles), plain)
