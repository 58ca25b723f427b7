"""Elementwise ops with numpy's broadcasting: one shape rule, a table of names.

In bf16 and f16 every op computes in f32 and rounds once, to nearest even. ml_dtypes and numpy mean the same, but have
an exp of their own for each dtype, whose last bit differs: so the references cast themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dims import Extent, Shape
from ..registry import Array, Require, checked, define, no_work, per_result
from ..types import COMPUTE_FLOATS, DTYPES, INTEGERS, TensorType


def broadcast(shapes: Sequence[Shape], require: Require) -> Shape:
    """The joint shape of operands under numpy's rules; extents not known to be equal are required to be."""
    rank = max(map(len, shapes))
    out: list[Extent] = []
    for axis in range(rank):
        extents = [s[axis - rank + len(s)] for s in shapes if axis - rank + len(s) >= 0]
        wide = [e for e in extents if e != 1]
        for other in wide[1:]:
            require(wide[0], other)
        out.append(wide[0] if wide else 1)
    return tuple(out)


def _same(kinds: tuple[str, ...], result: str | None, count: int) -> Any:
    def infer(*operands: TensorType, require: Require) -> tuple[TensorType, ...]:
        checked(len(operands) == count, f"takes {count} operands, not {len(operands)}")
        dtype = operands[0].dtype
        same = all(o.dtype == dtype for o in operands)
        checked(same, f"operands are {', '.join(map(str, operands))}; cast to one dtype")
        checked(dtype in kinds, f"does not work on {dtype}; use {', '.join(kinds)}")
        return (TensorType(broadcast([o.shape for o in operands], require), result or dtype),)

    return infer


def _quiet(function: Any) -> Any:
    def reference(*operands: Array) -> Array:
        dtype = operands[0].dtype
        narrow = dtype in (DTYPES["bf16"], DTYPES["f16"])
        with np.errstate(all="ignore"):
            out: Array = function(*(o.astype(np.float32) for o in operands)) if narrow else function(*operands)
            return out.astype(dtype) if narrow and out.dtype == np.float32 else out

    return reference


def _rsqrt(x: Array) -> Array:
    out: Array = np.float32(1) / np.sqrt(x)
    return out


_NUMBERS = (*COMPUTE_FLOATS, *INTEGERS)
_WHOLE = (*INTEGERS, "bool")

_TABLE: tuple[tuple[str, tuple[str, ...], str | None, Any, str], ...] = (
    ("neg", _NUMBERS, None, np.negative, "-x"),
    ("abs", _NUMBERS, None, np.abs, "|x|"),
    ("exp", COMPUTE_FLOATS, None, np.exp, "e to the x"),
    ("log", COMPUTE_FLOATS, None, np.log, "Natural logarithm"),
    ("log1p", COMPUTE_FLOATS, None, np.log1p, "log(1 + x), accurate near 0"),
    ("sqrt", COMPUTE_FLOATS, None, np.sqrt, "Square root"),
    ("rsqrt", COMPUTE_FLOATS, None, _rsqrt, "1 / sqrt(x)"),
    ("sin", COMPUTE_FLOATS, None, np.sin, "Sine of x in radians"),
    ("cos", COMPUTE_FLOATS, None, np.cos, "Cosine of x in radians"),
    ("not", ("bool",), None, np.logical_not, "Logical negation"),
    ("add", _NUMBERS, None, np.add, "x + y; integers wrap"),
    ("sub", _NUMBERS, None, np.subtract, "x - y; integers wrap"),
    ("mul", _NUMBERS, None, np.multiply, "x * y; integers wrap"),
    ("div", COMPUTE_FLOATS, None, np.divide, "x / y"),
    ("floordiv", INTEGERS, None, np.floor_divide, "x / y rounded towards minus infinity; y is not 0"),
    ("mod", INTEGERS, None, np.mod, "x - y * floordiv(x, y), with the sign of y; y is not 0"),
    ("maximum", _NUMBERS, None, np.maximum, "The larger of x and y"),
    ("minimum", _NUMBERS, None, np.minimum, "The smaller of x and y"),
    ("eq", (*_NUMBERS, "bool"), "bool", np.equal, "x == y"),
    ("lt", _NUMBERS, "bool", np.less, "x < y"),
    ("le", _NUMBERS, "bool", np.less_equal, "x <= y"),
    ("and", _WHOLE, None, np.bitwise_and, "Bitwise and; logical on bool"),
    ("or", _WHOLE, None, np.bitwise_or, "Bitwise or; logical on bool"),
    ("xor", _WHOLE, None, np.bitwise_xor, "Bitwise exclusive or"),
    ("shl", INTEGERS, None, np.left_shift, "x shifted left by y bits, 0 <= y < width"),
    ("shr", INTEGERS, None, np.right_shift, "x shifted right by y bits, keeping the sign, 0 <= y < width"),
)

for _name, _kinds, _result, _function, _doc in _TABLE:
    _count = getattr(_function, "nin", 1)  # numpy's own functions know; _rsqrt is the only other one
    define(_name, _same(_kinds, _result, _count), _quiet(_function), _doc, work=per_result, kind="elementwise")


def _where_infer(c: TensorType, x: TensorType, y: TensorType, require: Require) -> tuple[TensorType, ...]:
    checked(c.dtype == "bool", f"the condition is {c.dtype}, not bool")
    checked(x.dtype == y.dtype, f"the branches are {x} and {y}; cast to one dtype")
    return (TensorType(broadcast([c.shape, x.shape, y.shape], require), x.dtype),)


define("where", _where_infer, np.where, "x where the condition holds, else y", work=per_result, kind="elementwise")


def _cast_infer(x: TensorType, require: Require, dtype: str) -> tuple[TensorType, ...]:
    checked(dtype in DTYPES, f"unknown dtype {dtype!r}")
    return (TensorType(x.shape, dtype),)


def _cast(x: Array, dtype: str) -> Array:
    with np.errstate(all="ignore"):
        if x.dtype == DTYPES["f4e2m1"] or DTYPES[dtype].itemsize == 1:
            x = x.astype(np.float32) if x.dtype.kind not in "iub" else x
        return x.astype(DTYPES[dtype])


define(
    "cast", _cast_infer, _cast,
    "The same numbers in another dtype, rounded to nearest even; floats to integers truncate",
    work=no_work, kind="elementwise", attrs={"dtype": "the dtype of the result"},
)


def _bitcast_infer(x: TensorType, require: Require, dtype: str) -> tuple[TensorType, ...]:
    same = dtype in DTYPES and DTYPES[dtype].itemsize == DTYPES[x.dtype].itemsize
    checked(same, f"cannot read the bits of {x.dtype} as {dtype}; the widths differ")
    return (TensorType(x.shape, dtype),)


def _bitcast(x: Array, dtype: str) -> Array:
    return x.view(DTYPES[dtype])


define(
    "bitcast", _bitcast_infer, _bitcast, "The same bits read as another dtype of the same width",
    kind="elementwise", attrs={"dtype": "the dtype of the result"},
)
