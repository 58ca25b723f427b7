"""``fuse-mla-projections``: matrix products that share an input become one, over joined weights, and a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dsv4c.ir.builder import concat, matmul, split
from dsv4c.ir.core import Function, Module, Op, Value

from .base import Log, Pass, map_functions
from .graph import Graph
from .rewriting import Splice

ALIGNED = 16  # rows: parts begin where panels and FP8 scale blocks of any target begin; the last may be any size


@dataclass(frozen=True)
class FuseMlaProjections(Pass):
    """One pass over the input and one stream of weights. Weights are joined when the checkpoint is packed."""

    name: ClassVar[str] = "fuse-mla-projections"
    doc: ClassVar[str] = "x A, x B -> split(x concat(A, B))"
    reads: ClassVar[str] = "kernel"
    writes: ClassVar[str] = "kernel"
    exact: ClassVar[bool] = False  # a product of another width may be summed in another order

    def run(self, module: Module, log: Log) -> Module:
        """Every block."""
        return map_functions(module, lambda function: self._function(module, function, log))

    def _function(self, module: Module, function: Function, log: Log) -> Function:
        graph, splice = Graph(function), Splice(module, function)
        groups: dict[tuple[int, str, str], list[Op]] = {}
        for op in graph.by_name.get("matmul", []):
            if _projection(graph, op):
                key = (id(op.operands[0]), op.operands[1].dtype, str(op.attrs["out"]))
                groups.setdefault(key, []).append(op)
        some = False
        for ops in groups.values():
            ordered, loose = _in_order(ops)
            for op in loose:
                why = f"{_rows(op)} rows do not end on a block of {ALIGNED}"
                log.refuse(self.name, f"{function.name}:{op.loc}", why)
            if len(ordered) > 1:
                results = [op.results[0] for op in ordered]
                splice.replace(ordered[0], results, lambda ops=ordered: _joined(ops))  # type: ignore[misc]
                log.applied[self.name] += 1
                some = True
        return splice.done() if some else function


def _projection(graph: Graph, op: Op) -> bool:
    """Whether the right operand is a weight ``[N, K]`` as the checkpoint has it."""
    _, w = op.operands
    made = graph.producer(w)
    return made is not None and made[0].name == "get" and w.tensor.rank == 2 and bool(op.attrs["trans_b"])


def _rows(op: Op) -> int:
    return int(str(op.operands[1].shape[0]))


def _in_order(ops: Sequence[Op]) -> tuple[list[Op], list[Op]]:
    """Products to join, one of odd size last; and those of odd size that are too many."""
    whole = [op for op in ops if _rows(op) % ALIGNED == 0]
    odd = [op for op in ops if _rows(op) % ALIGNED]
    return [*whole, *odd[:1]], odd[1:]


def _joined(ops: Sequence[Op]) -> Sequence[Value]:
    weights = [op.operands[1] for op in ops]
    out = matmul(ops[0].operands[0], concat(*weights, axis=0), trans_b=True, out=str(ops[0].attrs["out"]))
    return split(out, *map(_rows, ops))
