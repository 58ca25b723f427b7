"""A function as a graph: who makes a value, who uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dsv4c.ir.core import Function, Op, Value
from dsv4c.ir.kernel_ops.define import traced
from dsv4c.ir.registry import REGISTRY
from dsv4c.ir.types import COMPUTE_FLOATS, TensorType


class Graph:
    """Producers and users of every value of one function."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.returned = {id(r) for r in function.results}
        self.by_name: dict[str, list[Op]] = {}
        values = [*function.params, *(r for op in function.ops for r in op.results)]
        self.dtypes = frozenset(v.dtype for v in values if isinstance(v.type, TensorType))
        self._producers: dict[int, tuple[Op, int]] = {}
        self._users: dict[int, list[Op]] = {}
        for op in function.ops:
            self.by_name.setdefault(op.name, []).append(op)
            self._producers.update({id(r): (op, number) for number, r in enumerate(op.results)})
            for operand in {id(o): o for o in op.operands}.values():
                self._users.setdefault(id(operand), []).append(op)

    def producer(self, value: Value) -> tuple[Op, int] | None:
        """The op that makes a value and which of its results it is; None for a parameter."""
        return self._producers.get(id(value))

    def users(self, value: Value) -> list[Op]:
        """The ops that use a value, each once, in order."""
        return self._users.get(id(value), [])

    def outside(self, op: Op, inside: set[int]) -> Iterator[tuple[Value, str]]:
        """Results of ``op`` that something else than the ops ``inside`` (by id) needs, and what that is."""
        for result in op.results:
            if id(result) in self.returned:
                yield result, "the function returns it"
            for user in self.users(result):
                if id(user) not in inside:
                    yield result, f"{place(user)} uses it too"


def place(op: Op) -> str:
    """An op for people: its name, or the number that it is, and where it stands."""
    name = op.name
    if name == "const":
        data: Any = op.attrs["data"]
        name = f"the constant {data[0] if len(data) == 1 else data}"
    return f"{name} at {op.loc}" if op.loc else name


def cheap(op: Op) -> bool:
    """Whether computing an op twice costs next to nothing: arithmetic on positions and masks, views, constants."""
    kind = REGISTRY[op.name].kind
    if op.name in ("get", "rope_angles") or kind == "view" or not op.operands:
        return True
    plain = all(isinstance(r.type, TensorType) and r.dtype not in COMPUTE_FLOATS for r in op.results)
    return kind == "elementwise" and plain


def light(op: Op) -> bool:
    """Whether an op may be computed twice for two kernels that need it: no product, no choice, no update of state."""
    definition = REGISTRY[op.name]
    if definition.decompose is not None:
        return all(map(light, traced(op).ops))
    if op.name in ("sum", "max", "argmax", "cumsum"):
        return True
    masks = op.name == "scatter" and not op.results[0].tensor.state
    return masks or op.name == "get" or definition.kind in ("elementwise", "view")
