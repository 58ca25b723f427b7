"""Test vectors of an artefact: a small batch and the logits that the reference interpreter computes for it.

They let anyone check a build, on any machine and without this compiler: feed ``tokens`` (``new`` of them count, the
rest is padding) to a fresh state and compare with ``logits`` where a token stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dsv4c.artefact import broken
from dsv4c.frontend.checkpoint import Checkpoint
from dsv4c.frontend.loading import LoadCall, load_leaf
from dsv4c.ir.core import Module
from dsv4c.ir.interp import run, tree, zeros
from dsv4c.ir.types import Type, leaves
from dsv4c.models.config import Config

FOLDER = "vectors"
LONGEST = 24  # tokens; the second sequence is a third shorter, so that padding is exercised
LARGEST = 256 << 20  # bytes of weights that the interpreter is asked to hold
Array = np.ndarray[Any, Any]


def write_vectors(
    module: Module, config: Config, checkpoint: Checkpoint, calls: Mapping[str, LoadCall], context: int, folder: Path
) -> None:
    """Write ``tokens``, ``new`` and ``logits`` as .npy files, unless the weights are too large for the interpreter."""
    step = module.functions["step_all"]
    types: dict[str, Type] = {p.name: p.type for p in step.params}
    if weight_bytes(types["weights"]) > LARGEST:
        return
    length = min(LONGEST, context)
    tokens = np.random.default_rng(0).integers(0, config.vocab, (2, length)).astype(np.int32)
    new = np.array([length, max(length * 2 // 3, 1)], np.int32)
    weights = {path: load_leaf(module, checkpoint, config, calls[path]) for path, _ in leaves(types["weights"])}
    dims = {"B": 2, "S": length, "T": length}
    operands = [tokens, np.zeros(2, np.int32), new, tree(types["weights"], weights), zeros(types["state"], dims)]
    logits, _ = run(module, step.name, operands, dims)
    (folder / FOLDER).mkdir()
    for name, array in (("tokens", tokens), ("new", new), ("logits", logits)):
        np.save(folder / FOLDER / f"{name}.npy", array)


def weight_bytes(weights: Type) -> int:
    """Bytes of all weights, held in f32 as the interpreter's products do."""
    return sum(4 * int(np.prod([int(str(e)) for e in t.shape], dtype=np.int64)) for _, t in leaves(weights))


def read_vectors(folder: Path) -> tuple[Array, Array, Array] | None:
    """(tokens, new, logits) of an artefact; None if it has none. UserError when they cannot be read."""
    if not (folder / FOLDER / "tokens.npy").is_file():  # the folder may hold vectors of kernels alone
        return None
    tokens, new, logits = (_read(folder / FOLDER / f"{name}.npy") for name in ("tokens", "new", "logits"))
    return tokens, new, logits


def _read(path: Path) -> Array:
    try:
        array: Array = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise broken(path, f"is not a test vector: {error}") from None
    return array
