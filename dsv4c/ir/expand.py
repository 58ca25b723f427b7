"""Kernel ops back to core ops: what a target without a kernel for them runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from .core import Function, Module, Op, Value
from .dims import Extent
from .kernel_ops.define import traced
from .registry import lookup


@dataclass(frozen=True)
class Expanded:
    """One kernel op that was replaced by its decomposition."""

    function: str
    loc: str
    op: str


def is_kernel_op(op: Op) -> bool:
    """Whether the op is defined by a function of core ops."""
    return op.name not in ("get", "bundle", "call") and lookup(op.name).decompose is not None


def expand(module: Module, has_kernel: Callable[[Op], bool]) -> tuple[Module, tuple[Expanded, ...]]:
    """The module with every kernel op that ``has_kernel`` denies written out in place, and the list of those.

    The core ops carry the location of the kernel op; functions without such an op stay the same objects.
    """
    out, found = Module(module.name, entry=module.entry), []
    for name, function in module.functions.items():
        here = [
            Expanded(name, op.loc, op.name) for op in function.ops if is_kernel_op(op) and not has_kernel(op)
        ]
        out.functions[name] = _expand(function, has_kernel) if here else function
        found += here
    return out, tuple(found)


def _expand(function: Function, has_kernel: Callable[[Op], bool]) -> Function:
    renamed: dict[int, Value] = {}
    requires = {(str(a), str(b)): (a, b) for a, b in function.requires}
    ops = tuple(_written_out(function.ops, renamed, requires, has_kernel))
    results = tuple(renamed.get(id(r), r) for r in function.results)
    return replace(function, ops=ops, results=results, requires=tuple(requires.values()))


def _written_out(
    ops: tuple[Op, ...],
    renamed: dict[int, Value],
    requires: dict[tuple[str, str], tuple[Extent, Extent]],
    has_kernel: Callable[[Op], bool],
) -> Iterator[Op]:
    """The ops with operands renamed; ``renamed`` learns what stands for the results of the expanded ones."""
    for op in ops:
        operands = tuple(renamed.get(id(o), o) for o in op.operands)
        if not is_kernel_op(op) or has_kernel(op):
            same = all(a is b for a, b in zip(operands, op.operands, strict=True))
            yield op if same else replace(op, operands=operands)
            continue
        inner = traced(op)
        for left, right in inner.requires:
            requires.setdefault((str(left), str(right)), (left, right))
        inside = {id(p): o for p, o in zip(inner.params, operands, strict=True)}
        yield from _written_out(_copied(inner, op.loc, inside), inside, requires, has_kernel)
        for mine, theirs in zip(op.results, inner.results, strict=True):
            renamed[id(mine)] = inside.get(id(theirs), theirs)


def _copied(inner: Function, loc: str, inside: dict[int, Value]) -> tuple[Op, ...]:
    """The ops of a decomposition with results of their own, which ``inside`` learns: traces are shared."""
    out = []
    for op in inner.ops:
        operands = tuple(inside[id(o)] for o in op.operands)
        results = tuple(Value(r.type, r.name) for r in op.results)
        inside.update({id(old): new for old, new in zip(op.results, results, strict=True)})
        out.append(Op(op.name, operands, op.attrs, results, loc))
    return tuple(out)
