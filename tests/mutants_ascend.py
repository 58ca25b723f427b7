"""Runs mutants of physical tile programs under the AscendC emulator: one text, one library, chosen at run time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import numpy as np
from tiling import CHIP, Array, Arrays, Bench, Case, Sizes, agree

from dsv4c.targets.ascend.emulate import Emulator, Finding, Unwritten, build
from dsv4c.targets.ascend.spell import HELPERS
from dsv4c.targets.ascend.spell_mutants import spell_mutants
from dsv4c.targets.tile import interpret
from dsv4c.targets.tile.mutation.mutant import Mutant
from dsv4c.targets.tile.mutation.operators import OPERATORS, SYNC
from dsv4c.targets.tile.mutation.rules import equivalent
from dsv4c.targets.tile.search import Fitted, fitted

CORES, BLOCKS = (3, 3), 3
NEIGHBOURS = 1 / 64  # of narrow results; the kernels themselves have none


def made(name: str, case: Case) -> Fitted:
    """The kernel of a case, under its name."""
    kernel = fitted(lambda **sizes: case.build(**case.options, **sizes), CHIP, case.tiles)
    return replace(
        kernel, logical=replace(kernel.logical, name=name), physical=replace(kernel.physical, name=name)
    )


def expected(case: Case, kernel: Fitted, sizes: Sizes) -> tuple[Arrays, Arrays]:
    """Inputs, and what the kernel writes: by its logical program, which rounds where the kernel does, and which must
    agree with the reference.
    """
    inputs = case.inputs(np.random.default_rng(1), sizes)
    want = case.want(inputs, sizes)
    arrays = {t.name: Bench._array(t, inputs, want) for t in kernel.logical.tensors}
    interpret.run(kernel.logical, arrays, sizes)
    got = {key: arrays[key].reshape(value.shape) for key, value in want.items()}
    for key, value in want.items():
        agree(got[key], value, case.units, case.absolute)
    return inputs, got


def close(got: Array, want: Array, units: float, absolute: float) -> None:
    """As ``agree``; and where results are narrow, one unit off is a rare accident of rounding, not a habit."""
    agree(got, want, units, absolute)
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
    _data: dict[str, list[tuple[Arrays, Arrays]]] = field(default_factory=dict)

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
                used = [text for name, text in HELPERS.items() if any(name in body for body in bodies)]
                helpers = "namespace {\n" + "".join(used) + "}\n"
                sources[-1].write_text(f'#include "kernel_operator.h"\n{helpers}' + "\n".join(bodies))
        self.library = build(sources, self.folder, 2201, self.machine)

    def run(self, name: str, number: int, seconds: int = 20) -> Outcome:
        """Mutant ``number`` of a kernel, 0 for the kernel itself, in issue order; in a process of its own, since a
        mutant may never end.
        """
        if name not in self._data:
            case, kernel = self.cases[name], self.kernels[name]
            self._data[name] = [expected(case, kernel, sizes) for sizes in case.sizes]
        receive, send = multiprocessing.Pipe(False)
        child = multiprocessing.get_context("fork").Process(target=lambda: send.send(self._run(name, number)))
        child.start()
        outcome = receive.recv() if receive.poll(seconds) else Outcome((), f"does not end in {seconds} s")
        child.kill()
        child.join()
        return outcome

    def _run(self, name: str, number: int) -> Outcome:
        """All sizes, up to the first that shows something."""
        for sizes, (inputs, want) in zip(self.cases[name].sizes, self._data[name], strict=True):
            outcome = self._once(name, number, sizes, inputs, want)
            if outcome.findings or outcome.wrong:
                break
        return outcome

    def _once(self, name: str, number: int, sizes: Sizes, inputs: Arrays, want: Arrays) -> Outcome:
        case, kernel = self.cases[name], self.kernels[name]
        arrays = {t.name: Bench._array(t, inputs, want) for t in kernel.logical.tensors}
        findings = self._launch(name, kernel, arrays, [*(sizes[s] for s in kernel.physical.sizes), number])
        wrong = []
        for key, value in want.items():
            try:
                close(arrays[key].reshape(value.shape), value, case.units, case.absolute / 4)
            except AssertionError as error:
                wrong.append(f"{key}: {error}")
        return Outcome(findings, "; ".join(wrong))

    def _launch(self, name: str, kernel: Fitted, arrays: Arrays, sizes: list[int]) -> list[Finding]:
        with Emulator(self.library, "2201-manual", "clocks", 0, CORES) as emulator:
            tensors = kernel.logical.tensors
            args = [Unwritten(arrays[t.name]) if t.role == "out" else arrays[t.name] for t in tensors]
            room = emulator.resident(None, max(1, kernel.physical.workspace * BLOCKS))
            return emulator.launch(name, BLOCKS, *args, room, np.array(sizes, np.int64).view(np.uint8), check=False)


@dataclass
class Row:
    """One class: its sites, how many of those drawn each rule excluded, and what became of the others."""

    kind: str
    sites: int = 0
    excluded: dict[str, int] = field(default_factory=dict)
    caught: int = 0
    missed: list[str] = field(default_factory=list)

    @property
    def mutants(self) -> int:
        """Not excluded."""
        return self.caught + len(self.missed)


Draw = list[tuple[str, Mutant]]


def drawn(kernels: Mapping[str, Fitted], count: int, seed: int) -> tuple[Draw, dict[str, Row]]:
    """So many mutants of each class that no rule excludes, drawn from all sites with equal chance."""
    random, chosen, rows = Random(seed), [], {kind: Row(kind) for kind in OPERATORS}
    for kind, operator in OPERATORS.items():
        sites = [(name, mutant) for name, kernel in kernels.items() for mutant in operator(kernel.physical)]
        rows[kind].sites, left = len(sites), count
        for name, mutant in random.sample(sites, len(sites)):
            if not left:
                break
            rule = equivalent(kernels[name].physical, mutant)
            if rule:
                rows[kind].excluded[rule] = rows[kind].excluded.get(rule, 0) + 1
            else:
                chosen.append((name, mutant))
                left -= 1
    return chosen, rows


def scored(
    cases: Mapping[str, Case], count: int, seed: int, folder: Path, machine: Path
) -> tuple[list[Row], Mutated]:
    """Draw, compile, run: a row for each class."""
    kernels = {name: made(name, case) for name, case in cases.items()}
    chosen, rows = drawn(kernels, count, seed)
    lists: dict[str, list[Mutant]] = {}
    for name, mutant in chosen:
        lists.setdefault(name, []).append(mutant)
    bench = Mutated(cases, kernels, lists, folder, machine)
    for name, mutants in lists.items():
        for number in range(len(mutants) + 1):
            outcome = bench.run(name, number)
            if number == 0:
                assert not outcome.findings and not outcome.wrong, f"{name} itself: {outcome}"
                continue
            mutant = mutants[number - 1]
            if outcome.caught(mutant.kind):
                rows[mutant.kind].caught += 1
            else:
                rows[mutant.kind].missed.append(f"{name}: {mutant.what}")
    return list(rows.values()), bench
