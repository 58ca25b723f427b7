"""Write tiny checkpoints with transformers, and what transformers computes from them.

Needs torch and transformers 5.23 (the test suite itself does not). Two uses:

    python examples/make_tiny.py all                      # everything under tests/data and examples/tiny-v4
    python examples/make_tiny.py v4-odd OUT --seed 3 --dtype bfloat16 --set num_hidden_layers=2

A model folder holds what ``save_pretrained`` writes. Weights follow architectures.md §14: one generator; parameters
sorted by name, 1 + 0.1 randn for one-dimensional ones with "norm" in the name, else 0.05 randn; then buffers sorted
by name. ``golden.npz`` beside it (or ``tests/data/golden_<variant>.npz``) holds

    tokens [2, 40], logits [2, 40, V]: one pass without a cache over ``randint`` of a generator seeded seed + 1
    prompt_<i> [n], new_<i> [k], steps_<i> [n + k - 1, V]: greedy decoding of one prompt through transformers' cache
        (prefill, then token by token), and the logits of every position fed

Of TRIES random prompts that one is kept whose continuation varies most, among those where the best two logits of every
new token are so far apart that rounding cannot change the token. tests/test_golden.py holds the figures of §14
against what is stored.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import DynamicCache

ROOT = Path(__file__).resolve().parent.parent
MARGIN = 2e-3  # between the best two logits; twenty times the tolerance of the tests
TRIES = 24
PROMPTS = ((1, 16), (3, 16), (17, 64))  # (length, new tokens)
WINDOW, CSA, HCA = "sliding_attention", "compressed_sparse_attention", "heavily_compressed_attention"

YARN = {"rope_type": "yarn", "factor": 4.0, "beta_fast": 32, "beta_slow": 1, "original_max_position_embeddings": 64}
V3: dict[str, Any] = {
    "vocab_size": 128, "hidden_size": 64, "intermediate_size": 96, "moe_intermediate_size": 32,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4, "n_shared_experts": 1,
    "n_routed_experts": 8, "routed_scaling_factor": 2.5, "kv_lora_rank": 32, "q_lora_rank": 24,
    "qk_rope_head_dim": 8, "v_head_dim": 16, "qk_nope_head_dim": 16, "n_group": 4, "topk_group": 2,
    "num_experts_per_tok": 3, "norm_topk_prob": True, "max_position_embeddings": 256, "first_k_dense_replace": 1,
    "rope_parameters": {**YARN, "rope_theta": 1e4, "mscale": 1.0, "mscale_all_dim": 1.0},
}  # fmt: skip
V3_ODD: dict[str, Any] = {
    "vocab_size": 101, "hidden_size": 48, "intermediate_size": 72, "num_attention_heads": 6, "num_key_value_heads": 6,
    "n_shared_experts": 2, "n_routed_experts": 6, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1,
    "kv_lora_rank": 20, "qk_rope_head_dim": 6, "qk_nope_head_dim": 10, "v_head_dim": 14, "norm_topk_prob": False,
    "routed_scaling_factor": 1.3, "rope_parameters": {"rope_type": "default", "rope_theta": 5e3},
}  # fmt: skip
INDEX: dict[str, Any] = {"index_topk": 6, "index_n_heads": 32, "index_head_dim": 16}
V4: dict[str, Any] = {
    "vocab_size": 128, "hidden_size": 64, "moe_intermediate_size": 32, "num_hidden_layers": 5,
    "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 32, "q_lora_rank": 24, "n_routed_experts": 8,
    "n_shared_experts": 1, "num_experts_per_tok": 3, "routed_scaling_factor": 1.5, "max_position_embeddings": 256,
    "layer_types": [WINDOW, CSA, HCA, CSA, HCA], "compress_rates": {CSA: 4, HCA: 8},
    "mlp_layer_types": ["hash_moe", "moe", "moe", "moe", "moe"], "sliding_window": 8, "o_groups": 2,
    "o_lora_rank": 16, "index_n_heads": 32, "index_head_dim": 16, "index_topk": 3, "hc_mult": 4,
    "hc_sinkhorn_iters": 20, "swiglu_limit": 10.0, "qk_rope_head_dim": 8, "rope_parameters": YARN,
    "num_nextn_predict_layers": 0,
}  # fmt: skip
# A swiglu limit that bites, more picks than entries, a window and rates that divide nothing.
V4_ODD: dict[str, Any] = {
    "vocab_size": 101, "hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 6, "head_dim": 24,
    "q_lora_rank": 20, "n_routed_experts": 6, "num_experts_per_tok": 2, "layer_types": [HCA, CSA, WINDOW, CSA],
    "mlp_layer_types": ["hash_moe", "hash_moe", "moe", "moe"], "compress_rates": {CSA: 4, HCA: 16},
    "sliding_window": 5, "o_groups": 3, "o_lora_rank": 10, "index_topk": 64, "hc_mult": 2, "hc_sinkhorn_iters": 7,
    "swiglu_limit": 0.4, "qk_rope_head_dim": 6, "scoring_func": "sigmoid", "rope_theta": 5e3,
    "compress_rope_theta": 4e4, "rope_parameters": {**YARN, "factor": 2.5, "original_max_position_embeddings": 32},
}  # fmt: skip

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "v3": ("DeepseekV3", V3),
    "v32": ("DeepseekV32", V3 | INDEX),
    "v4": ("DeepseekV4", V4),
    "v3-odd": (
        "DeepseekV3",
        V3 | V3_ODD | {"q_lora_rank": None, "rope_interleave": False, "tie_word_embeddings": True},
    ),
    "v32-odd": ("DeepseekV32", V3 | V3_ODD | INDEX | {"index_topk": 64, "index_head_dim": 12}),
    "v4-odd": ("DeepseekV4", V4 | V4_ODD),
}


def build(variant: str, seed: int = 0, overrides: dict[str, Any] | None = None) -> Any:
    """A transformers model of one of VARIANTS in fp32, with deterministic weights."""
    stem, fields = VARIANTS[variant]
    config = getattr(transformers, f"{stem}Config")(**json.loads(json.dumps(fields | (overrides or {}))))
    config._attn_implementation = "eager"
    model = getattr(transformers, f"{stem}ForCausalLM")(config).eval()
    fill(model, torch.Generator().manual_seed(seed))
    return model


@torch.no_grad()
def fill(model: Any, generator: torch.Generator) -> None:
    """Overwrite all weights; routing tables and biases too, which a fresh model leaves at zero."""
    for name, weight in sorted(model.named_parameters()):
        noise = torch.randn(weight.shape, generator=generator)
        weight.copy_(1 + 0.1 * noise if weight.dim() == 1 and "norm" in name else 0.05 * noise)
    for name, buffer in sorted(model.named_buffers()):
        if name.endswith("e_score_correction_bias"):
            buffer.copy_(0.01 * torch.randn(buffer.shape, generator=generator))
        if name.endswith("tid2eid"):
            experts, picks = model.config.n_routed_experts, buffer.shape[1]
            buffer.copy_(torch.stack([torch.randperm(experts, generator=generator)[:picks] for _ in buffer]))


def one_pass(model: Any, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random tokens [2, 40], and their logits [2, 40, V] without a cache."""
    tokens = torch.randint(0, model.config.vocab_size, (2, 40), generator=torch.Generator().manual_seed(seed + 1))
    with torch.no_grad():
        return tokens, model(tokens, use_cache=False).logits.float()


@torch.no_grad()
def greedy(model: Any, prompt: torch.Tensor, count: int) -> tuple[list[int], torch.Tensor, float]:
    """New tokens, logits of every position fed, and the smallest gap between the best two logits of a new token."""
    cache, feed, new, steps, gap = DynamicCache(config=model.config), prompt[None], [], [], float("inf")
    for _ in range(count):
        steps.append(model(feed, past_key_values=cache, use_cache=True).logits[0].float())
        best = steps[-1][-1].topk(2)
        gap = min(gap, float(best.values[0] - best.values[1]))
        new.append(int(best.indices[0]))
        feed = best.indices[None, :1]
    return new, torch.cat(steps), gap


def golden(
    model: Any,
    seed: int = 0,
    prompts: tuple[tuple[int, int], ...] = PROMPTS,
    tries: int = TRIES,
    margin: float = MARGIN,
) -> dict[str, np.ndarray]:
    """The arrays of a golden file (see the top of this file)."""
    tokens, logits = one_pass(model, seed)
    out = {"tokens": tokens.numpy().astype(np.int32), "logits": logits.numpy()}
    draw = torch.Generator().manual_seed(seed + 2)
    for index, (length, count) in enumerate(prompts):
        drawn = [torch.randint(0, model.config.vocab_size, (length,), generator=draw) for _ in range(tries)]
        tried = [(prompt, *greedy(model, prompt, count)) for prompt in drawn]
        prompt, new, steps, _ = max((t for t in tried if t[3] > margin), key=lambda t: len(set(t[1])))
        out[f"prompt_{index}"] = prompt.numpy().astype(np.int32)
        out[f"new_{index}"] = np.array(new, np.int32)
        out[f"steps_{index}"] = steps.numpy()
    return out


def save(model: Any, folder: Path, dtype: str = "float32") -> Any:
    """Write the checkpoint; returns the model that a reader of the folder gets (rounded to ``dtype``).

    In float16 that model computes in fp32: transformers keeps V4's norms in fp32 beside float16 matrices, and then
    its layers refuse each other's activations.
    """
    if dtype != "float32":
        with tempfile.TemporaryDirectory() as scratch:
            model.save_pretrained(scratch)
            kept = {"dtype": getattr(torch, dtype), "attn_implementation": "eager"}
            model = type(model).from_pretrained(scratch, **kept).eval()
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)  # not read by anything here
    for path in folder.iterdir():
        path.chmod(0o644)
    return model.float() if dtype == "float16" else model


def write_all() -> None:
    """Everything that the repository stores."""
    data, demo = ROOT / "tests" / "data", ROOT / "examples" / "tiny-v4"
    for variant in VARIANTS:
        model = save(build(variant), demo if variant == "v4" else data / f"tiny-{variant}")
        arrays = golden(model)
        data.mkdir(exist_ok=True)
        np.savez(data / f"golden_{variant.replace('-', '_')}.npz", **arrays)
        if variant == "v4":
            last = len(PROMPTS) - 1
            said = {"prompt": arrays[f"prompt_{last}"].tolist(), "new": arrays[f"new_{last}"].tolist()}
            (demo / "tokens.json").write_text(json.dumps(said) + "\n")
        varied = [len(set(arrays[f"new_{index}"].tolist())) for index in range(len(PROMPTS))]
        print(f"{variant}: {sum(p.numel() for p in model.parameters())} weights, distinct new tokens {varied}")


def main() -> None:
    """Command line, see the top of this file."""
    parser = argparse.ArgumentParser(description="Write tiny DeepSeek checkpoints with transformers.")
    parser.add_argument("variant", choices=["all", *VARIANTS])
    parser.add_argument("folder", type=Path, nargs="?", help="where to write (not with 'all')")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=JSON", help="change a config field")
    args = parser.parse_args()
    torch.set_num_threads(1)  # same sums on every machine
    if args.variant == "all":
        return write_all()
    if args.folder is None:
        parser.error("give a folder to write to")
    overrides = {name: json.loads(value) for name, value in (item.split("=", 1) for item in args.set)}
    model = save(build(args.variant, args.seed, overrides), args.folder, args.dtype)
    np.savez(args.folder / "golden.npz", **golden(model, args.seed))


if __name__ == "__main__":
    main()
