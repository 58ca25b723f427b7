"""Functions written again over other types: where a weight or a state changes its shape, everything behind it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dsv4c.ir.builder import Builder
from dsv4c.ir.core import Function, Module, Op, Value
from dsv4c.ir.types import Bundle, ListType, Type

# New results in place of an op's, given its operands; None to write the op again as it is.
Change = Callable[[Op, tuple[Value, ...]], tuple[Value, ...] | None]


class Retype:
    """Types with some bundles replaced, wherever they occur."""

    def __init__(self, instead: Mapping[Bundle, Bundle]) -> None:
        self._instead = instead
        self._known: dict[int, tuple[Type, Type]] = {}  # the key's object is kept, so that its id stays its own

    def __call__(self, type_: Type) -> Type:
        """The type that stands for this one; the same object where nothing in it changes."""
        if id(type_) not in self._known:
            self._known[id(type_)] = (type_, self._new(type_))
        return self._known[id(type_)][1]

    def _new(self, type_: Type) -> Type:
        if isinstance(type_, ListType):
            items = tuple(map(self, type_.items))
            return type_ if all(old is new for old, new in zip(type_.items, items, strict=True)) else ListType(items)
        if not isinstance(type_, Bundle):
            return type_
        if type_ in self._instead:
            return self._instead[type_]
        fields = tuple((name, self(part)) for name, part in type_.fields)
        same = all(old is new for (_, old), (_, new) in zip(type_.fields, fields, strict=True))
        return type_ if same else Bundle(type_.name, fields)


def reemit(module: Module, function: Function, types: Mapping[str, Type], change: Change) -> Function:
    """Add ``function`` to ``module`` with parameters of other types (by name), every op inferred anew."""
    params = {p.name: types.get(p.name, p.type) for p in function.params}
    with Builder(module, function.name, **params) as b:
        now = {id(old): new for old, new in zip(function.params, b.params, strict=True)}
        for left, right in function.requires:
            b.require(left, right)
        for op in function.ops:
            operands = tuple(now[id(o)] for o in op.operands)
            with b.scope(op.loc):
                results = change(op, operands) or b.emit(op.name, operands, op.attrs)
            now.update((id(old), new) for old, new in zip(op.results, results, strict=True))
        return b.done(*(now[id(r)] for r in function.results), kind=function.kind)
