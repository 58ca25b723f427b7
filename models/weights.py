"""Every weight of a model: its path in the weights bundle, shape and storage role. Matrices are ``[out, in]``.

The paths are the project's own and the same for every checkpoint spelling; frontends map them to tensor names.
The tables follow ``architectures.md`` §2 (MLA), §3 (indexer), §4.2 (V4 attention), §5 (mHC) and §6.4 (experts);
summed over a released config they give the totals of §11.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from .config import Config, MlaConfig, Moe, V4Config


@dataclass(frozen=True)
class Leaf:
    """One weight: ``shape``, and ``role``.

    The role says which dtype it is held in: ``compute`` follows the model's compute dtype, ``f32`` is kept in fp32
    whatever that is (norms, sinks, hyper-connections, biases), ``i32`` is a table of ids.
    """

    shape: tuple[int, ...]
    role: str = "compute"

    @property
    def count(self) -> int:
        """Number of elements."""
        return prod(self.shape)


Leaves = dict[str, Leaf]


def weight_leaves(config: Config) -> Leaves:
    """All weights of a model, keyed by path (``layers.3.attn.q_a``), in the order of the model."""
    out: Leaves = {"embed": Leaf((config.vocab, config.hidden))}
    for layer in range(config.layers):
        out |= prefixed(f"layers.{layer}", layer_leaves(config, layer))
    if isinstance(config, V4Config):
        width = config.streams * config.hidden
        out |= prefixed("hc_head", hyper(config.streams, width, scales=1))
    out["norm"] = _norm(config)
    if not config.tied_head:
        out["head"] = Leaf((config.vocab, config.hidden))
    return out


def layer_leaves(config: Config, layer: int) -> Leaves:
    """The weights of one layer, keyed relative to it (``attn.q_a``)."""
    out: Leaves = {"attn_norm": _norm(config), "ffn_norm": _norm(config)}
    if isinstance(config, V4Config):
        mix, width = (2 + config.streams) * config.streams, config.streams * config.hidden
        out |= prefixed("attn_hc", hyper(mix, width, scales=3))
        out |= prefixed("ffn_hc", hyper(mix, width, scales=3))
        out |= prefixed("attn", hybrid_attention(config, config.attention[layer]))
        out |= prefixed("ffn", moe(config.moe, config.hidden, config.vocab, config.routing[layer] == "hash"))
        return out
    out |= prefixed("attn", mla(config))
    if layer < config.dense_layers:
        out |= prefixed("ffn", mlp(config.hidden, config.dense_width))
    else:
        out |= prefixed("ffn", moe(config.moe, config.hidden, config.vocab, hashed=False))
    return out


def prefixed(prefix: str, leaves: Leaves) -> Leaves:
    """The same leaves one level further down."""
    return {f"{prefix}.{name}": leaf for name, leaf in leaves.items()}


def _norm(config: Config) -> Leaf:
    # V4 multiplies the norm weight in fp32, V3 in the model's dtype after the cast back (§1.1).
    return Leaf((config.hidden,), "f32" if isinstance(config, V4Config) else "compute")


def mla(c: MlaConfig) -> Leaves:
    """Multi-head latent attention, and the indexer where the config has one."""
    h, d, q_width = c.heads, c.hidden, c.heads * c.qk_dim
    if c.q_rank is None:
        out: Leaves = {"q": Leaf((q_width, d))}
    else:
        out = {"q_a": Leaf((c.q_rank, d)), "q_norm": Leaf((c.q_rank,)), "q_b": Leaf((q_width, c.q_rank))}
    out |= {
        "kv_a": Leaf((c.kv_rank + c.rope.dim, d)),
        "kv_norm": Leaf((c.kv_rank,)),
        "kv_b": Leaf((h * (c.nope_dim + c.v_dim), c.kv_rank)),
        "o": Leaf((d, h * c.v_dim)),
    }
    if c.indexer:
        i, rank = c.indexer, c.q_rank or d
        out |= {
            "indexer.q_b": Leaf((i.heads * i.head_dim, rank)),
            "indexer.k": Leaf((i.head_dim, d)),
            "indexer.k_norm": Leaf((i.head_dim,), "f32"),
            "indexer.k_norm_bias": Leaf((i.head_dim,), "f32"),
            "indexer.head_weights": Leaf((i.heads, d)),
        }
    return out


def hybrid_attention(c: V4Config, kind: str) -> Leaves:
    """V4 attention of one layer: the shared part, and the compressor and indexer of its kind."""
    d, width = c.hidden, c.heads * c.head_dim
    out: Leaves = {
        "q_a": Leaf((c.q_rank, d)),
        "q_norm": Leaf((c.q_rank,), "f32"),
        "q_b": Leaf((width, c.q_rank)),
        "kv": Leaf((c.head_dim, d)),
        "kv_norm": Leaf((c.head_dim,), "f32"),
        "o_a": Leaf((c.o_groups * c.o_rank, width // c.o_groups)),
        "o_b": Leaf((d, c.o_groups * c.o_rank)),
        "sinks": Leaf((c.heads,), "f32"),
    }
    if kind == "hca":
        out |= prefixed("compressor", compressor(c.hca_rate, c.head_dim, d, overlap=False))
    if kind == "csa":
        i = c.indexer
        out |= prefixed("compressor", compressor(c.csa_rate, c.head_dim, d, overlap=True))
        out |= prefixed("indexer.compressor", compressor(c.csa_rate, i.head_dim, d, overlap=True))
        out["indexer.q_b"] = Leaf((i.heads * i.head_dim, c.q_rank))
        out["indexer.head_weights"] = Leaf((i.heads, d))
    return out


def compressor(rate: int, width: int, hidden: int, overlap: bool) -> Leaves:
    """A compressor to ``width`` channels; the overlapping one projects twice as wide (§4.4)."""
    channels = 2 * width if overlap else width
    return {
        "kv": Leaf((channels, hidden)),
        "gate": Leaf((channels, hidden)),
        "position_bias": Leaf((rate, channels), "f32"),
        "norm": Leaf((width,), "f32"),
    }


def hyper(rows: int, width: int, scales: int) -> Leaves:
    """Projection, base and scale of one hyper-connection site or of the hyper head (§5)."""
    return {"fn": Leaf((rows, width), "f32"), "base": Leaf((rows,), "f32"), "scale": Leaf((scales,), "f32")}


def mlp(hidden: int, width: int) -> Leaves:
    """A dense SwiGLU block."""
    return {"gate": Leaf((width, hidden)), "up": Leaf((width, hidden)), "down": Leaf((hidden, width))}


def moe(m: Moe, hidden: int, vocab: int, hashed: bool) -> Leaves:
    """Router, routed experts (stacked over the expert axis) and the shared expert."""
    out: Leaves = {"router": Leaf((m.experts, hidden))}
    if hashed:
        out["table"] = Leaf((vocab, m.per_token), "i32")
    else:
        out["bias"] = Leaf((m.experts,), "f32")
    out |= prefixed("experts", routed(m, hidden))
    if m.shared:
        out |= prefixed("shared", mlp(hidden, m.shared * m.width))
    return out


def routed(m: Moe, hidden: int) -> Leaves:
    """The routed experts, stacked over the expert axis."""
    wide, narrow = (m.experts, m.width, hidden), (m.experts, hidden, m.width)
    return {"gate": Leaf(wide), "up": Leaf(wide), "down": Leaf(narrow)}
