"""Modules, functions, ops and values. A function is a straight list of ops in SSA form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .dims import Extent
from .types import Bundle, TensorType, Type, children, type_symbols

Attr = int | float | str | bool | Extent | tuple["Attr", ...]
Attrs = Mapping[str, Attr]
Scalar = int | float | bool


class EmitsOps(Protocol):
    """What a value needs to know of the builder that is at work: see ``builder.Builder``."""

    def emit(self, name: str, operands: tuple[Value, ...], attrs: Attrs) -> tuple[Value, ...]:
        """Append an op and give its results."""
        ...

    def scalar(self, number: Scalar, dtype: str) -> Value:
        """A rank-0 constant."""
        ...


ACTIVE: list[EmitsOps] = []  # the innermost open builder is the last one


class IRError(Exception):
    """The IR breaks one of its own rules. ``where`` is ``function:location``; ``op`` breaks it, if it is one op."""

    def __init__(self, where: str, what: str, op: Op | None = None) -> None:
        self.op = op
        super().__init__(f"{where}: {what}" if where else what)


def located(function: str, loc: str) -> str:
    """Where an op stands: ``function:loc``, or the function alone where the op has no location."""
    return f"{function}:{loc}" if loc else function


@dataclass(eq=False)
class Value:
    """One SSA value. Arithmetic operators append to the function that is being built (numpy's broadcasting)."""

    type: Type
    name: str = ""

    @property
    def tensor(self) -> TensorType:
        """The type as a tensor type; an IRError for bundles and lists."""
        if not isinstance(self.type, TensorType):
            raise IRError("", f"value {self.name or '?'} is a {self.type}, not a tensor")
        return self.type

    @property
    def shape(self) -> tuple[Extent, ...]:
        """The extents of a tensor value."""
        return self.tensor.shape

    @property
    def dtype(self) -> str:
        """The dtype of a tensor value."""
        return self.tensor.dtype

    def __getattr__(self, name: str) -> Value:
        # A bundle's fields read like attributes: w.attn.q_a
        own = self.__dict__.get("type")
        if not name.startswith("_") and name in dict(children(own) if own is not None else ()):
            return self[name]
        raise AttributeError(f"{own} has no part {name!r}")

    def __getitem__(self, part: str | int) -> Value:
        (out,) = ACTIVE[-1].emit("get", (self,), {"part": str(part)})
        return out

    def _binary(self, op: str, other: Value | Scalar, swap: bool = False) -> Value:
        right = other if isinstance(other, Value) else ACTIVE[-1].scalar(other, self.dtype)
        (out,) = ACTIVE[-1].emit(op, (right, self) if swap else (self, right), {})
        return out

    def __add__(self, other: Value | Scalar) -> Value:
        return self._binary("add", other)

    def __radd__(self, other: Scalar) -> Value:
        return self._binary("add", other, swap=True)

    def __sub__(self, other: Value | Scalar) -> Value:
        return self._binary("sub", other)

    def __rsub__(self, other: Scalar) -> Value:
        return self._binary("sub", other, swap=True)

    def __mul__(self, other: Value | Scalar) -> Value:
        return self._binary("mul", other)

    def __rmul__(self, other: Scalar) -> Value:
        return self._binary("mul", other, swap=True)

    def __truediv__(self, other: Value | Scalar) -> Value:
        return self._binary("div", other)

    def __rtruediv__(self, other: Scalar) -> Value:
        return self._binary("div", other, swap=True)

    def __floordiv__(self, other: Value | Scalar) -> Value:
        return self._binary("floordiv", other)

    def __mod__(self, other: Value | Scalar) -> Value:
        return self._binary("mod", other)

    def __lt__(self, other: Value | Scalar) -> Value:
        return self._binary("lt", other)

    def __le__(self, other: Value | Scalar) -> Value:
        return self._binary("le", other)

    def __gt__(self, other: Value | Scalar) -> Value:
        return self._binary("lt", other, swap=True)

    def __ge__(self, other: Value | Scalar) -> Value:
        return self._binary("le", other, swap=True)

    def __and__(self, other: Value | Scalar) -> Value:
        return self._binary("and", other)

    def __or__(self, other: Value | Scalar) -> Value:
        return self._binary("or", other)


@dataclass(eq=False)
class Op:
    """One operation. ``attrs`` are sorted by name; ``loc`` is a dotted place in the model, such as ``attn.indexer``."""

    name: str
    operands: tuple[Value, ...]
    attrs: Attrs
    results: tuple[Value, ...]
    loc: str = ""


@dataclass(eq=False)
class Function:
    """A block. ``requires`` are pairs of extents that must be equal when the symbols are bound.

    ``kind`` is ``block`` for model code and ``weights`` for arithmetic that runs once, when a checkpoint is packed.
    """

    name: str
    params: tuple[Value, ...]
    ops: tuple[Op, ...]
    results: tuple[Value, ...]
    requires: tuple[tuple[Extent, Extent], ...] = ()
    kind: str = "block"

    @property
    def symbols(self) -> tuple[str, ...]:
        """The dimension symbols of the parameters, sorted."""
        return tuple(sorted({s for p in self.params for s in type_symbols(p.type)}))

    def callees(self) -> Iterator[str]:
        """Names of the functions it calls, one per call, in order."""
        return (str(op.attrs["callee"]) for op in self.ops if op.name == "call")


@dataclass(eq=False)
class Module:
    """Functions by name (callees before callers), named bundle types, and the entry."""

    name: str
    functions: dict[str, Function] = field(default_factory=dict)
    entry: str = "step"

    def reachable(self, *names: str) -> set[str]:
        """The functions of these names, and all that they call, directly or not."""
        found, todo = set[str](), list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found.add(name)
                todo += self.functions[name].callees()
        return found

    def uncalled(self) -> list[str]:
        """Block functions that no other function calls."""
        called = {callee for function in self.functions.values() for callee in function.callees()}
        return [name for name, f in self.functions.items() if f.kind == "block" and name not in called]

    def bundles(self) -> dict[str, Bundle]:
        """Bundle types by name, parts before wholes; the first where a call's dims gave one name other extents."""
        found: dict[str, Bundle] = {}
        for function in self.functions.values():
            values = [*function.params, *(r for op in function.ops for r in op.results)]
            for value in values:
                _collect(value.type, found)
        return found


def _collect(type_: Type, found: dict[str, Bundle]) -> None:
    if isinstance(type_, Bundle) and found.get(type_.name) is type_:
        return
    for _, part in children(type_):
        _collect(part, found)
    if isinstance(type_, Bundle):
        found.setdefault(type_.name, type_)
