"""``fuse-kernels``: idioms of core ops become kernel ops, tier by tier, leaf first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dsv4c.ir.core import Module

from .base import Log, Pass, map_functions
from .patterns import BLOCKS, LEAVES
from .rules import apply_rules


@dataclass(frozen=True)
class FuseKernels(Pass):
    """Norms, rotations, caches, routing first; then compressors, indexers, experts and dense attention from them."""

    name: ClassVar[str] = "fuse-kernels"
    doc: ClassVar[str] = "x * rsqrt(mean(x * x) + eps) * w -> rms_norm(x, w), and so for every kernel op"
    writes: ClassVar[str] = "kernel"

    def run(self, module: Module, log: Log) -> Module:
        """Every block of a canonical module."""
        return map_functions(module, lambda f: apply_rules(module, f, LEAVES + BLOCKS, log))
