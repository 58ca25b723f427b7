"""MLA with every head's matrix on the query and on the result, so that keys and values of all heads are never written
out (architectures.md §2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsv4c.ir.core import Op, Value
from dsv4c.ir.dims import Shape, product
from dsv4c.ir.types import TensorType

from .lowering import FunctionLowering
from .shapes import int_attr


def absorb_heads(f: FunctionLowering, op: Op, attend: Callable[[Op, int], None]) -> None:
    """``mla_attention`` as ``mla_absorbed`` between two products with halves of every head's matrix.

    ``attend`` launches the ``mla_absorbed``; its q_rope is the whole query, of which that many channels are skipped.
    """
    q, latents, rope_keys, kv_b, limit = op.operands
    (batch, length, heads, _), rank, (out,) = q.shape, latents.shape[2], op.results
    nope, width = int_attr(op, "nope"), int_attr(op, "width")
    cut = {"axis": 3, "start": 0, "stop": nope}
    plain = f.emit("slice", (q,), cut, TensorType((batch, length, heads, nope), q.dtype))
    both = _made(f, "reshape", kv_b, (heads, nope + width, rank), shape=(heads, nope + width, rank))
    into = _made(f, "slice", both, (heads, nope, rank), axis=1, start=0, stop=nope)
    into = _made(f, "transpose", into, (heads, rank, nope), perm=(0, 2, 1))
    out_of = _made(f, "slice", both, (heads, width, rank), axis=1, start=nope, stop=nope + width)
    query, mixed = (Value(TensorType((batch, length, heads, rank), q.dtype)) for _ in range(2))
    _per_head(f, op, plain, into, query)
    operands = (query, q, latents, rope_keys, limit)
    attend(Op("mla_absorbed", operands, {"scale": op.attrs["scale"]}, (mixed,), op.loc), nope)
    _per_head(f, op, mixed, out_of, out)


def _per_head(f: FunctionLowering, op: Op, x: Value, w: Value, out: Value) -> None:
    """``x [B, S, H, K]`` times each head's matrix ``[H, N, K]``."""
    shape = (product(x.shape[:2]), *x.shape[2:])
    rows = _made(f, "reshape", x, shape, shape=shape)
    f.places[id(rows)] = f.place(x)
    f.lower_op(Op("grouped_linear", (rows, w), {}, (out,), op.loc))


def _made(f: FunctionLowering, name: str, x: Value, to: Shape, **attrs: Any) -> Value:
    """The value of an op that the function does not have: of a weight, or of memory under another shape."""
    out = Value(TensorType(to, x.dtype))
    f.keeping.add_kept(Op(name, (x,), attrs, (out,), ""))
    return out
