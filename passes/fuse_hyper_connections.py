"""``fuse-hyper-connections``: each half of a hyper-connection site becomes one op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dsv4c.ir.core import Module

from .base import Log, Pass, map_functions
from .patterns import BLOCKS, HYPER, LEAVES, SPARSE
from .rules import apply_rules


@dataclass(frozen=True)
class FuseHyperConnections(Pass):
    """Norm, projection, gates, any number of Sinkhorn steps and mixing as hyper_pre, hyper_post and hyper_head."""

    name: ClassVar[str] = "fuse-hyper-connections"
    doc: ClassVar[str] = "norm, projection, sigmoid, Sinkhorn(n), mixing -> hyper_pre, hyper_post, hyper_head"
    reads: ClassVar[str] = "kernel"
    writes: ClassVar[str] = "kernel"

    def run(self, module: Module, log: Log) -> Module:
        """Every block of a module whose norms are fused."""
        return map_functions(module, lambda f: apply_rules(module, f, HYPER, log, before=LEAVES + BLOCKS + SPARSE))
