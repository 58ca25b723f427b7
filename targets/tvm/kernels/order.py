"""int32 keys that sort like float32: the bits, with the lower 31 flipped for negative numbers."""

from __future__ import annotations

from tvm.ir import Expr
from tvm.script import tirx as T

LOWEST = -(2**31)  # key of no number: below that of -inf


def key(x: Expr) -> Expr:
    """Sortable int32 of a float32; both zeros give 0."""
    bits = T.reinterpret(x, dtype="int32")
    flipped = T.bitwise_xor(bits, T.bitwise_and(T.shift_right(bits, T.int32(31)), T.int32(0x7FFFFFFF)))
    return T.Select(flipped == T.int32(-1), T.int32(0), flipped)


def digit(x: Expr, p: Expr | int) -> Expr:
    """Byte p of a key, reversed: the largest key comes first; the sign bit sorts the other way."""
    unsigned = T.bitwise_xor(x, T.int32(0x7FFFFFFF))  # all bits but the sign: descending, as unsigned
    return T.bitwise_and(T.shift_right(unsigned, T.int32(8) * p), T.int32(255))
