"""Write ``bench-475m`` for llama.cpp, with the weights of our checkpoints: ``make_gguf.py f32|bf16 FOLDER``.

The file is FOLDER/bench-475m-<dtype>.gguf. Needs a llama.cpp that knows ``deepseek4``, whose ``gguf-py`` folder
DSV4C_GGUF_PY names, and a Python with numpy, ml_dtypes, tqdm and pyyaml (dsv4c's own lacks the last two; that of
transformers has all).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ["DSV4C_GGUF_PY"])
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import gguf
import numpy as np
from common.model import NAME, config, weights

from dsv4c.models.config import V4Config
from dsv4c.models.weights import Leaf

Q = gguf.GGMLQuantizationType
TOP = {
    "embed": "token_embd.weight", "norm": "output_norm.weight", "head": "output.weight",
    "hc_head.fn": "output_hc_fn.weight", "hc_head.base": "output_hc_base.weight",
    "hc_head.scale": "output_hc_scale.weight",
}  # fmt: skip
LAYER = {
    "attn_norm": "attn_norm", "attn.sinks": "attn_sinks", "attn.q_a": "attn_q_a", "attn.q_norm": "attn_q_a_norm",
    "attn.q_b": "attn_q_b", "attn.kv": "attn_kv", "attn.kv_norm": "attn_kv_a_norm", "attn.o_a": "attn_output_a",
    "attn.o_b": "attn_output_b", "attn_hc.fn": "hc_attn_fn", "attn_hc.base": "hc_attn_base",
    "attn_hc.scale": "hc_attn_scale", "ffn_hc.fn": "hc_ffn_fn", "ffn_hc.base": "hc_ffn_base",
    "ffn_hc.scale": "hc_ffn_scale", "attn.compressor.kv": "attn_compressor_kv",
    "attn.compressor.gate": "attn_compressor_gate", "attn.compressor.position_bias": "attn_compressor_ape",
    "attn.compressor.norm": "attn_compressor_norm", "attn.indexer.head_weights": "indexer.proj",
    "attn.indexer.q_b": "indexer.attn_q_b", "attn.indexer.compressor.kv": "indexer_compressor_kv",
    "attn.indexer.compressor.gate": "indexer_compressor_gate",
    "attn.indexer.compressor.position_bias": "indexer_compressor_ape",
    "attn.indexer.compressor.norm": "indexer_compressor_norm", "ffn_norm": "ffn_norm", "ffn.router": "ffn_gate_inp",
    "ffn.table": "ffn_gate_tid2eid", "ffn.experts.gate": "ffn_gate_exps", "ffn.experts.up": "ffn_up_exps",
    "ffn.experts.down": "ffn_down_exps", "ffn.shared.gate": "ffn_gate_shexp", "ffn.shared.up": "ffn_up_shexp",
    "ffn.shared.down": "ffn_down_shexp",
}  # fmt: skip


def main() -> None:
    """Header, then every weight."""
    dtype, folder = sys.argv[1], Path(sys.argv[2])
    out = folder / f"{NAME}-{dtype}.gguf"
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_suffix(".part")
    writer = gguf.GGUFWriter(str(unfinished), "deepseek4")
    c = config()
    assert isinstance(c, V4Config)
    add_header(writer, c)
    for path, leaf, values in weights():
        add_tensor(writer, path, leaf, values, Q.BF16 if dtype == "bf16" else Q.F32)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    unfinished.rename(out)


def add_header(w: Any, c: V4Config) -> None:
    """The config under the names of llama.cpp."""
    rates = {"window": 0, "csa": c.csa_rate, "hca": c.hca_rate}
    w.add_block_count(c.layers)
    w.add_context_length(c.max_positions)
    w.add_embedding_length(c.hidden)
    w.add_embedding_length_out(c.hidden * c.streams)
    w.add_feed_forward_length(c.moe.width)
    w.add_vocab_size(c.vocab)
    w.add_tokenizer_model("no_vocab")
    w.add_layer_norm_rms_eps(c.eps)
    w.add_head_count(c.heads)
    w.add_head_count_kv(1)
    w.add_key_length(c.head_dim)
    w.add_value_length(c.head_dim)
    w.add_q_lora_rank(c.q_rank)
    w.add_sliding_window(c.window)
    w.add_rope_dimension_count(c.rope.dim)
    w.add_rope_freq_base(c.rope.theta)
    w.add_attention_compress_rope_freq_base(c.compress_rope.theta)
    w.add_attention_compress_ratios([rates[kind] for kind in c.attention])
    w.add_attention_output_group_count(c.o_groups)
    w.add_attention_output_lora_rank(c.o_rank)
    w.add_indexer_head_count(c.indexer.heads)
    w.add_indexer_key_length(c.indexer.head_dim)
    w.add_indexer_top_k(c.indexer.top_k)
    w.add_expert_count(c.moe.experts)
    w.add_expert_used_count(c.moe.per_token)
    w.add_expert_shared_count(c.moe.shared)
    w.add_expert_feed_forward_length(c.moe.width)
    w.add_expert_gating_func(gguf.ExpertGatingFuncType.SQRTSOFTPLUS)
    w.add_expert_weights_scale(c.moe.scale)
    w.add_expert_weights_norm(True)
    w.add_swiglu_clamp_exp([c.swiglu_limit] * c.layers)
    w.add_swiglu_clamp_shexp([c.swiglu_limit] * c.layers)
    w.add_hash_layer_count(c.routing.count("hash"))
    w.add_hyper_connection_count(c.streams)
    w.add_hyper_connection_sinkhorn_iterations(c.sinkhorn_iters)
    w.add_hyper_connection_epsilon(c.hc_eps)


def add_tensor(w: Any, path: str, leaf: Leaf, values: Any, kind: Any) -> None:
    """One weight; llama.cpp wants the router in f32, whatever the matrices are in."""
    if leaf.role == "i32":
        w.add_tensor(gguf_name(path), values.astype(np.int32))
    elif leaf.role == "f32" or path.endswith("router") or kind == Q.F32:
        w.add_tensor(gguf_name(path), values)
    else:
        w.add_tensor(gguf_name(path), gguf.quants.quantize(values, kind), raw_dtype=kind)


def gguf_name(path: str) -> str:
    """The name of a weight in llama.cpp."""
    if path in TOP:
        return TOP[path]
    _, layer, rest = path.split(".", 2)
    return f"blk.{layer}." + ("exp_probs_b.bias" if rest == "ffn.bias" else f"{LAYER[rest]}.weight")


if __name__ == "__main__":
    main()
