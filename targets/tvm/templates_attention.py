"""Attention over gathered keys, and the indexer that chooses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dsv4c.ir.core import Op, Value
from dsv4c.plan import View

from .attention.sparse import WIDE, sparse_attention
from .lower import FunctionLowering
from .products.registers import HELD, STEP
from .products.tuning import LANES
from .templates_products import product_form
from .templates_rows import Template, kernel, known, number, out_view


def held_view(f: FunctionLowering, x: Value, form: str) -> View:
    """A tensor as products of that form read it: its last axis in steps."""
    *lead, width = x.shape
    return View(f.view(x, x.shape).ref, (*lead, number(width) // STEP[form]), HELD[form])


def lower_sparse_attention(f: FunctionLowering, op: Op) -> None:
    """One launch; keys are read as scores need them and as sums need them."""
    q, ring, kv, past, new, sinks, *others = op.operands
    (batch, length, heads, width), entries = q.shape, others[:1]
    form = product_form(q, q)
    sizes = {"B": batch, "S": length, **({"N": entries[0].shape[1]} if entries else {})}
    name = kernel(
        f, sparse_attention, heads=number(heads), width=number(width), window=number(ring.shape[1]), form=form,
        dtype=q.dtype, scale=op.attrs["scale"], rate=op.attrs["rate"], entries=bool(entries),
        top_k=number(others[1].shape[2]) if len(others) > 1 else 0, sizes={s: known(x) for s, x in sizes.items()},
    )  # fmt: skip
    scored = [held_view(f, x, form) for x in (q, ring, kv)]
    plain = [f.view(x, x.shape) for x in (past, new, sinks)]
    more = [*(held_view(f, x, form) for x in entries), *(f.view(x, x.shape) for x in others[1:])]
    values = [f.view(x, x.shape) for x in (ring, kv, *entries)]
    (out,) = op.results
    f.launch(name, (*scored, *plain, *more, *values, out_view(f, out, out.shape)), tuple(sizes.values()))


def _takes_sparse(op: Op) -> bool:
    """Channels in whole register tiles, numbers for what the kernel is built for."""
    q, ring, *_ = op.operands
    width = q.shape[3]
    known = isinstance(width, int) and isinstance(q.shape[2], int) and isinstance(ring.shape[1], int)
    return known and (width == LANES or number(width) % WIDE == 0)


ATTENTION: Mapping[str, Template] = {"sparse_attention": lower_sparse_attention}
ATTENTION_TAKES: Mapping[str, Callable[[Op], bool]] = {"sparse_attention": _takes_sparse}
