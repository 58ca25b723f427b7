"""``bench-475m``: a DeepSeek-V4 of 475M parameters with random weights, and its checkpoints and artefacts on disk.

Everything lies under ``.bench/`` of the checkout and is made when it is first asked for.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from dsv4c.frontend.config import parse_config
from dsv4c.frontend.spellings import spellings
from dsv4c.models.config import Config
from dsv4c.models.weights import Leaf, weight_leaves

Array = np.ndarray[Any, Any]
ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / ".bench"
NAME = "bench-475m"
DTYPES = {"f32": "float32", "bf16": "bfloat16"}
SHARD = 400 << 20  # bytes, so that the checkpoint is a sharded one as the released are
STD = 0.02  # initializer_range of the released configs
FIELDS: dict[str, Any] = {
    "architectures": ["DeepseekV4ForCausalLM"], "model_type": "deepseek_v4", "vocab_size": 16384, "hidden_size": 1024,
    "moe_intermediate_size": 512, "num_hidden_layers": 8, "num_attention_heads": 16, "num_key_value_heads": 1,
    "head_dim": 128, "qk_rope_head_dim": 32, "q_lora_rank": 256, "n_routed_experts": 32, "n_shared_experts": 1,
    "num_experts_per_tok": 4, "routed_scaling_factor": 1.5, "o_groups": 4, "o_lora_rank": 256, "index_n_heads": 16,
    "index_head_dim": 64, "index_topk": 128, "sliding_window": 128, "compress_ratios": [0, 0, 4, 128, 4, 128, 4, 128],
    "num_hash_layers": 2, "hc_mult": 4, "hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "swiglu_limit": 10.0,
    "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "compress_rope_theta": 160000.0, "max_position_embeddings": 524288,
    "tie_word_embeddings": False, "num_nextn_predict_layers": 0,
}  # fmt: skip


def config() -> Config:
    """The model as dsv4c sees it."""
    return parse_config(FIELDS, NAME)


def weights(seed: int = 0) -> Iterator[tuple[str, Leaf, Array]]:
    """Every weight by its path in dsv4c, drawn in the order of the model; the same for all formats."""
    rng, experts = np.random.default_rng(seed), config().moe.experts
    for path, leaf in weight_leaves(config()).items():
        if leaf.role == "i32":  # distinct experts for every token
            values = rng.random((leaf.shape[0], experts), np.float32).argsort(axis=1)[:, : leaf.shape[1]]
        else:
            values = rng.standard_normal(leaf.shape, np.float32) * np.float32(STD)
            if path.endswith(("norm", "scale")):
                values += 1
        yield path, leaf, values


def checkpoint(dtype: str) -> Path:
    """A Hugging Face folder in ``f32`` or ``bf16``, as ``save_pretrained`` of transformers would write it."""
    folder = STORE / f"{NAME}-{dtype}"
    if not (folder / "model.safetensors.index.json").exists():
        print(f"writing {folder.relative_to(ROOT)}", flush=True)
        write_checkpoint(folder, dtype)
    return folder


def write_checkpoint(folder: Path, dtype: str) -> None:
    """config.json, shards, and last the index that says that all is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**FIELDS, "dtype": DTYPES[dtype]}, indent=1) + "\n")
    shard: dict[str, Array] = {}
    where: dict[str, str] = {}
    size = 0
    for path, leaf, values in weights():
        for name, part in _stored(path, leaf, values, dtype):
            if size + part.nbytes > SHARD:
                where |= _write_shard(folder, shard, len(set(where.values())))
                shard, size = {}, 0
            shard[name] = part
            size += part.nbytes
    where |= _write_shard(folder, shard, len(set(where.values())))
    index = {"metadata": {}, "weight_map": dict(sorted(where.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def _stored(path: str, leaf: Leaf, values: Array, dtype: str) -> Iterator[tuple[str, Array]]:
    """The tensors of one weight under the names that transformers writes: routed experts one by one."""
    if leaf.role == "i32":
        values = values.astype(np.int64)
    elif leaf.role == "compute" and dtype == "bf16":
        values = values.astype(ml_dtypes.bfloat16)
    name = stored_name(path)
    if "{e}" in name:
        yield from ((name.format(e=e), matrix) for e, matrix in enumerate(values))
    else:
        yield name, values


def stored_name(path: str) -> str:
    """transformers saves V4 under its own names above the layers and under the released ones inside (spellings.py)."""
    names = spellings(config(), path)
    if path == "head":
        return names[-1]
    names = [name for name in names if name.startswith("model.") and ("{e}" in name) == (".ffn.experts." in path)]
    return names[-1] if path.startswith("layers.") else names[0]


def _write_shard(folder: Path, tensors: dict[str, Array], number: int) -> dict[str, str]:
    from safetensors.numpy import save_file  # not where gguf is written

    name = f"model-{number + 1:05}.safetensors"
    save_file(tensors, str(folder / name), {"format": "pt"})
    return dict.fromkeys(tensors, name)


def artefact(dtype: str) -> Path:
    """The checkpoint compiled for the CPU; compiled again whenever a source file of dsv4c has changed."""
    from dsv4c.driver.compile import compile_model

    out, stamp = STORE / f"cpu-{dtype}", STORE / f"cpu-{dtype}.source"
    source = _source_hash()
    if not (out.exists() and stamp.exists() and stamp.read_text() == source):
        stamp.unlink(missing_ok=True)
        folder = checkpoint(dtype)
        print(f"compiling {out.relative_to(ROOT)}", flush=True)
        compile_model(str(folder), out, dtype=dtype, force=True)
        stamp.write_text(source)
    return out


def _source_hash() -> str:
    import dsv4c

    package = Path(str(dsv4c.__file__)).parent
    folders = [package, *(package / name for name in ("passes", "targets", "models"))]  # the last three are links
    files = sorted({path for folder in folders for path in folder.rglob("*.py")})
    return sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
