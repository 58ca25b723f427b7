"""Which weights of a checkpoint a target keeps as they are stored, and what that saves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import Any

from dsv4c.frontend.loading import STORED
from dsv4c.frontend.names import Source
from dsv4c.ir.types import BITS, Type, leaves
from dsv4c.passes.base import Pass
from dsv4c.passes.quantize import Quantize, Storage, scales_of
from dsv4c.targets.target import Target

CODES = {"fp8_block": "f8e4m3", "mxfp4": "f4e2m1"}  # what a scheme of a checkpoint (names.Source) stores


def storage(source: Source) -> Storage | None:
    """How a weight is stored, if it is as codes with scales."""
    if source.scheme not in CODES:
        return None
    return Storage(CODES[source.scheme], STORED[source.scale_stored], *source.block)


def pipeline_of(target: Target, sources: Mapping[str, Source] | None) -> tuple[Pass, ...]:
    """The target's passes; ``quantize`` is told which weights are stored in a form that the target keeps."""
    stored = tuple(dict.fromkeys(_lines(target, sources or {})))
    return tuple(replace(step, stored=stored) if isinstance(step, Quantize) else step for step in target.pipeline)


def _lines(target: Target, sources: Mapping[str, Source]) -> list[str]:
    """For each weight what ``quantize`` takes, for all layers together where all store it alike."""
    found = {path: storage(source) for path, source in sources.items()}
    alike: dict[str, set[Storage | None]] = {}
    for path, how in found.items():
        alike.setdefault(_pattern(path), set()).add(how)
    return [
        how.text(_pattern(path) if len(alike[_pattern(path)]) == 1 else path)
        for path, how in found.items() if how is not None and target.keeps(how.codes, how.columns)
    ]  # fmt: skip


def _pattern(path: str) -> str:
    return re.sub(r"\.\d+\.", ".*.", path)


def quantised(sources: Mapping[str, Source] | None, weights: Type, dtype: str) -> dict[str, Any]:
    """What became of the weights that the checkpoint stores as codes, by leaf: how many stay packed and how many are
    converted when weights are packed, and their bytes, those of ``dtype`` beside them.
    """
    kept, types = scales_of(weights), dict(leaves(weights))
    out: dict[str, dict[str, Any]] = {}
    for path, source in (sources or {}).items():
        how = storage(source)
        if how is None:
            continue
        row = out.setdefault(_pattern(path), {
            "stored": how.text("")[1:], "packed": 0, "converted": 0, "bytes": 0, "bytes_converted": 0,
        })  # fmt: skip
        held = [types[p] for p in (path, kept.get(path, "")) if p]
        count = prod(int(str(e)) for e in held[0].shape) * (2 if path in kept and how.codes == "f4e2m1" else 1)
        row["packed" if path in kept else "converted"] += 1
        row["bytes"] += sum(prod(int(str(e)) for e in t.shape) * BITS[t.dtype] for t in held) // 8
        row["bytes_converted"] += count * BITS[dtype] // 8
    return out
