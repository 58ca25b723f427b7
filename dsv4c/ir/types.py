"""Dtypes, tensor types and bundles (named records and lists of types)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np

from .dims import Extent, Shape, substitute, symbols

DTYPES: Mapping[str, np.dtype[Any]] = {
    "f32": np.dtype(np.float32),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "f16": np.dtype(np.float16),
    "f8e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "f8e8m0": np.dtype(ml_dtypes.float8_e8m0fnu),
    "f4e2m1": np.dtype(ml_dtypes.float4_e2m1fn),
    "i8": np.dtype(np.int8),
    "i32": np.dtype(np.int32),
    "i64": np.dtype(np.int64),
    "bool": np.dtype(np.bool_),
}
COMPUTE_FLOATS = ("f32", "bf16", "f16")  # dtypes with arithmetic; the 8 and 4 bit floats are storage, cast first
INTEGERS = ("i8", "i32", "i64")
BITS = {
    "f32": 32, "bf16": 16, "f16": 16, "f8e4m3": 8, "f8e8m0": 8, "f4e2m1": 4, "i8": 8, "i32": 32, "i64": 64, "bool": 8,
}


@dataclass(frozen=True)
class TensorType:
    """A dense row-major tensor. ``state`` marks a linear value: updated in place, so it may be consumed only once."""

    shape: Shape
    dtype: str
    state: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"unknown dtype {self.dtype!r}; use one of {', '.join(DTYPES)}")

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __str__(self) -> str:
        text = f"{self.dtype}[{', '.join(map(str, self.shape))}]"
        return f"state {text}" if self.state else text


@dataclass(frozen=True)
class Bundle:
    """A named record of types. Weights and state travel as bundles, so that signatures stay short."""

    name: str
    fields: tuple[tuple[str, Type], ...]

    def field(self, name: str) -> Type:
        """The type of one field; KeyError if there is none."""
        return dict(self.fields)[name]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class ListType:
    """A fixed list of types, indexed by layer; the items may differ."""

    items: tuple[Type, ...]

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.items))}]"


Type = TensorType | Bundle | ListType


def children(type_: Type) -> tuple[tuple[str, Type], ...]:
    """The parts of a bundle or list, keyed by field name or index; nothing for a tensor."""
    if isinstance(type_, Bundle):
        return type_.fields
    if isinstance(type_, ListType):
        return tuple((str(i), item) for i, item in enumerate(type_.items))
    return ()


def select(type_: Type, path: str) -> Type:
    """The type at a dotted path such as ``layers.3``; raises KeyError with the parts that exist."""
    for part in path.split(".") if path else ():
        parts = dict(children(type_))
        if part not in parts:
            raise KeyError(f"no part {part!r} in {type_}; it has {', '.join(parts) or 'no parts'}")
        type_ = parts[part]
    return type_


def leaves(type_: Type, prefix: str = "") -> Iterator[tuple[str, TensorType]]:
    """All tensors below a type with their dotted paths, in order."""
    if isinstance(type_, TensorType):
        yield prefix, type_
    for name, part in children(type_):
        yield from leaves(part, f"{prefix}.{name}" if prefix else name)


def map_tensors(type_: Type, change: Callable[[TensorType], TensorType]) -> Type:
    """The same tree with every tensor type replaced."""
    if isinstance(type_, TensorType):
        return change(type_)
    if isinstance(type_, Bundle):
        return replace(type_, fields=tuple((name, map_tensors(part, change)) for name, part in type_.fields))
    return ListType(tuple(map_tensors(item, change) for item in type_.items))


def substitute_type(type_: Type, binding: Mapping[str, Extent]) -> Type:
    """The same type with dimension symbols replaced."""
    return map_tensors(type_, lambda t: replace(t, shape=tuple(substitute(e, binding) for e in t.shape)))


def same_layout(left: Type, right: Type) -> bool:
    """Whether two types hold the same tensors under the same names; bundle names and linearity do not count."""
    return [(p, t.shape, t.dtype) for p, t in leaves(left)] == [(p, t.shape, t.dtype) for p, t in leaves(right)]


def is_linear(type_: Type) -> bool:
    """Whether the value must be consumed at most once."""
    return any(tensor.state for _, tensor in leaves(type_))


def type_symbols(type_: Type) -> tuple[str, ...]:
    """All dimension symbols in a type, sorted."""
    return tuple(sorted({s for _, tensor in leaves(type_) for e in tensor.shape for s in symbols(e)}))
