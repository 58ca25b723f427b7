"""A whole model on its test vectors, launch by launch with numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dsv4c.artefact import Artefact
from dsv4c.targets.target import Meaning

from .interpreted import InterpretedRunner, Launched
from .stepping import FEEDS, Fed, Stepper
from .stored import CaseWriter, TraceWriter

Array = np.ndarray[Any, Any]


def trace_model(
    artefact: Artefact,
    meanings: Mapping[str, Meaning],
    cases: CaseWriter,
    trace: TraceWriter,
    tokens: Array,
    new: Array,
) -> None:
    """Feed everything at once, then one token more; the other entries only for their kernels' cases."""
    batch, length = tokens.shape
    past, one = np.zeros(batch, np.int32), np.ones(batch, np.int32)

    def see(launch: Launched) -> None:
        cases.see(launch)
        trace.see(launch)

    def traced(model: Stepper, entry: str, fed: Fed) -> Array:
        dims = {**model.dims, "S": fed[0].shape[1]}
        trace.begin(entry, dims, dict(zip(FEEDS, fed, strict=True)))
        return model.step(InterpretedRunner(meanings, see), entry, fed)

    model, entries = Stepper(artefact, batch, length + 1), artefact.plan.entries
    logits = traced(model, "step_all", (tokens, past, new))
    best = np.argmax(logits[np.arange(batch), new - 1], axis=1).astype(np.int32)
    traced(model, "decode" if "decode" in entries else "step", (best[:, None], new, one))
    for entry in entries:
        if entry not in ("step_all", "decode"):
            fresh = Stepper(artefact, batch, length + 1)
            fresh.step(InterpretedRunner(meanings, cases.see), entry, (tokens, past, new))
