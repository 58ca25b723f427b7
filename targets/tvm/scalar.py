"""Arithmetic of the IR on single elements, as TIR expressions; numpy's meaning, one rounding an op."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import tirx

from dsv4c.ir.core import Op
from dsv4c.ir.types import DTYPES

from .kernels import expr

Expr = Any  # tvm.tirx.PrimExpr; tvm ships no types
DTYPE = {
    "f32": "float32",
    "bf16": "bfloat16",
    "f16": "float16",
    "i8": "int8",
    "i32": "int32",
    "i64": "int64",
    "bool": "bool",
}
NARROW = ("bf16", "f16")


def int64(number: int) -> Expr:
    """An int64 constant."""
    return tirx.const(number, "int64")


def number(value: float, dtype: str) -> Expr:
    """A constant of a dtype, rounded to it; infinities included."""
    if dtype in NARROW:
        value = float(np.float64(value).astype(DTYPES[dtype]))
    if value in (float("inf"), float("-inf")):
        high = tirx.infinity(held(dtype))
        return high if value > 0 else -high
    return tirx.const(value, held(dtype))


def held(dtype: str) -> str:
    """TVM's name of the type that elements of a dtype have inside expressions."""
    return "float32" if dtype in NARROW else DTYPE[dtype]


def arithmetic(op: Op, operands: Sequence[Expr]) -> Expr:
    """An elementwise op on scalars; bf16 and f16 compute in f32 and round once, as the references do."""
    source, target = (op.operands[0].dtype if op.operands else ""), op.results[0].dtype
    if op.name == "cast":
        return convert(operands[0], source, target)
    if op.name == "bitcast":
        return from_bits(bits(operands[0], source), target)
    if op.name == "where":
        return tirx.Select(operands[0], operands[1], operands[2])
    out = (LOGICAL if source == "bool" else SCALAR)[op.name](*operands)
    return rounded(out, target) if target in NARROW else out


def convert(x: Expr, source: str, target: str) -> Expr:
    """A cast; conversions to narrow floats pass through f32, as the references' do."""
    if source == target:
        return x
    if source == "bool":
        return tirx.Select(x, tirx.const(1, held(target)), tirx.const(0, held(target)))
    if target == "bool":
        return tirx.NE(x, tirx.const(0, held(source)))
    x = x.astype(held(target))
    return rounded(x, target) if target in NARROW else x


def rounded(x: Expr, dtype: str) -> Expr:
    """The nearest number of a narrow float to an f32, ties to even, as an f32."""
    if dtype == "f16":
        return x.astype("float16").astype("float32")

    def nearest(b: Expr) -> Expr:
        odd = (b >> _u32(16)) & _u32(1)
        return tirx.reinterpret("float32", (b + odd + _u32(0x7FFF)) & _u32(0xFFFF0000))

    return expr.let(tirx.reinterpret("uint32", x), nearest)


def _u32(number: int) -> Expr:
    return tirx.const(number, "uint32")


def bits(x: Expr, dtype: str) -> Expr:
    """What an element looks like in memory: for bf16 and f16 as uint16, otherwise the element itself."""
    if dtype == "bf16":
        return (tirx.reinterpret("uint32", x) >> _u32(16)).astype("uint16")
    return tirx.reinterpret("uint16", x.astype("float16")) if dtype == "f16" else x


def from_bits(x: Expr, dtype: str) -> Expr:
    """The element of a dtype that looks like ``x`` in memory."""
    if dtype in NARROW:
        return expr.widen(tirx.reinterpret(DTYPE[dtype], x))
    if dtype == "bool" or x.ty.dtype == "bool":
        return x.astype(DTYPE[dtype])
    return tirx.reinterpret(DTYPE[dtype], x)


def stored(x: Expr, dtype: str) -> Expr:
    """An element as its buffer takes it."""
    return tirx.reinterpret("bfloat16", bits(x, dtype)) if dtype == "bf16" else x.astype(DTYPE[dtype])


SCALAR: dict[str, Callable[..., Expr]] = {
    "neg": lambda x: -x,
    "abs": lambda x: tirx.abs(x),
    "exp": expr.exp,
    "log": expr.log,
    "log1p": expr.log1p,
    "sqrt": expr.sqrt,
    "rsqrt": expr.rsqrt,
    "sin": expr.sin,
    "cos": expr.cos,
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "div": lambda x, y: x / y,
    "floordiv": lambda x, y: tirx.floordiv(x, y),
    "mod": lambda x, y: tirx.floormod(x, y),
    "maximum": lambda x, y: tirx.max(x, y),
    "minimum": lambda x, y: tirx.min(x, y),
    "eq": tirx.EQ,
    "lt": tirx.LT,
    "le": tirx.LE,
    "and": lambda x, y: tirx.bitwise_and(x, y),
    "or": lambda x, y: tirx.bitwise_or(x, y),
    "xor": lambda x, y: tirx.bitwise_xor(x, y),
    "shl": lambda x, y: tirx.shift_left(x, y),
    "shr": lambda x, y: tirx.shift_right(x, y),
}


LOGICAL: dict[str, Callable[..., Expr]] = {
    "not": lambda x: tirx.Not(x),
    "and": lambda x, y: tirx.And(x, y),
    "or": lambda x, y: tirx.Or(x, y),
    # LLVM has no comparison of 1-bit vectors.
    "xor": lambda x, y: tirx.NE(x.astype("int8"), y.astype("int8")),
    "eq": lambda x, y: tirx.EQ(x.astype("int8"), y.astype("int8")),
}
