"""How a split of some weights spreads through a function: which axis of each value a rank has a part of.

A value is whole, split along an axis, or a partial sum that has to be added over ranks. Weights are split by heads; the
rules below carry that forward op by op. A kernel op is followed through its decomposition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dsv4c.ir.core import Attr, Function, Op, Value
from dsv4c.ir.dims import Extent, product
from dsv4c.ir.kernel_ops.define import traced
from dsv4c.ir.registry import lookup


@dataclass(frozen=True)
class Split:
    """``axis`` holds equal parts on the ranks, ``before`` whole elements apart: a merged ``[S * H]`` has S before H."""

    axis: int
    before: Extent = 1


@dataclass(frozen=True)
class Partial:
    """To be summed over ranks."""


Part = Split | Partial | None  # None: the same on every rank


class SplitError(Exception):
    """An op stops the split; the message says why."""


@dataclass
class Spread:
    """Follows the ops of one function in order. ``parts`` starts with what is split, by id of the (unsplit) value."""

    function: Function
    ranks: int
    parts: dict[int, Part]
    producers: dict[int, Op] = field(init=False)

    def __post_init__(self) -> None:
        self.producers = {id(r): op for op in self.function.ops for r in op.results}

    def visit(self, op: Op) -> tuple[Mapping[str, Attr], tuple[int, ...]]:
        """Attributes of the op on a part, and the operands that have to be broadcast to the part's extent only."""
        parts = [self.parts.get(id(o)) for o in op.operands]
        if not any(parts):
            return op.attrs, ()
        if any(isinstance(p, Partial) for p in parts) and op.name != "reshape":
            raise SplitError(f"{op.name} of a sum that is not complete")
        rule = _RULES.get(op.name) or (_aligned if lookup(op.name).kind == "elementwise" else None)
        if rule is None and lookup(op.name).decompose:
            return self._through(op, parts), ()
        if rule is None:
            raise SplitError(f"{op.name} is not known to work on a part")
        part, attrs = rule(self, op, parts)
        self.parts.update((id(r), part) for r in op.results)
        local = () if not isinstance(part, Split) or op.name == "matmul" else self._loose(op, parts, part)
        return {**op.attrs, **attrs}, local

    def _through(self, op: Op, parts: list[Part]) -> Mapping[str, Attr]:
        inner = traced(op)
        follow = Spread(inner, self.ranks, {id(p): part for p, part in zip(inner.params, parts, strict=True)})
        for step in inner.ops:
            follow.visit(step)
        for outer, result in zip(op.results, inner.results, strict=True):
            self.parts[id(outer)] = follow.parts.get(id(result))
        return op.attrs

    def _loose(self, op: Op, parts: list[Part], out: Split) -> tuple[int, ...]:
        """Whole operands that meet a part: harmless with extent 1, to be cut when they only repeat something."""
        found, rank = [], op.results[0].tensor.rank
        for number, (operand, part) in enumerate(zip(op.operands, parts, strict=True)):
            axis = out.axis - rank + operand.tensor.rank
            if part is None and op.name != "gather" and axis >= 0 and operand.shape[axis] != 1:
                if not self._repeats(operand, axis):
                    raise SplitError(f"{op.name}: operand {number} is whole along axis {axis}")
                found.append(number)
        return tuple(found)

    def _repeats(self, value: Value, axis: int) -> bool:
        op = self.producers.get(id(value))
        if op is None:
            return False
        if op.name == "const":
            data: Any = op.attrs["data"]
            return len(data) == 1
        source = op.operands[0].tensor if op.name == "broadcast_to" else None
        at = axis - value.tensor.rank + source.rank if source else -1
        return source is not None and (at < 0 or source.shape[at] == 1)

    def part_of(self, extent: Extent) -> Extent:
        """One rank's part of an extent."""
        part = extent // self.ranks
        if part * self.ranks != extent:
            raise SplitError(f"{self.ranks} ranks do not divide {extent}")
        return part


Rule = Callable[[Spread, Op, list[Part]], tuple[Part, dict[str, Attr]]]


def _only(parts: list[Part]) -> Split:
    part = next(p for p in parts if p)
    assert isinstance(part, Split)
    return part


def _aligned(spread: Spread, op: Op, parts: list[Part]) -> tuple[Part, dict[str, Attr]]:
    rank = op.results[0].tensor.rank
    pairs = zip(op.operands, parts, strict=True)
    found = {Split(p.axis + rank - o.tensor.rank, p.before) for o, p in pairs if isinstance(p, Split)}
    if len(found) != 1:
        raise SplitError(f"{op.name}: operands are split along different axes")
    return found.pop(), {}


def _along(spread: Spread, op: Op, parts: list[Part]) -> tuple[Part, dict[str, Attr]]:
    """Ops along one axis, which must be whole."""
    part, axis = _only(parts), op.attrs.get("axis", op.operands[0].tensor.rank - 1)
    if any(p not in (None, part) for p in parts) or axis == part.axis:
        raise SplitError(f"{op.name} along axis {axis}, which is split")
    assert isinstance(axis, int)
    gone = op.results[0].tensor.rank < op.operands[0].tensor.rank and axis < part.axis
    return Split(part.axis - gone, part.before), {}


def _transpose(spread: Spread, op: Op, parts: list[Part]) -> tuple[Part, dict[str, Attr]]:
    perm: Any = op.attrs["perm"]
    part = _only(parts)
    return Split(perm.index(part.axis), part.before), {}


def _gather(spread: Spread, op: Op, parts: list[Part]) -> tuple[Part, dict[str, Attr]]:
    batch, part = op.attrs["batch"], parts[0]
    assert isinstance(batch, int)
    if parts[1] or not isinstance(part, Split) or part.axis <= batch:
        raise SplitError("gather by an index, or of rows, that are split")
    return Split(part.axis - batch - 1 + op.operands[1].tensor.rank, part.before), {}


def _matmul(spread: Spread, op: Op, parts: list[Part]) -> tuple[Part, dict[str, Attr]]:
    (a, b), rank = op.operands, op.results[0].tensor.rank
    left, right = parts
    inner, outer = (b.tensor.rank - 1, b.tensor.rank - 2)[:: 1 if op.attrs["trans_b"] else -1]
    if isinstance(left, Split) and isinstance(right, Split) and (left.axis, right.axis) == (a.tensor.rank - 1, inner):
        if left.before != right.before:
            raise SplitError("matmul over an axis that the operands split differently")
        return Partial(), {"out": "f32"}
    if left is None and isinstance(right, Split) and right.axis == outer:
        return Split(rank - 1, right.before), {}
    if right is None and isinstance(left, Split) and left.axis == a.tensor.rank - 2:
        return Split(rank - 2, left.before), {}
    part, _ = _aligned(spread, op, parts)
    assert isinstance(part, Split)
    for operand, own in zip((a, b), parts, strict=True):
        axis = part.axis - rank + operand.tensor.rank
        if part.axis >= rank - 2 or (own is None and axis >= 0 and operand.shape[axis] != 1):
            raise SplitError("matmul of a part and a whole")
    return part, {}


def _reshape(spread: Spread, op: Op, parts: list[Part]) -> tuple[Part, dict[str, Attr]]:
    part = parts[0]
    if not isinstance(part, Split):
        return part, {}
    old, shape = op.operands[0].shape, op.results[0].shape
    place = product(old[: part.axis]) * part.before  # elements before the axis that is split
    starts = [product(shape[:axis]) for axis in range(len(shape))]
    axis, before = next(((i, 1) for i, s in enumerate(starts) if s == place and shape[i] != 1), (-1, 1))
    if axis < 0:  # merged behind others: the axis that starts where those do
        for first in range(part.axis, -1, -1):
            merged = [product(old[first:last]) for last in range(part.axis + 1, len(old) + 1)]
            found = [i for i, s in enumerate(starts) if s == product(old[:first]) and shape[i] in merged]
            if found:
                axis, before = found[0], product(old[first : part.axis]) * part.before  # type: ignore[assignment]
                break
    if axis < 0:
        raise SplitError(f"reshape to {list(shape)} takes the split axis apart")
    local = tuple(spread.part_of(e) if i == axis else e for i, e in enumerate(shape))
    return Split(axis, before), {"shape": local}


def _broadcast(spread: Spread, op: Op, parts: list[Part]) -> tuple[Part, dict[str, Attr]]:
    part, shape = _only(parts), op.results[0].shape
    axis = part.axis + len(shape) - op.operands[0].tensor.rank
    return Split(axis, part.before), {
        "shape": tuple(spread.part_of(e) if i == axis else e for i, e in enumerate(shape))
    }


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("sum", "max", "argmax", "cumsum", "topk", "slice", "concat"), _along),
    "transpose": _transpose, "gather": _gather, "matmul": _matmul, "reshape": _reshape, "broadcast_to": _broadcast,
}  # fmt: skip
