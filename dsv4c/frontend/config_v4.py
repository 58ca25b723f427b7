"""The config fields of DeepSeek-V4, in transformers' spelling and in the released one (architectures.md §4, §6.2)."""

from __future__ import annotations

from dsv4c.models.config import Moe, V4Config

from .config_mla import read_indexer
from .fields import MOST_LAYERS, Fields, divides
from .rope import check_rotary_dim, rotary_field, v4_ropes

SYNONYMS = {"n_routed_experts": ("num_local_experts",), "moe_intermediate_size": ("intermediate_size",)}
WINDOW, CSA, HCA = "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"
ATTENTION = {WINDOW: "window", CSA: "csa", HCA: "hca"}
ROUTING = {"hash_moe": "hash", "moe": "learned"}
DEFAULT_RATES = (4, 128)  # CSA, HCA


def read_v4(source: Fields) -> V4Config:
    """A V4 model from its config fields. Raises UserError for whatever cannot be built."""
    f = source.with_synonyms(SYNONYMS)
    check_supported(f)
    heads, head_dim = f.integer("num_attention_heads"), f.integer("head_dim")
    layers = f.integer("num_hidden_layers", most=MOST_LAYERS)
    max_positions = f.integer("max_position_embeddings", 1048576)
    rope, compress_rope = v4_ropes(f, head_dim, max_positions)
    check_rotary_dim(f, rotary_field(f), rope.dim, head_dim=head_dim)
    attention, (csa_rate, hca_rate) = schedule(f, layers)
    o_groups = f.integer("o_groups", 8)
    divides(f, "num_attention_heads", heads, "o_groups", o_groups)
    return V4Config(
        family="deepseek_v4",
        vocab=f.integer("vocab_size"),
        hidden=f.integer("hidden_size"),
        layers=layers,
        heads=heads,
        head_dim=head_dim,
        q_rank=f.integer("q_lora_rank"),
        window=f.integer("sliding_window", 128),
        attention=attention,
        csa_rate=csa_rate,
        hca_rate=hca_rate,
        routing=routing(f, layers),
        indexer=read_indexer(f, rope.dim, top_k=512),
        o_groups=o_groups,
        o_rank=f.integer("o_lora_rank", 1024),
        moe=flat_moe(f),
        swiglu_limit=None if "swiglu_limit" in f.data and not f.has("swiglu_limit") else f.number("swiglu_limit", 10.0),
        streams=f.integer("hc_mult", 4),
        sinkhorn_iters=f.integer("hc_sinkhorn_iters", 20),
        hc_eps=f.number("hc_eps", 1e-6),
        rope=rope,
        compress_rope=compress_rope,
        eps=f.number("rms_norm_eps", 1e-6),
        max_positions=max_positions,
        tied_head=f.boolean("tie_word_embeddings", False),
    )


def check_supported(f: Fields) -> None:
    """Refuse variants that the model does not have, and fields that transformers would silently ignore."""
    f.only("attention_bias", False, "linear layers have no bias")
    f.only("mlp_bias", False, "linear layers have no bias")
    f.only("hidden_act", "silu", "the activation is silu")
    f.only("num_key_value_heads", 1, "all heads share one key and value vector")
    f.only("n_shared_experts", 1, "V4 has one shared expert")
    f.only("norm_topk_prob", True, "V4 always normalises routing weights")
    f.only("topk_method", "noaux_tc", "experts are picked with noaux_tc")
    f.only("n_group", 1, "V4 does not group experts")
    f.only("topk_group", 1, "V4 does not group experts")


def schedule(f: Fields, layers: int) -> tuple[tuple[str, ...], tuple[int, int]]:
    """The attention kind of every layer, and the rates of CSA and HCA.

    ``layer_types`` wins over ``compress_ratios``, as in transformers. Neither given: transformers' default, HCA,
    HCA and then HCA and CSA in turn, which is not the released order (§4.1).
    """
    rates = given_rates(f)
    if f.has("layer_types"):
        return f.choices("layer_types", ATTENTION, layers), rates or DEFAULT_RATES
    if not f.has("compress_ratios"):
        return ("hca", "hca", *("hca", "csa") * layers)[:layers], rates or DEFAULT_RATES
    ratios = f.integers("compress_ratios", least=0)
    if len(ratios) < layers:
        raise f.error("compress_ratios", f"{len(ratios)} entries for {layers} layers", "give one for every layer")
    ratios = ratios[:layers]  # released lists go on with the MTP block
    csa, hca = rates or infer_rates(f, ratios)
    if csa == hca:
        raise f.error("compress_ratios", f"CSA and HCA both have rate {csa}", "give layer_types to tell them apart")
    kinds = {0: "window", csa: "csa", hca: "hca"}
    for index, ratio in enumerate(ratios):
        if ratio not in kinds:
            fix = f"known here: 0 (window), {csa} (CSA), {hca} (HCA)"
            raise f.error(f"compress_ratios[{index}]", f"no kind of attention has ratio {ratio}", fix)
    return tuple(kinds[ratio] for ratio in ratios), (csa, hca)


def given_rates(f: Fields) -> tuple[int, int] | None:
    """The rates of CSA and HCA if the config states either, else None."""
    table, csa, hca = f.child("compress_rates"), *DEFAULT_RATES
    for name in table.data:
        if name not in (CSA, HCA):
            raise table.error(name, "not a kind of compressed attention", f"known: {CSA}, {HCA}")
    if not (table.data or f.has("compress_rate_csa") or f.has("compress_rate_hca")):
        return None
    return (
        f.integer("compress_rate_csa", table.integer(CSA, csa)),
        f.integer("compress_rate_hca", table.integer(HCA, hca)),
    )


def infer_rates(f: Fields, ratios: tuple[int, ...]) -> tuple[int, int]:
    """The rates behind a bare list of ratios: 4 is CSA and 128 is HCA; of two others the smaller is CSA."""
    csa, hca = DEFAULT_RATES
    distinct = sorted({ratio for ratio in ratios if ratio})
    if set(distinct) <= {csa, hca}:
        return csa, hca
    if len(distinct) == 2 and distinct[0] != hca and distinct[1] != csa:
        return distinct[0], distinct[1]
    what = f"cannot tell which of the ratios {', '.join(map(str, distinct))} is CSA and which is HCA"
    raise f.error("compress_ratios", what, "give compress_rates as well")


def routing(f: Fields, layers: int) -> tuple[str, ...]:
    """How each layer picks experts, from ``mlp_layer_types`` or ``num_hash_layers``."""
    if f.has("mlp_layer_types"):
        return f.choices("mlp_layer_types", ROUTING, layers)
    hashed = min(f.integer("num_hash_layers", 3, least=0), layers)
    return ("hash",) * hashed + ("learned",) * (layers - hashed)


def flat_moe(f: Fields) -> Moe:
    """Routing without groups (§6.2)."""
    experts, per_token = f.integer("n_routed_experts"), f.integer("num_experts_per_tok")
    if per_token > experts:
        raise f.error("num_experts_per_tok", f"{per_token} is more than n_routed_experts {experts}")
    return Moe(
        experts=experts,
        per_token=per_token,
        shared=1,
        width=f.integer("moe_intermediate_size"),
        scale=f.number("routed_scaling_factor", 1.5),
        # transformers documents softmax too, but has no such function and fails on it
        scoring=f.choice("scoring_func", ("sqrtsoftplus", "sigmoid"), "sqrtsoftplus"),
    )
