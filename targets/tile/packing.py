"""Weights as tile programs read them: as the checkpoint has them, in the dtype that a kernel computes with."""

from __future__ import annotations

from dsv4c.ir.builder import Builder, cast
from dsv4c.ir.core import Function, Module
from dsv4c.ir.types import TensorType


def pack_function(module: Module, stored: TensorType, form: str) -> Function:
    """The weights function that brings tensors like ``stored`` into ``form``, ``dense.f32`` and such."""
    dtype = form.removeprefix("dense.")
    shape = "x".join(map(str, stored.shape))
    name = f"pack_{stored.dtype}_{shape}_to_{dtype}"
    if name in module.functions:
        return module.functions[name]
    with Builder(module, name, w=TensorType(stored.shape, stored.dtype)) as b:
        return b.done(cast(b.params[0], dtype), kind="weights")
