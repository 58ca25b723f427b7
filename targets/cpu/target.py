"""The CPU target: TIR kernels compiled by LLVM into one shared object, launched in a loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dsv4c.errors import UserError
from dsv4c.ir.core import Function, Module
from dsv4c.ir.types import DTYPES, TensorType
from dsv4c.passes.base import Pass
from dsv4c.passes.partition_experts import PartitionExperts
from dsv4c.passes.registry import PASSES

from ..target import Emitted, Target, Tuned
from ..target import Runner as AnyRunner

# TVM takes seconds to import: each function below imports what it needs, so that listing targets stays quick.
LIBRARY = "kernels.so"
# One machine, one rank: everything but the partitioning.
PIPELINE: tuple[Pass, ...] = tuple(one() for one in PASSES if one is not PartitionExperts)
Array = np.ndarray[Any, Any]


def emit(module: Module, entries: tuple[str, ...], folder: Path, tuned: Tuned | None) -> Emitted:
    """Write ``kernels.so`` and, below ``kernels/``, each kernel before and after scheduling with its trace."""
    from dsv4c.ir.expand import expand

    from ..tvm.build import build_library
    from ..tvm.host import cpu_features
    from ..tvm.lower import lower
    from ..tvm.products.tuning import Tuning
    from ..tvm.table import KernelTable
    from ..tvm.templates import LOWER, has_template
    from ..tvm.tuned import read
    from .runner import usable_cpus

    table = KernelTable(tuning=read(tuned.content, tuned.where) if tuned else Tuning())
    lowered, expanded = expand(module, has_template)
    plan = lower(lowered, entries, table, LOWER)
    module.functions.update({name: f for name, f in lowered.functions.items() if f.kind == "weights"})
    kernels = [table.kernels[name] for name in sorted(table.kernels)]
    texts = folder / "kernels"
    texts.mkdir()
    for kernel in kernels:
        (texts / f"{kernel.name}.before.py").write_text(kernel.before.script() + "\n")
        (texts / f"{kernel.name}.after.py").write_text(kernel.after.script() + "\n")
        (texts / f"{kernel.name}.trace.py").write_text(kernel.trace + "\n")
    build_library(kernels, folder / LIBRARY, jobs=usable_cpus())
    facts = {
        "features": cpu_features(),
        "kernels": len(kernels),
        "expanded": [f"{e.function}:{e.loc} {e.op}" for e in expanded],
        "versions": {name: version(name) for name in ("apache-tvm", "apache-tvm-ffi")},
    }
    return Emitted(plan, facts)


def tune(module: Module, entries: tuple[str, ...], progress: Callable[[str], None]) -> Mapping[str, Any]:
    """The content of a tuning file for this machine."""
    from ..tvm.tuned import written
    from .tune import tiles

    return written(tiles(module, entries, progress))


def open_runner(folder: Path, facts: Mapping[str, Any], threads: int | None) -> AnyRunner:
    """Load the library, unless this machine lacks instructions that it uses."""
    from tvm.error import InternalError

    from ..tvm.host import missing_features, set_threads
    from .runner import Runner, usable_cpus

    features = facts.get("features")
    if not isinstance(features, list):
        raise UserError("does not say which CPU features it needs", where=str(folder), fix="compile again")
    missing = missing_features([str(name) for name in features])
    if missing:
        raise UserError(
            f"needs a CPU with {', '.join(missing)}, which this one lacks",
            where=str(folder),
            fix="compile the model on this machine",
        )
    if threads is not None and threads > usable_cpus():  # TVM would warn and start fewer
        what = f"{threads} threads, but this process may use {usable_cpus()} CPUs"
        raise UserError(what, where="--threads", fix=f"use 1 to {usable_cpus()}")
    set_threads(threads or usable_cpus())
    try:
        return Runner(folder / LIBRARY)
    except (InternalError, ValueError):  # what the system's loader refused, and a file that is not there
        raise UserError("is no library of kernels", where=str(folder / LIBRARY), fix="compile again") from None


def pack_weight(module: Module, stored: TensorType, form: str) -> Function:
    """The weights function that brings tensors like ``stored`` into ``form``."""
    from ..tvm.packing import pack_function

    return pack_function(module, stored, form)


def unpack_weight(packed: Array, form: str, stored: TensorType) -> Array:
    """The weight ``[.., out, in]`` from its packed form, in its own dtype."""
    from ..tvm.packing import unpack

    shape = tuple(int(str(extent)) for extent in stored.shape)
    return unpack(packed, form).reshape(shape).astype(DTYPES[stored.dtype])


TARGET = Target(
    name="cpu",
    doc="x86-64 or Arm through TVM and LLVM; runs here",
    emit=emit,
    pack=pack_weight,
    unpack=unpack_weight,
    open=open_runner,
    pipeline=PIPELINE,
    tune=tune,
)
