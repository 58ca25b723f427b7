"""Functions of a partitioned module in a proof: all ranks are executed in one process, and together compared."""

from __future__ import annotations

from dsv4c.ir.core import Function, Module
from dsv4c.ir.dims import symbols
from dsv4c.ir.spmd import mesh_of
from dsv4c.ir.types import leaves

from .recording import is_narrow

DEEPEST = 2  # calls below a layer: its feed-forward block, and the experts


def partitioned(module: Module) -> bool:
    """Whether the module is one rank's program."""
    return bool(mesh_of(module))


def why_not(module: Module, function: Function) -> str:
    """Why the ranks of a partitioned function cannot be compared with the whole one; empty where they can."""
    for param in function.params:
        for path, tensor in leaves(param.type):
            for extent in tensor.shape:
                if "B" in symbols(extent) and str(extent) != "B":
                    place = f"{param.name}.{path}" if path else param.name
                    return f"{place} has the extent {extent}, which is not split by sequences; its callers are compared"
    if "B" not in function.symbols:
        return "it has no sequences to split; its callers are compared"
    if is_narrow(function) and _depth(module, function) > DEEPEST:
        return "in 16 bits a choice that flips in one layer changes all behind it; its layers are compared"
    return ""


def _depth(module: Module, function: Function) -> int:
    """The longest chain of calls below a function."""
    return max((1 + _depth(module, module.functions[name]) for name in dict.fromkeys(function.callees())), default=0)
