"""What a kernel builder returns, and helpers shared by the builders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tvm import IRModule, tirx
from tvm.s_tir import Schedule
from tvm.s_tir.transform import StmtSimplify

ITEM_BYTES = {"float32": 4, "int32": 4, "float16": 2, "bfloat16": 2, "int64": 8, "int8": 1, "bool": 1}


@dataclass(frozen=True)
class Arg:
    """A buffer argument: extents are numbers or names of sizes."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str


@dataclass(frozen=True)
class Source:
    """Arguments, sizes (those that are None are scalar arguments), and a body that gets both as attributes.

    `llvm` is text that the body calls, empty for most.
    """

    args: tuple[Arg, ...]
    sizes: Mapping[str, int | None]
    body: Callable[[Any], None]
    llvm: str = ""


@dataclass(frozen=True)
class Kernel:
    """A kernel before and after scheduling; `trace` replays the one into the other.

    `source` is what a row kernel was written from, so that several can be written as one.
    """

    name: str
    before: tirx.PrimFunc
    after: tirx.PrimFunc
    trace: str
    source: Source | None = None

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
