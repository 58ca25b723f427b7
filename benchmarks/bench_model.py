"""The model that the CPU benchmarks run: ``python benchmarks/bench_model.py FOLDER [f32|bf16]`` writes its checkpoint.

``bench-475m``: a V4 of 475M parameters with random weights; 2 window layers, then CSA and HCA in turn.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

from dsv4c.frontend.config import read_config
from dsv4c.frontend.spellings import spellings
from dsv4c.models.weights import Leaf, weight_leaves

LAYERS = 8
CONFIG = {
    "model_type": "deepseek_v4", "architectures": ["DeepseekV4ForCausalLM"], "vocab_size": 16384, "hidden_size": 1024,
    "moe_intermediate_size": 512, "num_hidden_layers": LAYERS, "num_attention_heads": 16, "num_key_value_heads": 1,
    "head_dim": 128, "qk_rope_head_dim": 32, "q_lora_rank": 256, "n_routed_experts": 32, "n_shared_experts": 1,
    "num_experts_per_tok": 4, "routed_scaling_factor": 1.5, "norm_topk_prob": True, "scoring_func": "sqrtsoftplus",
    "o_groups": 4, "o_lora_rank": 256, "index_n_heads": 16, "index_head_dim": 64, "index_topk": 128,
    "sliding_window": 128, "compress_ratios": [0, 0, 4, 128, 4, 128, 4, 128], "num_hash_layers": 2, "hc_mult": 4,
    "hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "swiglu_limit": 10.0, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
    "compress_rope_theta": 160000.0, "max_position_embeddings": 524288, "tie_word_embeddings": False,
    "rope_scaling": {
        "type": "yarn", "factor": 16, "original_max_position_embeddings": 65536, "beta_fast": 32, "beta_slow": 1,
    },
}  # fmt: skip


def write(folder: Path, dtype: str) -> None:
    """Write config.json and model.safetensors, weights of one seed."""
    folder.mkdir(parents=True, exist_ok=True)
    stored = {"f32": "float32", "bf16": "bfloat16"}[dtype]
    (folder / "config.json").write_text(json.dumps({**CONFIG, "dtype": stored}, indent=1) + "\n")
    config, rng = read_config(folder / "config.json"), np.random.default_rng(0)
    tensors = {}
    for path, leaf in weight_leaves(config).items():
        name = spellings(config, path)[0]
        for e in range(config.moe.experts) if "{e}" in name else range(1):
            shape = leaf.shape[1:] if "{e}" in name else leaf.shape
            tensors[name.format(e=e)] = _drawn(rng, path, Leaf(shape, leaf.role), config.moe.experts, dtype)
    save_file(tensors, str(folder / "model.safetensors"))


def _drawn(rng: np.random.Generator, path: str, leaf: Leaf, experts: int, dtype: str) -> np.ndarray:
    if leaf.role == "i32":  # the hash table: distinct experts for every token
        return np.argsort(rng.random((leaf.shape[0], experts)), axis=1)[:, : leaf.shape[1]].astype(np.int64)
    if path.endswith("norm"):
        return np.ones(leaf.shape, np.float32)
    values = 0.02 * rng.standard_normal(leaf.shape, dtype=np.float32)
    return values.astype(ml_dtypes.bfloat16) if leaf.role == "compute" and dtype == "bf16" else values


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "bf16")
