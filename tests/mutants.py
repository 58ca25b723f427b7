"""Near misses: functions that differ from a given one in one op, one constant, one attribute or one use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dsv4c.ir.builder import Builder
from dsv4c.ir.core import Attrs, Function, IRError, Module, Op, Value
from dsv4c.ir.registry import lookup
from dsv4c.passes.graph import cheap

OTHER = {
    "add": "sub", "sub": "add", "mul": "add", "div": "mul", "maximum": "minimum", "minimum": "maximum", "exp": "log",
    "sin": "cos", "cos": "sin", "lt": "le", "le": "lt", "and": "or", "or": "and", "sum": "max", "max": "sum",
    "rsqrt": "sqrt", "sqrt": "abs", "log1p": "log", "floordiv": "mod", "mod": "floordiv", "abs": "neg", "eq": "le",
}  # fmt: skip
ORDERED = ("sub", "div", "lt", "le", "floordiv", "mod", "matmul", "concat")
Write = Callable[[Builder, Op, tuple[Value, ...]], tuple[Value, ...]]


@dataclass(frozen=True)
class Mutant:
    """One near miss: what was done, and to which op of the given function."""

    what: str
    op: Op
    function: Function


def near_misses(function: Function, first: int = 0, every: int = 1) -> Iterator[Mutant]:
    """All near misses that are well-typed; or from the ``first`` on, ``every`` so many."""
    for what, op, changed, also in list(_plans(function))[first::every]:
        made = rebuilt(function, changed, also)
        if made is not None:
            yield Mutant(f"{op.name}: {what}", op, made)


Plan = tuple[str, Op, dict[int, Write], tuple[Op, str] | None]


def _plans(function: Function) -> Iterator[Plan]:
    """Changes of one op; then a costly interior value as one more result, as it is or used by another op."""
    for op in function.ops:
        for what, write in _changes(op):
            yield what, op, {id(op): write}, None
    ends = {id(r) for r in function.results}
    for op in function.ops:
        if not cheap(op) and not any(id(r) in ends for r in op.results):
            for what in ("returned", "used"):
                yield what, op, {}, (op, what)


def count(function: Function) -> int:
    """How many near misses are tried."""
    return sum(1 for _ in _plans(function))


def rebuilt(function: Function, changed: dict[int, Write], also: tuple[Op, str] | None = None) -> Function | None:
    """A copy with some ops written differently, and perhaps one more result; None where types do not fit then."""
    with Builder(Module("mutant"), function.name, **{p.name: p.type for p in function.params}) as b:
        new = {id(p): q for p, q in zip(function.params, b.params, strict=True)}
        try:
            for op in function.ops:
                operands = tuple(new[id(o)] for o in op.operands)
                results = changed.get(id(op), _same)(b, op, operands)
                if [r.type for r in results] != [r.type for r in op.results]:
                    return None
                new.update({id(old): r for old, r in zip(op.results, results, strict=True)})
        except IRError:
            return None
        results = tuple(new[id(r)] for r in function.results)
        if also is not None:
            value = new[id(also[0].results[0])]
            if also[1] == "used":
                (value,) = b.emit("not" if value.dtype == "bool" else "abs", (value,), {})
            results = (*results, value)
        return b.done(*results)


def _same(b: Builder, op: Op, operands: tuple[Value, ...]) -> tuple[Value, ...]:
    return b.emit(op.name, operands, op.attrs)


def _changes(op: Op) -> Iterator[tuple[str, Write]]:
    """Ways to write an op differently, each with what it does."""
    if op.name in OTHER:
        yield f"is {OTHER[op.name]}", lambda b, op, xs: b.emit(OTHER[op.name], xs, op.attrs)
    if op.name in ORDERED and len(op.operands) == 2:
        yield "has its operands swapped", lambda b, op, xs: b.emit(op.name, xs[::-1], op.attrs)
    if op.name == "where":
        yield "has its branches swapped", lambda b, op, xs: b.emit(op.name, (xs[0], xs[2], xs[1]), op.attrs)
    for place in range(len(op.operands)) if lookup(op.name).kind == "elementwise" else ():
        yield f"is only its operand {place}", lambda b, op, xs, place=place: (xs[place],)
    if op.results[0].dtype == "f32" and op.operands:
        yield "is rounded to bf16", _rounded
    for what, attrs in _other_attrs(op):
        yield what, lambda b, op, xs, attrs=attrs: b.emit(op.name, xs, {**op.attrs, **attrs})


def _rounded(b: Builder, op: Op, operands: tuple[Value, ...]) -> tuple[Value, ...]:
    wide = b.emit(op.name, operands, op.attrs)
    return (*b.emit("cast", b.emit("cast", wide[:1], {"dtype": "bf16"}), {"dtype": "f32"}), *wide[1:])


def _other_attrs(op: Op) -> Iterator[tuple[str, Attrs]]:
    attrs: Any = op.attrs
    if op.name == "const":
        data = tuple(not n if isinstance(n, bool) else 3 * n + 1 for n in attrs["data"])
        yield f"holds {data[0]}", {"data": data}
    if op.name in ("sum", "max", "cumsum", "concat", "iota", "argmax"):
        for axis in range(op.results[0].tensor.rank + 1):
            if axis != attrs["axis"]:
                yield f"goes along axis {axis}", {"axis": axis}
    if op.name == "slice":
        for step in (-1, 1):
            yield f"begins {step} later", {"start": attrs["start"] + step, "stop": attrs["stop"] + step}
    if op.name == "transpose":
        yield "turns other axes", {"perm": tuple(reversed(attrs["perm"]))}
        yield "turns nothing", {"perm": tuple(range(len(attrs["perm"])))}
    if op.name == "matmul" and op.operands[1].shape[-1] == op.operands[1].shape[-2]:
        yield "reads its right side the other way", {"trans_b": not attrs["trans_b"]}
    if op.name in ("gather", "scatter"):
        yield "has other batch axes", {"batch": 1 - attrs["batch"]}
