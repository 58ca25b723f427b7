"""A pipeline over a model, proven where the model can be executed, else on its small twin; and the table of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from dsv4c.ir.core import Module
from dsv4c.passes.base import Pass

from .options import settings_of
from .origin import Origin, twin_of
from .passes import Stage, run_passes
from .proof import Compared, Prover


@dataclass(frozen=True)
class Ran:
    """One pass: ``stage`` over the model, ``proof`` over what was executed, the same or that of the twin; or None."""

    stage: Stage
    proof: Stage | None

    @property
    def worst(self) -> Compared | None:
        """The outcome with the largest error of what was executed; None when nothing was."""
        rows = [row for row in (self.proof.compared if self.proof else ()) if row.status in ("equal", "close")]
        return max(rows, key=lambda row: row.ulps, default=None)

    @property
    def notes(self) -> list[str]:
        """What the pass said, and what the proof does not cover."""
        out = list(self.stage.log.notes)
        if self.proof is not None:
            rules = [rule for rule in self.stage.log.applied if rule not in self.proof.log.applied]
            out += [f"not proven: {rule} does not apply to the small twin" for rule in rules]
            skipped = [row for row in self.proof.compared if row.status == "skipped"]
            out += [f"not executed: {row.after}: {row.detail}" for row in skipped]
        return out

    def to_json(self) -> dict[str, Any]:
        """The pass as plain data."""
        stage, worst = self.stage, self.worst
        return {
            "name": stage.step.name,
            "options": settings_of(stage.step),
            "ops": list(stage.ops),
            "rewrites": dict(stage.log.applied),
            "refusals": [asdict(refusal) for refusal in stage.log.refusals],
            "notes": self.notes,
            "error": {"absolute": worst.largest, "ulps": worst.ulps} if worst else None,
            "functions": [_row(row) for row in (self.proof.compared if self.proof else ())],
            "seconds": round(stage.seconds, 4),
            "proof_seconds": round(self.proof.proof, 4) if self.proof else None,
        }


def _row(row: Compared) -> dict[str, Any]:
    data = asdict(row)
    return {key: None if isinstance(value, float) and not isfinite(value) else value for key, value in data.items()}


@dataclass(frozen=True)
class Outcome:
    """The module after all passes, what each did, and whether the twin was executed in its place."""

    module: Module
    ran: tuple[Ran, ...]
    twin: bool


def run_pipeline(origin: Origin, steps: Sequence[Pass], prove: bool = True, again: str = "") -> Outcome:
    """Run passes over a model and prove them; PassError at the first that fails (see ``run_passes`` for ``again``)."""
    twin = twin_of(origin, steps) if prove else None
    stages = run_passes(origin.module, steps, Prover() if prove and twin is None else None, again)
    proofs = run_passes(twin, steps, Prover(), again) if twin else stages
    module = stages[-1].after if stages else origin.module
    ran = tuple(Ran(stage, proof if prove else None) for stage, proof in zip(stages, proofs, strict=True))
    return Outcome(module, ran, twin is not None)


COLUMNS = ("pass", "ops", "rewrites", "largest error", "ulp", "proof", "seconds")


def table(outcome: Outcome) -> list[tuple[str, ...]]:
    """A line for each pass, in the order of ``COLUMNS``."""
    return [_line(ran) for ran in outcome.ran]


def _line(ran: Ran) -> tuple[str, ...]:
    stage, worst = ran.stage, ran.worst
    rewrites = ", ".join(f"{rule} {count}" for rule, count in sorted(stage.log.applied.items()))
    error = f"{worst.largest:.1e}" if worst else "-"
    ulps = f"{worst.ulps:.0f}" if worst else "-"
    seconds = stage.seconds + (ran.proof.proof if ran.proof else 0.0)
    before, after = stage.ops
    return stage.step.name, f"{before:,} -> {after:,}", rewrites or "-", error, ulps, _proof(ran), f"{seconds:.2f}"


def _proof(ran: Ran) -> str:
    if ran.proof is None:
        return "not executed"
    counts = {s: sum(row.status == s for row in ran.proof.compared) for s in ("equal", "close", "unchanged", "skipped")}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count) or "nothing to compare"
