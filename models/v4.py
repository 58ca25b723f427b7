"""DeepSeek-V4: hyper-connections around hybrid attention and hashed or learned experts (§4, §5, §6.2)."""

from __future__ import annotations

from math import inf

from dsv4c.ir.builder import Builder, call
from dsv4c.ir.core import Function, Module, Value
from dsv4c.ir.kernel_ops.hyper import hyper_head, hyper_post, hyper_pre
from dsv4c.ir.kernel_ops.norm import rms_norm
from dsv4c.ir.types import Bundle, TensorType

from .blocks import expert_block, expert_bundles, moe
from .config import V4Config
from .skeleton import COUNTS, TOKENS, B, Family, S, build_entries, copies
from .types import BundleNames
from .v4_attention import attention, attention_state
from .weights import hybrid_attention, hyper, layer_leaves
from .weights import moe as moe_leaves


def build_v4(config: V4Config, dtype: str) -> Module:
    """The module of a V4 model computing in ``dtype``."""
    module, names = Module(config.family), BundleNames()
    blocks = _Blocks(module, names, config, dtype)
    family = Family(
        config,
        dtype,
        blocks.layer,
        blocks.weights,
        blocks.state,
        opening=lambda x: copies(x, config.streams),
        closing=lambda x, w: _head(x, w.hc_head, config),
    )
    build_entries(module, names, family)
    return module


class _Blocks:
    """Functions of one model, each built once."""

    def __init__(self, module: Module, names: BundleNames, config: V4Config, dtype: str) -> None:
        self.module, self.names, self.config, self.dtype = module, names, config, dtype
        self.hidden = TensorType((B, S, config.hidden), dtype)
        self.streams = TensorType((B, S, config.streams, config.hidden), dtype)
        self._functions: dict[str, Function] = {}
        self._site = names.from_leaves(
            "hyper", hyper((2 + config.streams) * config.streams, config.streams * config.hidden, scales=3), dtype
        )

    def weights(self, index: int) -> Bundle:
        """The record of one layer's weights."""
        return self.names.from_leaves(f"layer_{self._kind(index)}", layer_leaves(self.config, index), self.dtype)

    def state(self, index: int) -> Bundle:
        """The record of one layer's state."""
        kind = self.config.attention[index]
        return self.names.make(f"{kind}_state", attention_state(self.config, kind, self.dtype))

    def _kind(self, index: int) -> str:
        return f"{self.config.attention[index]}_{self.config.routing[index]}"

    def layer(self, index: int) -> Function:
        """The function of one layer; a kind is its attention and its routing."""
        name = f"layer_{self._kind(index)}"
        if name not in self._functions:
            self._functions[name] = self._build(name, index)
        return self._functions[name]

    def _build(self, name: str, index: int) -> Function:
        pre, post = self._hyper()
        attend, feed = self._attention(index), self._experts(self.config.routing[index])
        state_type, eps = self.state(index), self.config.eps
        with Builder(
            self.module,
            name,
            x=self.streams,
            tokens=TOKENS,
            past=COUNTS,
            new=COUNTS,
            w=self.weights(index),
            state=state_type,
        ) as b:
            x, tokens, past, new, w, state = b.params
            with b.scope("attn"):
                rows, spread, mix = call(pre, x, w.attn_hc)
                y, state = call(attend, rms_norm(rows, w.attn_norm, eps=eps), past, new, w.attn, state)
                (x,) = call(post, y, x, spread, mix)
            with b.scope("ffn"):
                rows, spread, mix = call(pre, x, w.ffn_hc)
                (y,) = call(feed, rms_norm(rows, w.ffn_norm, eps=eps), tokens, new, w.ffn)
                (x,) = call(post, y, x, spread, mix)
            return b.done(x, state)

    def _hyper(self) -> tuple[Function, Function]:
        if "hyper_pre" not in self._functions:
            self._functions["hyper_pre"] = _hyper_pre(self.module, self.streams, self._site, self.config)
            self._functions["hyper_post"] = _hyper_post(self.module, self.hidden, self.streams)
        return self._functions["hyper_pre"], self._functions["hyper_post"]

    def _attention(self, index: int) -> Function:
        kind = self.config.attention[index]
        if kind not in self._functions:
            weights = self.names.from_leaves(f"attention_{kind}", hybrid_attention(self.config, kind), self.dtype)
            self._functions[kind] = attention(self.module, self.config, kind, self.hidden, weights, self.state(index))
        return self._functions[kind]

    def _experts(self, routing: str) -> Function:
        c, name, hashed = self.config, f"moe_{routing}", routing == "hash"
        if name not in self._functions:
            weights = self.names.from_leaves(name, moe_leaves(c.moe, c.hidden, c.vocab, hashed), self.dtype)
            if "experts" not in self._functions:
                records = expert_bundles(self.names, c.moe, c.hidden, self.dtype)
                self._functions["experts"] = expert_block(self.module, self.hidden, records, c.moe, _limit(c))
            with Builder(self.module, name, x=self.hidden, tokens=TOKENS, new=COUNTS, w=weights) as b:
                x, tokens, new, w = b.params
                y = moe(self._functions["experts"], x, tokens if hashed else None, new, w, c.moe)
                self._functions[name] = b.done(y)
        return self._functions[name]


def _limit(c: V4Config) -> float:
    return inf if c.swiglu_limit is None else c.swiglu_limit


def _hyper_pre(module: Module, streams: TensorType, weights: Bundle, c: V4Config) -> Function:
    """The function ``hyper_pre`` (x, weights) -> (rows, post, mix) of every site (§5)."""
    with Builder(module, "hyper_pre", x=streams, w=weights) as b:
        x, w = b.params
        return b.done(
            *hyper_pre(x, w.fn, w.base, w.scale, eps=c.eps, hc_eps=c.hc_eps, iterations=c.sinkhorn_iters)
        )


def _hyper_post(module: Module, hidden: TensorType, streams: TensorType) -> Function:
    """The function ``hyper_post`` (y, x, post, mix) -> x of every site (§5)."""
    *lead, n, _ = streams.shape
    post, mix = TensorType((*lead, n), "f32"), TensorType((*lead, n, n), "f32")
    with Builder(module, "hyper_post", y=hidden, x=streams, post=post, mix=mix) as b:
        return b.done(hyper_post(*b.params))


def _head(x: Value, w: Value, c: V4Config) -> Value:
    """Streams to rows before the final norm (§5, HyperHead)."""
    return hyper_head(x, w.fn, w.base, w.scale, eps=c.eps, hc_eps=c.hc_eps)
