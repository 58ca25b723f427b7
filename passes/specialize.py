"""``specialize``: the one entry ``step`` becomes ``prefill``, for any number of new tokens, and ``decode``, for one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from dsv4c.ir.core import Attr, Attrs, Function, Module, Op, Value
from dsv4c.ir.dims import Dim, Extent, substitute
from dsv4c.ir.types import substitute_type

from .base import Log, Pair, Pass
from .canonicalize import canonical

ENTRY = "step"
DECODE = "_decode"  # the suffix of functions for one new token a sequence


@dataclass(frozen=True)
class Specialize(Pass):
    """Copies of every function that ``step`` reaches, with S = 1; ``step`` itself is called ``prefill`` then."""

    name: ClassVar[str] = "specialize"
    doc: ClassVar[str] = "step(S) -> prefill(S), decode(S = 1)"
    reads: ClassVar[str] = "kernel"
    writes: ClassVar[str] = "kernel"

    def run(self, module: Module, log: Log) -> Module:
        """``prefill``, ``decode`` and what they call; other entries stay."""
        names = module.reachable(ENTRY)
        short = {name: _short(name) for name in names if "S" in module.functions[name].symbols}
        out = Module(module.name, {}, "prefill")
        for name, function in module.functions.items():
            kept = replace(function, name="prefill") if name == ENTRY else function
            out.functions[kept.name] = kept
            if name in short:
                copy = specialised(function, {"S": 1}, short)
                out.functions[copy.name] = canonical(out, copy)
        log.applied["decode"] += len(short)
        return out

    def pairs(self, before: Module, after: Module) -> tuple[Pair, ...]:
        """Each function that ``step`` reaches is computed by its copy where S = 1; ``step`` itself by ``prefill``."""
        same = [Pair(name, "prefill" if name == ENTRY else name) for name, f in before.functions.items()
                if f.kind == "block"]
        short = [name for name in before.functions if _short(name) in after.functions]
        one = [Pair(name, _short(name), dims=(("S", 1),)) for name in short]
        return (*same, *one)


def _short(name: str) -> str:
    return "decode" if name == ENTRY else name + DECODE


def specialised(function: Function, binding: Mapping[str, Extent], names: Mapping[str, str]) -> Function:
    """A copy with dimension symbols bound; ``names`` gives the new names of functions, this one's and its callees'."""
    values: dict[int, Value] = {}

    def renew(value: Value) -> Value:
        if id(value) not in values:
            values[id(value)] = Value(substitute_type(value.type, binding), value.name)
        return values[id(value)]

    def copied(op: Op) -> Op:
        attrs = _bound(op.attrs, binding)
        if op.name == "call":
            pairs: Any = attrs["dims"]
            callee = str(attrs["callee"])
            attrs |= {"callee": names.get(callee, callee), "dims": tuple(p for p in pairs if p[0] not in binding)}
        return Op(op.name, tuple(map(renew, op.operands)), attrs, tuple(map(renew, op.results)), op.loc)

    requires = [(substitute(a, binding), substitute(b, binding)) for a, b in function.requires]
    return Function(
        names[function.name],
        tuple(map(renew, function.params)),
        tuple(map(copied, function.ops)),
        tuple(map(renew, function.results)),
        tuple((a, b) for a, b in requires if a != b),
        function.kind,
    )


def _bound(attrs: Attrs, binding: Mapping[str, Extent]) -> dict[str, Attr]:
    def bound(attr: Any) -> Any:
        if isinstance(attr, Dim):
            return substitute(attr, binding)
        return tuple(map(bound, attr)) if isinstance(attr, tuple) else attr

    return {name: bound(value) for name, value in attrs.items()}
