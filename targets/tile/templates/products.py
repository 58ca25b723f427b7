"""Products with weights: dense, by groups, and of experts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dsv4c.ir.core import Attrs, IRError, Op, Value, located
from dsv4c.ir.dims import Extent, product
from dsv4c.ir.types import TensorType
from dsv4c.plan import View

from ...shapes import known, number, out_view
from ...weights import is_weight, weight_ref
from ..kernels.linear import linear, linear_experts
from ..kernels.packed import Codes
from ..lower import FunctionLowering, Template, dense
from ..packing import Scales
from ..scalar import aligned

DECODE = 16  # rows that a product with few of them is padded to


def tiles(m: int | None, n: int, k: int) -> Iterator[Mapping[str, int]]:
    """Rows, columns and depth of a product's tiles; ``m`` is None where many rows may come."""
    wide = aligned(n, 16)
    deep = aligned(k, 16)
    for rows in (DECODE,) if m is not None and m <= DECODE else (128, 64, 32, 16):
        for cols in sorted({min(wide, c) for c in (256, 128, 64, 32, 16)}, reverse=True):
            for depth in sorted({min(deep, d) for d in (256, 128, 64, 32)}, reverse=True):
                yield {"rows": rows, "cols": cols, "depth": depth}


@dataclass(frozen=True)
class Weight:
    """A weight ``[.., N, K]`` as a product reads it: its tensors, and what they are if they are codes and scales."""

    views: tuple[View, ...]
    codes: Codes | None = None

    @property
    def options(self) -> Mapping[str, object]:
        """What a kernel is told of it."""
        return {"codes": self.codes} if self.codes else {}

    def tiles(self, m: int | None, n: int, k: int) -> Iterator[Mapping[str, int]]:
        """As ``tiles``; those of codes go through the vector core, which holds less."""
        if self.codes is None:
            yield from tiles(m, n, k)
            return
        for rows in (DECODE,) if m is not None and m <= DECODE else (128, 64, 32, 16):
            for cols in sorted({min(aligned(n, 16), c) for c in (128, 64, 32, 16)}, reverse=True):
                for depth in self.codes.depths(k):
                    yield {"rows": rows, "cols": cols, "depth": depth}


def weight(f: FunctionLowering, w: Value, transposed: bool = False) -> Weight:
    """A weight ``[.., N, K]`` as the matrix of all its rows; as it is stored where it is codes that the chip makes
    numbers of.
    """
    if not transposed and (packed := _packed(f, w)):
        return packed
    n, k = (w.shape[-1], w.shape[-2]) if transposed else w.shape[-2:]
    shape = product((*w.shape[:-2], n)), k
    return Weight((View(weight_ref(f, w, dense(w.dtype), transposed), shape, w.dtype),))


def _packed(f: FunctionLowering, w: Value) -> Weight | None:
    op = f.keeping.producers.get(id(w))
    while op is not None and op.name == "reshape" and op.results[0].shape[-1] == op.operands[0].shape[-1]:
        op = f.keeping.producers.get(id(op.operands[0]))
    if op is None or op.name != "dequantize" or not all(is_weight(f.keeping, o) for o in op.operands):
        return None
    codes, scale = op.operands
    (*_, n, k), kind, rows, columns = op.results[0].shape, str(op.attrs["codes"]), op.attrs["rows"], op.attrs["columns"]
    assert isinstance(rows, int) and isinstance(columns, int)
    if kind not in f.table.chip.facts["codes"]["value"] or not (columns % 32 == 0 or columns >= number(k)):
        return None
    # An e8m0 scale is a power of two, which bf16 holds exactly, and which vector cores can read.
    how = Codes(kind, "bf16" if scale.dtype == "f8e8m0" else scale.dtype, columns)
    layout = Scales(how.fine(number(k)), rows, number(n), how.scale)
    across, total = how.across(number(k)), product(w.shape[:-1])
    shape = (total, across) if layout.fine else (across, total)
    return Weight(
        (View(weight_ref(f, codes, ""), (total, codes.shape[-1]), codes.dtype),
         View(weight_ref(f, scale, layout.form), shape, how.scale)), how,
    )  # fmt: skip


def lower_matmul(f: FunctionLowering, op: Op) -> None:
    """``x [.., K]`` times a weight."""
    x, w = op.operands
    (out,) = op.results
    if not is_weight(f.keeping, w) or w.tensor.rank != 2 or x.dtype != w.dtype:
        what = f"{x.type} times {w.type}: a tile program multiplies by a weight [N, K] of the same dtype"
        raise IRError(located(f.function.name, op.loc), what, op)
    rows, n, k = product(x.shape[:-1]), number(out.shape[-1]), number(x.shape[-1])
    turned = not op.attrs["trans_b"]
    read = weight(f, w, turned)
    options = {"n": n, "k": k, "dtype": x.dtype, "out": out.dtype, "groups": 1, **read.options}
    name = f.table.get(linear, options, read.tiles(known(rows), n, k))
    args = (f.view(x, (rows, k)), *read.views, out_view(f, out, (rows, n)))
    f.run_kernel(name, args, {"M": rows})


def lower_grouped_linear(f: FunctionLowering, op: Op) -> None:
    """One product a group, all in one launch, groups side by side in each row."""
    x, w = op.operands
    rows, groups, k = x.shape[0], number(x.shape[1]), number(x.shape[2])
    (out,), n = op.results, number(w.shape[1])
    read = weight(f, w)
    options = {"n": n, "k": k, "dtype": x.dtype, "out": out.dtype, "groups": groups, **read.options}
    name = f.table.get(linear, options, read.tiles(known(rows), n, k))
    args = (f.view(x, (rows, groups * k)), *read.views, out_view(f, out, (rows, groups * n)))
    f.run_kernel(name, args, {"M": rows})


def lower_mlp(f: FunctionLowering, op: Op) -> None:
    """Two products, SwiGLU, and the product back."""
    x, gate, up, down = op.operands
    wide = TensorType((*x.shape[:-1], gate.shape[0]), x.dtype)
    stored: Attrs = {"trans_b": True, "out": ""}
    parts = tuple(f.emit("matmul", (x, w), stored, wide) for w in (gate, up))
    inner = f.emit("swiglu", parts, {"limit": op.attrs["limit"]}, wide)
    f.lower_op(Op("matmul", (inner, down), stored, op.results, op.loc))


def lower_experts(f: FunctionLowering, op: Op) -> None:
    """Pairs sorted by expert, their rows gathered; products by expert around SwiGLU; weighted sums of tokens."""
    x, chosen, mix, live, gate, up, down = op.operands
    (tokens, _), k, (experts, inner, _) = x.shape, number(chosen.shape[1]), map(number, gate.shape)
    pairs = tokens * k
    offsets, source, slot = (Value(TensorType((n,), "i32")) for n in (experts + 1, pairs, pairs))
    f.lower_op(Op("expert_order", (chosen, live), {"experts": experts}, (offsets, source, slot), op.loc))
    rows = f.emit("gather", (x, source, offsets), {"shared": k}, TensorType((pairs, x.shape[1]), x.dtype))
    parts = [_by_expert(f, rows, w, offsets, (pairs, inner)) for w in (gate, up)]
    wide = TensorType((pairs, inner), x.dtype)
    hidden = f.emit("swiglu", (*parts, offsets), {"limit": op.attrs["limit"]}, wide)
    back = _by_expert(f, hidden, down, offsets, (pairs, x.shape[1]))
    f.lower_op(Op("combine", (back, slot, mix), {}, op.results, op.loc))


def _by_expert(
    f: FunctionLowering, x: Value, w: Value, offsets: Value, shape: tuple[Extent, Extent]
) -> Value:
    """Rows of each expert times its matrix."""
    experts, n, k = map(number, w.shape)
    out = Value(TensorType(shape, x.dtype))
    read = weight(f, w)
    options = {"n": n, "k": k, "dtype": x.dtype, "out": x.dtype, "experts": experts, **read.options}
    name = f.table.get(linear_experts, options, read.tiles(None, n, k))
    f.run_kernel(name, (f.view(x), *read.views, f.view(offsets), out_view(f, out, shape)), {"M": shape[0]})
    return out


PRODUCTS: Mapping[str, Template] = {
    "matmul": lower_matmul, "grouped_linear": lower_grouped_linear, "mlp": lower_mlp, "experts": lower_experts,
}  # fmt: skip
