"""Where an error comes from: every stage of a pipeline against the original, and kernels against the last stage.

Each pass alone may stay within its limit while their sum does not. Here every stage is compared with the *original*
module, on the operands of the original.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dsv4c.artefact import MODULE, PLAN, seal, write_json
from dsv4c.ir.core import Module
from dsv4c.ir.printer import to_text
from dsv4c.ir.types import leaves
from dsv4c.passes.base import Pass
from dsv4c.plan_json import plan_to_json
from dsv4c.targets.target import Target

from .passes import run_passes
from .proof import Compared, Prover
from .verify import Row, verify_artefact

CONTEXT = 64  # tokens: the state that kernels are executed with


@dataclass(frozen=True)
class Found:
    """One stage: the largest relative difference from the original so far, and the function that has it."""

    name: str
    function: str
    error: float
    detail: str
    skipped: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain data; no number where the difference is not finite."""
        return {**asdict(self), "error": self.error if isfinite(self.error) else None}


@dataclass(frozen=True)
class Bisection:
    """All stages, and the kernels' rows where a target was given. ``culprit`` is the first over the limit."""

    stages: tuple[Found, ...]
    kernels: tuple[Row, ...]
    tolerance: float

    @property
    def culprit(self) -> Found | None:
        """The first pass over the limit, else the first function whose kernels are; None if neither is."""
        for stage in self.stages:
            if stage.error > self.tolerance:
                return stage
        for row in self.kernels:
            if row.status != "skipped" and row.error > self.tolerance:
                return Found("lowering", row.name, row.error, row.detail)
        return None


def bisect(module: Module, steps: Sequence[Pass], tolerance: float, target: Target | None = None) -> Bisection:
    """Execute a module after each pass, and the last one by a target's kernels.

    Raises PassError for a pass that fails by itself, whatever the numbers.
    """
    prover, stages, errors = Prover(reference="first", tolerance=tolerance), [], dict[str, Compared]()
    last = module
    for stage in run_passes(module, steps):
        rows = prover.prove(stage.step, stage.before, stage.after)
        # A function that this pass left alone is as far from the original as it was.
        errors = {row.after: errors.get(row.before, row) if row.status == "unchanged" else row for row in rows}
        stages.append(_found(stage.step.name, list(errors.values()), tolerance))
        last = stage.after
    kernels = tuple(_kernels(last, target)) if target else ()
    return Bisection(tuple(stages), kernels, tolerance)


def _found(name: str, rows: Sequence[Compared], tolerance: float) -> Found:
    """The first function over the limit, callees first; else the worst one."""
    over = [row for row in rows if row.relative > tolerance]
    row = over[0] if over else max(rows, key=lambda row: row.relative)
    return Found(name, row.after, row.relative, row.detail, sum(row.status == "skipped" for row in rows))


def _kernels(module: Module, target: Target) -> list[Row]:
    """Every function of a module by the kernels of a target and by the interpreter."""
    names = tuple(module.uncalled())
    with TemporaryDirectory(prefix="dsv4c-") as scratch:
        folder = Path(scratch)
        emitted = target.emit(module, names, folder, None)
        (folder / MODULE).write_text(to_text(module))
        write_json(folder / PLAN, plan_to_json(emitted.plan))
        shapes = {p.name + "." + path: t for p in module.functions[names[-1]].params for path, t in leaves(p.type)}
        vocab = next((t.shape[0] for path, t in shapes.items() if path.endswith((".embed", ".table"))), 16)
        narrow = sorted({t.dtype for t in shapes.values()} & {"bf16", "f16"})
        model = {"name": module.name, "dtype": (narrow or ["f32"])[0], "vocab": vocab, "max_context": CONTEXT}
        about = {"name": target.name, "facts": emitted.facts}
        seal(folder, {"model": model, "target": about, "weights": {}, "state": {}, "passes": []})
        return verify_artefact(folder)
