"""The analytic cost model behind ``dsv4c inspect``: layers by kind, parameters, FLOPs and cache of one decoded token.

Nothing is executed and no graph is built: the figures follow from a config by the formulas of ``architectures.md``
§9.4 (cache layouts), §11 (parameters) and §13.1 to §13.2 (FLOPs, cache), for the precisions in which DeepSeek serves
the models. A family is one function from (config, layer, context) to ``AttentionCost``, and a line in
``attention_cost`` and ``layer_kind``; the rest follows from the weight table.

``context`` is the number of tokens that a decoded token can see, itself included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from fractions import Fraction

from dsv4c.errors import UserError
from dsv4c.models.config import Config, Indexer, MlaConfig, V4Config
from dsv4c.models.weights import Leaf, layer_leaves, weight_leaves

MOST_TOKENS = 2**31 - 1  # positions are i32 in every model
# Cost of one operation in units of a BF16 one: §13.1, from the caption of R41 Fig. 2.
PRECISION_WEIGHT = {"bf16": 1.0, "fp8": 0.5, "fp4": 0.25}


@dataclass(frozen=True)
class LayerKind:
    """Layers that are alike: ``count`` of them, with ``parameters`` each (ids of hash routing not counted)."""

    attention: str  # "mla" | "mla+dsa" | "window" | "csa" | "hca"
    feed_forward: str  # "dense" | "moe" | "hash_moe"
    count: int
    parameters: int


@dataclass(frozen=True)
class Flops:
    """Floating-point operations of one decoded token, two to a multiply-add, and the precision they run in."""

    flops: int
    precision: str

    @property
    def weighted(self) -> float:
        """In units of a BF16 operation (§13.1)."""
        return self.flops * PRECISION_WEIGHT[self.precision]


@dataclass(frozen=True)
class Entry:
    """One cached vector as it lies in memory: ``size`` bytes for every ``tokens`` tokens of the sequence."""

    name: str
    content: str
    size: int  # bytes
    tokens: int = 1


@dataclass(frozen=True)
class AttentionCost:
    """What the attention of one layer does for one decoded token, and what it keeps of a sequence."""

    core_flops: int
    indexer: Flops | None
    entries: tuple[Entry, ...]  # kept for the whole sequence
    window_bytes: int  # kept for the last tokens only: does not grow with the sequence


@dataclass(frozen=True)
class Cached:
    """A kind of cache entry and the number of layers that keep it."""

    entry: Entry
    layers: int


@dataclass(frozen=True)
class Report:
    """The cost of decoding one token with ``context`` tokens visible, and of keeping one sequence of that length.

    ``kv_bytes_per_token`` is the growth of the cache, without the window state (§13.2); ``kv_bytes`` is the cache of
    a whole sequence, counting complete entries only; ``window_bytes`` comes on top of it. What V4's compressors hold
    of unfinished windows (§4.6) is in neither: the layouts of §9.4 do not say how it is stored.
    """

    family: str
    context: int
    max_positions: int  # what the model was trained for; a longer context is computed all the same
    kinds: tuple[LayerKind, ...]
    total_parameters: int
    active_parameters: int
    linear: Flops
    core: Flops
    indexer: Flops | None
    cached: tuple[Cached, ...]
    kv_bytes_per_token: float
    kv_bytes: int
    window_bytes: int

    @property
    def weighted_flops(self) -> float:
        """FLOPs of one decoded token in units of a BF16 operation (§13.1)."""
        return sum(part.weighted for part in (self.linear, self.core, self.indexer) if part)

    def to_json(self) -> dict[str, object]:
        """The report as plain data, with units in the names."""
        parts = {"linear": self.linear, "core": self.core, "indexer": self.indexer}
        flops: dict[str, object] = {
            name: {**asdict(part), "weighted": part.weighted} for name, part in parts.items() if part
        }
        return {
            "family": self.family,
            "context": self.context,
            "max_positions": self.max_positions,
            "layers": sum(kind.count for kind in self.kinds),
            "layer_kinds": [asdict(kind) for kind in self.kinds],
            "parameters": {"total": self.total_parameters, "active": self.active_parameters},
            "flops_per_token": {**flops, "weighted": self.weighted_flops},
            "kv": {
                "bytes_per_token": self.kv_bytes_per_token,
                "bytes_at_context": self.kv_bytes,
                "window_bytes": self.window_bytes,
                "layout": [{**asdict(c.entry), "layers": c.layers} for c in self.cached],
            },
        }


def inspect(config: Config, context: int) -> Report:
    """Cost of one decoded token that sees ``context`` tokens, itself included."""
    if not 1 <= context <= MOST_TOKENS:
        raise UserError(f"a context of {context} tokens", where="--context", fix=f"use 1 to {MOST_TOKENS}")
    costs = [attention_cost(config, layer, context) for layer in range(config.layers)]
    cached = tuple(Cached(entry, n) for entry, n in Counter(e for cost in costs for e in cost.entries).items())
    active = active_parameters(config)
    return Report(
        family=config.family,
        context=context,
        max_positions=config.max_positions,
        kinds=layer_kinds(config),
        total_parameters=sum(map(_parameters, weight_leaves(config).values())),
        active_parameters=active,
        linear=Flops(2 * active, "fp8"),  # §13.1: "linear = 2·active at FP8", FP4 experts included
        core=Flops(sum(cost.core_flops for cost in costs), "bf16"),  # §13.1: "attention core in BF16"
        indexer=_sum(cost.indexer for cost in costs if cost.indexer),
        cached=cached,
        kv_bytes_per_token=float(sum(c.layers * Fraction(c.entry.size, c.entry.tokens) for c in cached)),
        kv_bytes=sum(c.layers * c.entry.size * (context // c.entry.tokens) for c in cached),
        window_bytes=sum(cost.window_bytes for cost in costs),
    )


def active_parameters(config: Config) -> int:
    """Parameters that take part in one token (§11): no embedding table, the head, and the chosen routed experts."""
    total = 0
    for path, leaf in weight_leaves(config).items():
        if path == "embed" and not config.tied_head:
            continue  # a row of it is looked up, nothing is multiplied; a tied one is the head as well
        count = _parameters(leaf)
        # Routed experts are stacked over their first axis, so that the division has no rest.
        total += count * config.moe.per_token // config.moe.experts if ".experts." in path else count
    return total


def layer_kinds(config: Config) -> tuple[LayerKind, ...]:
    """The kinds of layers in the order in which the model first uses them."""
    kinds = [layer_kind(config, layer) for layer in range(config.layers)]

    def parameters(kind: tuple[str, str]) -> int:
        return sum(map(_parameters, layer_leaves(config, kinds.index(kind)).values()))

    return tuple(LayerKind(*kind, count, parameters(kind)) for kind, count in Counter(kinds).items())


def layer_kind(config: Config, layer: int) -> tuple[str, str]:
    """Attention kind and feed-forward kind of one layer."""
    if isinstance(config, V4Config):
        return config.attention[layer], "hash_moe" if config.routing[layer] == "hash" else "moe"
    return "mla+dsa" if config.indexer else "mla", "dense" if layer < config.dense_layers else "moe"


def attention_cost(config: Config, layer: int, context: int) -> AttentionCost:
    """Cost of the attention of one layer, by family."""
    if isinstance(config, V4Config):
        return hybrid_cost(config, config.attention[layer], context)
    return mla_cost(config, context)


def mla_cost(c: MlaConfig, context: int) -> AttentionCost:
    """Absorbed multi-head latent attention, over all tokens (V3) or over those that the indexer picks (V3.2)."""
    pairs = min(c.indexer.top_k, context) if c.indexer else context  # §3: topk(I, min(2048, T))
    macs = (c.kv_rank + c.rope.dim) + c.kv_rank  # §2: a key of 576 and a value of 512; 1088 in §13.1
    core = 2 * c.heads * pairs * macs
    if c.indexer is None:
        return AttentionCost(core, None, (mla_bf16_entry(c),), 0)
    entries = mla_fp8_entry(c), index_fp8_entry(c.indexer)
    return AttentionCost(core, Flops(index_flops(c.indexer, context), "fp8"), entries, 0)  # §13.1: FP8 in V3.2


def hybrid_cost(c: V4Config, kind: str, context: int) -> AttentionCost:
    """V4 attention of one kind: the window, and compressed entries, picked by the indexer (CSA) or all (HCA)."""
    rate = {"window": 0, "csa": c.csa_rate, "hca": c.hca_rate}[kind]
    visible = context // rate if rate else 0  # §4.5: entry i is visible iff i < floor((t + 1) / r)
    window = min(c.window, context)
    attended = window + (min(c.indexer.top_k, visible) if kind == "csa" else visible)
    core = 2 * c.heads * attended * 2 * c.head_dim  # §13.1: 2·H·n·1024, key and value are one 512-wide vector
    window_bytes = window * v4_entry(c, 1).size  # §4.5: window KV is rounded as the entries are
    if kind != "csa":
        return AttentionCost(core, None, (v4_entry(c, rate),) if rate else (), window_bytes)
    entries = v4_entry(c, rate), index_fp4_entry(c.indexer, rate)
    return AttentionCost(core, Flops(index_flops(c.indexer, visible), "fp4"), entries, window_bytes)  # §13.1: FP4 in V4


def index_flops(indexer: Indexer, keys: int) -> int:
    """Scores of all heads against every key (§13.1: 2·64·128·T); the weighted sum over heads is not counted."""
    return 2 * indexer.heads * indexer.head_dim * keys


def mla_bf16_entry(c: MlaConfig) -> Entry:
    """Latent and rotated key in BF16: 1152 bytes in the released sizes (§2)."""
    return Entry("latent", f"{c.kv_rank} bf16 | {c.rope.dim} bf16 rope", 2 * (c.kv_rank + c.rope.dim))


def mla_fp8_entry(c: MlaConfig) -> Entry:
    """FlashMLA's layout for V3.2: 656 bytes in the released size (§9.4)."""
    scales = _blocks(c.kv_rank, 128)
    content = f"{c.kv_rank} e4m3 | {scales} f32 scales | {c.rope.dim} bf16 rope"
    return Entry("latent", content, c.kv_rank + 4 * scales + 2 * c.rope.dim)


def index_fp8_entry(i: Indexer) -> Entry:
    """Index key in FP8: 132 bytes in the released size (§9.4)."""
    scales = _blocks(i.head_dim, 128)
    return Entry("index key", f"{i.head_dim} e4m3 | {scales} f32 scales", i.head_dim + 4 * scales)


def v4_entry(c: V4Config, rate: int) -> Entry:
    """FlashMLA's layout for V4: 584 bytes in the released sizes (§9.4); the padding of whole blocks is not counted.

    §9.4 gives one pad byte for seven scales; scales are taken to fill up to a multiple of 8 bytes at other sizes.
    """
    plain = c.head_dim - c.rope.dim
    scales = _blocks(plain, 64)
    padding = -scales % 8
    content = f"{plain} e4m3 | {c.rope.dim} bf16 rope | {scales} e8m0 scales | {padding} padding"
    return Entry("compressed", content, plain + 2 * c.rope.dim + scales + padding, rate)


def index_fp4_entry(i: Indexer, rate: int) -> Entry:
    """Index key in FP4: 68 bytes in the released sizes (§9.4)."""
    scales = _blocks(i.head_dim, 32)
    return Entry("index key", f"{i.head_dim} e2m1 | {scales} e8m0 scales", _blocks(i.head_dim, 2) + scales, rate)


def _blocks(channels: int, block: int) -> int:
    return -(-channels // block)


def _parameters(leaf: Leaf) -> int:
    # Ids of hash routing are a table, not parameters: §11 counts neither them nor a bias on those layers.
    return 0 if leaf.role == "i32" else leaf.count


def _sum(parts: Iterable[Flops]) -> Flops | None:
    """Operations of all layers; the layers of one model run their indexers in one precision."""
    listed = list(parts)
    return Flops(sum(part.flops for part in listed), listed[0].precision) if listed else None
