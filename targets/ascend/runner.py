"""Runs linked plans on emitted AscendC kernels, under the emulator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dsv4c.errors import UserError
from dsv4c.ir.types import DTYPES
from dsv4c.plan import Plan
from dsv4c.runtime.link import BindError, Slice, Step, array_of, link

from . import emulate
from .emulate import EmulationError, Emulator, Library, Resident, build, compiler, emulator_files, entries_of, headers

Array = np.ndarray[Any, Any]
Spaces = Mapping[str, Mapping[str, Array]]
GROUPS = 4  # emulated cube cores, with two vector cores each: enough for every core to have a neighbour
PROFILES = {"2201": "2201-manual", "3510": "3510"}


def cache() -> Path:
    """Where compiled kernels are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dsv4c" / "ascend"


def compiled(folder: Path, arch: int) -> Library:
    """The kernels of a folder for the emulator.

    Calls of the vendor's library, which stand in the host program beside the folder, come with them.
    """
    sources = sorted(p for p in folder.iterdir() if p.suffix in (".h", ".cpp"))
    host = folder.parent / "host" / "library.cpp"
    calls = [host, *sorted(host.parent.glob("*.h"))] if host.exists() else []
    library = kept(
        f"kernels-{arch}", (*sources, *calls), lambda part: build(folder, part, arch, cache(), *calls[:1]).path
    )
    return Library(library, tuple(name for p in sources for name in entries_of(p)), arch)


def kept(stem: str, sources: Iterable[Path], made: Callable[[Path], Path]) -> Path:
    """A library in the cache; ``made(folder)`` compiles it when a source, the compiler or the emulator has changed."""
    machine = [headers().parents[1] / p for p in emulator_files()]
    digest = sha256(compiler().encode())
    for path in (*sources, *machine, Path(emulate.__file__)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    library = cache() / f"{stem}-{digest.hexdigest()[:16]}.so"
    if not library.exists():
        cache().mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=cache()) as part:
            made(Path(part)).replace(library)  # whole, or not at all
    return library


class EmulatorRunner:
    """The kernels of one artefact, on emulated cores: so many cube cores, with two vector cores each."""

    def __init__(self, folder: Path, facts: Mapping[str, Any], groups: int = GROUPS, clock_mhz: int = 0) -> None:
        self.facts, self.groups, self.clock_mhz = facts, groups, clock_mhz
        arch = str(facts["arch"])
        self.emulator = Emulator(compiled(folder, int(arch)), PROFILES[arch], cores=(groups, 2 * groups))
        self._weights: dict[int, tuple[Array, Resident]] = {}

    def array(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Zero-filled memory of the host."""
        return np.zeros(shape, DTYPES[dtype])

    def bind(
        self, plan: Plan, entry: str, dims: Mapping[str, int], params: Mapping[str, str], spaces: Spaces
    ) -> EmulatedProgram:
        """Link an entry for these dimensions over these arrays (space -> key -> array)."""
        steps, size = link(plan, entry, dims, params)
        return EmulatedProgram(self, steps, size, spaces)

    def cycles(self) -> list[tuple[str, Mapping[str, int]]]:
        """Each launch so far: its kernel, ``cycles`` of its longest chain, and busy cycles of its busiest core."""
        return [
            (row["kernel"], {k: v for k, v in row.items() if k not in ("kernel", "blocks") and not k.endswith("_sum")})
            for row in self.emulator.cycles()
        ]

    def blocks(self, kernel: str) -> int:
        """How many a launch has: one a vector core, or one a group with a cube core."""
        kind = self.facts["cores"].get(kernel)
        if kind is None:
            raise BindError(f"there is no kernel {kernel}")
        return 2 * self.groups if kind == "AIV" else self.groups

    def weight(self, array: Array) -> Resident:
        """A weight in the device's memory, where it stays."""
        if id(array) not in self._weights:
            self._weights[id(array)] = array, self.emulator.resident(array)
        return self._weights[id(array)][1]


class EmulatedProgram:
    """A bound entry. Every run brings what it is fed with to the device, and what it wrote back."""

    def __init__(self, runner: EmulatorRunner, steps: Sequence[Step], arena: int, spaces: Spaces) -> None:
        self.runner, self.steps, self.spaces = runner, steps, spaces
        emulator = runner.emulator
        self._arena = emulator.resident(None, max(arena, 1))
        self._blocks: dict[tuple[str, str], tuple[Array, Resident]] = {}
        sizes = runner.facts["workspace"]
        self._workspace = emulator.resident(None, max([1, *(int(n) * runner.groups for n in sizes.values())]))
        self._calls = [self._call(step) for step in steps]

    def run(self) -> None:
        """Launch everything once, in order. Raises UserError with the emulator's finding where a kernel is wrong."""
        for (space, _), (array, block) in self._blocks.items():
            if space != "result":
                block.upload(array)
        for step, call in zip(self.steps, self._calls, strict=True):
            try:
                call()
            except EmulationError as error:
                raise UserError(str(error), where=f"{step.kernel} at {step.loc}") from None
        for array, block in self._blocks.values():
            block.download(array)

    def _call(self, step: Step) -> Callable[[], object]:
        """What executes a launch."""
        emulator, sizes = self.runner.emulator, np.array(step.scalars or (0,), np.int64)
        blocks, tensors = self.runner.blocks(step.kernel), [self._address(s) for s in step.tensors]
        if step.kernel in self.runner.facts.get("library", ()):
            return partial(emulator.call_library, step.kernel, tensors, sizes)
        return partial(emulator.launch, step.kernel, blocks, *tensors, self._workspace, emulator.resident(sizes))

    def _address(self, s: Slice) -> Resident:
        if s.space == "arena":
            return self._arena.part(s.offset, prod(s.shape) * DTYPES[s.dtype].itemsize)
        array = array_of(s, self.spaces)
        if s.space == "weights":
            return self.runner.weight(array)
        if (s.space, s.key) not in self._blocks:
            self._blocks[s.space, s.key] = array, self.runner.emulator.resident(None, array.nbytes)
        return self._blocks[s.space, s.key][1]
