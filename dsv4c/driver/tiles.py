"""A kernel's tile programs from a file that may have been edited: read, verified for a chip, spelled."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from dsv4c.errors import UserError
from dsv4c.targets.ascend.spell import Spelled, spell
from dsv4c.targets.ascend.target import PACKAGE
from dsv4c.targets.tile.chip import Chip, chip_names, load_chip
from dsv4c.targets.tile.davinci.legalize import legalize
from dsv4c.targets.tile.davinci.scope import IllegalError
from dsv4c.targets.tile.memory import CapacityError
from dsv4c.targets.tile.parse.file import Kernel, parse
from dsv4c.targets.tile.physical import Program
from dsv4c.targets.tile.sync import UnsynchronisableError
from dsv4c.targets.tile.text import logical_text, physical_text
from dsv4c.targets.tile.verify.buffers import used
from dsv4c.targets.tile.verify.error import TileError
from dsv4c.targets.tile.verify.logical import verify_logical
from dsv4c.targets.tile.verify.physical import ARCHITECTURES, verify_physical

from .reading import read_text


@dataclass(frozen=True)
class Checked:
    """A kernel that a chip can execute; ``memories`` are core, memory, bytes used and bytes there."""

    name: str
    chip: str
    memories: tuple[tuple[str, str, int, int], ...]
    workspace: int
    made: bool  # from what the kernel does, because the file has nothing else
    spelled: Spelled


def read_kernel(path: Path) -> Kernel:
    """The programs of a file; UserError with the place where it has none."""
    text = read_text(path, "give a .tile file, as artefacts for Ascend have beside each kernel")
    try:
        return parse(text, str(path))
    except RecursionError:
        raise UserError("nested too deeply", where=str(path)) from None


def text_of(kernel: Kernel) -> str:
    """The programs as a file has them."""
    physical = "" if kernel.physical is None else "\n" + physical_text(kernel.physical)
    return logical_text(kernel.logical) + physical


def check_kernel(path: Path, chip_name: str | None) -> Checked:
    """Verify both programs of a file, for the chip it names or another of its architecture.

    A file without a physical program is made physical, as the compiler would. UserError where a rule is broken.
    """
    kernel = read_kernel(path)
    chip = _chip(kernel, path, chip_name)
    try:
        verify_logical(kernel.logical)
        physical = _physical(kernel, path, chip)
        verify_physical(physical, chip)
    except TileError as error:
        raise _placed(error, kernel, path) from None
    homes = ARCHITECTURES[chip.arch].homes  # of what both cores reach, its own is asked
    memories = [
        (part.core, scope, size, chip.scopes[scope])
        for part in physical.parts for scope, size in sorted(used(part).items()) if homes[scope] == part.core
    ]  # fmt: skip
    made = kernel.physical is None
    return Checked(physical.name, chip.name, tuple(memories), physical.workspace, made, spell(physical))


def _chip(kernel: Kernel, path: Path, name: str | None) -> Chip:
    known = ", ".join(chip_names(PACKAGE))
    if name is None and kernel.physical is None:
        raise UserError("the file names no chip", where=str(path), fix=f"give --chip, one of {known}")
    line = kernel.lines.get(id(kernel.physical), 1)
    chosen, where = (name, "--chip") if name is not None else (kernel.physical.chip, f"{path}:{line}")  # type: ignore[union-attr]
    if chosen not in chip_names(PACKAGE):
        raise UserError(f"there is no chip {chosen!r}", where=where, fix=f"use one of {known}")
    return load_chip(PACKAGE, chosen)


def _physical(kernel: Kernel, path: Path, chip: Chip) -> Program:
    """The program of the file, as one of this chip where the architecture is the same."""
    if kernel.physical is None:
        try:
            return legalize(kernel.logical, chip)
        except (IllegalError, CapacityError, UnsynchronisableError) as error:
            raise UserError(f"{chip.name} cannot run it: {error}", where=str(path), fix="use smaller tiles") from None
    return replace(kernel.physical, chip=chip.name) if kernel.physical.arch == chip.arch else kernel.physical


def _placed(error: TileError, kernel: Kernel, path: Path) -> UserError:
    """With the line of the file; of the program as a whole, its first."""
    head = kernel.lines.get(id(kernel.physical), 1)
    line = kernel.lines.get(id(error.step), head)
    what = f"{error.statement}: {error.what}" if error.statement else error.what
    return UserError(what, where=f"{path}:{line}", fix=error.fix)
