"""Result types of any op: the registry's shape rules, and the three structural ops that need the module."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from .core import Attrs, Module
from .dims import Extent
from .registry import Require, ShapeError, checked, fitting, lookup
from .types import Bundle, ListType, TensorType, Type, children, leaves, substitute_type


def infer(module: Module, name: str, operands: Sequence[Type], attrs: Attrs, require: Require) -> tuple[Type, ...]:
    """The result types; ShapeError when operands or attributes do not fit. ``require`` receives unproven equalities."""
    structural = {"get": _get, "bundle": _bundle, "call": _call}.get(name)
    if structural:
        return structural(module, operands, attrs, require)
    definition = lookup(name)
    for operand in operands:
        checked(isinstance(operand, TensorType), f"an operand is a {operand}; take its tensors out with get")
    unknown = set(attrs) - set(definition.attrs)
    checked(not unknown, f"no attribute {', '.join(sorted(unknown))}; it has {', '.join(definition.attrs) or 'none'}")
    missing = sorted(set(definition.attrs) - set(attrs))
    checked(not missing, f"attribute {', '.join(missing)} is missing")
    for key, value in attrs.items():
        fits = fitting(definition, key, value)
        checked(fits, f"attribute {key} = {value!r} is of the wrong kind; it is {definition.attrs[key]}")
    try:
        return definition.infer(*operands, require=require, **attrs)
    except TypeError as error:
        raise ShapeError(f"wrong operands or attributes ({error})") from None


def _get(module: Module, operands: Sequence[Type], attrs: Attrs, require: Require) -> tuple[Type, ...]:
    checked(len(operands) == 1 and set(attrs) == {"part"}, "takes one bundle or list and the attribute part")
    parts, part = dict(children(operands[0])), str(attrs["part"])
    checked(part in parts, f"no part {part!r} in {operands[0]}; it has {', '.join(parts) or 'none'}")
    return (parts[part],)


def _bundle(module: Module, operands: Sequence[Type], attrs: Attrs, require: Require) -> tuple[Type, ...]:
    fields: Any = attrs["fields"]
    checked(len(set(fields)) == len(fields), f"two fields have one name in {', '.join(fields)}")
    if not attrs["type"]:
        return (ListType(tuple(operands)),)
    checked(len(fields) == len(operands), f"{len(operands)} parts for the fields {', '.join(fields)}")
    return (Bundle(str(attrs["type"]), tuple(zip(fields, operands, strict=True))),)


def _call(module: Module, operands: Sequence[Type], attrs: Attrs, require: Require) -> tuple[Type, ...]:
    name = str(attrs["callee"])
    if name not in module.functions:
        near = get_close_matches(name, module.functions, n=3)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise ShapeError(f"no function {name!r} before this one{hint}")
    pairs: Any = attrs["dims"]
    callee, dims = module.functions[name], dict(pairs)
    checked(len(callee.params) == len(operands), f"{name} takes {len(callee.params)} operands, not {len(operands)}")
    unknown = sorted(set(dims) - set(callee.symbols) if dims else ())
    checked(not unknown, f"{name} has no dimension {', '.join(unknown)}; it has {', '.join(callee.symbols) or 'none'}")
    for param, operand in zip(callee.params, operands, strict=True):
        _match(f"{name}({param.name})", substitute_type(param.type, dims), operand, require)
    return tuple(substitute_type(result.type, dims) for result in callee.results)


def _match(where: str, want: Type, have: Type, require: Require) -> None:
    wanted, given = list(leaves(want)), list(leaves(have))
    checked([p for p, _ in wanted] == [p for p, _ in given], f"{where} is {want}, given {have}")
    for (path, w), (_, g) in zip(wanted, given, strict=True):
        same = w.dtype == g.dtype and w.rank == g.rank and w.state == g.state
        checked(same, f"{where}{'.' + path if path else ''} is {w}, given {g}")
        for a, b in zip(w.shape, g.shape, strict=True):
            _require(where, path, a, b, require)


def _require(where: str, path: str, want: Extent, have: Extent, require: Require) -> None:
    try:
        require(want, have)
    except ShapeError as error:
        raise ShapeError(f"{where}{'.' + path if path else ''}: {error}") from None
