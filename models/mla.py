"""DeepSeek-V3 and V3.2: multi-head latent attention, the lightning indexer, grouped routing (§2, §3, §6.1)."""

from __future__ import annotations

from math import inf

from dsv4c.ir.builder import Builder, bundle, call, cast, linear, reshape, split
from dsv4c.ir.core import Function, Module, Value
from dsv4c.ir.kernel_ops.activation import mlp
from dsv4c.ir.kernel_ops.attention import mla_attention
from dsv4c.ir.kernel_ops.indexer import lightning_indexer
from dsv4c.ir.kernel_ops.norm import layer_norm, rms_norm
from dsv4c.ir.kernel_ops.positions import append_cache, positions_of
from dsv4c.ir.kernel_ops.rope import rope
from dsv4c.ir.types import Bundle, TensorType

from .blocks import Angles, angles_of, expert_block, expert_bundles, moe, per_head
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
                rows = rms_norm(x, w.attn_norm, eps=self.config.eps)
                y, state = call(self._attention, rows, past, new, w.attn, state)
                x = x + y
            with b.scope("ffn"):
                (y,) = call(feed_forward, rms_norm(x, w.ffn_norm, eps=self.config.eps), new, w.ffn)
                x = x + y
            return b.done(x, state)

    def _feed_forward(self, kind: str) -> Function:
        c = self.config
        dense = kind == "dense"
        leaves = mlp_leaves(c.hidden, c.dense_width) if dense else moe_leaves(c.moe, c.hidden, c.vocab, hashed=False)
        weights = self.names.from_leaves(f"ffn_{kind}", leaves, self.dtype)
        records = expert_bundles(self.names, c.moe, c.hidden, self.dtype)
        experts = None if dense else expert_block(self.module, self.hidden, records, c.moe)
        with Builder(self.module, f"ffn_{kind}", x=self.hidden, new=COUNTS, w=weights) as b:
            x, new, w = b.params
            return b.done(moe(experts, x, None, new, w, c.moe) if experts else mlp(x, w.gate, w.up, w.down, limit=inf))


def _state(c: MlaConfig, dtype: str) -> dict[str, TensorType]:
    out = {"latent": state_tensor((B, T, c.kv_rank), dtype), "rope_key": state_tensor((B, T, c.rope.dim), dtype)}
    if c.indexer:
        out["index_key"] = state_tensor((B, T, c.indexer.head_dim), dtype)
    return out


def _attention(module: Module, c: MlaConfig, hidden: TensorType, weights: Bundle, state: Bundle) -> Function:
    """MLA in its naive form: keys and values of every head are expanded from the latent cache (§2)."""
    layout = "pairs" if c.rope_interleaved else "halves"
    with Builder(module, "attention", x=hidden, past=COUNTS, new=COUNTS, w=weights, state=state) as b:
        x, past, new, w, s = b.params
        angles = angles_of(positions_of(past, S), c.rope)
        with b.scope("q"):
            rank = None if c.q_rank is None else rms_norm(linear(x, w.q_a), w.q_norm, eps=NORM_EPS)
            q = reshape(linear(x, w.q) if rank is None else linear(rank, w.q_b), B, S, c.heads, c.qk_dim)
            q = rope(q, *per_head(angles), layout=layout, start=c.nope_dim, inverse=False)
        with b.scope("kv"):
            latent, rope_key = split(linear(x, w.kv_a), c.kv_rank, c.rope.dim)
            latents = append_cache(s.latent, rms_norm(latent, w.kv_norm, eps=NORM_EPS), past, new)
            turned = rope(rope_key, *angles, layout=layout, start=0, inverse=False)
            rope_keys = append_cache(s.rope_key, turned, past, new)
        parts, limit = [latents, rope_keys], past
        if c.indexer:
            with b.scope("indexer"):
                limit, keys = _indexer(
                    x, x if rank is None else rank, past, new, angles, w.indexer, s.index_key, c.indexer
                )
                parts.append(keys)
        with b.scope("core"):
            out = mla_attention(
                q, latents, rope_keys, w.kv_b, limit, scale=c.softmax_scale, nope=c.nope_dim, width=c.v_dim
            )
        with b.scope("o"):
            y = linear(reshape(out, B, S, c.heads * c.v_dim), w.o)
        return b.done(y, bundle(state, *parts))


def _indexer(
    x: Value, rank: Value, past: Value, new: Value, angles: Angles, w: Value, cache: Value, i: Indexer
) -> tuple[Value, Value]:
    """DSA's lightning indexer (§3), without the Hadamard rotation, which cancels without quantisation.

    Halves of the first channels turn (§1.2). Gives the chosen positions i32 ``[B, S, top_k]``, -1 for none, and the
    updated key cache.
    """
    key = layer_norm(linear(x, w.k), w.k_norm, w.k_norm_bias, eps=NORM_EPS)
    keys = append_cache(cache, rope(key, *angles, layout="halves", start=0, inverse=False), past, new)
    q = reshape(linear(rank, w.q_b), B, S, i.heads, i.head_dim)
    q = rope(q, *per_head(angles), layout="halves", start=0, inverse=False)
    head_weights = linear(cast(x, "f32"), cast(w.head_weights, "f32")) * (i.heads**-0.5)
    chosen = lightning_indexer(q, head_weights, keys, past, rate=1, top_k=i.top_k, scale=i.head_dim**-0.5)
    return chosen, keys
