"""Runs mutants of physical tile programs under the AscendC emulator: one text, one library, chosen at run time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import numpy as np
from tiling import CHIP, Array, Arrays, Bench, Case, agree

from dsv4c.targets.ascend.emulate import Emulator, Finding, Unwritten, build
from dsv4c.targets.ascend.spell import HELPERS
from dsv4c.targets.ascend.spell_mutants import spell_mutants
from dsv4c.targets.tile import interpret
from dsv4c.targets.tile.mutation.mutant import Mutant
from dsv4c.targets.tile.mutation.operators import OPERATORS, SYNC
from dsv4c.targets.tile.search import Fitted, fitted

CORES, BLOCKS = (3, 3), 3
NEIGHBOURS = 1 / 64  # of narrow results; the kernels themselves have none


def made(name: str, case: Case) -> Fitted:
    """The kernel of a case, under its name."""
    kernel = fitted(lambda **sizes: case.build(**case.options, **sizes), CHIP, case.tiles)
    return replace(
        kernel, logical=replace(kernel.logical, name=name), physical=replace(kernel.physical, name=name)
    )


def expected(case: Case, kernel: Fitted) -> tuple[Arrays, Arrays]:
    """Inputs, and what the kernel writes: by its logical program, which rounds where the kernel does, and which must
    agree with the reference.
    """
    sizes = case.sizes[0]
    inputs = case.inputs(np.random.default_rng(1), sizes)
    want = case.want(inputs, sizes)
    arrays = {t.name: Bench._array(t, inputs, want) for t in kernel.logical.tensors}
    interpret.run(kernel.logical, arrays, sizes)
    got = {key: arrays[key].reshape(value.shape) for key, value in want.items()}
    for key, value in want.items():
        agree(got[key], value, case.units, case.absolute)
    return inputs, got


def close(got: Array, want: Array, units: float) -> None:
    """As ``agree``; and where results are narrow, one unit off is a rare accident of rounding, not a habit."""
    agree(got, want, units, 0.0)
    if want.dtype.kind not in "iub" and want.dtype != np.float32:
        off = got.astype("f") != want.astype("f")
        assert off.mean() < NEIGHBOURS, f"{off.mean():.1%} of the results are one unit off"


@dataclass(frozen=True)
class Outcome:
    """What one run of a mutant gave."""

    findings: Sequence[Finding]
    wrong: str  # where numbers differ; empty where they agree

    def caught(self, kind: str) -> bool:
        """Classes of synchronisation count by findings alone."""
        return bool(self.findings) or (kind not in SYNC and bool(self.wrong))


@dataclass
class Mutated:
    """Kernels with their chosen mutants, in one library."""

    cases: Mapping[str, Case]
    kernels: Mapping[str, Fitted]
    chosen: Mapping[str, Sequence[Mutant]]  # numbers from 1 on
    folder: Path
    machine: Path
    files: int = 2
    _data: dict[str, tuple[Arrays, Arrays]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        texts: list[list[str]] = [[] for _ in range(self.files)]
        for name, mutants in self.chosen.items():
            spelled = spell_mutants(self.kernels[name].physical, dict(enumerate(mutants, 1)))
            (self.folder / f"{name}_tiling.h").write_text(spelled.tiling)
            own = "".join(helper for helper in HELPERS.values() if helper in spelled.kernel)
            body = spelled.kernel.replace(f"namespace {{\n{own}}}\n", "")
            min(texts, key=lambda bodies: sum(map(len, bodies))).append(body)
        sources = []
        for number, bodies in enumerate(texts):
            if bodies:
                sources.append(self.folder / f"mutants{number}.cpp")
                helpers = "namespace {\n" + "".join(HELPERS.values()) + "}\n"
                sources[-1].write_text(f'#include "kernel_operator.h"\n{helpers}' + "\n".join(bodies))
        self.library = build(sources, self.folder, 2201, self.machine)

    def run(self, name: str, number: int) -> Outcome:
        """Mutant ``number`` of a kernel, 0 for the kernel itself, in issue order."""
        case, kernel, sizes = self.cases[name], self.kernels[name], self.cases[name].sizes[0]
        if name not in self._data:
            self._data[name] = expected(case, kernel)
        inputs, want = self._data[name]
        arrays = {t.name: Bench._array(t, inputs, want) for t in kernel.logical.tensors}
        findings = self._launch(name, kernel, arrays, np.array([*(sizes[s] for s in kernel.physical.sizes), number]))
        wrong = []
        for key, value in want.items():
            try:
                close(arrays[key].reshape(value.shape), value, case.units)
            except AssertionError as error:
                wrong.append(f"{key}: {error}")
        return Outcome(findings, "; ".join(wrong))

    def _launch(self, name: str, kernel: Fitted, arrays: Arrays, sizes: np.ndarray) -> list[Finding]:  # type: ignore[type-arg]
        with Emulator(self.library, "2201-manual", "clocks", 0, CORES) as emulator:
            tensors = kernel.logical.tensors
            args = [Unwritten(arrays[t.name]) if t.role == "out" else arrays[t.name] for t in tensors]
            room = emulator.resident(None, max(1, kernel.physical.workspace * BLOCKS))
            return emulator.launch(name, BLOCKS, *args, room, sizes.astype(np.int64).view(np.uint8), check=False)


def drawn(pools: Mapping[str, Sequence[Mutant]], count: int, seed: int) -> dict[str, list[Mutant]]:
    """So many mutants of each class, by name of kernel, drawn from all sites with equal chance."""
    chosen: dict[str, list[Mutant]] = {name: [] for name in pools}
    random = Random(seed)
    for kind in OPERATORS:
        sites = [(name, m) for name, mutants in pools.items() for m in mutants if m.kind == kind]
        for name, mutant in random.sample(sites, min(count, len(sites))):
            chosen[name].append(mutant)
    return chosen
