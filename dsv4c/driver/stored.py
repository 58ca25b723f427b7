"""Launches as files: one kernel's case, and the trace of a model. The host program of an artefact reads both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from dsv4c.artefact import write_json
from dsv4c.ir.types import DTYPES

from .interpreted import Launched

CASES, TRACE = "kernels", "trace"
MOST = 2  # cases of a kernel: a prefill and a decode, where it has both
# An element may be off by so much of the largest of its row. f32: the project's bar, for sums in another order and exp
# of another library. Narrow floats: one unit in the last place of that largest, for such a sum that rounds once more.
TOLERANCE = {"f32": 1e-4, "bf16": 2.0**-7, "f16": 2.0**-10}
NAMES = {dtype: name for name, dtype in DTYPES.items()}
Array = np.ndarray[Any, Any]


class CaseWriter:
    """Stores the first launches of every kernel that differ in their sizes, unless they are too large."""

    def __init__(self, folder: Path, largest: int) -> None:
        self._folder, self.largest = folder, largest
        self._seen: dict[str, set[tuple[int, ...]]] = {}
        self.nbytes: dict[str, int] = {}  # of the cases of a kernel
        self.too_large: dict[str, int] = {}  # the smallest launch of a kernel that was left out

    def count(self, kernel: str) -> int:
        """Cases of a kernel so far."""
        return len(self._seen.get(kernel, ()))

    def see(self, launch: Launched) -> None:
        """Store a launch, if it is worth it."""
        kernel, sizes = launch.step.kernel, launch.step.scalars
        known = self._seen.get(kernel, set())
        if len(known) >= MOST or sizes in known:
            return
        nbytes = sum(a.nbytes for arrays in (launch.before, launch.after) for a in arrays.values())
        if nbytes > self.largest:
            self.too_large[kernel] = min(nbytes, self.too_large.get(kernel, nbytes))
            return
        _write_case(self._folder / kernel / str(len(known)), launch)
        self._seen[kernel] = {*known, sizes}
        self.nbytes[kernel] = self.nbytes.get(kernel, 0) + nbytes


def _described(launch: Launched) -> dict[str, Any]:
    """What a launch is, apart from its numbers."""
    tensors = [
        {"name": name, "role": role, "dtype": place.dtype, "shape": list(place.shape)}
        for (name, role), place in zip(launch.meaning.tensors, launch.step.tensors, strict=True)
    ]
    sizes = [[name, size] for name, size in zip(launch.meaning.sizes, launch.step.scalars, strict=True)]
    return {"kernel": launch.step.kernel, "where": launch.step.loc, "tensors": tensors, "sizes": sizes}


def _write_case(folder: Path, launch: Launched) -> None:
    folder.mkdir(parents=True)
    case = _described(launch)
    for tensor in case["tensors"]:
        name = tensor["name"]
        for key, arrays in (("before", launch.before), ("after", launch.after)):
            if name in arrays:
                tensor[key] = f"{name}.{key}.npy"
                np.save(folder / tensor[key], plain(arrays[name]))
    write_json(folder / "case.json", {**case, "tolerance": TOLERANCE})


def plain(array: Array) -> Array:
    """The array in a dtype that .npy files have: bf16 as its bits."""
    contiguous = np.ascontiguousarray(array)
    return contiguous.view(np.uint16) if NAMES[array.dtype] == "bf16" else contiguous


class TraceWriter:
    """Stores what every launch of some steps wrote: ``trace.bin``, and ``trace.json`` with the places in it.

    ``logits`` is how far a model's logits may be from the reference's, as ``dsv4c verify`` measures it.
    """

    def __init__(self, folder: Path, logits: float) -> None:
        self._folder, self._runs, self._logits = folder, list[dict[str, Any]](), logits
        self.launches = self.nbytes = 0

    def __enter__(self) -> TraceWriter:
        self._folder.mkdir(parents=True)
        self._file = (self._folder / "trace.bin").open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        data = {"runs": self._runs, "tolerance": TOLERANCE, "logits": self._logits}
        write_json(self._folder / "trace.json", data)

    def begin(self, entry: str, dims: Mapping[str, int], fed: Mapping[str, Array]) -> None:
        """A step of the model: the launches that follow belong to it."""
        inputs = {name: array.reshape(-1).tolist() for name, array in fed.items()}
        self._runs.append({"entry": entry, "dims": dict(dims), **inputs, "launches": []})

    def see(self, launch: Launched) -> None:
        """Add a launch."""
        described = _described(launch)
        for tensor in described["tensors"]:
            if tensor["role"] != "in":
                array = launch.after[tensor["name"]]
                tensor["offset"] = self.nbytes
                self._file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
                self.nbytes += array.nbytes
        self._runs[-1]["launches"].append(described)
        self.launches += 1
