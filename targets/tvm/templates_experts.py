"""The routed experts: pairs sorted by expert, grouped products over the experts that are hit, rows put back."""

from __future__ import annotations

from collections.abc import Mapping

from dsv4c.ir.core import Attrs, Op, Value
from dsv4c.ir.dims import Extent, Shape
from dsv4c.ir.types import TensorType
from dsv4c.plan import View

from .kernels.combine import combine
from .kernels.expert_order import expert_order
from .kernels.gemm import gemm
from .kernels.grouped import grouped
from .lower import FunctionLowering
from .scalar import DTYPE
from .templates_rows import Template, kernel, known, out_view
from .weights import weight_panels


def lower_experts(f: FunctionLowering, op: Op) -> None:
    """Sort, gather, three grouped products with SwiGLU between, combine."""
    x, chosen, mix, live, gate, up, down = op.operands
    (tokens, width), k = x.shape, chosen.shape[1]
    experts, inner, _ = gate.shape
    pairs = tokens * k
    begins, slot, source = (_ints(count) for count in (experts + 1, pairs, pairs))
    name = kernel(f, expert_order, k=known(k), experts=known(experts), tokens=known(tokens))
    made = tuple(out_view(f, v, v.shape) for v in (begins, slot, source))
    f.launch(name, (f.view(chosen, (tokens, k)), f.view(live, (tokens,)), *made), (tokens, k, experts))
    rows = f.emit("gather", (x, source), {"batch": 0}, TensorType((pairs, width), x.dtype))
    products = (_grouped(f, rows, begins, w, (pairs, inner)) for w in (gate, up))
    hidden = f.emit("swiglu", tuple(products), {"limit": op.attrs["limit"]}, TensorType((pairs, inner), x.dtype))
    back = _grouped(f, hidden, begins, down, (pairs, width))
    options = {"n": width, "k": k, "tokens": tokens, "rows": pairs}
    name = kernel(f, combine, dtype=DTYPE[x.dtype], **{key: known(size) for key, size in options.items()})
    args = (f.view(back), f.view(slot), f.view(mix, (tokens, k)), out_view(f, op.results[0], x.shape))
    f.launch(name, args, (pairs, tokens, k, width))


def _ints(count: Extent) -> Value:
    return Value(TensorType((count,), "i32"))


def _grouped(f: FunctionLowering, rows: Value, begins: Value, w: Value, shape: Shape) -> Value:
    """Rows sorted by expert times their expert's matrix ``w[e] [N, K]``."""
    (experts, n, k), m = w.shape, rows.shape[0]
    out = Value(TensorType(shape, rows.dtype))
    types = (DTYPE[rows.dtype], DTYPE[w.dtype], DTYPE[out.dtype])
    name = kernel(f, grouped, experts=known(experts), n=known(n), k=known(k), m=known(m), types=types)
    ref, packed = weight_panels(f, w, (experts, n, k))
    args = (f.view(rows), f.view(begins), View(ref, packed, w.dtype), out_view(f, out, shape))
    f.launch(name, args, (m, experts, n, k))
    return out


def lower_mlp(f: FunctionLowering, op: Op) -> None:
    """Two products, SwiGLU, and the product back."""
    x, gate, up, down = op.operands
    shape = TensorType((*x.shape[:-1], gate.shape[0]), x.dtype)
    linear: Attrs = {"trans_b": True, "out": ""}
    products = tuple(f.emit("matmul", (x, w), linear, shape) for w in (gate, up))
    hidden = f.emit("swiglu", products, {"limit": op.attrs["limit"]}, shape)
    f.lower_op(Op("matmul", (hidden, down), linear, op.results, op.loc))


def lower_grouped_linear(f: FunctionLowering, op: Op) -> None:
    """One product a group, all in one launch, groups side by side in each row."""
    x, w = op.operands
    (rows, groups, k), n = x.shape, w.shape[1]
    types = (DTYPE[x.dtype], DTYPE[w.dtype], DTYPE[op.results[0].dtype])
    name = kernel(
        f, gemm, n=known(n), k=known(k), m=known(rows), groups=known(groups), batch="middle", types=types
    )
    panels = View(*weight_panels(f, w, (groups, n, k)), w.dtype)
    args = (f.view(x, x.shape), panels, out_view(f, op.results[0], (rows, groups, n)))
    f.launch(name, args, (groups, rows, n, k))


EXPERTS: Mapping[str, Template] = {
    "experts": lower_experts, "mlp": lower_mlp, "grouped_linear": lower_grouped_linear,
}  # fmt: skip
