"""The reference interpreter: every op through its numpy reference, dtypes obeyed exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .core import Function, IRError, Module, Op, Value
from .dims import Dim, evaluate, symbols
from .registry import lookup
from .types import DTYPES, TensorType, Type, children, leaves

Data = Any  # an array, or a dict of Data keyed by part for bundles and lists
Call = Callable[[str, Sequence[Data], Mapping[str, int]], tuple[Data, ...]]  # (function, operands, dims) -> results


def run(
    module: Module, name: str, operands: Sequence[Data], dims: Mapping[str, int], call: Call | None = None
) -> tuple[Data, ...]:
    """Run one function.

    Args:
        module: a verified module.
        name: the function.
        operands: one array per tensor parameter, nested dicts for bundles and lists (``tree`` makes them).
        dims: a number for each dimension symbol of the function.
        call: executes the functions that this one calls, and must leave their operands as they are; they are
            interpreted too by default.

    Raises:
        IRError: an operand does not have the parameter's shape or dtype, or a required equality does not hold.
    """
    function = module.functions[name]
    bound = bind(function, operands, dims)
    last = last_uses(function)
    enter: Call = call or (lambda callee, arguments, inner: run(module, callee, arguments, inner))
    for index, op in enumerate(function.ops):
        if lookup(op.name).exchange:
            raise IRError(f"{name}:{op.loc}", f"{op.name} needs all ranks, this is one; use spmd.run_ranks", op)
        arguments = [bound[id(o)] for o in op.operands]
        if op.name == "call":
            results = enter(str(op.attrs["callee"]), arguments, inner_dims(op, dims))
        else:
            results = compute(op, arguments, dims)
        for result, data in zip(op.results, results, strict=True):
            bound[id(result)] = data
        for value in last.get(index, ()):
            del bound[id(value)]
    return tuple(bound[id(r)] for r in function.results)


def bind(function: Function, operands: Sequence[Data], dims: Mapping[str, int]) -> dict[int, Data]:
    """Operands by the id of their parameter, checked against its type and the function's requires."""
    if len(operands) != len(function.params):
        raise IRError(function.name, f"takes {len(function.params)} operands, given {len(operands)}")
    for param, data in zip(function.params, operands, strict=True):
        check(f"{function.name}({param.name})", param.type, data, dims)
    for left, right in function.requires:
        if evaluate(left, dims) != evaluate(right, dims):
            raise IRError(function.name, f"requires {left} == {right}, which fails for {dict(dims)}")
    return {id(p): data for p, data in zip(function.params, operands, strict=True)}


def last_uses(function: Function) -> dict[int, list[Value]]:
    """Values that no op after the given one needs, so that peak memory is what is alive."""
    last = {id(o): (i, o) for i, op in enumerate(function.ops) for o in op.operands}
    kept = {id(r) for r in function.results}
    out: dict[int, list[Value]] = {}
    for key, (index, value) in last.items():
        if key not in kept:
            out.setdefault(index, []).append(value)
    return out


def run_tensors(module: Module, name: str, arrays: Sequence[Data]) -> tuple[Data, ...]:
    """Run a function of tensors whose parameters show each of its symbols as a plain extent, bound by the arrays."""
    bound: dict[str, int] = {}
    for param, array in zip(module.functions[name].params, arrays, strict=True):
        bound |= {str(e): size for e, size in zip(param.shape, array.shape, strict=True) if symbols(e) == (str(e),)}
    return run(module, name, arrays, bound)


def compute(op: Op, arguments: list[Data], dims: Mapping[str, int]) -> tuple[Data, ...]:
    """The results of one op that is no call, on one rank."""
    if op.name == "get":
        return (arguments[0][str(op.attrs["part"])],)
    if op.name == "bundle":
        return ({name: a for (name, _), a in zip(children(op.results[0].type), arguments, strict=True)},)
    attrs = {key: concrete(value, dims) for key, value in op.attrs.items()}
    out = lookup(op.name).reference(*arguments, **attrs)
    return out if isinstance(out, tuple) else (out,)


def inner_dims(op: Op, dims: Mapping[str, int]) -> dict[str, int]:
    """The numbers of the symbols inside the function that ``op`` calls."""
    pairs: Any = op.attrs["dims"]
    return dict(dims) | {str(symbol): evaluate(extent, dims) for symbol, extent in pairs}


def concrete(attr: Any, dims: Mapping[str, int]) -> Any:
    """An attribute with every dimension replaced by its number."""
    if isinstance(attr, Dim):
        return evaluate(attr, dims)
    return tuple(concrete(a, dims) for a in attr) if isinstance(attr, tuple) else attr


def shape_of(tensor: TensorType, dims: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of a tensor type as numbers."""
    return tuple(evaluate(e, dims) for e in tensor.shape)


def check(where: str, type_: Type, data: Data, dims: Mapping[str, int]) -> None:
    """Raise IRError unless ``data`` has the shapes and dtypes of ``type_``."""
    if isinstance(type_, TensorType):
        want, dtype = shape_of(type_, dims), DTYPES[type_.dtype]
        if data.shape != want or data.dtype != dtype:
            raise IRError(where, f"is {data.dtype}{list(data.shape)}, expected {type_} = {dtype}{list(want)}")
        return
    for name, part in children(type_):
        if name not in data:
            raise IRError(where, f"part {name!r} is missing")
        check(f"{where}.{name}", part, data[name], dims)


def tree(type_: Type, flat: Mapping[str, Data], prefix: str = "") -> Data:
    """Nested dicts of the shape of ``type_`` from arrays keyed by dotted path."""
    if isinstance(type_, TensorType):
        return flat[prefix]
    return {n: tree(part, flat, f"{prefix}.{n}" if prefix else n) for n, part in children(type_)}


def flatten(type_: Type, data: Data) -> dict[str, Data]:
    """Arrays keyed by dotted path: the inverse of ``tree``."""
    out = {}
    for path, _ in leaves(type_):
        value = data
        for part in path.split(".") if path else ():
            value = value[part]
        out[path] = value
    return out


def zeros(type_: Type, dims: Mapping[str, int]) -> Data:
    """Zero-filled data of a type: the state before the first token."""
    return tree(type_, {path: np.zeros(shape_of(t, dims), DTYPES[t.dtype]) for path, t in leaves(type_)})
