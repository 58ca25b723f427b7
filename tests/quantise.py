"""Write a quantised copy of a tiny checkpoint, as the released ones are stored (architectures.md §9).

    python tests/quantise.py examples/tiny-v4 OUT            # FP8 matrices, MXFP4 experts, released names

FP8 scales are e8m0 for V4 and fp32 for V3 and V3.2. What §9.1 names stays as it is. ``quantise`` also returns what
the stored numbers mean, so that a test can run the same model from plain weights.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from safetensors.numpy import load_file, save_file

Array = np.ndarray[Any, Any]

V4_RELEASED = (  # from the names that transformers saves to those of the released files
    (r"^model\.", ""),
    (r"^embed_tokens\.", "embed."),
    (r"^hc_head\.hc_", "hc_head_"),
    (r"\.attn\.norm\.", ".attn.kv_norm."),
)
KEPT = re.compile(r"embed|head|norm|\.gate\.weight|compressor|weights_proj|hc_")  # §9.1
EXPERT = re.compile(r"\.experts\.\d+\.")
MIDDLES = np.array([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0], np.float32)  # between the magnitudes of e2m1
UP = np.arange(7) % 2 == 1  # where a tie goes up: to the even code


def quantise(
    source: Path, target: Path, *, experts: str = "mxfp4", block: tuple[int, int] = (128, 128), rest: Any = np.float32
) -> dict[str, Array]:
    """Write the copy; returns the f32 numbers behind every tensor, under the names in the copy.

    Args:
        source: a folder that transformers wrote.
        target: the folder to write.
        experts: ``mxfp4`` or ``fp8``.
        block: rows and columns that share an FP8 scale.
        rest: the dtype of the matrices and norms that stay unquantised.
    """
    raw = json.loads((source / "config.json").read_text())
    v4 = raw["model_type"] == "deepseek_v4"
    stored: dict[str, Array] = {}
    meant: dict[str, Array] = {}
    # V3's released names are those of transformers.
    for name, array in renamed(load_file(source / "model.safetensors"), V4_RELEASED if v4 else ()).items():
        scale_name = name.removesuffix("weight") + ("scale" if v4 else "weight_scale_inv")
        if not name.endswith(".weight"):
            stored[name] = meant[name] = array
        elif array.ndim != 2 or KEPT.search(name):
            stored[name] = array.astype(rest)
            meant[name] = stored[name].astype(np.float32)
        elif experts == "mxfp4" and EXPERT.search(name):
            codes, scale, meant[name] = fp4_rows(array)
            stored[name], stored[scale_name] = pack_nibbles(codes), scale.astype(ml_dtypes.float8_e8m0fnu)
        else:
            stored[name], scale, meant[name] = fp8_blocks(array, block, ue8m0=v4)
            stored[scale_name] = scale.astype(ml_dtypes.float8_e8m0fnu) if v4 else scale
    raw["quantization_config"] = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": list(block)}
    write(target, raw, stored)
    return meant


def write(folder: Path, raw: dict[str, Any], tensors: dict[str, Array]) -> Path:
    """A checkpoint folder of one safetensors file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(raw, indent=2))
    save_file({n: np.ascontiguousarray(t) for n, t in tensors.items()}, folder / "model.safetensors", {"format": "pt"})
    return folder


def renamed(tensors: dict[str, Array], rules: Iterable[tuple[str, str]]) -> dict[str, Array]:
    """The same tensors under other names; ``rules`` are pairs (pattern, replacement)."""
    out = {}
    for name, array in tensors.items():
        for pattern, to in rules:
            name = re.sub(pattern, to, name)
        out[name] = array
    return out


def pow2ceil(x: Array) -> Array:
    """The power of two that is not below positive x, from the bit pattern (§9.3)."""
    bits = x.astype(np.float32).view(np.int32)
    return ((bits + 0x7FFFFF) >> 23 << 23).view(np.float32)


def largest(w: Array, block: tuple[int, int]) -> Array:
    """The largest magnitude of each block, ``[ceil(N / rows), ceil(K / columns)]``."""
    rows, columns = block
    padded = np.pad(np.abs(w), [(0, -n % size) for n, size in zip(w.shape, block, strict=True)])
    shape = (padded.shape[0] // rows, rows, padded.shape[1] // columns, columns)
    return padded.reshape(shape).max((1, 3))


def spread(scale: Array, block: tuple[int, int], shape: tuple[int, ...]) -> Array:
    """One scale an element."""
    return np.kron(scale, np.ones(block, np.float32))[: shape[0], : shape[1]]


def fp8_blocks(w: Array, block: tuple[int, int], ue8m0: bool) -> tuple[Array, Array, Array]:
    """e4m3 codes, f32 scales and what they mean: ``s = max(amax, 1e-4) / 448``, rounded up to 2^n for ue8m0."""
    scale = np.maximum(largest(w, block), np.float32(1e-4)) / np.float32(448)
    scale = pow2ceil(scale) if ue8m0 else scale
    wide = spread(scale, block, w.shape)
    codes = np.clip(w / wide, -448, 448).astype(ml_dtypes.float8_e4m3fn)
    return codes, scale, codes.astype(np.float32) * wide


def fp4_rows(w: Array) -> tuple[Array, Array, Array]:
    """e2m1 codes (one a byte), f32 scales per 32 columns and what they mean: floor 6 * 2^-126, pow2ceil(amax / 6)."""
    scale = pow2ceil(np.maximum(largest(w, (1, 32)), np.float32(6 * 2.0**-126)) / np.float32(6))
    wide = spread(scale, (1, 32), w.shape)
    codes = e2m1(w / wide)
    return codes, scale, codes.view(ml_dtypes.float4_e2m1fn).astype(np.float32) * wide


def e2m1(x: Array) -> Array:
    """The nearest code of at most 6; ties go to the even code."""
    size = np.abs(x)[..., None]
    code = np.where(UP, size >= MIDDLES, size > MIDDLES).sum(-1)
    return (code + 8 * np.signbit(x)).astype(np.uint8)


def pack_nibbles(codes: Array) -> Array:
    """Two codes a byte, the even column in the low nibble."""
    return (codes[:, ::2] | codes[:, 1::2] << 4).view(np.int8)


if __name__ == "__main__":
    quantise(Path(sys.argv[1]), Path(sys.argv[2]))
