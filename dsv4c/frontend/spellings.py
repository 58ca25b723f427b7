"""How checkpoints spell each weight: tables from the leaves of ``dsv4c.models.weights`` to tensor names.

Three dialects occur, and mixtures of them: the module tree of transformers 5.23 (``self_attn.q_a_proj.weight``), the
released names (V3: those of the Hugging Face repository, which are nearly transformers'; V4: ``attn.wq_a.weight``),
and the short names of DeepSeek's own inference code. What ``save_pretrained`` writes for V4 is a mixture
(``model.layers.0.attn.wq_a.weight``, ``head.weight``, ``model.hc_head.hc_fn``, and ``attn.norm`` for ``attn.kv_norm``).
Sources: architectures.md §2, §3, §4.2, §6.4; transformers' ``conversion_mapping``; files written by transformers.
"""

from __future__ import annotations

import re

from dsv4c.models.config import Config, V4Config

PREFIXES = ("model.", "")

TOP = {
    "embed": ("embed_tokens.weight", "embed.weight"),
    "norm": ("norm.weight",),
    "hc_head.fn": ("hc_head.hc_fn", "hc_head_fn"),
    "hc_head.base": ("hc_head.hc_base", "hc_head_base"),
    "hc_head.scale": ("hc_head.hc_scale", "hc_head_scale"),
}
HEAD = ("lm_head.weight", "head.weight")  # never under "model."

FFN = {
    "attn_norm": ("input_layernorm.weight", "attn_norm.weight"),
    "ffn_norm": ("post_attention_layernorm.weight", "ffn_norm.weight"),
    "ffn.gate": ("mlp.gate_proj.weight", "ffn.w1.weight"),
    "ffn.up": ("mlp.up_proj.weight", "ffn.w3.weight"),
    "ffn.down": ("mlp.down_proj.weight", "ffn.w2.weight"),
    "ffn.router": ("mlp.gate.weight", "ffn.gate.weight"),
    "ffn.bias": ("mlp.gate.e_score_correction_bias", "ffn.gate.bias"),
    "ffn.table": ("mlp.gate.tid2eid", "ffn.gate.tid2eid"),
    "ffn.shared.gate": ("mlp.shared_experts.gate_proj.weight", "ffn.shared_experts.w1.weight"),
    "ffn.shared.up": ("mlp.shared_experts.up_proj.weight", "ffn.shared_experts.w3.weight"),
    "ffn.shared.down": ("mlp.shared_experts.down_proj.weight", "ffn.shared_experts.w2.weight"),
    "ffn.experts.gate": (
        "mlp.experts.{e}.gate_proj.weight",
        "ffn.experts.{e}.w1.weight",
        "mlp.experts.gate_up_proj[first]",
    ),
    "ffn.experts.up": (
        "mlp.experts.{e}.up_proj.weight",
        "ffn.experts.{e}.w3.weight",
        "mlp.experts.gate_up_proj[second]",
    ),
    "ffn.experts.down": ("mlp.experts.{e}.down_proj.weight", "ffn.experts.{e}.w2.weight", "mlp.experts.down_proj"),
}

MLA = FFN | {
    "attn.q": ("self_attn.q_proj.weight", "attn.wq.weight"),
    "attn.q_a": ("self_attn.q_a_proj.weight", "attn.wq_a.weight"),
    "attn.q_norm": ("self_attn.q_a_layernorm.weight", "attn.q_norm.weight"),
    "attn.q_b": ("self_attn.q_b_proj.weight", "attn.wq_b.weight"),
    "attn.kv_a": ("self_attn.kv_a_proj_with_mqa.weight", "attn.wkv_a.weight"),
    "attn.kv_norm": ("self_attn.kv_a_layernorm.weight", "attn.kv_norm.weight"),
    "attn.kv_b": ("self_attn.kv_b_proj.weight", "attn.wkv_b.weight"),
    "attn.o": ("self_attn.o_proj.weight", "attn.wo.weight"),
    "attn.indexer.q_b": ("self_attn.indexer.wq_b.weight", "attn.indexer.wq_b.weight"),
    "attn.indexer.k": ("self_attn.indexer.wk.weight", "attn.indexer.wk.weight"),
    "attn.indexer.k_norm": ("self_attn.indexer.k_norm.weight", "attn.indexer.k_norm.weight"),
    "attn.indexer.k_norm_bias": ("self_attn.indexer.k_norm.bias", "attn.indexer.k_norm.bias"),
    "attn.indexer.head_weights": ("self_attn.indexer.weights_proj.weight", "attn.indexer.weights_proj.weight"),
}

V4 = FFN | {
    "attn.q_a": ("self_attn.q_a_proj.weight", "attn.wq_a.weight"),
    "attn.q_norm": ("self_attn.q_a_norm.weight", "attn.q_norm.weight"),
    "attn.q_b": ("self_attn.q_b_proj.weight", "attn.wq_b.weight"),
    "attn.kv": ("self_attn.kv_proj.weight", "attn.wkv.weight"),
    "attn.kv_norm": ("self_attn.kv_norm.weight", "attn.kv_norm.weight", "attn.norm.weight"),
    "attn.o_a": ("self_attn.o_a_proj.weight", "attn.wo_a.weight"),
    "attn.o_b": ("self_attn.o_b_proj.weight", "attn.wo_b.weight"),
    "attn.sinks": ("self_attn.sinks", "attn.attn_sink"),
    "attn.compressor.kv": ("self_attn.compressor.kv_proj.weight", "attn.compressor.wkv.weight"),
    "attn.compressor.gate": ("self_attn.compressor.gate_proj.weight", "attn.compressor.wgate.weight"),
    "attn.compressor.position_bias": ("self_attn.compressor.position_bias", "attn.compressor.ape"),
    "attn.compressor.norm": ("self_attn.compressor.kv_norm.weight", "attn.compressor.norm.weight"),
    "attn.indexer.compressor.kv": (
        "self_attn.compressor.indexer.kv_proj.weight",
        "attn.indexer.compressor.wkv.weight",
    ),
    "attn.indexer.compressor.gate": (
        "self_attn.compressor.indexer.gate_proj.weight",
        "attn.indexer.compressor.wgate.weight",
    ),
    "attn.indexer.compressor.position_bias": (
        "self_attn.compressor.indexer.position_bias",
        "attn.indexer.compressor.ape",
    ),
    "attn.indexer.compressor.norm": (
        "self_attn.compressor.indexer.kv_norm.weight",
        "attn.indexer.compressor.norm.weight",
    ),
    "attn.indexer.q_b": ("self_attn.compressor.indexer.q_b_proj.weight", "attn.indexer.wq_b.weight"),
    "attn.indexer.head_weights": (
        "self_attn.compressor.indexer.scorer.weights_proj.weight",
        "attn.indexer.weights_proj.weight",
    ),
    "attn_hc.fn": ("attn_hc.fn", "hc_attn_fn"),
    "attn_hc.base": ("attn_hc.base", "hc_attn_base"),
    "attn_hc.scale": ("attn_hc.scale", "hc_attn_scale"),
    "ffn_hc.fn": ("ffn_hc.fn", "hc_ffn_fn"),
    "ffn_hc.base": ("ffn_hc.base", "hc_ffn_base"),
    "ffn_hc.scale": ("ffn_hc.scale", "hc_ffn_scale"),
}

SCALES = ("weight_scale_inv", "scale")  # beside "weight": V3's and V4's name of the scale of a quantised matrix


def spellings(config: Config, leaf: str) -> list[str]:
    """Every tensor name that ``leaf`` may have, best known first.

    ``{e}`` stands for an expert's number; ``[first]`` and ``[second]`` mean a half of the tensor along axis 1.
    """
    if leaf == "head":
        return list(HEAD)
    if not leaf.startswith("layers."):
        return [prefix + name for name in TOP[leaf] for prefix in PREFIXES]
    _, layer, rest = leaf.split(".", 2)
    table = V4 if isinstance(config, V4Config) else MLA
    return [f"{prefix}layers.{layer}.{name}" for name in table[rest] for prefix in PREFIXES]


def ignored(config: Config, mtp_layers: int) -> re.Pattern[str]:
    """Matches tensors that a checkpoint may hold and this model does not use.

    These are the multi-token-prediction block (``mtp.``; for V3 and V3.2 the ``mtp_layers`` layers after the last
    one), saved rotary frequencies, and the head of a model that ties it to the embedding (§1.5).
    """
    patterns = [r"(model\.)?mtp\..*", r".*rotary_emb\.inv_freq"]
    if not isinstance(config, V4Config):
        patterns += [rf"(model\.)?layers\.{config.layers + index}\..*" for index in range(mtp_layers)]
    if config.tied_head:
        patterns += [re.escape(name) for name in HEAD]
    return re.compile("|".join(patterns))
