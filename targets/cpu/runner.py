"""Runs linked plans on this machine: kernels from one shared object, tensors as views of aligned memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import tvm

from dsv4c.ir.types import DTYPES
from dsv4c.plan import Plan
from dsv4c.runtime.link import ALIGN, BindError, Slice, Step, array_of, check_room, link

from ..tvm.scalar import DTYPE

Array = np.ndarray[Any, Any]
Spaces = Mapping[str, Mapping[str, Array]]


def aligned(shape: tuple[int, ...], dtype: str) -> Array:
    """A zero-filled array on a 64-byte boundary, as the kernels' vector loads expect."""
    kind = DTYPES[dtype]
    size = prod(shape) * kind.itemsize
    raw = np.zeros(size + 2 * ALIGN, np.uint8)
    start = -raw.ctypes.data % ALIGN
    return raw[start : start + max(size, ALIGN)][:size].view(kind).reshape(shape)


def usable_cpus() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Program:
    """A bound entry: its launches know every address, so that running is a loop of calls."""

    def __init__(
        self, steps: Sequence[Step], calls: Sequence[tuple[Any, tuple[Any, ...]]], keep: tuple[Any, ...]
    ) -> None:
        self.steps = steps  # what each launch is
        self._calls, self._keep = calls, keep  # tensors are views: what they view must stay alive

    def run(self) -> None:
        """Launch everything once, in order."""
        for function, arguments in self._calls:
            function(*arguments)

    def timed(self) -> list[float]:
        """Launch everything once, in order; the seconds that each launch took."""
        times = []
        for function, arguments in self._calls:
            start = perf_counter()
            function(*arguments)
            times.append(perf_counter() - start)
        return times

    def __len__(self) -> int:
        return len(self._calls)


class Runner:
    """The kernels of one artefact."""

    def __init__(self, library: Path) -> None:
        self._library = library
        self._module = tvm.runtime.load_module(str(library))
        self._functions: dict[str, Any] = {}

    def array(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Zero-filled memory on a 64-byte boundary."""
        return aligned(shape, dtype)

    def bind(
        self, plan: Plan, entry: str, dims: Mapping[str, int], params: Mapping[str, str], spaces: Spaces
    ) -> Program:
        """Link an entry for these dimensions over these arrays (space -> key -> aligned array)."""
        steps, size = link(plan, entry, dims, params)
        arena = aligned((max(size, ALIGN),), "i8")
        tensor = _tensors(arena, spaces)
        calls = [(self._function(step.kernel), (*(tensor(s) for s in step.tensors), *step.scalars)) for step in steps]
        return Program(steps, calls, (arena, spaces))

    def _function(self, name: str) -> Any:
        if name not in self._functions:
            try:
                self._functions[name] = self._module[name]
            except AttributeError:
                raise BindError(f"{self._library.name} has no kernel {name}") from None
        return self._functions[name]


def _tensors(arena: Array, spaces: Spaces) -> Callable[[Slice], Any]:
    """Slices to tensors; equal slices share one tensor."""
    blocks: dict[tuple[str, str], Any] = {}
    made: dict[Slice, Any] = {}

    def tensor(s: Slice) -> Any:
        if s not in made:
            made[s] = _block(arena, spaces, blocks, s)._create_view(s.shape, DTYPE[s.dtype])
        return made[s]

    return tensor


def _block(arena: Array, spaces: Spaces, blocks: dict[tuple[str, str], Any], s: Slice) -> Any:
    """The memory that a slice lies in, as bytes; BindError when there is none or the slice is larger."""
    if s.space == "arena":
        check_room(s, arena.nbytes - s.offset)
        return tvm.runtime.from_dlpack(arena[s.offset :])
    key = (s.space, s.key)
    array = array_of(s, spaces)  # TVM makes views without looking; a kernel would then read or write past the end
    if key not in blocks:
        blocks[key] = tvm.runtime.from_dlpack(_bytes(array))
    return blocks[key]


def _bytes(array: Array) -> Array:
    """An array as bytes, because DLPack in numpy does not know bfloat16; empty arrays borrow one cache line."""
    flat: Array = array.reshape(-1).view(np.int8) if array.nbytes else aligned((ALIGN,), "i8")
    return flat
