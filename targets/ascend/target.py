"""Ascend targets: AscendC kernels from tile programs, executed by the emulator on this machine."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dsv4c.errors import UserError
from dsv4c.ir.core import Function, Module
from dsv4c.ir.expand import Expanded, expand
from dsv4c.ir.types import TensorType
from dsv4c.passes.base import Pass
from dsv4c.passes.inline import Inline
from dsv4c.passes.partition_experts import PartitionExperts
from dsv4c.passes.registry import PASSES
from dsv4c.plan import Plan

from ..target import Emitted, Family, Meaning, Runner, Target, TimedRunner
from ..tile.chip import chip_names, load_chip

if TYPE_CHECKING:
    from ..tile.table import TileTable
    from .runner import EmulatorRunner

PACKAGE = "dsv4c.targets.ascend"
KERNELS = "kernels"
# One machine, one rank; small functions stay functions, since launches are not joined across them.
PIPELINE: tuple[Pass, ...] = tuple(one() for one in PASSES if one not in (PartitionExperts, Inline))
Array = np.ndarray[Any, Any]


def emit(
    chip_name: str, library_ops: Collection[str], module: Module, entries: tuple[str, ...], folder: Path
) -> Emitted:
    """Write each kernel as AscendC with its tiling struct, and the tile programs behind it; library operators stand in
    for kernels of ``library_ops``.
    """
    from ..tile.table import TileTable
    from ..tile.text import logical_text, physical_text
    from .host import write_host
    from .library.calls import choose
    from .operators.project import write_operators
    from .spell import spell

    table = TileTable(load_chip(PACKAGE, chip_name))
    plan, lowered, expanded = _lowered(module, entries, table)
    library = choose(table, library_ops)
    module.functions.update({name: f for name, f in lowered.functions.items() if f.kind == "weights"})
    kernels = folder / KERNELS
    kernels.mkdir()
    texts = {name: spell(table.kernels[name].physical) for name in sorted(table.kernels)}
    for name, text in texts.items():
        (kernels / f"{name}.cpp").write_text(text.kernel)
        (kernels / f"{name}_tiling.h").write_text(text.tiling)
        program = table.kernels[name]
        (kernels / f"{name}.tile").write_text(logical_text(program.logical) + "\n" + physical_text(program.physical))
    programs = {name: table.kernels[name].physical for name in table.kernels}
    write_host(folder, programs, table.chip, library)
    write_operators(folder, [(programs[name], text) for name, text in texts.items()], table.chip)
    groups = int(table.chip.facts["cores"]["AIC"])
    facts = {
        "chip": chip_name,
        "arch": table.chip.arch,
        "kernels": len(table.kernels),
        "workspace": {name: k.physical.workspace for name, k in sorted(table.kernels.items()) if k.physical.workspace},
        "workspace_bytes": groups * max((program.workspace for program in programs.values()), default=0),
        "cores": {name: core_kind(k.physical.parts) for name, k in sorted(table.kernels.items())},
        "expanded": [f"{e.function}:{e.loc} {e.op}" for e in expanded],
    }
    if library_ops:
        facts["library"] = {name: call.name for name, call in sorted(library.calls.items())}
        facts["not_library"] = dict(library.kept)
    return Emitted(plan, facts)


def _lowered(
    module: Module, entries: tuple[str, ...], table: TileTable
) -> tuple[Plan, Module, tuple[Expanded, ...]]:
    """The plan, the module that it was made of, and the ops that have no tile program; kernels go to ``table``."""
    from ..tile.lower import lower
    from ..tile.templates import LOWER
    from ..weights import ARITHMETIC

    lowered, expanded = expand(module, lambda op: op.name in LOWER or op.name in ARITHMETIC)
    return lower(lowered, entries, table, LOWER), lowered, tuple(expanded)


def meanings(chip_name: str, module: Module, entries: tuple[str, ...]) -> Mapping[str, Meaning]:
    """The logical tile program behind each kernel of a module, as something numpy executes."""
    from ..tile.interpret import run, shapes
    from ..tile.table import TileTable

    table = TileTable(load_chip(PACKAGE, chip_name))
    _lowered(module, entries, table)
    programs = {name: kernel.logical for name, kernel in sorted(table.kernels.items())}
    return {
        name: Meaning(tuple((t.name, t.role) for t in p.tensors), p.sizes, partial(shapes, p), partial(run, p))
        for name, p in programs.items()
    }


def core_kind(parts: tuple[Any, ...]) -> str:
    """Which cores a kernel runs on."""
    return "MIX" if len(parts) > 1 else str(parts[0].core)


def keeps(chip_name: str, codes: str, columns: int) -> bool:
    """Whether the vector cores make numbers of such codes, and tiles meet their scales."""
    return codes in load_chip(PACKAGE, chip_name).facts["codes"]["value"] and columns % 32 == 0


def pack_weight(module: Module, stored: TensorType, form: str) -> Function:
    """The weights function that brings tensors like ``stored`` into ``form``."""
    from ..tile.packing import pack_function

    return pack_function(module, stored, form)


def unpack_weight(packed: Array, form: str, stored: TensorType) -> Array:
    """The weight from its packed form, in its own dtype."""
    from dsv4c.ir.types import DTYPES

    from ..tile.packing import Scales

    if form.startswith(Scales.PREFIX):
        return Scales.parse(form).unpack(packed, stored)
    return packed.astype(DTYPES[stored.dtype])


def open_runner(folder: Path, facts: Mapping[str, Any], threads: int | None) -> Runner:
    """Compile the kernels for the emulator, unless that is done, and load them."""
    return _runner(folder, facts, None)


def timed_runner(chip: str, folder: Path, facts: Mapping[str, Any]) -> TimedRunner:
    """The same with all cores of the chip."""
    return _runner(folder, facts, chip)


def _runner(folder: Path, facts: Mapping[str, Any], chip: str | None) -> EmulatorRunner:
    from .runner import GROUPS, PROFILES, EmulatorRunner

    known = isinstance(facts.get("workspace"), dict) and isinstance(facts.get("cores"), dict)
    if not known or str(facts.get("arch")) not in PROFILES or not (folder / KERNELS).is_dir():
        raise UserError("does not hold AscendC kernels", where=str(folder), fix="compile again")
    spec = load_chip(PACKAGE, chip).facts if chip else None
    groups, clock = (spec["cores"]["AIC"], spec["clock_mhz"]["value"]) if spec else (GROUPS, 0)
    return EmulatorRunner(folder / KERNELS, facts, groups, clock)


def make(chip: str, library_ops: Collection[str] = ()) -> Target:
    """The target of one chip; library operators stand in for kernels of these ops."""
    load_chip(PACKAGE, chip)  # a UserError where there is none
    return Target(
        name=f"ascend:{chip}",
        doc=f"AscendC for Ascend {chip}; runs here under the emulator",
        emit=lambda module, entries, folder, tuned: emit(chip, library_ops, module, entries, folder),
        pack=pack_weight,
        unpack=unpack_weight,
        open=open_runner,
        pipeline=PIPELINE,
        meanings=lambda module, entries: meanings(chip, module, entries),
        timed=lambda folder, facts: timed_runner(chip, folder, facts),
        keeps=lambda codes, columns: keeps(chip, codes, columns),
        library=lambda ops: make(chip, ops),
    )


TARGET = Family("ascend", "AscendC for Huawei Ascend, executed by an emulator", lambda: chip_names(PACKAGE), make)
