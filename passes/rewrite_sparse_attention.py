"""``rewrite-sparse-attention``: attention under a mask becomes attention over the keys that the mask lets through."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from dsv4c.ir.core import Module
from dsv4c.ir.dims import degree, product
from dsv4c.ir.types import TensorType

from .base import Log, Pass, map_functions
from .patterns import BLOCKS, LEAVES, SPARSE
from .rules import apply_rules

GROWING = frozenset({"S", "T"})  # the symbols of a step that grow with the sequence


@dataclass(frozen=True)
class RewriteSparseAttention(Pass):
    """A window, compressed entries and a top-k selection as operands of one op, instead of a mask over all keys.

    Says aloud which values with as many elements as queries times keys are left.
    """

    name: ClassVar[str] = "rewrite-sparse-attention"
    doc: ClassVar[str] = "softmax(where(mask, q k)) k -> sparse_attention(q, window, entries, top-k)"
    reads: ClassVar[str] = "kernel"
    writes: ClassVar[str] = "kernel"

    def run(self, module: Module, log: Log) -> Module:
        """Every block of a module whose smaller kernels are fused."""
        after = map_functions(module, lambda f: apply_rules(module, f, SPARSE, log, before=LEAVES + BLOCKS))
        log.notes += [f"{where} still has {type_}, quadratic in {', '.join(sorted(GROWING))}" for where, type_ in
                      quadratic(after)]  # fmt: skip
        return after


def quadratic(module: Module) -> Iterator[tuple[str, TensorType]]:
    """Values whose element count has degree 2 or more in S and T, with their place (design.md §3)."""
    for function in module.functions.values():
        for op in function.ops:
            for result in op.results:
                if isinstance(result.type, TensorType) and degree(product(result.shape), GROWING) > 1:
                    yield f"{function.name}:{op.loc} ({op.name})", result.type
