"""Steps of a whole model on any runner: an artefact's weights with a state of its own."""

from __future__ import annotations

from typing import Any

import numpy as np

from dsv4c.artefact import Artefact
from dsv4c.ir.dims import evaluate, parse_extent
from dsv4c.ir.types import DTYPES
from dsv4c.targets.target import Runner

Array = np.ndarray[Any, Any]
FEEDS = ("tokens", "past", "new")
Fed = tuple[Array, Array, Array]  # what FEEDS name


class Stepper:
    """Room for ``batch`` sequences of at most ``capacity`` tokens."""

    def __init__(self, artefact: Artefact, batch: int, capacity: int) -> None:
        self._plan, self._vocab = artefact.plan, artefact.manifest["model"]["vocab"]
        self.dims = {"B": batch, "T": capacity}
        self._memory: dict[str, dict[str, Array]] = {
            "weights": artefact.weights(),
            "state": {
                path: np.zeros(tuple(evaluate(parse_extent(str(x)), self.dims) for x in shape), DTYPES[dtype])
                for path, (dtype, shape) in artefact.manifest["state"].items()
            },
        }

    def step(self, runner: Runner, entry: str, fed: Fed) -> Array:
        """Logits, after which the state holds these tokens."""
        batch, length = fed[0].shape
        out = np.zeros((batch, length if entry == "step_all" else 1, self._vocab), np.float32)
        spaces = {**self._memory, **{name: {"": array} for name, array in zip(FEEDS, fed, strict=True)}}
        spaces["result"] = {"0": out}
        names = {name: name for name in (*FEEDS, "weights", "state")}
        runner.bind(self._plan, entry, {**self.dims, "S": length}, names, spaces).run()
        return out
