"""What a kernel builder returns, and helpers shared by the builders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tvm import IRModule, tirx
from tvm.s_tir import Schedule
from tvm.s_tir.transform import StmtSimplify

ITEM_BYTES = {"float32": 4, "int32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int8": 1, "bool": 1}


@dataclass(frozen=True)
class Kernel:
    """A kernel before and after scheduling; `trace` replays the one into the other."""

    name: str
    before: tirx.PrimFunc
    after: tirx.PrimFunc
    trace: str

    @property
    def params(self) -> tuple[str, ...]:
        """Names of the arguments in launch order: buffers, then int64 scalars."""
        return tuple(p.name for p in self.after.params)


def specialise(func: tirx.PrimFunc, name: str, sizes: Mapping[str, int | None]) -> tirx.PrimFunc:
    """Rename `func` and replace the scalar arguments whose size is known (others stay arguments)."""
    scalars = {p.name: p for p in func.params}
    known = {scalars[key]: tirx.IntImm("int64", size) for key, size in sizes.items() if size is not None}
    named = func.specialize(known).with_attr("global_symbol", name)
    # The parser folds constants: without the same folding here, a replay from the printed text would differ.
    return StmtSimplify()(IRModule({name: named}))[name]


def finish(before: tirx.PrimFunc, sch: Schedule, name: str) -> Kernel:
    """Collect the result of scheduling `before` with `sch = Schedule(before)`."""
    return Kernel(name, before, sch.mod["main"], str(sch.trace))


def merge(kernels: list[Kernel] | tuple[Kernel, ...]) -> IRModule:
    """One module with the scheduled form of all kernels, in order of their names."""
    return IRModule({k.name: k.after for k in sorted(kernels, key=lambda k: k.name)})
