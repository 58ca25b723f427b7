"""Which values get memory, and which are computed inside the loops that use them.

A kernel's loops may evaluate elementwise ops, views and gathers on the fly. A value is *kept* (gets a buffer) when
something needs it in memory, when recomputing it would cost more than reading it, or when state that it reads is about
to be updated in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dsv4c.ir.core import Function, Op, Value
from dsv4c.ir.expand import is_kernel_op
from dsv4c.ir.kernel_ops.define import aliases
from dsv4c.ir.registry import REGISTRY
from dsv4c.ir.types import TensorType, is_linear

from ..lowering import STRUCTURAL
from ..weights import is_weight
from .columns import cuts

HEAVY = frozenset({"exp", "log", "log1p", "sin", "cos", "sqrt", "rsqrt", "div"})
EACH_ONCE = frozenset({"reshape", "transpose", "slice", "concat", "sum", "max"})  # read no element twice
PACKED: Mapping[str, tuple[int, ...]] = {  # operands that are weights, read in panels made ahead of time
    "matmul": (1,), "ragged_matmul": (1,), "grouped_linear": (1,), "experts": (4, 5, 6), "mlp": (1, 2, 3),
    "hyper_pre": (1,), "hyper_head": (1,),
}  # fmt: skip
CHEAP_NODES = 8  # a value of at most this many operations is recomputed by each of its users
MOST_NODES = 48  # a longer chain is cut, to keep kernels readable and quick to compile


class Fusion:
    """The decisions for one function: ``kept(value)``, and ``producer(value)`` for the others."""

    def __init__(self, function: Function) -> None:
        self.producers: dict[int, Op] = {id(r): op for op in function.ops for r in op.results}
        self.users = _users(function)
        self._kept = {id(r) for r in function.results}
        self._added: list[Op] = []
        self._size: dict[int, int] = {}
        self._heavy: dict[int, bool] = {}
        self._named: dict[int, bool] = {}
        self.cuts = cuts(self, function)
        self._kept.update(id(part) for parts in self.cuts.values() for part in parts)
        updated = _updated(function)
        for op in function.ops:
            if op.name not in STRUCTURAL:
                self._decide(op, updated)

    def kept(self, value: Value) -> bool:
        """Whether the value has memory of its own (parameters and parts of bundles do)."""
        op = self.producers.get(id(value))
        return op is None or op.name in STRUCTURAL or id(value) in self._kept

    def producer(self, value: Value) -> Op:
        """The op that defines a value which is not kept."""
        return self.producers[id(value)]

    def add_kept(self, op: Op) -> None:
        """Register an op that lowering itself adds; its result is kept."""
        self._added.append(op)  # keeps its values alive: decisions are filed under their id
        self.producers[id(op.results[0])] = op
        self._kept.add(id(op.results[0]))

    def _decide(self, op: Op, updated: set[int]) -> None:
        inlinable = REGISTRY[op.name].kind in ("elementwise", "view") and not _joins_last_axis(op)
        reads_updated = any(is_linear(o.type) and id(o) in updated for o in op.operands)
        if not inlinable or reads_updated:
            self._kept.update(id(r) for r in op.results)
        for operand in op.operands:
            if not self.kept(operand) and self._too_costly(op, operand):
                self._kept.add(id(operand))
        if op.name == "gather" and self._named.get(id(op.operands[1]), False):
            # An index is written several times, and TIR allows a name to be bound only once.
            self._kept.add(id(op.operands[1]))
        (first, *_) = op.results
        inlined = [o for o in op.operands if not self.kept(o)]
        binds = op.name in HEAVY or (isinstance(first.type, TensorType) and first.dtype in ("bf16", "f16"))
        self._named[id(first)] = binds or any(self._named.get(id(o), False) for o in inlined)
        self._size[id(first)] = 1 + sum(self._size.get(id(o), 1) for o in inlined)
        self._heavy[id(first)] = op.name in HEAVY or any(self._heavy.get(id(o), False) for o in inlined)
        if self._must_keep(op):
            self._kept.add(id(first))

    def _too_costly(self, user: Op, operand: Value) -> bool:
        """A heavy operand that the user's loops would evaluate more than once."""
        if user.name in EACH_ONCE or not self._heavy.get(id(operand), False):
            return False
        result = user.results[0].type
        return not isinstance(result, TensorType) or result.shape != operand.shape

    def _needs_memory(self, user: Op, value: Value) -> bool:
        if user.name in ("call", "bundle"):
            return True
        # Weights of matrix products are packed ahead of time, whatever reshapes and casts stand before them.
        packed = PACKED.get(user.name, ())
        positions = range(len(user.operands)) if is_kernel_op(user) else _MEMORY_OPERANDS.get(user.name, ())
        ours = [i for i in positions if user.operands[i] is value]
        return any(i not in packed for i in ours) or (bool(ours) and not is_weight(self, value))

    def _must_keep(self, op: Op) -> bool:
        (first, *_) = op.results
        users = self.users.get(id(first), [])
        if any(self._needs_memory(user, first) for user in users):
            return not self._in_memory(op)
        size, heavy = self._size[id(first)], self._heavy[id(first)]
        if REGISTRY[op.name].kind == "view" or not op.operands:
            return size > MOST_NODES
        return size > MOST_NODES or (len(users) > 1 and (heavy or size > CHEAP_NODES))

    def _in_memory(self, op: Op) -> bool:
        """Whether the op is a reshape of kept memory: that memory under another shape."""
        if op.name != "reshape":
            return False
        (source,) = op.operands
        return self.kept(source) or self._in_memory(self.producer(source))


def _users(function: Function) -> dict[int, list[Op]]:
    out: dict[int, list[Op]] = {}
    for op in function.ops:
        for operand in op.operands:
            out.setdefault(id(operand), []).append(op)
    return out


def _updated(function: Function) -> set[int]:
    """Values that scatter, a callee or a kernel op may write to, also as a part of a bundle."""
    found: set[int] = set()
    for op in reversed(function.ops):
        if is_kernel_op(op):
            found.update(id(op.operands[position]) for position in aliases(op).values())
        elif op.name in ("scatter", "call") or (op.name in ("bundle", "get") and id(op.results[0]) in found):
            found.update(id(o) for o in op.operands if is_linear(o.type))
    return found


def _joins_last_axis(op: Op) -> bool:
    # Joining along the innermost axis inside a vector loop would be a branch per lane: such a concat is a kernel.
    return op.name == "concat" and op.attrs["axis"] == op.results[0].tensor.rank - 1


_MEMORY_OPERANDS: dict[str, Iterable[int]] = {
    "matmul": (0, 1),
    "ragged_matmul": (0, 1, 2),
    "topk": (0,),
    "argmax": (0,),
    "cumsum": (0,),
    "scatter": (1, 2),
    "bundle": (0,),
}
