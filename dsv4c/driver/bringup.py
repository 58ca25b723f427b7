"""``dsv4c vectors``: what a host program without Python compares kernels with, beside an artefact's own vectors.

``vectors/kernels/NAME/0/`` holds one launch of a kernel: ``case.json`` and an array for each input and output.
``vectors/trace/`` holds what every launch of the model wrote on the test vectors. All of it is computed by numpy from
what the kernels mean (``Target.meanings``), not by any kernel.

A model too large for a trace, or without weights, has its functions executed one by one on the operands that ``dsv4c
verify`` draws, and kernels that none of them launches on numbers of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

import numpy as np

from dsv4c.artefact import MODULE, Artefact
from dsv4c.errors import UserError
from dsv4c.ir.core import Module
from dsv4c.ir.interp import tree
from dsv4c.targets.target import Meaning, find_target

from .drawn import drawn_bytes, drawn_launch
from .interpreted import InterpretedRunner
from .kernels import Kernels
from .operands import Draw, WeightStore
from .reading import read_module
from .stored import CASES, TRACE, CaseWriter, TraceWriter
from .tracing import trace_model
from .vectors import FOLDER, LARGEST, read_vectors
from .verify import TOLERANCE, operand_bytes, verified_sizes

LARGEST_CASE = 16 << 20  # bytes of one launch that are stored


@dataclass(frozen=True)
class Written:
    """What was written for one kernel; ``why`` says why there is nothing."""

    kernel: str
    cases: int
    nbytes: int
    why: str


@dataclass(frozen=True)
class Vectors:
    """Everything that was written."""

    kernels: tuple[Written, ...]
    launches: int  # in the trace
    trace_bytes: int


def write_bringup(folder: Path, largest: int = LARGEST_CASE) -> Vectors:
    """Replace ``vectors/kernels`` and ``vectors/trace`` of an artefact; ``largest`` bounds the bytes of one case.

    Raises UserError when it cannot be opened, or when its target's kernels have no meaning apart from their text.
    """
    artefact = Artefact.open(folder)
    target, module = find_target(artefact.manifest["target"]["name"]), read_module(folder / MODULE)
    if target.meanings is None:
        raise UserError(f"kernels of {target.name} have no vectors of their own", where=str(folder))
    meanings = target.meanings(module, artefact.plan.entries)
    for part in (CASES, TRACE):
        rmtree(folder / FOLDER / part, ignore_errors=True)
    cases = CaseWriter(folder / FOLDER / CASES, largest)
    stored = read_vectors(folder) if artefact.has_weights else None
    if stored is None:
        store = WeightStore(artefact, target, module)
        kernels = Kernels(module, artefact.plan, InterpretedRunner(meanings, cases.see), store)
        _each_function(artefact, module, kernels, store)
        _others(meanings, cases)
        return Vectors(tuple(_rows(meanings, cases)), 0, 0)
    with TraceWriter(folder / FOLDER / TRACE, TOLERANCE[artefact.manifest["model"]["dtype"]]) as trace:
        trace_model(artefact, meanings, cases, trace, *stored[:2])
    return Vectors(tuple(_rows(meanings, cases)), trace.launches, trace.nbytes)


def _rows(meanings: Mapping[str, Meaning], cases: CaseWriter) -> Iterator[Written]:
    for name in meanings:
        why = ""
        if not cases.count(name):
            why = "its functions are too large, and integers cannot be drawn"
        if not cases.count(name) and name in cases.too_large:
            why = f"its smallest launch has {cases.too_large[name] / 2**20:.0f} MiB"
        yield Written(name, cases.count(name), cases.nbytes.get(name, 0), why)


def _others(meanings: Mapping[str, Meaning], cases: CaseWriter) -> None:
    """A launch on drawn numbers for each kernel that no function has launched, where that is possible."""
    for name, meaning in meanings.items():
        nbytes = drawn_bytes(meaning)
        if cases.count(name) or not nbytes:
            continue
        if nbytes > cases.largest:
            cases.too_large[name] = min(nbytes, cases.too_large.get(name, nbytes))
        else:
            cases.see(drawn_launch(name, meaning))


def _each_function(artefact: Artefact, module: Module, kernels: Kernels, store: WeightStore) -> None:
    """Execute every function of the plan whose operands are not too many, for a decode and a prefill."""
    for name in artefact.plan.functions:
        function = module.functions[name]
        for dims in verified_sizes(function, artefact.manifest["model"]["max_context"]):
            if operand_bytes(function, dims) <= LARGEST:
                draw = Draw(np.random.default_rng(0), dims, store.vocab)
                kernels(name, [tree(p.type, store.operand(name, p.name, p.type, draw)) for p in function.params], dims)
