"""A whole model on its test vectors, launch by launch with numpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dsv4c.artefact import Artefact
from dsv4c.ir.dims import evaluate, parse_extent
from dsv4c.ir.types import DTYPES
from dsv4c.targets.target import Meaning

from .interpreted import InterpretedRunner, Launched
from .stored import CaseWriter, TraceWriter

Array = np.ndarray[Any, Any]
FEEDS = ("tokens", "past", "new")


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
    model = _Model(artefact, meanings, cases, trace, batch, length + 1)
    logits = model.step("step_all", (tokens, past, new), traced=True)
    best = np.argmax(logits[np.arange(batch), new - 1], axis=1).astype(np.int32)
    entries = artefact.plan.entries
    model.step("decode" if "decode" in entries else "step", (best[:, None], new, one), traced=True)
    for entry in entries:
        if entry not in ("step_all", "decode"):
            _Model(artefact, meanings, cases, trace, batch, length + 1).step(entry, (tokens, past, new), traced=False)


class _Model:
    """An artefact's weights with a state of its own."""

    def __init__(
        self,
        artefact: Artefact,
        meanings: Mapping[str, Meaning],
        cases: CaseWriter,
        trace: TraceWriter,
        batch: int,
        capacity: int,
    ) -> None:
        self.artefact, self.meanings, self.cases, self.trace = artefact, meanings, cases, trace
        self.dims = {"B": batch, "T": capacity}
        self.memory: dict[str, dict[str, Array]] = {
            "weights": artefact.weights(),
            "state": {
                path: np.zeros(tuple(evaluate(parse_extent(str(x)), self.dims) for x in shape), DTYPES[dtype])
                for path, (dtype, shape) in artefact.manifest["state"].items()
            },
        }

    def step(self, entry: str, fed: tuple[Array, Array, Array], traced: bool) -> Array:
        """Logits of one step, after which the state holds its tokens."""
        batch, length = fed[0].shape
        dims, feeds = {**self.dims, "S": length}, dict(zip(FEEDS, fed, strict=True))
        shape = (batch, length if entry == "step_all" else 1, self.artefact.manifest["model"]["vocab"])
        spaces = {**self.memory, **{name: {"": array} for name, array in feeds.items()}}
        spaces["result"] = {"0": np.zeros(shape, np.float32)}
        if traced:
            self.trace.begin(entry, dims, feeds)

        def watch(launch: Launched) -> None:
            self.cases.see(launch)
            if traced:
                self.trace.see(launch)

        runner = InterpretedRunner(self.meanings, watch)
        names = {name: name for name in (*FEEDS, "weights", "state")}
        runner.bind(self.artefact.plan, entry, dims, names, spaces).run()
        return spaces["result"]["0"]
