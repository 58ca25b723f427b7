"""``dsv4c cycles``: what one step of a model costs by the documented rates, kernel by kernel and pipe by pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsv4c.artefact import Artefact
from dsv4c.errors import UserError
from dsv4c.targets.target import find_target

from .stepping import Stepper


@dataclass(frozen=True)
class Row:
    """Launches of one kernel in a step. ``cycles`` sums up the longest chain of each, ``pipes`` the busy cycles of the
    busiest core.
    """

    kernel: str
    launches: int
    cycles: int
    pipes: Mapping[str, int]


@dataclass(frozen=True)
class Estimate:
    """The rows, the longest first; ``clock_mhz`` is the chip's."""

    rows: tuple[Row, ...]
    pipes: tuple[str, ...]
    clock_mhz: int


def estimate_cycles(folder: Path, length: int = 1, past: int = 0) -> Estimate:
    """One step of ``length`` tokens behind ``past`` earlier ones, on as many cores as the chip has.

    What the state and the tokens hold does not matter, only their sizes do; weights do where experts are chosen.
    Raises UserError when the artefact cannot be opened, has no weights, or is of a target that counts no cycles.
    """
    artefact = Artefact.open(folder)
    target, model = find_target(artefact.manifest["target"]["name"]), artefact.manifest["model"]
    if target.timed is None:
        raise UserError(f"cycles of {target.name} are not known", where=str(folder))
    if past + length > model["max_context"]:
        what = f"{past + length} tokens exceed the context of {model['max_context']}"
        raise UserError(what, where="--past", fix="use less")
    stepper = Stepper(artefact, 1, past + length)
    runner = target.timed(artefact.folder, artefact.manifest["target"]["facts"])
    tokens = np.random.default_rng(0).integers(0, model["vocab"], (1, length)).astype(np.int32)
    short = "decode" if length == 1 else "prefill"
    entry = short if short in artefact.plan.entries else "step"
    stepper.step(runner, entry, (tokens, np.full(1, past, np.int32), np.full(1, length, np.int32)))
    found: dict[str, list[Mapping[str, int]]] = {}
    for kernel, busy in runner.cycles():
        found.setdefault(kernel, []).append(busy)
    pipes = tuple(key for key in next(iter(found.values()))[0] if key != "cycles")
    rows = [
        Row(name, len(seen), sum(s["cycles"] for s in seen), {pipe: sum(s[pipe] for s in seen) for pipe in pipes})
        for name, seen in found.items()
    ]
    return Estimate(tuple(sorted(rows, key=lambda row: (-row.cycles, row.kernel))), pipes, runner.clock_mhz)
