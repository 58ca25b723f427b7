"""The one table of ops. No op without shape rule, numpy reference, cost and doc."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .core import Attr
from .dims import Dim, Extent, product
from .types import BITS, TensorType

Array = np.ndarray[Any, Any]
Require = Callable[[Extent, Extent], None]
Kwargs = Mapping[str, Any]


class ShapeError(Exception):
    """The operands or attributes do not fit the op; the message says what would."""


@dataclass(frozen=True)
class Cost:
    """Work of one op: ``flops`` per dtype in which it happens (2 per multiply-add), and ``bytes`` read and written.

    ``link`` is what one rank sends to other ranks, in bytes; only collectives have it.
    """

    flops: Mapping[str, Extent] = field(default_factory=dict)
    bytes: Extent = 0
    link: Extent = 0


Infer = Callable[..., tuple[TensorType, ...]]
Reference = Callable[..., Any]
CostRule = Callable[[Sequence[TensorType], Sequence[TensorType], Kwargs], Mapping[str, Extent]]
Exchange = Callable[..., Sequence[tuple[Array, ...]]]
LinkRule = Callable[[Sequence[TensorType], Sequence[TensorType], Kwargs], Extent]


@dataclass(frozen=True)
class OpDef:
    """What the project knows of one op.

    ``infer(*operand_types, require=..., **attrs)`` gives the result types. ``reference(*arrays, **attrs)`` gives the
    numpy result, attributes with every dimension already a number. ``work`` gives the flops. ``kind`` is
    ``elementwise`` for ops that the CPU target may compute inside another kernel's loop, ``view`` for ops that only
    renumber elements, ``other`` for the rest. ``attrs`` maps attribute names to their meaning. A kernel op has
    ``decompose``, the function of core ops that everything else here follows from (``kernel_ops/define.py``).
    A collective (tier ``collective``) has ``exchange``, a reference that takes the operands of every rank at once, and
    ``link``, the bytes that one rank sends (``kernel_ops/collective.py``, ``dispatch.py``).
    """

    name: str
    infer: Infer
    reference: Reference
    work: CostRule
    doc: str
    kind: str
    attrs: Mapping[str, str]
    tier: str = "core"
    decompose: Callable[..., Any] | None = None
    exchange: Exchange | None = None
    link: LinkRule | None = None

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType], attrs: Kwargs) -> Cost:
        """Flops by dtype, and bytes when every operand and result crosses memory once."""
        crossing = () if self.kind == "view" else (*operands, *results)
        total: Extent = 0
        for tensor in crossing:
            total = total + product(tensor.shape) * BITS[tensor.dtype]
        link = self.link(operands, results, attrs) if self.link else 0
        return Cost(self.work(operands, results, attrs), total // 8, link)


REGISTRY: dict[str, OpDef] = {}


def no_work(operands: Sequence[TensorType], results: Sequence[TensorType], attrs: Kwargs) -> Mapping[str, Extent]:
    """No arithmetic: data movement only."""
    return {}


def per_result(operands: Sequence[TensorType], results: Sequence[TensorType], attrs: Kwargs) -> Mapping[str, Extent]:
    """One operation per element of the first result."""
    return {results[0].dtype: product(results[0].shape)}


def per_operand(operands: Sequence[TensorType], results: Sequence[TensorType], attrs: Kwargs) -> Mapping[str, Extent]:
    """One operation per element of the first operand."""
    return {operands[0].dtype: product(operands[0].shape)}


def define(
    name: str,
    infer: Infer,
    reference: Reference,
    doc: str,
    *,
    work: CostRule = no_work,
    kind: str = "other",
    attrs: Mapping[str, str] | None = None,
) -> None:
    """Add a core op; each name once."""
    if name in REGISTRY:
        raise ValueError(f"op {name} is defined twice")
    REGISTRY[name] = OpDef(name, infer, reference, work, doc, kind, attrs or {})


def lookup(name: str) -> OpDef:
    """The definition of an op; ShapeError with the nearest names if there is none."""
    if name not in REGISTRY:
        from difflib import get_close_matches

        near = get_close_matches(name, REGISTRY, n=3)
        raise ShapeError(f"unknown op {name!r}" + (f"; did you mean {', '.join(near)}?" if near else ""))
    return REGISTRY[name]


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_extent(value: object) -> bool:
    return _whole(value) or isinstance(value, Dim)


_FITTING: Mapping[str, Callable[[Any], bool]] = {
    "int": _whole,
    "bool": lambda value: isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
    "Extent": _is_extent,
    "Shape": lambda value: isinstance(value, tuple) and all(map(_is_extent, value)),
    "tuple[int, ...]": lambda value: isinstance(value, tuple) and all(map(_whole, value)),
    "tuple[float, ...]": lambda value: isinstance(value, tuple) and all(isinstance(v, int | float) for v in value),
}


def fitting(definition: OpDef, name: str, value: Attr) -> bool:
    """Whether an attribute's value is of the kind that the op's shape rule is annotated with."""
    test = _FITTING.get(definition.infer.__annotations__.get(name, ""))
    return test is None or test(value)


def checked(condition: bool, message: str) -> None:
    """Raise a ShapeError unless ``condition`` holds."""
    if not condition:
        raise ShapeError(message)


def as_ints(attr: Attr) -> tuple[int, ...]:
    """A tuple attribute as integers."""
    assert isinstance(attr, tuple)
    return tuple(int(x) for x in attr)  # type: ignore[arg-type]
