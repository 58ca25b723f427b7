"""Core ops that reduce and multiply, as ONNX nodes."""

from __future__ import annotations

from typing import Any

from onnx import NodeProto, TensorProto, helper

from dsv4c.ir.dims import Extent

from .elementwise import narrow, widen
from .graph import Emitter, Graph, Site


def matmul(g: Graph, s: Site) -> str:
    """MatMul in f32, rounded once."""
    a, b = (widen(g, x, t.dtype) for x, t in zip(s.args, s.ins, strict=True))
    if s.attrs["trans_b"]:
        rank = s.ins[1].rank
        b = g.node("Transpose", b, perm=[*range(rank - 2), rank - 1, rank - 2])
    return narrow(g, g.node("MatMul", a, b), s.outs[0].dtype)


def ragged_matmul(g: Graph, s: Site) -> str:
    """A Loop over the experts that have rows; each product is appended to a sequence, joined at the end.

    Nothing is larger than x, the result and one expert's matrix. Slice stops at the last row of x by itself.
    """
    x, w, counts = s.args
    rows, width, narrow_dtype = s.ins[0].shape[0], s.ins[1].shape[1], s.ins[0].dtype
    wide = widen(g, x, narrow_dtype)
    sizes, total = g.cast(counts, "i64"), g.dim(rows)
    ends = g.node("CumSum", sizes, g.number(0))
    starts = g.node("Sub", ends, sizes)
    busy = g.node("Squeeze", g.node("NonZero", g.node("Less", g.number(0), sizes)), g.ints(0))
    trips = g.node("Squeeze", g.node("Shape", busy), g.ints(0))
    body = _expert_body(g, (wide, w, busy, starts, ends), narrow_dtype)
    seed = g.node("SequenceConstruct", g.filled(0, (0, width), "f32"))
    parts = g.node("Loop", trips, "", seed, body=body)
    done = g.node("ConcatFromSequence", parts, axis=0)
    used = g.node("Min", g.node("ReduceSum", sizes, g.ints(0), keepdims=1), total)
    rest = g.node("Concat", g.node("Sub", total, used), g.dim(width), axis=0)
    beyond = g.node("ConstantOfShape", rest)
    return narrow(g, g.node("Concat", done, beyond, axis=0), narrow_dtype)


def _expert_body(g: Graph, outer: tuple[str, ...], dtype: str) -> Any:
    """Loop body: append x[start:stop] times the transposed matrix of the trip's expert."""
    x, w, busy, starts, ends = outer
    trip, alive, parts = (f"{x}/{part}" for part in ("trip", "alive", "parts"))
    nodes: list[NodeProto]
    with g.body() as nodes:
        expert = g.node("Gather", busy, g.node("Unsqueeze", trip, g.ints(0)))
        span = g.node("Gather", starts, expert), g.node("Gather", ends, expert)
        mine = g.node("Slice", x, *span, g.ints(0))
        matrix = widen(g, g.node("Squeeze", g.node("Gather", w, expert), g.ints(0)), dtype)
        longer = g.node("SequenceInsert", parts, g.node("Gemm", mine, matrix, transB=1))
        again = g.node("Identity", alive)
    return helper.make_graph(
        nodes,
        "expert",
        [
            helper.make_tensor_value_info(trip, TensorProto.INT64, ()),
            helper.make_tensor_value_info(alive, TensorProto.BOOL, ()),
            helper.make_tensor_sequence_value_info(parts, TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info(again, TensorProto.BOOL, ()),
            helper.make_tensor_sequence_value_info(longer, TensorProto.FLOAT, None),
        ],
    )


def _reduced(g: Graph, s: Site, kind: str, x: str) -> str:
    axis: Any = s.attrs["axis"]
    return g.node(kind, x, g.ints(axis), keepdims=int(bool(s.attrs["keep"])))


def max_(g: Graph, s: Site) -> str:
    """ReduceMax. Of NaN ONNX says nothing, and onnxruntime skips it (in ArgMax too); the op hands it on."""
    dtype = s.outs[0].dtype
    return narrow(g, _reduced(g, s, "ReduceMax", widen(g, s.args[0], dtype)), dtype)


def sum_(g: Graph, s: Site) -> str:
    """ReduceSum, floats in f32, integers so that no partial sum needs more than 53 bits.

    onnxruntime 1.32 adds integers as doubles and saturates; the op wraps. i32 is added in i64 and cut; of i64 the
    upper and lower 32 bits are added apart. Both are exact for axes below 2^21.
    """
    (x,), dtype = s.args, s.outs[0].dtype
    if dtype == "i32":
        return g.cast(_reduced(g, s, "ReduceSum", g.cast(x, "i64")), "i32")
    if dtype != "i64":
        return narrow(g, _reduced(g, s, "ReduceSum", widen(g, x, dtype)), dtype)
    unit = g.number(2**32)
    low = g.node("BitwiseAnd", x, g.number(2**32 - 1))
    high = g.node("Div", g.node("Sub", x, low), unit)
    upper, lower = (_reduced(g, s, "ReduceSum", part) for part in (high, low))
    return g.node("Add", g.node("Mul", upper, unit), lower)


def argmax(g: Graph, s: Site) -> str:
    """ArgMax, which takes the first of equal elements."""
    out = g.node("ArgMax", widen(g, s.args[0], s.ins[0].dtype), axis=s.attrs["axis"], keepdims=0)
    return g.cast(out, "i32")


def cumsum(g: Graph, s: Site) -> str:
    """CumSum, floats in f32."""
    axis: Any = s.attrs["axis"]
    return narrow(g, g.node("CumSum", widen(g, s.args[0], s.ins[0].dtype), g.number(axis)), s.outs[0].dtype)


def topk(g: Graph, s: Site) -> tuple[str, ...]:
    """TopK, which by its specification puts the lower index first among equals.

    Where the axis may be shorter than k, -inf is joined up to k; a real -inf has the lower index and comes first,
    and what points at the padding becomes -1.
    """
    k: Any = s.attrs["k"]
    x, type_ = s.args[0], s.ins[0]
    count: Extent = type_.shape[-1]
    short = not isinstance(count, int) or count < k
    if short:
        missing = g.node("Max", g.node("Sub", g.ints(k), g.dim(count)), g.ints(0))
        lead = g.shape(type_.shape[:-1])
        shape = g.node("Concat", lead, missing, axis=0) if type_.rank > 1 else missing
        x = g.node("Concat", x, g.node("Expand", g.number(float("-inf"), "f32"), shape), axis=-1)
    values, indices = g.spread("TopK", (x, g.ints(k)), 2, axis=-1, largest=1, sorted=1)
    if short:
        indices = g.node("Where", g.node("Less", indices, g.dim(count)), indices, g.number(-1))
    return values, g.cast(indices, "i32")


EMIT: dict[str, Emitter] = {
    "matmul": matmul,
    "ragged_matmul": ragged_matmul,
    "sum": sum_,
    "max": max_,
    "argmax": argmax,
    "cumsum": cumsum,
    "topk": topk,
}
