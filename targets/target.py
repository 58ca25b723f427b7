"""What a target is: one object that the driver finds by entry point, so that a vendor can ship one apart."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dsv4c.errors import UserError
from dsv4c.ir.core import Function, Module
from dsv4c.ir.types import TensorType
from dsv4c.passes.base import Pass
from dsv4c.plan import Plan

Array = np.ndarray[Any, Any]
GROUP = "dsv4c.targets"


class Program(Protocol):
    """An entry bound to dimensions and memory."""

    def run(self) -> None:
        """Run it once."""


class Runner(Protocol):
    """Executes the kernels of one artefact."""

    def array(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Zero-filled host memory that programs may be bound to."""

    def bind(
        self,
        plan: Plan,
        entry: str,
        dims: Mapping[str, int],
        params: Mapping[str, str],
        spaces: Mapping[str, Mapping[str, Array]],
    ) -> Program:
        """Link an entry for these dimensions over these arrays."""


class TimedRunner(Runner, Protocol):
    """A runner with as many cores as the machine has, which counts cycles."""

    clock_mhz: int

    def cycles(self) -> list[tuple[str, Mapping[str, int]]]:
        """Each launch so far: its kernel, ``cycles`` of its longest chain, and busy cycles by the name of a pipe."""


@dataclass(frozen=True)
class Emitted:
    """What a target made of a module: its plan, and facts for the manifest (compiler flags, CPU features, chip)."""

    plan: Plan
    facts: Mapping[str, Any]


@dataclass(frozen=True)
class Tuned:
    """A tuning file: what it holds, and its name for messages."""

    content: Mapping[str, Any]
    where: str


@dataclass(frozen=True)
class Meaning:
    """What a kernel computes: its tensors, each a name and a role (``in``, ``out``, ``inout``), its sizes by name, and
    ``run(arrays, sizes)``, which executes it with numpy and writes outputs in place. ``shapes(sizes)`` are dtype and
    shape of the tensors.
    """

    tensors: tuple[tuple[str, str], ...]
    sizes: tuple[str, ...]
    shapes: Callable[[Mapping[str, int]], list[tuple[str, tuple[int, ...]]]]
    run: Callable[[Mapping[str, Array], Mapping[str, int]], None]


@dataclass(frozen=True)
class Target:
    """A kind of machine.

    ``emit(module, entries, folder, tuned)`` writes kernels and build products below ``folder``; ``tuned`` may be None.
    ``tune(module, entries, progress)`` measures the content of a tuning file; None where there is nothing to choose.
    ``keeps(codes, columns)`` says whether its products read such codes with a scale a ``columns`` columns
    (``dequantize``). ``pack(module, stored, form)``
    gives the weights function for a layout that the plan asks for, ``unpack`` undoes it. ``open(folder, facts,
    threads)`` gives the runner, or a UserError when this machine cannot run it. ``pipeline`` are the passes that run
    before ``emit``, in their order. ``meanings(module, entries)`` gives what each kernel of ``emit`` computes; None
    where kernels have no meaning apart from their text. ``timed(folder, facts)`` gives a runner that counts cycles;
    None where nothing does. ``library(ops)`` gives the same target, with operators of the vendor's library in place of
    the kernels of these ops; None where no library is called.
    """

    name: str
    doc: str
    emit: Callable[[Module, tuple[str, ...], Path, Tuned | None], Emitted]
    pack: Callable[[Module, TensorType, str], Function]
    unpack: Callable[[Array, str, TensorType], Array]
    open: Callable[[Path, Mapping[str, Any], int | None], Runner]
    pipeline: tuple[Pass, ...] = ()
    keeps: Callable[[str, int], bool] = lambda codes, columns: False
    tune: Callable[[Module, tuple[str, ...], Callable[[str], None]], Mapping[str, Any]] | None = None
    meanings: Callable[[Module, tuple[str, ...]], Mapping[str, Meaning]] | None = None
    timed: Callable[[Path, Mapping[str, Any]], TimedRunner] | None = None
    library: Callable[[Collection[str]], Target] | None = None


@dataclass(frozen=True)
class Family:
    """Targets that differ by chip, named ``family:chip``; ``make`` gives one, or a UserError."""

    name: str
    doc: str
    chips: Callable[[], list[str]]
    make: Callable[[str], Target]


def target_names() -> list[str]:
    """Names of the installed targets, sorted."""
    names: list[str] = []
    for point in entry_points(group=GROUP):
        found: Target | Family = point.load()
        names += [f"{found.name}:{chip}" for chip in found.chips()] if isinstance(found, Family) else [point.name]
    return sorted(names)


def find_target(name: str) -> Target:
    """The target of that name; a UserError naming the installed ones if there is none."""
    family, _, chip = name.partition(":")
    for point in entry_points(group=GROUP, name=family):
        found: Target | Family = point.load()
        if isinstance(found, Target) and not chip:
            return found
        if isinstance(found, Family) and chip in found.chips():
            return found.make(chip)
    raise UserError(f"there is no target {name!r}", where="--target", fix=f"use one of {', '.join(target_names())}")
