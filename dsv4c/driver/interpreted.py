"""Runs linked plans launch by launch with numpy, by what their kernels mean, and shows every launch to a watcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from dsv4c.ir.types import DTYPES
from dsv4c.plan import Plan
from dsv4c.runtime.link import BindError, Slice, Step, array_of, link
from dsv4c.targets.target import Meaning

Array = np.ndarray[Any, Any]
Spaces = Mapping[str, Mapping[str, Array]]


@dataclass(frozen=True)
class Launched:
    """One launch that was executed: what its inputs held before, and what its outputs hold after it, by name.

    What is read and written stands on both sides. What is only written held zeros before, and every array has the
    shape that the launch gives it.
    """

    step: Step
    meaning: Meaning
    before: Mapping[str, Array]
    after: Mapping[str, Array]


Watcher = Callable[[Launched], None]


@dataclass(frozen=True)
class InterpretedRunner:
    """A runner like those of targets, for kernels by name."""

    meanings: Mapping[str, Meaning]
    watch: Watcher

    def array(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Zero-filled memory."""
        return np.zeros(shape, DTYPES[dtype])

    def bind(
        self, plan: Plan, entry: str, dims: Mapping[str, int], params: Mapping[str, str], spaces: Spaces
    ) -> InterpretedProgram:
        """Link an entry for these dimensions over these arrays (space -> key -> array)."""
        steps, arena = link(plan, entry, dims, params)
        return InterpretedProgram(self, steps, np.zeros(max(arena, 1), np.uint8), spaces)


@dataclass(frozen=True)
class InterpretedProgram:
    """A bound entry."""

    runner: InterpretedRunner
    steps: Sequence[Step]
    arena: Array
    spaces: Spaces

    def run(self) -> None:
        """Execute every launch once, in order."""
        for step in self.steps:
            self._launch(step)

    def _launch(self, step: Step) -> None:
        meaning = self.runner.meanings.get(step.kernel)
        if meaning is None:
            raise BindError(f"there is no kernel {step.kernel}")
        arrays, before = {}, {}
        for (name, role), place in zip(meaning.tensors, step.tensors, strict=True):
            arrays[name] = self._array(place)
            if role == "out":
                arrays[name].reshape(-1).view(np.uint8)[...] = 0  # what a kernel leaves alone is the same everywhere
            else:
                before[name] = arrays[name] if place.space == "weights" else arrays[name].copy()
        meaning.run(arrays, dict(zip(meaning.sizes, step.scalars, strict=False)))
        after = {name: arrays[name] for name, role in meaning.tensors if role != "in"}
        self.runner.watch(Launched(step, meaning, before, after))

    def _array(self, place: Slice) -> Array:
        """The tensor as a view of the memory that it lies in."""
        dtype, count = DTYPES[place.dtype], prod(place.shape)
        if place.space == "arena":
            raw = self.arena[place.offset : place.offset + count * dtype.itemsize]
        else:
            raw = array_of(place, self.spaces).reshape(-1).view(np.uint8)[: count * dtype.itemsize]
        return raw.view(dtype).reshape(place.shape)
