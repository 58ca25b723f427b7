"""``canonicalize``: fold, share and drop, and one spelling for each idiom. Local and idempotent.

Rules look at one op whose operands are canonical already, so that one walk suffices. Operands of commutative ops are
ordered by one thing only: a constant stands on the right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from dsv4c.ir.core import Attr, Attrs, Function, Module, Op, Value
from dsv4c.ir.dims import Extent
from dsv4c.ir.infer import infer
from dsv4c.ir.registry import REGISTRY, ShapeError
from dsv4c.ir.types import BITS, COMPUTE_FLOATS, DTYPES, is_linear

from . import idioms, masks
from .base import Log, Pass, map_functions
from .rewriting import live, ordered, resolve, substituted

COMMUTATIVE = frozenset({"add", "mul", "maximum", "minimum", "and", "or", "xor", "eq"})


@dataclass(frozen=True)
class Canonicalize(Pass):
    """One spelling for each idiom, so that patterns need to know only that one."""

    name: ClassVar[str] = "canonicalize"
    doc: ClassVar[str] = "1 / sqrt(x), x - c, reshape of reshape, equal ops -> rsqrt(x), x + -c, one reshape, one op"
    exact: ClassVar[bool] = False  # rsqrt rounds once where a division of 1 by a root rounds twice

    def run(self, module: Module, log: Log) -> Module:
        """Every block of the module."""
        return map_functions(module, lambda function: canonical(module, function, log))


def canonical(module: Module, function: Function, log: Log | None = None) -> Function:
    """The function in canonical form."""
    work = Work(module, log or Log())
    for op in function.ops:
        work.add(op)
    results = tuple(resolve(r, work.instead) for r in function.results)
    return replace(function, ops=ordered(live(work.ops, results)), results=results)


@dataclass
class Work:
    """The canonical ops so far, and what rules may ask about them."""

    module: Module
    log: Log
    ops: list[Op] = field(default_factory=list)
    instead: dict[int, Value] = field(default_factory=dict)
    _producers: dict[int, Op] = field(default_factory=dict)
    _known: dict[tuple[object, ...], Op] = field(default_factory=dict)
    _alive: list[Op] = field(default_factory=list)  # values are filed under their id, so none may die before the end

    def add(self, op: Op) -> None:
        """Take one op over: replaced by a value, or by an op that computes the same, or as it is."""
        op = substituted(op, self.instead)
        self._alive.append(op)
        for rule in RULES.get(op.name, ()) if len(op.results) == 1 else ():
            out = rule(self, op)
            if out is not None:
                self.log.applied[rule.__name__.lstrip("_")] += 1
                self.instead[id(op.results[0])] = out
                return
        twin = self._twin(op)
        if twin is not None:
            self.log.applied["share"] += 1
            self.instead.update({id(r): t for r, t in zip(op.results, twin.results, strict=True)})
            return
        self.ops.append(op)
        self._producers.update({id(r): op for r in op.results})

    def emit(self, like: Op, name: str, *operands: Value, **attrs: Attr) -> Value:
        """A new op at the place of ``like``, itself made canonical; ShapeError where it does not fit."""
        return self.emit_with(like, name, operands, attrs)

    def emit_with(self, like: Op, name: str, operands: Sequence[Value], attrs: Attrs) -> Value:
        """As ``emit``, attributes as a mapping."""
        attrs = dict(sorted(attrs.items()))
        (type_,) = infer(self.module, name, [o.type for o in operands], attrs, _proven)
        out = Value(type_)
        self.add(Op(name, tuple(operands), attrs, (out,), like.loc))
        return resolve(out, self.instead)

    def constant(self, like: Op, number: float, dtype: str) -> Value:
        """A scalar."""
        return self.emit(like, "const", data=(number,), shape=(), dtype=dtype)

    def fits(self, op: Op, operands: Sequence[Value]) -> bool:
        """Whether the op with these operands has the type that it has."""
        try:
            return infer(self.module, op.name, [o.type for o in operands], op.attrs, _proven) == (op.results[0].type,)
        except ShapeError:
            return False

    def stored(self, value: Value) -> bool:
        """Whether a value is there before the function runs: a parameter, a part of one, or a constant."""
        op = self._producers.get(id(value))
        return op is None or op.name in ("get", "const")

    def producer(self, value: Value, name: str) -> Op | None:
        """The op that makes a value, if it has this name."""
        op = self._producers.get(id(value))
        return op if op is not None and op.name == name else None

    def number(self, value: Value) -> float | int | bool | None:
        """The number that a constant holds in every element, if it is one."""
        op = self.producer(value, "const")
        data: Any = op.attrs["data"] if op else ()
        return data[0] if len(data) == 1 else None

    def _twin(self, op: Op) -> Op | None:
        """An earlier op that computes the same. What hands state on, and calls, are never shared."""
        if op.name in ("call", "bundle") or any(is_linear(r.type) for r in op.results):
            return None
        operands = [id(o) for o in op.operands]
        if op.name in COMMUTATIVE:  # a * b is b * a; which of them stays does not depend on ids
            operands.sort()
        key = (op.name, *operands, tuple((k, repr(v)) for k, v in sorted(op.attrs.items())))
        if key not in self._known:
            self._known[key] = op
            return None
        return self._known[key]


def _proven(left: Extent, right: Extent) -> None:
    if left != right:
        raise ShapeError(f"extents {left} and {right} are not known to be equal")


def _fold(w: Work, op: Op) -> Value | None:
    """An elementwise op on constant scalars."""
    numbers = [w.number(o) for o in op.operands]
    if not op.operands or any(n is None for n in numbers) or any(o.shape != () for o in op.operands):
        return None
    arrays = [np.asarray(n, DTYPES[o.dtype]) for n, o in zip(numbers, op.operands, strict=True)]
    out = np.asarray(REGISTRY[op.name].reference(*arrays, **op.attrs))
    data: Any = (out.astype(np.float64) if op.results[0].dtype in COMPUTE_FLOATS else out).item()
    return w.emit(op, "const", data=(data,), shape=(), dtype=op.results[0].dtype)


def _constant_right(w: Work, op: Op) -> Value | None:
    left, right = op.operands
    if w.number(left) is None or w.number(right) is not None:
        return None
    return w.emit(op, op.name, right, left)


def _neutral(w: Work, op: Op) -> Value | None:
    """x * 1, x / 1 and, for integers, x + 0; not x + 0.0, which changes the sign of -0."""
    left, right = op.operands
    number = w.number(right)
    neutral = {"mul": 1, "div": 1, "add": 0, "floordiv": 1}[op.name]
    exact = op.name != "add" or left.dtype not in COMPUTE_FLOATS
    return left if number == neutral and exact and left.type == op.results[0].type else None


def _negative(w: Work, op: Op) -> Value | None:
    left, right = op.operands
    return w.emit(op, "neg", left) if w.number(right) == -1 and left.type == op.results[0].type else None


def _subtracted_constant(w: Work, op: Op) -> Value | None:
    left, right = op.operands
    number = w.number(right)
    if number is None or w.number(left) is not None or right.shape != ():
        return None
    return w.emit(op, "add", left, w.emit(op, "const", data=(-number,), shape=(), dtype=right.dtype))


def _reciprocal_root(w: Work, op: Op) -> Value | None:
    left, right = op.operands
    root = w.producer(right, "sqrt")
    if root is None:
        return None
    if w.number(left) == 1.0 and right.type == op.results[0].type:
        return w.emit(op, "rsqrt", root.operands[0])
    return None


def _double_negative(w: Work, op: Op) -> Value | None:
    inner = w.producer(op.operands[0], "neg")
    return inner.operands[0] if inner else None


def _negated_condition(w: Work, op: Op) -> Value | None:
    condition, x, y = op.operands
    inner = w.producer(condition, "not")
    return w.emit(op, "where", inner.operands[0], y, x) if inner else None


def _unchanged(w: Work, op: Op) -> Value | None:
    """A view or cast that changes nothing."""
    (x, *_) = op.operands
    if x.type != op.results[0].type:
        return None
    perm: Any = op.attrs.get("perm", ())
    return x if perm == tuple(sorted(perm)) else None


def _view_of_view(w: Work, op: Op) -> Value | None:
    inner = w.producer(op.operands[0], op.name)
    if inner is None:
        return None
    if op.name != "transpose":
        return w.emit_with(op, op.name, inner.operands, op.attrs)
    outer_perm: Any = op.attrs["perm"]
    inner_perm: Any = inner.attrs["perm"]
    return w.emit(op, "transpose", *inner.operands, perm=tuple(inner_perm[p] for p in outer_perm))


def _exact_round_trip(w: Work, op: Op) -> Value | None:
    """A narrow float widened and narrowed again is the number it was."""
    inner = w.producer(op.operands[0], "cast")
    if inner is None:
        return None
    (x,) = inner.operands
    wide = x.dtype in COMPUTE_FLOATS and inner.results[0].dtype == "f32" and BITS[x.dtype] < 32
    return x if wide and x.type == op.results[0].type else None


def _slice_of_slice(w: Work, op: Op) -> Value | None:
    inner = w.producer(op.operands[0], "slice")
    if inner is None or inner.attrs["axis"] != op.attrs["axis"]:
        return None
    begin: Any = inner.attrs["start"]
    start: Any = op.attrs["start"]
    stop: Any = op.attrs["stop"]
    return w.emit(op, "slice", *inner.operands, axis=op.attrs["axis"], start=begin + start, stop=begin + stop)


def _part_of_concat(w: Work, op: Op) -> Value | None:
    """A slice that is one whole part of a concat."""
    joined = w.producer(op.operands[0], "concat")
    axis: Any = op.attrs["axis"]
    if joined is None or joined.attrs["axis"] != axis:
        return None
    begin: Extent = 0
    for part in joined.operands:
        end = begin + part.shape[axis]
        if (begin, end) == (op.attrs["start"], op.attrs["stop"]):
            return part
        begin = end
    return None


def _single_part(w: Work, op: Op) -> Value | None:
    return op.operands[0] if len(op.operands) == 1 else None


def _transposed_right(w: Work, op: Op) -> Value | None:
    """matmul(a, transpose(b)) is matmul with b read the other way."""
    a, b = op.operands
    turn = w.producer(b, "transpose")
    if turn is None:
        return None
    perm: Any = turn.attrs["perm"]
    rank = len(perm)
    if rank == 2 and op.attrs["trans_b"] and w.stored(turn.operands[0]):
        return None  # a weight that is stored [K, N], see ``weight_by_rows``
    if perm != (*range(rank - 2), rank - 1, rank - 2):
        return None
    return w.emit(op, "matmul", a, turn.operands[0], out=op.attrs["out"], trans_b=not op.attrs["trans_b"])


Rule = Callable[[Work, Op], Value | None]
_ELEMENTWISE = [n for n, d in REGISTRY.items() if d.kind == "elementwise" and n not in ("gather", "bitcast")]
RULES: dict[str, tuple[Rule, ...]] = dict.fromkeys(_ELEMENTWISE, (_fold,))
for _name in COMMUTATIVE:
    RULES[_name] += (_constant_right,)
RULES["add"] += (_neutral,)
RULES["mul"] += (_neutral, _negative)
RULES["floordiv"] += (_neutral,)
RULES["div"] += (_neutral, _reciprocal_root)
RULES["sub"] += (_subtracted_constant,)
RULES["neg"] += (_double_negative,)
RULES["where"] += (_negated_condition,)
RULES["cast"] += (_unchanged, _exact_round_trip)
RULES |= {
    "reshape": (_unchanged, _view_of_view),
    "transpose": (_unchanged, _view_of_view),
    "broadcast_to": (_unchanged, _view_of_view),
    "slice": (_unchanged, _slice_of_slice, _part_of_concat),
    "concat": (_single_part,),
    "matmul": (_transposed_right,),
}
for _more in (idioms.RULES, masks.RULES):
    for _name, _rules in _more.items():
        RULES[_name] = (*RULES.get(_name, ()), *_rules)
for _name in _ELEMENTWISE:
    RULES[_name] += (idioms.needless_expand,)
