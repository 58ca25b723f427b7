"""From a plan and numbers for its dimensions to a flat list of launches with known addresses.

Memory is named, not owned, here: a ``Slice`` says which block of bytes a tensor lies in and where. Frames of called
functions are stacked behind their caller's, so the size of the arena is known before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from dsv4c.ir.dims import Extent, evaluate
from dsv4c.ir.types import BITS, DTYPES
from dsv4c.plan import CallSite, Launch, Plan, PlanFunction, Ref, RefTree, View

Array = np.ndarray[Any, Any]
ALIGN = 64


@dataclass(frozen=True)
class Slice:
    """A tensor in memory: ``space`` is ``arena``, with ``offset`` in bytes, or names blocks that the runner keeps."""

    space: str
    key: str
    offset: int
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Step:
    """One launch, ready to be bound to a kernel."""

    kernel: str
    tensors: tuple[Slice, ...]
    scalars: tuple[int, ...]
    loc: str


class RequireError(Exception):
    """An equality between dimensions that the compiler could not prove does not hold for these numbers."""


class BindError(ValueError):
    """A plan does not fit the memory or the kernels that it is bound to."""


def array_of(s: Slice, spaces: Mapping[str, Mapping[str, Array]]) -> Array:
    """The array that a slice outside of the arena lies in; BindError where there is none or the slice is larger."""
    if s.key not in spaces[s.space]:
        raise BindError(f"{s.space} has no {s.key}")
    array = spaces[s.space][s.key]
    check_room(s, array.nbytes)
    return array


def check_room(s: Slice, room: int) -> None:
    """BindError where a slice needs more than ``room`` bytes."""
    need = prod(s.shape) * DTYPES[s.dtype].itemsize
    if need > room:
        raise BindError(f"{s.space} {s.key}: {list(s.shape)} of {s.dtype} needs {need} bytes, the array has {room}")


@dataclass(frozen=True)
class _Place:
    space: str
    key: str
    offset: int = 0
    form: str = ""


_Tree = _Place | dict[str, "_Tree"]
_Scope = Mapping[str, _Tree]


def link(plan: Plan, entry: str, dims: Mapping[str, int], params: Mapping[str, str]) -> tuple[list[Step], int]:
    """The launches of one run of ``entry`` and the size of the arena in bytes.

    ``params`` maps each parameter of the entry to the space its tensors lie in; the key of a tensor is
    ``path`` or, for packed weights, ``path@form``. Results lie in space ``result`` under their number.
    """
    linker = _Linker(plan)
    scope: _Scope = {name: _Place(space, "") for name, space in params.items()}
    function = plan.functions[entry]
    results = {str(i): _Place("result", str(i)) for i in range(len(function.results))}
    return list(linker.function(function, dict(dims), scope, results, 0, "")), linker.arena


class _Linker:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.arena = 0

    def function(
        self,
        f: PlanFunction,
        dims: Mapping[str, int],
        scope: _Scope,
        results: Mapping[str, _Place],
        base: int,
        loc: str,
    ) -> Iterator[Step]:
        """The steps of one function whose frame begins at ``base``."""
        for left, right in f.requires:
            if evaluate(left, dims) != evaluate(right, dims):
                raise RequireError(f"{f.name}: {left} == {right} is required, but {dict(dims)} makes them differ")
        offsets, end = _frame(f, dims, base)
        self.arena = max(self.arena, end)

        def find(ref: Ref) -> _Tree:
            if ref.kind == "temp":
                buffer = f.buffers[ref.base]
                begin = evaluate(ref.offset, dims) * BITS[buffer.dtype] // 8
                return _Place("arena", "", offsets[buffer.slot] + begin)
            return results[ref.base] if ref.kind == "result" else _descend(scope[ref.base], ref)

        for step in f.steps:
            place = ".".join(p for p in (loc, step.loc) if p)
            if isinstance(step, Launch):
                tensors = tuple(_slice(find(v.ref), v, dims) for v in step.args)
                yield Step(step.kernel, tensors, tuple(evaluate(s, dims) for s in step.scalars), place)
            else:
                yield from self._call(step, dims, find, end, place)

    def _call(
        self, step: CallSite, dims: Mapping[str, int], find: Callable[[Ref], _Tree], end: int, loc: str
    ) -> Iterator[Step]:
        callee = self.plan.functions[step.callee]
        inner = {s: evaluate(step.dims[s], dims) if s in step.dims else dims[s] for s in callee.symbols}
        scope = {name: _map(tree, find) for name, tree in step.args.items()}
        results = {}
        for number, tree in enumerate(step.results):
            if isinstance(tree, Ref) and isinstance(callee.results[number], Ref):
                place = find(tree)
                if isinstance(place, _Place):
                    results[str(number)] = place
        yield from self.function(callee, inner, scope, results, end, loc)


def _frame(f: PlanFunction, dims: Mapping[str, int], base: int) -> tuple[list[int], int]:
    offsets = []
    for sizes in f.slots:
        offsets.append(base)
        base += _aligned(max(evaluate(size, dims) for size in sizes))
    return offsets, base


def _aligned(size: int) -> int:
    return -(-max(size, 1) // ALIGN) * ALIGN


def _descend(tree: _Tree, ref: Ref) -> _Tree:
    parts = ref.path.split(".") if ref.path else []
    while isinstance(tree, dict) and parts:
        tree = tree[parts.pop(0)]
    if isinstance(tree, dict):
        return tree
    key = ".".join(p for p in (tree.key, *parts) if p)
    return _Place(tree.space, key, tree.offset, ref.form or tree.form)


def _map(tree: RefTree, find: Callable[[Ref], _Tree]) -> _Tree:
    if isinstance(tree, dict):
        return {name: _map(part, find) for name, part in tree.items()}
    return find(tree)


def _slice(place: _Tree, view: View, dims: Mapping[str, int]) -> Slice:
    assert isinstance(place, _Place)
    key = f"{place.key}@{place.form}" if place.form else place.key
    return Slice(place.space, key, place.offset, _numbers(view.shape, dims), view.dtype)


def _numbers(shape: tuple[Extent, ...], dims: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(evaluate(extent, dims) for extent in shape)
