"""Dimensions of the DeepSeek family as plain data, after every spelling of the config files has been resolved.

Frontends fill these records and check them; the models in this folder read them and nothing else.
Field names follow ``architectures.md`` §10 without the prefixes that a flat JSON file needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log


@dataclass(frozen=True)
class Yarn:
    """YaRN stretching of rotary frequencies (architectures.md §1.2)."""

    factor: float
    original: int  # original_max_position_embeddings
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    attention_factor: float = 1.0  # multiplies cos and sin; 1 in every released model


@dataclass(frozen=True)
class Rope:
    """Rotary embedding of width ``dim``: frequencies ``theta ** (-2j / dim)``."""

    dim: int
    theta: float
    yarn: Yarn | None = None

    @property
    def factor(self) -> float:
        """What cos and sin are multiplied with."""
        return self.yarn.attention_factor if self.yarn else 1.0


@dataclass(frozen=True)
class Indexer:
    """Lightning indexer: ``heads`` queries of ``head_dim`` channels pick ``top_k`` keys (§3, §4.5)."""

    heads: int
    head_dim: int
    top_k: int


@dataclass(frozen=True)
class Moe:
    """Routed and shared experts (§6)."""

    experts: int
    per_token: int
    shared: int  # number of shared experts; their joint width is shared * width
    width: int
    scale: float  # routed_scaling_factor
    scoring: str  # "sigmoid" | "sqrtsoftplus" | "softmax"
    groups: int = 1
    groups_kept: int = 1
    normalise: bool = True  # norm_topk_prob


@dataclass(frozen=True)
class MlaConfig:
    """DeepSeek-V3 and V3.2: multi-head latent attention, with an indexer for V3.2 (§2, §3)."""

    family: str  # "deepseek_v3" | "deepseek_v32"
    vocab: int
    hidden: int
    layers: int
    heads: int
    q_rank: int | None
    kv_rank: int
    nope_dim: int
    v_dim: int
    rope: Rope
    rope_interleaved: bool
    softmax_scale: float
    dense_layers: int  # leading layers with a dense MLP
    dense_width: int
    moe: Moe
    indexer: Indexer | None
    eps: float
    max_positions: int
    tied_head: bool = False

    @property
    def qk_dim(self) -> int:
        """Width of one query head: the part without and the part with rotation."""
        return self.nope_dim + self.rope.dim


@dataclass(frozen=True)
class V4Config:
    """DeepSeek-V4: window, CSA and HCA attention, hyper-connections, hash and learned routing (§4 to §6)."""

    family: str  # "deepseek_v4"
    vocab: int
    hidden: int
    layers: int
    heads: int
    head_dim: int
    q_rank: int
    window: int
    attention: tuple[str, ...]  # per layer: "window" | "csa" | "hca"
    csa_rate: int
    hca_rate: int
    routing: tuple[str, ...]  # per layer: "hash" | "learned"
    indexer: Indexer
    o_groups: int
    o_rank: int
    moe: Moe
    swiglu_limit: float | None
    streams: int  # hc_mult
    sinkhorn_iters: int
    hc_eps: float
    rope: Rope  # layers without a compressor
    compress_rope: Rope  # layers with one
    eps: float
    max_positions: int
    tied_head: bool = False


Config = MlaConfig | V4Config


def mla_softmax_scale(qk_dim: int, yarn_factor: float, mscale_all_dim: float) -> float:
    """``qk_dim ** -0.5``, times the square of YaRN's mscale where the config asks for it (§1.2)."""
    mscale = 0.1 * mscale_all_dim * log(yarn_factor) + 1.0 if yarn_factor > 1.0 else 1.0
    return float(qk_dim**-0.5) * (mscale * mscale if mscale_all_dim else 1.0)
