"""Ops that work row by row on the vector core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256

from dsv4c.ir.builder import Builder, const
from dsv4c.ir.core import IRError, Op, Value, located
from dsv4c.ir.dims import Extent, product
from dsv4c.ir.types import Bundle, TensorType, is_linear
from dsv4c.plan import DERIVED, Ref, View

from ...shapes import angle_axes, number, out_view, rows_of
from ..kernels import angles, hyper, lines, norm, rope, route
from ..kernels.order import combine, expert_order, live_experts
from ..logical import Program
from ..lower import FunctionLowering, Template, dense
from ..scalar import aligned

ROWS_TRIED = (64, 32, 16, 8, 4, 2, 1)
WHOLE = (64, 32, 16, 8)  # where tokens lie in lanes, or columns are spread
FEW = (8, 16)  # where each row is much work: the other cores would wait
WIDE = (4096, 2048, 1024, 512, 256, 128, 64, 32)


def row_tiles(rows: tuple[int, ...] = ROWS_TRIED) -> Iterator[Mapping[str, int]]:
    """Rows a task: many short ones, or few long ones."""
    return ({"rows": n} for n in rows)


def blocks(width: int, rows: tuple[int, ...], most: int = 4096) -> Iterator[Mapping[str, int]]:
    """Rows and columns a tile."""
    whole = aligned(width, 16)
    for n in rows:
        for cols in sorted({min(whole, c) for c in WIDE if c <= most}, reverse=True):
            yield {"rows": n, "cols": cols}


def columns(width: int, most: int) -> Iterator[Mapping[str, int]]:
    """Columns a tile."""
    return ({"cols": b["cols"]} for b in blocks(width, (1,), most))


def constant(f: FunctionLowering, data: tuple[float, ...]) -> View:
    """f32 numbers that a kernel reads, kept beside the weights of the function."""
    name = f"constant_{sha256(repr(data).encode()).hexdigest()[:10]}"
    if name not in f.module.functions:
        with Builder(f.module, name) as b:
            b.done(const(data, "f32"), kind="weights")
    holder = next((p for p in f.function.params if isinstance(p.type, Bundle) and not is_linear(p.type)), None)
    if holder is None:
        raise IRError(f.function.name, "constants lie beside weights, and this function has none")
    ref = Ref("param", holder.name, path=f"{DERIVED}{f.plan.derive(name, ())}", form=dense("f32"))
    return View(ref, (len(data),), "f32")


def lower_rms_norm(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    x, *w = op.operands
    rows, width = rows_of(x)
    options = {"width": width, "dtype": x.dtype, "weight": w[0].dtype if w else "", "eps": op.attrs["eps"]}
    name = f.table.get(norm.rms_norm, options, row_tiles())
    args = (f.view(x, (rows, width)), *map(f.view, w), out_view(f, op.results[0], (rows, width)))
    f.run_kernel(name, args, {"M": rows})


def lower_layer_norm(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    x, w, bias = op.operands
    rows, width = rows_of(x)
    options = {"width": width, "dtype": x.dtype, "weight": w.dtype, "eps": op.attrs["eps"]}
    name = f.table.get(norm.layer_norm, options, row_tiles())
    args = (f.view(x, (rows, width)), f.view(w), f.view(bias), out_view(f, op.results[0], (rows, width)))
    f.run_kernel(name, args, {"M": rows})


def lower_rope(f: FunctionLowering, op: Op) -> None:
    """rope and norm_rope: one launch."""
    x, cos, sin, *w = op.operands
    axes = angle_axes(x, cos)
    if axes is None or (axes[0] != 1 and axes[1] != 1):
        raise IRError(located(f.function.name, op.loc), "angles do not belong to the tokens of x", op)
    tokens, heads = axes[0] * axes[1], number(axes[2])
    width, half = number(x.shape[-1]), number(cos.shape[-1])
    options = {"width": width, "half": half, "heads": heads, "dtype": x.dtype, **op.attrs}
    build: Callable[..., Program] = rope.rope
    if op.name == "norm_rope":
        build, options["weight"] = rope.norm_rope, w[0].dtype if w else ""
    name = f.table.get(build, options, row_tiles())
    shape, turns = (tokens, heads, width), (tokens, half)
    angle = (f.view(cos, turns), f.view(sin, turns))
    args = (f.view(x, shape), *map(f.view, w), *angle, out_view(f, op.results[0], shape))
    f.run_kernel(name, args, {"M": tokens})


def lower_rope_angles(f: FunctionLowering, op: Op) -> None:
    """Both results in one launch."""
    (positions,) = op.operands
    rows, half = product(positions.shape), number(op.results[0].shape[-1])
    name = f.table.get(angles.rope_angles, {"half": half, "factor": op.attrs["factor"]}, row_tiles(WHOLE))
    outs = (out_view(f, r, (rows, half)) for r in op.results)
    f.run_kernel(name, (f.view(positions, (rows,)), frequencies(f, op), *outs), {"M": rows})


def frequencies(f: FunctionLowering, op: Op) -> View:
    """The op's frequencies as data."""
    data = op.attrs["frequencies"]
    assert isinstance(data, tuple)
    return constant(f, tuple(float(str(x)) for x in data))


def lower_swiglu(f: FunctionLowering, op: Op) -> None:
    """One launch; a third operand bounds the rows that count."""
    gate, up, *offsets = op.operands
    rows, width = rows_of(gate)
    experts = number(offsets[0].shape[0]) - 1 if offsets else 0
    options = {"width": width, "dtype": gate.dtype, "limit": op.attrs["limit"], "experts": experts}
    name = f.table.get(lines.swiglu, options, blocks(width, (32, 16, 8, 4, 1), 1024))
    shape = (rows, width)
    args = (f.view(gate, shape), f.view(up, shape), *map(f.view, offsets), out_view(f, op.results[0], shape))
    f.run_kernel(name, args, {"M": rows})


def _sizes(x: Value) -> tuple[Extent, int, int]:
    """Tokens, streams, width of ``x [.., n, d]``."""
    return product(x.shape[:-2]), number(x.shape[-2]), number(x.shape[-1])


def lower_site(f: FunctionLowering, op: Op) -> None:
    """hyper_pre and hyper_head: products of parts of the streams with ``fn``, then gates and what they weigh."""
    x, fn, base, scale = op.operands
    tokens, n, width = _sizes(x)
    outs, whole = number(fn.shape[0]), n * width
    lanes = (outs + hyper.MORE) * hyper.LANES
    shape = ((tokens + hyper.LANES - 1) // hyper.LANES, -(-whole // hyper.PART), lanes)
    streams, sums = f.view(x, (tokens, whole)), out_view(f, Value(TensorType(shape, "f32")), shape)
    options = {"outs": outs, "whole": whole, "dtype": x.dtype}
    name = f.table.get(hyper.hyper_mixes, options, columns(whole, 1024))
    f.run_kernel(name, (streams, f.view(fn), sums), {"T": tokens})
    build: Callable[..., Program] = hyper.hyper_pre if op.name == "hyper_pre" else hyper.hyper_head
    options = {"n": n, "width": width, "dtype": x.dtype, **op.attrs}
    name = f.table.get(build, options, columns(width, 1024))
    shapes = ((tokens, width), (tokens, n), (tokens, n * n))
    outputs = (out_view(f, r, shape) for r, shape in zip(op.results, shapes, strict=False))
    f.run_kernel(name, (streams, sums, f.view(base), f.view(scale), *outputs), {"T": tokens})


def lower_hyper_post(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    y, x, post, mix = op.operands
    tokens, n, width = _sizes(x)
    name = f.table.get(hyper.hyper_post, {"n": n, "width": width, "dtype": x.dtype}, blocks(width, FEW, 1024))
    shapes = ((y, width), (x, n * width), (post, n), (mix, n * n))
    args = (f.view(value, (tokens, size)) for value, size in shapes)
    f.run_kernel(name, (*args, out_view(f, op.results[0], (tokens, n * width))), {"T": tokens})


def lower_route_topk(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    logits, bias = op.operands
    tokens, experts = logits.shape
    name = f.table.get(route.route_topk, {"experts": number(experts), **op.attrs}, row_tiles(FEW))
    f.run_kernel(name, (f.view(logits), f.view(bias), *(out_view(f, r, r.shape) for r in op.results)), {"T": tokens})


def lower_route_hash(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    logits, chosen = op.operands
    tokens, experts = logits.shape
    options = {"experts": number(experts), "per_token": number(chosen.shape[1]), **op.attrs}
    name = f.table.get(route.route_hash, options, row_tiles(FEW))
    (mix,) = op.results
    f.run_kernel(name, (f.view(logits), f.view(chosen), out_view(f, mix, mix.shape)), {"T": tokens})


def lower_expert_order(f: FunctionLowering, op: Op) -> None:
    """Padding reaches no expert; then every expert finds its pairs."""
    chosen, live, alive = *op.operands, op.operands[0]
    offsets, order, slot = op.results
    (tokens, k), experts = chosen.shape, number(offsets.shape[0]) - 1
    alive = Value(chosen.tensor)
    name = f.table.get(live_experts, {"k": number(k), "experts": experts}, row_tiles(WHOLE))
    f.run_kernel(name, (f.view(chosen), f.view(live, (tokens,)), out_view(f, alive, alive.shape)), {"T": tokens})
    pairs = slot.shape[0]
    name = f.table.get(expert_order, {"experts": experts}, [{}])
    outs = (out_view(f, value, value.shape) for value in (offsets, order, slot))
    f.run_kernel(name, (f.view(alive, (pairs,)), *outs), {"P": pairs})


def lower_combine(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    x, slot, mix = op.operands
    (pairs, width), (tokens, k) = x.shape, mix.shape
    options = {"k": number(k), "width": number(width), "dtype": x.dtype}
    name = f.table.get(combine, options, [{"cols": b["cols"]} for b in blocks(number(width), (1,))])
    args = (f.view(x), f.view(slot, (tokens, k)), f.view(mix), out_view(f, op.results[0], (tokens, width)))
    f.run_kernel(name, args, {"T": tokens, "P": pairs})


ROWS: Mapping[str, Template] = {
    "rms_norm": lower_rms_norm, "layer_norm": lower_layer_norm, "rope": lower_rope, "norm_rope": lower_rope,
    "rope_angles": lower_rope_angles, "swiglu": lower_swiglu, "hyper_pre": lower_site, "hyper_head": lower_site,
    "hyper_post": lower_hyper_post, "route_topk": lower_route_topk, "route_hash": lower_route_hash,
    "expert_order": lower_expert_order, "combine": lower_combine,
}  # fmt: skip
