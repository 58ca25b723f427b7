"""Ops whose loops no rule derives: matrix products, top-k, scatter, running sums. One function per op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsv4c.ir.core import IRError, Op, Value, located
from dsv4c.ir.dims import Extent, Shape, product
from dsv4c.ir.types import TensorType
from dsv4c.plan import Ref, View

from ..shapes import known
from ..weights import is_weight, weight_ref
from .kernels.argmax import argmax
from .kernels.cumsum import cumsum
from .kernels.gemm import NR, gemm
from .kernels.grouped import grouped
from .kernels.kernel import Kernel
from .kernels.offsets import offsets
from .kernels.pack import pack
from .kernels.scatter import scatter
from .kernels.topk import topk
from .lower import FunctionLowering
from .packing import panels_form
from .scalar import DTYPE, NARROW
from .templates_attention import ATTENTION, ATTENTION_TAKES
from .templates_hyper import HYPER, HYPER_TAKES
from .templates_products import PRODUCTS, lower_linear
from .templates_rows import ROWS, TAKES
from .templates_state import STATE, STATE_TAKES


def _kernel(f: FunctionLowering, stem: str, build: Callable[..., Kernel], **options: Any) -> str:
    text = f"{stem}({', '.join(f'{k}={v!r}' for k, v in sorted(options.items()))})"
    return f.table.get(stem, text, lambda name: build(name, **options))


def lower_matmul(f: FunctionLowering, op: Op) -> None:
    """A product with a weight reads panels packed ahead of time; with an activation, panels packed just before."""
    a, b = op.operands
    out = op.results[0]
    if is_weight(f.fusion, b) and b.tensor.rank == 2 and a.dtype == b.dtype:
        lower_linear(f, op)
        return
    if is_weight(f.fusion, b):
        *groups, n, k = b.shape if op.attrs["trans_b"] else (*b.shape[:-2], b.shape[-1], b.shape[-2])
        lead = _static_groups(f, op, tuple(groups), a)
        ref = weight_ref(f, b, panels_form((product(tuple(groups)), n, k), b.dtype), transposed=not op.attrs["trans_b"])
    else:
        n, k = out.shape[-1], a.shape[-1]
        a, b, lead = _same_batch(f, a, b)
        ref = _pack_activation(f, op, b, lead, n, k)
    _gemm(f, a, out, ref, lead, (n, k), b.dtype)


def _static_groups(f: FunctionLowering, op: Op, groups: Shape, a: Value) -> Shape:
    if groups and a.shape[:-2] != groups:
        raise IRError(
            located(f.function.name, op.loc), f"groups {groups} of the weight against {a.shape[:-2]}; they must agree"
        )
    return groups


def _same_batch(f: FunctionLowering, a: Value, b: Value) -> tuple[Value, Value, Shape]:
    """Operands with equal leading axes; what broadcasts is written out."""
    if b.tensor.rank == 2:
        return a, b, ()
    if a.shape[:-2] == b.shape[:-2]:
        return a, b, a.shape[:-2]
    rank = max(a.tensor.rank, b.tensor.rank)
    lead = tuple(x if x != 1 else y for x, y in zip(_padded(a, rank), _padded(b, rank), strict=True))
    wide = []
    for value in (a, b):
        shape = (*lead, *value.shape[-2:])
        same = value.shape == shape
        wide.append(
            value if same else f.emit("broadcast_to", (value,), {"shape": shape}, TensorType(shape, value.dtype))
        )
    return wide[0], wide[1], lead


def _padded(value: Value, rank: int) -> Shape:
    return (*[1] * (rank - value.tensor.rank), *value.shape[:-2])


def _pack_activation(f: FunctionLowering, op: Op, b: Value, lead: Shape, n: Extent, k: Extent) -> Ref:
    batch = product(lead)
    order, last = ("nk", (n, k)) if op.attrs["trans_b"] else ("kn", (k, n))
    dtype = DTYPE[b.dtype]
    kernel = _kernel(f, "pack", pack, order=order, n=known(n), k=known(k), batch=known(batch), types=(dtype, dtype))
    shape = (batch, _panels(n), k, NR)
    panels = f.temp(product(shape), b.dtype)
    f.launch(kernel, (f.view(b, (batch, *last)), View(panels, shape, b.dtype)), (batch, n, k))
    return panels


def _panels(n: Extent) -> Extent:
    return (n + (NR - 1)) // NR


def _gemm(
    f: FunctionLowering, a: Value, out: Value, panels: Ref, lead: Shape, nk: tuple[Extent, Extent], dtype: str
) -> None:
    n, k = nk
    types = (DTYPE[a.dtype], DTYPE[dtype], DTYPE[out.dtype])
    batch = product(lead)
    if lead:
        m = a.shape[-2]
        kernel = _kernel(
            f, "gemm", gemm, n=known(n), k=known(k), m=known(m), groups=known(batch), batch="leading", types=types
        )
        shapes: tuple[Shape, ...] = ((batch, m, k), (batch, _panels(n), k, NR), (batch, m, n))
        sizes: tuple[Extent, ...] = (batch, m, n, k)
    else:
        m = product(a.shape[:-1])
        kernel = _kernel(f, "gemm", gemm, n=known(n), k=known(k), m=known(m), types=types)
        shapes, sizes = ((m, k), (_panels(n), k, NR), (m, n)), (m, n, k)
    args = (f.view(a, shapes[0]), View(panels, shapes[1], dtype), View(f.place(out), shapes[2], out.dtype))
    f.launch(kernel, args, sizes)


def lower_ragged(f: FunctionLowering, op: Op) -> None:
    """Grouped product over packed experts; counts become offsets first."""
    x, w, counts = op.operands
    out = op.results[0]
    experts, n, k = w.shape
    m = x.shape[0]
    if not is_weight(f.fusion, w):
        raise IRError(f"{f.function.name}:{op.loc}", "the matrices of a ragged product must be weights")
    begins = f.temp(experts + 1, "i32")
    f.launch(
        _kernel(f, "offsets", offsets, experts=known(experts)),
        (f.view(counts), View(begins, (experts + 1,), "i32")),
        (experts,),
    )
    types = (DTYPE[x.dtype], DTYPE[w.dtype], DTYPE[out.dtype])
    kernel = _kernel(f, "grouped", grouped, experts=known(experts), n=known(n), k=known(k), m=known(m), types=types)
    panels = View(weight_ref(f, w, panels_form((experts, n, k), w.dtype)), (experts, _panels(n), k, NR), w.dtype)
    f.launch(
        kernel,
        (f.view(x), View(begins, (experts + 1,), "i32"), panels, View(f.place(out), out.shape, out.dtype)),
        (m, experts, n, k),
    )


def lower_topk(f: FunctionLowering, op: Op) -> None:
    """Rows are all axes but the last."""
    (x,) = op.operands
    k: Any = op.attrs["k"]
    rows, n = product(x.shape[:-1]), x.shape[-1]
    kernel = _kernel(f, "topk", topk, k=k, n=known(n), rows=known(rows))
    outs = tuple(View(f.place(r), (rows, k), r.dtype) for r in op.results)
    f.launch(kernel, (f.view(x, (rows, n)), *outs), (rows, n))


def lower_argmax(f: FunctionLowering, op: Op) -> None:
    """Over the last axis; another axis is moved there first."""
    x, axis = op.operands[0], op.attrs["axis"]
    rank = x.tensor.rank
    if axis != rank - 1:
        perm = (*(i for i in range(rank) if i != axis), axis)
        turned = TensorType(tuple(x.shape[int(str(p))] for p in perm), x.dtype)
        x = f.emit("transpose", (x,), {"perm": perm}, turned)
    if x.dtype in NARROW:
        x = f.emit("cast", (x,), {"dtype": "f32"}, TensorType(x.shape, "f32"))
    rows, n = product(x.shape[:-1]), x.shape[-1]
    kernel = _kernel(f, "argmax", argmax, n=known(n), rows=known(rows), dtype=DTYPE[x.dtype])
    f.launch(kernel, (f.view(x, (rows, n)), View(f.place(op.results[0]), (rows,), "i32")), (rows, n))


def lower_cumsum(f: FunctionLowering, op: Op) -> None:
    """The axis in the middle of three."""
    (x,) = op.operands
    axis: Any = op.attrs["axis"]
    shape = (product(x.shape[:axis]), x.shape[axis], product(x.shape[axis + 1 :]))
    kernel = _kernel(
        f, "cumsum", cumsum, n=known(shape[1]), inner=known(shape[2]), outer=known(shape[0]), dtype=DTYPE[x.dtype]
    )
    f.launch(kernel, (f.view(x, shape), View(f.place(op.results[0]), shape, x.dtype)), shape)


def lower_scatter(f: FunctionLowering, op: Op) -> None:
    """State is updated where it lies; anything else is first written to the result's memory."""
    x, index, rows = op.operands
    out = op.results[0]
    batch_axes: Any = op.attrs["batch"]
    if x.tensor.state:
        f.places[id(out)] = f.place(x)
    elif f.fusion.kept(x):
        f.copy(x, f.place(out))
    else:
        f.nest(f.fusion.producer(x), f.place(out))
    batch, capacity = product(x.shape[:batch_axes]), x.shape[batch_axes]
    width, count = product(x.shape[batch_axes + 1 :]), index.shape[-1]
    kernel = _kernel(
        f,
        "scatter",
        scatter,
        width=known(width),
        batch=known(batch),
        capacity=known(capacity),
        count=known(count),
        dtype=DTYPE[x.dtype],
        index=DTYPE[index.dtype],
    )
    args = (
        View(f.place(out), (batch, capacity, width), x.dtype),
        f.view(index, (batch, count)),
        f.view(rows, (batch, count, width)),
    )
    f.launch(kernel, args, (batch, capacity, count, width))


LOWER: dict[str, Callable[[FunctionLowering, Op], None]] = {
    "matmul": lower_matmul,
    "ragged_matmul": lower_ragged,
    "topk": lower_topk,
    "argmax": lower_argmax,
    "cumsum": lower_cumsum,
    "scatter": lower_scatter,
    **ROWS,
    **PRODUCTS,
    **ATTENTION,
    **HYPER,
    **STATE,
}


def has_template(op: Op) -> bool:
    """Whether a kernel op is lowered as it is; the others are expanded first."""
    takes = {**TAKES, **ATTENTION_TAKES, **HYPER_TAKES, **STATE_TAKES}
    return op.name in LOWER and (op.name not in takes or takes[op.name](op))
