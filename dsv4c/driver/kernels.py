"""One function of an artefact at a time, executed by its compiled kernels on operands of the interpreter's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dsv4c.ir.core import Module
from dsv4c.ir.interp import Data, flatten, shape_of, tree
from dsv4c.ir.types import TensorType, Type, leaves
from dsv4c.plan import Plan, RefTree
from dsv4c.targets.target import Runner

from .operands import Packer

Array = np.ndarray[Any, Any]
Flat = dict[str, Array]


class Kernels:
    """Calling it is ``interp.run`` by kernels: operands stay as they are, results and updated state are new arrays."""

    def __init__(self, module: Module, plan: Plan, runner: Runner, store: Packer) -> None:
        self._module, self._plan, self._runner, self._store = module, plan, runner, store

    def __call__(self, name: str, operands: Sequence[Data], dims: Mapping[str, int]) -> tuple[Data, ...]:
        """Results of one function for these operands and numbers for its dimensions."""
        function = self._module.functions[name]
        flats = {p.name: flatten(p.type, data) for p, data in zip(function.params, operands, strict=True)}
        spaces = {p.name: self._aligned(p.type, flats[p.name]) for p in function.params}
        for param, packed in self._store.packed(self._plan, function, flats).items():
            spaces[param] |= {key: self._copy(array, dtype) for key, (array, dtype) in packed.items()}
        plain = {
            str(i): r.type
            for i, r in enumerate(function.results)
            if isinstance(r.type, TensorType) and not r.type.state
        }
        spaces["result"] = {i: self._runner.array(shape_of(t, dims), t.dtype) for i, t in plain.items()}
        self._runner.bind(self._plan, name, dims, {p.name: p.name for p in function.params}, spaces).run()
        places = self._plan.functions[name].results
        return tuple(
            spaces["result"][str(i)] if str(i) in plain else _gather(spaces, places[i], result.type)
            for i, result in enumerate(function.results)
        )

    def _aligned(self, type_: Type, flat: Flat) -> Flat:
        return {path: self._copy(flat[path], tensor.dtype) for path, tensor in leaves(type_)}

    def _copy(self, array: Array, dtype: str) -> Array:
        out = self._runner.array(array.shape, dtype)
        out[...] = array
        return out


def _gather(spaces: Mapping[str, Flat], place: RefTree, type_: Type) -> Data:
    """A result whose leaves lie in parameters, because they were updated in place."""
    return tree(type_, {path: _find(spaces, place, path) for path, _ in leaves(type_)})


def _find(spaces: Mapping[str, Flat], place: RefTree, path: str) -> Array:
    parts = path.split(".") if path else []
    while isinstance(place, dict):
        place = place[parts.pop(0)]
    return spaces[place.base][".".join(p for p in (place.path, *parts) if p)]
