"""What exporters write for the arithmetic of the models, brought to the one spelling that patterns know.

Rules of ``canonicalize``, in a file of their own. Each says whether numbers stay as they are, bit for bit, or by how
much they may move.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from dsv4c.ir.core import Op, Value
from dsv4c.ir.types import COMPUTE_FLOATS, INTEGERS

if TYPE_CHECKING:
    from .canonicalize import Rule, Work

UNARY = ("neg", "abs", "exp", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "cast")


def divided_by_number(w: Work, op: Op) -> Value | None:
    """x / 80 is x * (1 / 80): equal for powers of two, else within 1.5 ulp. Only f32: 1 / 80 in bf16 is 8 bits."""
    x, y = op.operands
    number = w.number(y)
    if op.results[0].dtype != "f32" or not number or w.number(x) is not None or x.type != op.results[0].type:
        return None
    if not isfinite(number) or not 2.0**-100 < abs(number) < 2.0**100:
        return None
    return w.emit(op, "mul", x, w.emit(op, "const", data=(1.0 / number,), shape=y.shape, dtype=y.dtype))


def from_zero(w: Work, op: Op) -> Value | None:
    """0 - x is -x: equal but for the sign of a zero."""
    left, right = op.operands
    return w.emit(op, "neg", right) if w.number(left) == 0 and right.type == op.results[0].type else None


def needless_expand(w: Work, op: Op) -> Value | None:
    """Elementwise ops repeat axes themselves: x * expand(y) is x * y. Every bit stays."""
    if op.results[0].tensor.state:
        return None
    for place, operand in enumerate(op.operands):
        wide = w.producer(operand, "broadcast_to")
        if wide is not None and len(op.operands) > 1:
            operands = (*op.operands[:place], *wide.operands, *op.operands[place + 1 :])
            if w.fits(op, operands):
                return w.emit_with(op, op.name, operands, op.attrs)
    return None


def through_equal_parts(w: Work, op: Op) -> Value | None:
    """cos(concat(x, x)) is concat(cos(x), cos(x)), as for tables repeated to full width. Every bit stays."""
    joined = w.producer(op.operands[0], "concat")
    if joined is None or any(part is not joined.operands[0] for part in joined.operands):
        return None
    axis: Any = joined.attrs["axis"]
    (part, *rest) = joined.operands
    if op.name in UNARY:
        return w.emit(op, "concat", *[w.emit_with(op, op.name, (part,), op.attrs)] * (1 + len(rest)), axis=axis)
    if op.name == "mul" and w.number(op.operands[1]) is not None and op.operands[1].shape == ():
        return w.emit(op, "concat", *[w.emit(op, "mul", part, op.operands[1])] * (1 + len(rest)), axis=axis)
    x, out = joined.results[0], op.results[0]
    last = axis == x.tensor.rank - 1 and x.shape[-1] == out.shape[-1]
    if op.name != "reshape" or not last:
        return None
    half = w.emit(op, "reshape", part, shape=(*out.shape[:-1], part.shape[-1]))
    return w.emit(op, "concat", *[half] * (1 + len(rest)), axis=out.tensor.rank - 1)


def inner_extent_of_one(w: Work, op: Op) -> Value | None:
    """A table times one row is a multiplication: equal but for the sign of a zero. How exporters make angles."""
    a, b = op.operands
    wide = w.producer(a, "broadcast_to")
    table = w.producer(wide.operands[0] if wide else a, "const")
    if table is None or a.shape[-1] != 1 or op.results[0].dtype != "f32" or a.dtype != "f32":
        return None
    if op.attrs["trans_b"]:
        b = w.emit(op, "reshape", b, shape=(*b.shape[:-2], 1, b.shape[-2]))
    return w.emit(op, "mul", a, b)


def plain_accumulator(w: Work, op: Op) -> Value | None:
    """A product of f32 is f32 without being told so."""
    if op.attrs["out"] != "f32" or op.operands[0].dtype != "f32":
        return None
    return w.emit_with(op, "matmul", op.operands, {**op.attrs, "out": ""})


def weight_by_rows(w: Work, op: Op) -> Value | None:
    """A matrix stored [K, N] is read as [N, K], as checkpoints have it; sums may run in another order.

    The transpose is of a parameter or constant: it is made when the checkpoint is packed.
    """
    a, b = op.operands
    if op.attrs["trans_b"] or b.tensor.rank != 2 or not w.stored(b):
        return None
    return w.emit(op, "matmul", a, w.emit(op, "transpose", b, perm=(1, 0)), trans_b=True, out=op.attrs["out"])


def unshifted_softmax(w: Work, op: Op) -> Value | None:
    """exp(x) / sum(exp(x)) is the softmax that does not overflow; within 2e-6 where |x| < 20, better beyond."""
    powers, total = w.producer(op.operands[0], "exp"), w.producer(op.operands[1], "sum")
    if powers is None or total is None or total.operands[0] is not op.operands[0] or not total.attrs["keep"]:
        return None
    (x,) = powers.operands
    if w.producer(x, "sub") is not None:  # shifted already, by whatever
        return None
    peak = w.emit_with(op, "max", (x,), total.attrs)
    shifted = w.emit(op, "exp", w.emit(op, "sub", x, peak))
    return w.emit(op, "div", shifted, w.emit_with(op, "sum", (shifted,), total.attrs))


def negated_order(w: Work, op: Op) -> Value | None:
    """not(a < b) of integers is b <= a."""
    for name, other in (("lt", "le"), ("le", "lt")):
        inner = w.producer(op.operands[0], name)
        if inner is not None and inner.operands[0].dtype in INTEGERS:
            return w.emit(op, other, *inner.operands[::-1])
    return None


def number_last(w: Work, op: Op) -> Value | None:
    """where(a < b, 0.0, x) of integers a and b is where(b <= a, x, 0.0): a number stands last."""
    condition, x, y = op.operands
    if w.number(x) is None or w.number(y) is not None:
        return None
    for name, other in (("lt", "le"), ("le", "lt")):
        inner = w.producer(condition, name)
        if inner is not None and inner.operands[0].dtype in INTEGERS:
            return w.emit(op, "where", w.emit(op, other, *inner.operands[::-1]), y, x)
    return None


def masked_by_product(w: Work, op: Op) -> Value | None:
    """cast(c) * K is where(c, K, 0): equal but for the sign of a zero. K is finite, or there would be NaN."""
    x, number = op.operands[0], w.number(op.operands[1])
    flag = w.producer(x, "cast")
    if flag is None or flag.operands[0].dtype != "bool" or number is None or not isfinite(number):
        return None
    if x.dtype not in COMPUTE_FLOATS or op.operands[1].shape != ():
        return None
    return w.emit(op, "where", flag.operands[0], op.operands[1], w.constant(op, 0.0, x.dtype))


def flag_from_one(w: Work, op: Op) -> Value | None:
    """1 - cast(c) is cast(not c)."""
    flag = w.producer(op.operands[1], "cast")
    if flag is None or flag.operands[0].dtype != "bool" or w.number(op.operands[0]) != 1:
        return None
    if op.operands[1].type != op.results[0].type:
        return None
    return w.emit_with(op, "cast", (w.emit(op, "not", flag.operands[0]),), flag.attrs)


RULES: dict[str, tuple[Rule, ...]] = {
    "div": (divided_by_number, unshifted_softmax),
    "sub": (from_zero, flag_from_one),
    "matmul": (plain_accumulator, inner_extent_of_one, weight_by_rows),
    "not": (negated_order,),
    "where": (number_last,),
    "mul": (masked_by_product,),
}
for _name in (*UNARY, "reshape", "mul"):
    RULES[_name] = (*RULES.get(_name, ()), through_equal_parts)
