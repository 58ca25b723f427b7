"""The rules of the IR: types, order of definition, linear state, calls before callers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .core import Function, IRError, Module, Op, Value, located
from .dims import Dim, Extent, symbols
from .infer import infer
from .kernel_ops.define import aliases
from .registry import ShapeError, lookup
from .types import children, is_linear, type_symbols

# Ops whose use of a state operand hands it on; every other op only reads it.
_CONSUMES = {"scatter": (0,), "bundle": None, "call": None, "get": ()}


def verify(module: Module) -> None:
    """Raise IRError at the first broken rule, with function and location."""
    seen: set[str] = set()
    for name, function in module.functions.items():
        for callee in function.callees():
            if callee not in seen:
                raise IRError(name, f"calls {callee}, which is not defined before it")
        if name != function.name:
            raise IRError(name, f"is filed under another name than its own, {function.name}")
        verify_function(module, function)
        seen.add(name)
    if module.entry not in seen:
        raise IRError(module.name, f"has no entry function {module.entry}")


def verify_function(module: Module, function: Function) -> None:
    """Raise IRError at the first broken rule of one function."""
    defined = {id(p) for p in function.params}
    known = set(function.symbols)
    required = {(str(a), str(b)) for a, b in function.requires}
    _check_bound(function.name, "a require", _extents(function.requires), known)
    _check_names(function)
    for op in function.ops:
        where = located(function.name, op.loc)
        for operand in op.operands:
            if id(operand) not in defined:
                raise IRError(where, f"{op.name} uses a value before its definition", op)
        _check_types(module, op, where, required)
        _check_bound(where, op.name, _extents(tuple(op.attrs.values())), known, op)
        for result in op.results:
            _check_bound(where, op.name, type_symbols(result.type), known, op)
            if id(result) in defined:
                raise IRError(where, f"{op.name} defines a value twice", op)
            defined.add(id(result))
    if not all(id(r) in defined for r in function.results):
        raise IRError(function.name, "returns a value that it does not define")
    _check_linear(function)


def _extents(attr: object) -> Iterator[str]:
    """The symbols of all dimensions in an attribute."""
    if isinstance(attr, Dim):
        yield from symbols(attr)
    elif isinstance(attr, tuple):
        for item in attr:
            yield from _extents(item)


def _check_bound(where: str, what: str, used: Iterable[str], known: set[str], op: Op | None = None) -> None:
    unbound = sorted(set(used) - known)
    if unbound:
        raise IRError(where, f"{what} has dimension {', '.join(unbound)}, which no parameter binds", op)


def _check_names(function: Function) -> None:
    names = [param.name for param in function.params]
    for name in names:
        if names.count(name) > 1:
            raise IRError(function.name, f"has two parameters {name!r}")


def _check_types(module: Module, op: Op, where: str, required: set[tuple[str, str]]) -> None:
    def require(left: Extent, right: Extent) -> None:
        if left == right or (str(left), str(right)) in required:
            return
        raise ShapeError(f"extents {left} and {right} are not known to be equal; add a require")

    try:
        if op.name not in ("get", "bundle", "call"):
            lookup(op.name)
        types = infer(module, op.name, [o.type for o in op.operands], op.attrs, require)
    except ShapeError as error:
        raise IRError(where, f"{op.name}: {error}", op) from None
    if types != tuple(r.type for r in op.results):
        have, want = ", ".join(str(r.type) for r in op.results), ", ".join(map(str, types))
        raise IRError(where, f"{op.name}: results are {have}, expected {want}", op)


def consumes(op: Op, position: int) -> bool:
    """Whether an op hands on the state at an operand position; otherwise it only reads it."""
    if op.name not in _CONSUMES and lookup(op.name).decompose:
        return position in aliases(op).values()
    positions = _CONSUMES.get(op.name, ())
    return positions is None or position in positions


def _check_linear(function: Function) -> None:
    """A state value is handed on at most once, and not touched afterwards; reading it before that is free."""
    gone: dict[int, str] = {}
    parts: dict[tuple[int, str], str] = {}

    def touch(value: Value, where: str, op: Op | None = None) -> None:
        if id(value) in gone:
            raise IRError(where, f"state is used after it was handed on at {gone[id(value)]}", op)

    for op in function.ops:
        where = f"{located(function.name, op.loc)} ({op.name})"
        for position, operand in enumerate(op.operands):
            if not is_linear(operand.type):
                continue
            touch(operand, where, op)
            if op.name == "get" and is_linear(op.results[0].type):
                key = (id(operand), str(op.attrs["part"]))
                if key in parts:
                    raise IRError(where, f"state part {key[1]!r} was taken out already at {parts[key]}", op)
                parts[key] = where
            elif consumes(op, position):
                _refuse_parts(operand, parts, where, op)
                gone[id(operand)] = where
    for result in function.results:
        if is_linear(result.type):
            touch(result, f"{function.name} (return)")
            _refuse_parts(result, parts, f"{function.name} (return)")
            gone[id(result)] = "return"


def _refuse_parts(value: Value, parts: dict[tuple[int, str], str], where: str, op: Op | None = None) -> None:
    for name, part in children(value.type):
        if is_linear(part) and (id(value), name) in parts:
            place = parts[id(value), name]
            raise IRError(where, f"state is handed on whole, but its part {name!r} was taken out at {place}", op)
