"""Products with weights: which form of the operands, which kernel, and where the columns go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dsv4c.ir.core import Attrs, Op, Value
from dsv4c.ir.dims import Extent, product
from dsv4c.ir.types import TensorType
from dsv4c.plan import Ref, View

from ..shapes import known, number, out_view
from ..weights import weight_ref
from .host import cpu_features
from .kernels.gemm import NR
from .lower import FunctionLowering
from .packing import panels_form
from .products.experts import gated_experts, gated_linear, linear_experts
from .products.linear import linear
from .products.registers import HELD, STEP
from .products.tuning import Product, Tile
from .rows.combine import combine
from .rows.order import expert_order
from .templates_rows import Template, kernel


def product_form(x: Value, w: Value) -> str:
    """How x and the weight meet: dot products of bf16 pairs where the CPU has them, else widened one by one."""
    if x.dtype == "bf16" and number(w.shape[-1]) % 2 == 0 and "avx512_bf16" in cpu_features():
        return "dot"
    return x.dtype


def tile(f: FunctionLowering, op: str, n: int, k: int, form: str, experts: int = 1) -> Tile:
    """The schedule parameters of a product, tuned or not."""
    return f.table.tuning.tile(Product(op, n, k, form, experts))


def rows_view(f: FunctionLowering, x: Value, rows: Extent, width: int, form: str) -> View:
    """The rows of an activation as a kernel of that form reads them."""
    return View(f.view(x, (rows, width)).ref, (rows, width // STEP[form]), HELD[form])


def weight_view(f: FunctionLowering, w: Value, form: str, transposed: bool = False) -> View:
    """A weight ``[.., N, K]`` in panels: ``[groups * panels, K / step, NR]``."""
    *groups, n, k = w.shape if not transposed else (*w.shape[:-2], w.shape[-1], w.shape[-2])
    count, step = product(tuple(groups)), STEP[form]
    ref = weight_ref(f, w, panels_form((count, n, k), w.dtype, step), transposed)
    return View(ref, (count * -(-number(n) // NR), number(k) // step, NR), HELD[form])


def lower_linear(f: FunctionLowering, op: Op) -> None:
    """``x [.., K]`` times a weight; slices that cut the result into columns get the memory they ask for."""
    x, w = op.operands
    (out,) = op.results
    rows, turned = product(x.shape[:-1]), not op.attrs["trans_b"]
    n, k = number(out.shape[-1]), number(x.shape[-1])
    form, cut = product_form(x, w), f.fusion.cuts.get(id(out), ())
    place = f.temp(rows * n, out.dtype) if cut else f.place(out)
    begin = 0
    for part in cut:
        f.places[id(part)] = Ref(place.kind, place.base, offset=rows * begin)
        begin += number(part.shape[-1])
    widths = tuple(number(part.shape[-1]) for part in cut)
    parameters = tile(f, "linear", n, k, form)
    name = kernel(
        f, linear, n=n, k=k, form=form, out=out.dtype, m=known(rows), segments=widths, tile=parameters
    )
    args = (
        rows_view(f, x, rows, k, form), weight_view(f, w, form, turned), View(place, (rows * n,), out.dtype),
    )  # fmt: skip
    f.launch(name, args, (rows, rows * n))


def lower_grouped_linear(f: FunctionLowering, op: Op) -> None:
    """One product a group, all in one launch, groups side by side in each row."""
    x, w = op.operands
    rows, groups, k = x.shape[0], number(x.shape[1]), number(x.shape[2])
    (out,), n, form = op.results, number(w.shape[1]), product_form(x, w)
    parameters = tile(f, "linear", groups * n, k, form)
    name = kernel(
        f, linear, n=n, k=k, form=form, out=out.dtype, m=known(rows), groups=groups, tile=parameters
    )
    size = rows * groups * n
    args = (rows_view(f, x, rows, groups * k, form), weight_view(f, w, form), out_view(f, out, (size,)))
    f.launch(name, args, (rows, size))


def lower_mlp(f: FunctionLowering, op: Op) -> None:
    """Two products and SwiGLU in one launch, and the product back."""
    x, gate, up, down = op.operands
    rows, n, k = product(x.shape[:-1]), number(gate.shape[0]), number(gate.shape[1])
    form = product_form(x, gate)
    hidden = Value(TensorType((rows, n), x.dtype))
    name = kernel(
        f, gated_linear, n=n, k=k, form=form, out=x.dtype, m=known(rows), limit=op.attrs["limit"],
        tile=tile(f, "gated_linear", n, k, form),
    )  # fmt: skip
    weights = (weight_view(f, gate, form), weight_view(f, up, form))
    f.launch(name, (rows_view(f, x, rows, k, form), *weights, out_view(f, hidden, hidden.shape)), (rows,))
    back: Attrs = {"trans_b": True, "out": ""}
    f.lower_op(Op("matmul", (hidden, down), back, op.results, op.loc))


def lower_experts(f: FunctionLowering, op: Op) -> None:
    """Sort pairs by expert; two grouped products and SwiGLU; the grouped product back; weighted sums of tokens."""
    x, chosen, mix, live, gate, up, down = op.operands
    (tokens, width), k, (experts, inner, _) = x.shape, number(chosen.shape[1]), map(number, gate.shape)
    pairs = tokens * k
    offsets, slot, source = (_ints(count) for count in (experts + 1, pairs, pairs))
    name = kernel(f, expert_order, k=k, experts=experts, tokens=known(tokens))
    made = tuple(out_view(f, v, v.shape) for v in (offsets, slot, source))
    f.launch(name, (f.view(chosen, (tokens, k)), f.view(live, (tokens,)), *made), (tokens, pairs))
    hidden, back = (Value(TensorType((pairs, n), x.dtype)) for n in (inner, number(width)))
    common: dict[str, Any] = {"experts": experts, "out": x.dtype, "pairs": known(pairs)}
    form = product_form(x, gate)
    name = kernel(
        f, gated_experts, n=inner, k=width, form=form, tokens=known(tokens), limit=op.attrs["limit"],
        tile=tile(f, "gated_experts", inner, number(width), form, experts), **common,
    )  # fmt: skip
    rows = (rows_view(f, x, tokens, number(width), form), f.view(source), f.view(offsets))
    weights = (weight_view(f, gate, form), weight_view(f, up, form))
    f.launch(name, (*rows, *weights, out_view(f, hidden, hidden.shape)), (tokens, pairs))
    form = product_form(hidden, down)
    parameters = tile(f, "linear_experts", number(width), inner, form, experts)
    name = kernel(f, linear_experts, n=width, k=inner, form=form, tile=parameters, **common)
    sorted_rows = (rows_view(f, hidden, pairs, inner, form), f.view(offsets))
    f.launch(name, (*sorted_rows, weight_view(f, down, form), out_view(f, back, back.shape)), (pairs,))
    _combine(f, op, back, slot, mix)


def _combine(f: FunctionLowering, op: Op, back: Value, slot: Value, mix: Value) -> None:
    (out,), (pairs, width), (tokens, k) = op.results, back.shape, mix.shape
    name = kernel(
        f, combine, n=number(width), k=number(k), dtype=out.dtype, tokens=known(tokens), rows=known(pairs)
    )
    args = (f.view(back), f.view(slot), f.view(mix, (tokens, k)), out_view(f, out, (tokens, width)))
    f.launch(name, args, (pairs, tokens, tokens * k))


def _ints(count: Extent) -> Value:
    return Value(TensorType((count,), "i32"))


PRODUCTS: Mapping[str, Template] = {
    "experts": lower_experts, "mlp": lower_mlp, "grouped_linear": lower_grouped_linear,
}  # fmt: skip
