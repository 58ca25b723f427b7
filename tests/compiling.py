"""Functions of a module compiled into one library, and executed one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dsv4c.ir.core import Module
from dsv4c.ir.interp import shape_of
from dsv4c.ir.types import DTYPES
from dsv4c.plan import Plan
from dsv4c.targets.cpu.runner import Runner, aligned
from dsv4c.targets.tvm.build import build_library
from dsv4c.targets.tvm.host import set_threads
from dsv4c.targets.tvm.lower import lower
from dsv4c.targets.tvm.table import KernelTable
from dsv4c.targets.tvm.templates import LOWER

Array = np.ndarray[Any, Any]
Spaces = Mapping[str, Mapping[str, Array]]


@dataclass
class Compiled:
    """A module, and its kernels for two threads."""

    module: Module
    plan: Plan
    table: KernelTable
    runner: Runner

    def execute(self, name: str, data: Spaces, dims: Mapping[str, int]) -> list[Array]:
        """Results of a function; state parameters are updated in place."""
        function, plan = self.module.functions[name], self.plan.functions[name]
        results = {}
        for i, (value, tree) in enumerate(zip(function.results, plan.results, strict=True)):
            if not isinstance(tree, dict) and tree.kind == "result":
                results[str(i)] = aligned(shape_of(value.tensor, dims), value.dtype)
                results[str(i)].reshape(-1).view(np.uint8)[...] = 0x55  # what is not written shows
        spaces = {**data, "result": results}
        self.runner.bind(self.plan, name, dims, {p.name: p.name for p in function.params}, spaces).run()
        return [
            results[str(i)] if str(i) in results else data[t.base][t.path]
            for i, t in enumerate(plan.results) if not isinstance(t, dict)
        ]  # fmt: skip


def compiled_module(module: Module) -> Compiled:
    """All functions of a module."""
    table = KernelTable()
    plan = lower(module, tuple(module.functions), table, LOWER)
    set_threads(2)
    with TemporaryDirectory() as folder:
        library = Path(folder) / "cases.so"
        build_library(list(table.kernels.values()), library, jobs=2)
        return Compiled(module, plan, table, Runner(library))


def held(values: Array, dtype: str) -> Array:
    """The same numbers in memory that kernels may read and write."""
    out = aligned(values.shape, dtype)
    out[...] = values.astype(DTYPES[dtype])
    return out
