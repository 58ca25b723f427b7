"""Bundle types of weights and state, built from the table of weight leaves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsv4c.ir.dims import Shape
from dsv4c.ir.types import Bundle, ListType, TensorType, Type

from .weights import Leaf, Leaves


class BundleNames:
    """Makes bundles, giving equal records one name: layers of one kind share their types."""

    def __init__(self) -> None:
        self._names: dict[tuple[tuple[str, Type], ...], str] = {}
        self._taken: set[str] = set()

    def make(self, name: str, fields: Mapping[str, Type]) -> Bundle:
        """A bundle of these fields; ``name`` gets a number when another record has it."""
        key = tuple(fields.items())
        if key not in self._names:
            unique, n = name, 2
            while unique in self._taken:
                unique, n = f"{name}{n}", n + 1
            self._names[key] = unique
            self._taken.add(unique)
        return Bundle(self._names[key], key)

    def from_leaves(self, name: str, leaves: Leaves, compute: str) -> Bundle:
        """The record of some leaves, dotted paths as nested records; ``compute`` is the dtype of the matrices."""
        nested: dict[str, Any] = {}
        for path, leaf in leaves.items():
            *parents, last = path.split(".")
            here = nested
            for parent in parents:
                here = here.setdefault(parent, {})
            here[last] = tensor_of(leaf, compute)
        return self._nest(name, nested)

    def _nest(self, name: str, nested: Mapping[str, Any]) -> Bundle:
        return self.make(
            name, {part: self._nest(f"{name}_{part}", t) if isinstance(t, dict) else t for part, t in nested.items()}
        )


def tensor_of(leaf: Leaf, compute: str) -> TensorType:
    """The type a weight is held in: its role decides the dtype."""
    return TensorType(leaf.shape, {"compute": compute, "f32": "f32", "i32": "i32"}[leaf.role])


def state_tensor(shape: Shape, dtype: str) -> TensorType:
    """A tensor that is updated in place."""
    return TensorType(shape, dtype, state=True)


__all__ = ["BundleNames", "ListType", "state_tensor", "tensor_of"]
