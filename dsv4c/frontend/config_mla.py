"""The config fields of DeepSeek-V3 and V3.2 (architectures.md §2, §3, §6.1)."""

from __future__ import annotations

from dsv4c.models.config import Indexer, MlaConfig, Moe, mla_softmax_scale

from .fields import MOST_LAYERS, Fields, divides
from .rope import check_rotary_dim, mla_rope

SYNONYMS = {"n_routed_experts": ("num_local_experts", "num_experts")}
MAX_POSITIONS = {"deepseek_v3": 4096, "deepseek_v32": 163840}  # transformers' defaults


def read_mla(source: Fields) -> MlaConfig:
    """A V3 or V3.2 model from its config fields. Raises UserError for whatever cannot be built."""
    f = source.with_synonyms(SYNONYMS)
    family = f.choice("model_type", MAX_POSITIONS)
    check_supported(f, family)
    heads, layers = f.integer("num_attention_heads"), f.integer("num_hidden_layers", most=MOST_LAYERS)
    rope_dim, nope_dim = f.integer("qk_rope_head_dim"), f.integer("qk_nope_head_dim")
    check_rotary_dim(f, "qk_rope_head_dim", rope_dim)
    max_positions = f.integer("max_position_embeddings", MAX_POSITIONS[family])
    rope, mscale_all_dim = mla_rope(f, rope_dim, max_positions)
    dense = dense_layers(f, family, layers)
    return MlaConfig(
        family=family,
        vocab=f.integer("vocab_size"),
        hidden=f.integer("hidden_size"),
        layers=layers,
        heads=heads,
        q_rank=query_rank(f, family),
        kv_rank=f.integer("kv_lora_rank"),
        nope_dim=nope_dim,
        v_dim=f.integer("v_head_dim"),
        rope=rope,
        rope_interleaved=f.boolean("rope_interleave", True),
        softmax_scale=mla_softmax_scale(nope_dim + rope_dim, rope.yarn.factor if rope.yarn else 1.0, mscale_all_dim),
        dense_layers=dense,
        dense_width=f.integer("intermediate_size") if dense else f.integer("intermediate_size", 18432),
        moe=grouped_moe(f),
        indexer=read_indexer(f, rope_dim, top_k=2048) if family == "deepseek_v32" else None,
        eps=f.number("rms_norm_eps", 1e-6),
        max_positions=max_positions,
        tied_head=f.boolean("tie_word_embeddings", False),
    )


def check_supported(f: Fields, family: str) -> None:
    """Refuse variants that the models do not have."""
    f.only("attention_bias", False, "linear layers have no bias")
    f.only("mlp_bias", False, "linear layers have no bias")
    f.only("hidden_act", "silu", "the activation is silu")
    f.only("scoring_func", "sigmoid", f"{family} scores experts with sigmoid")
    f.only("topk_method", "noaux_tc", "experts are picked with noaux_tc")
    f.only("moe_layer_freq", 1, "every layer after the dense ones is a MoE layer")
    f.only("num_key_value_heads", f.integer("num_attention_heads"), "it must be equal to num_attention_heads")
    if family == "deepseek_v32":
        f.only("rope_interleave", True, "V3.2 rotates interleaved pairs")
    if f.has("layer_types"):
        kind = "indexed_attention" if family == "deepseek_v32" else "full_attention"
        f.choices("layer_types", {kind: kind}, f.integer("num_hidden_layers"))


def query_rank(f: Fields, family: str) -> int | None:
    """``q_lora_rank``: V3 may say null and then projects queries in one step."""
    if family == "deepseek_v3" and "q_lora_rank" in f.data and not f.has("q_lora_rank"):
        return None
    return f.integer("q_lora_rank")


def dense_layers(f: Fields, family: str, layers: int) -> int:
    """Number of leading layers with a dense MLP, from ``mlp_layer_types`` or ``first_k_dense_replace``."""
    if not f.has("mlp_layer_types"):
        return min(f.integer("first_k_dense_replace", 3, least=0), layers)
    kinds = f.choices("mlp_layer_types", {"dense": "dense", "sparse": "sparse"}, layers)
    count = kinds.index("sparse") if "sparse" in kinds else layers
    if "dense" in kinds[count:]:
        index = kinds.index("dense", count)
        raise f.error(f"mlp_layer_types[{index}]", "a dense layer after a sparse one", "dense layers must come first")
    if family == "deepseek_v3" and f.has("first_k_dense_replace"):
        f.only("first_k_dense_replace", count, f"mlp_layer_types begins with {count} dense layers")
    return count


def grouped_moe(f: Fields) -> Moe:
    """Sigmoid routing in groups (§6.1). A group is scored by its best two experts, so it must have two."""
    experts, per_token = f.integer("n_routed_experts"), f.integer("num_experts_per_tok")
    groups, kept = f.integer("n_group", 8), f.integer("topk_group", 4)
    divides(f, "n_routed_experts", experts, "n_group", groups)
    if experts // groups < 2:
        raise f.error("n_group", f"{groups} groups of {experts} experts", "a group needs at least 2 experts")
    if kept > groups:
        raise f.error("topk_group", f"{kept} is more than n_group {groups}")
    if per_token > kept * (experts // groups):
        have = f"{kept} groups of {experts // groups} experts"
        raise f.error("num_experts_per_tok", f"{per_token} is more than the {have} that a token can reach")
    return Moe(
        experts=experts,
        per_token=per_token,
        shared=f.integer("n_shared_experts", 1, least=0),
        width=f.integer("moe_intermediate_size"),
        scale=f.number("routed_scaling_factor", 2.5),
        scoring="sigmoid",
        groups=groups,
        groups_kept=kept,
        normalise=f.boolean("norm_topk_prob", True),
    )


def read_indexer(f: Fields, rope_dim: int, top_k: int) -> Indexer:
    """The lightning indexer; ``top_k`` is the family's default for ``index_topk``."""
    indexer = Indexer(f.integer("index_n_heads", 64), f.integer("index_head_dim", 128), f.integer("index_topk", top_k))
    if indexer.head_dim < rope_dim:
        raise f.error("index_head_dim", f"{indexer.head_dim} is less than the rotary width {rope_dim}")
    return indexer
