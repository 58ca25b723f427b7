"""``inline``: a function of a few ops that calls nothing becomes those ops where it is called.

Behind the passes that fuse, half of a hyper-connection is one kernel op. In its caller it stands beside the norm that
follows, and a target can make one launch of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from dsv4c.ir.core import Function, Module, Op, Value
from dsv4c.ir.dims import Extent
from dsv4c.ir.registry import lookup

from .base import Log, Pass
from .canonicalize import canonical
from .specialize import specialised

FEW = 8  # ops, views not counted


@dataclass(frozen=True)
class Inline(Pass):
    """Entries stay, and weights functions."""

    name: ClassVar[str] = "inline"
    doc: ClassVar[str] = f"call of a function of at most {FEW} ops without calls -> those ops"
    reads: ClassVar[str] = "kernel"
    writes: ClassVar[str] = "kernel"

    def run(self, module: Module, log: Log) -> Module:
        """Callees first; functions that nobody calls any more are dropped."""
        out = Module(module.name, {}, module.entry)
        for name, function in module.functions.items():
            # A callee that called something itself stays: choices of experts are proven where they are made.
            few = {c for c in function.callees() if _few(module.functions[c])}
            if few:
                function = canonical(out, _inlined(out, function, few, log))
            out.functions[name] = function
        needed = out.reachable(*module.uncalled())
        out.functions = {n: f for n, f in out.functions.items() if n in needed or f.kind != "block"}
        return out


def _few(function: Function) -> bool:
    own = [op for op in function.ops if op.name != "get" and lookup(op.name).kind != "view"]
    return function.kind == "block" and not any(function.callees()) and len(own) <= FEW


def _inlined(module: Module, function: Function, few: set[str], log: Log) -> Function:
    instead: dict[int, Value] = {}
    ops: list[Op] = []
    requires = {(str(a), str(b)): (a, b) for a, b in function.requires}
    for op in function.ops:
        op = replace(op, operands=tuple(instead.get(id(o), o) for o in op.operands))
        if op.name != "call" or op.attrs["callee"] not in few:
            ops.append(op)
            continue
        callee = module.functions[str(op.attrs["callee"])]
        copy = specialised(callee, _binding(op), {callee.name: callee.name})
        inner = {id(p): o for p, o in zip(copy.params, op.operands, strict=True)}
        for one in copy.ops:
            place = ".".join(filter(None, (op.loc, one.loc)))
            ops.append(replace(one, operands=tuple(inner.get(id(o), o) for o in one.operands), loc=place))
        instead |= {id(r): inner.get(id(v), v) for r, v in zip(op.results, copy.results, strict=True)}
        requires |= {(str(a), str(b)): (a, b) for a, b in copy.requires}
        log.applied[callee.name] += 1
    results = tuple(instead.get(id(r), r) for r in function.results)
    return replace(function, ops=tuple(ops), results=results, requires=tuple(requires.values()))


def _binding(call: Op) -> Mapping[str, Extent]:
    pairs: Any = call.attrs["dims"]
    return dict(pairs)
