"""A module and what it was built from; and the small twin that is executed in place of a model that is too large."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dsv4c.ir.core import Module
from dsv4c.ir.types import leaves
from dsv4c.models.build import build_module
from dsv4c.models.config import Config
from dsv4c.models.twin import EXPERTS, small_twin
from dsv4c.passes.base import Pass

from .recording import LARGEST, nbytes


@dataclass(frozen=True)
class Origin:
    """A module and, where it was built from one, its config and compute dtype."""

    spec: str
    module: Module
    config: Config | None = None
    dtype: str = "f32"


def twin_of(origin: Origin, steps: Sequence[Pass]) -> Module | None:
    """The module that is executed in place of a larger one; None where the module itself can be, or has no config.

    It has two experts for each of the ranks that a pass places them on, and as many as the pass was given loads for.
    """
    if origin.config is None or _size(origin.module) <= LARGEST // 8:
        return None
    ranks = max((getattr(step, "ranks", 1) for step in steps), default=1)
    loads = max((len(getattr(step, "loads", ())) for step in steps), default=0)
    return build_module(small_twin(origin.config, loads or max(EXPERTS, 2 * ranks)), origin.dtype)


def _size(module: Module) -> int:
    """Bytes of the largest parameter without symbols of any function: a model's weights."""
    dims = {"B": 1, "S": 1, "T": 1}
    blocks = [f for f in module.functions.values() if f.kind == "block" and set(f.symbols) <= set(dims)]
    return max((sum(nbytes(t, dims) for _, t in leaves(p.type)) for f in blocks for p in f.params), default=0)
