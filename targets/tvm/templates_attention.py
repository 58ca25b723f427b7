"""Attention over gathered keys, and the indexer that chooses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dsv4c.ir.core import Op, Value
from dsv4c.ir.dims import Extent, Shape
from dsv4c.plan import View

from ..heads import absorb_heads
from ..shapes import int_attr, known, number, out_view
from .attention.indexer import lightning_indexer
from .attention.mla import mla_absorbed, mla_attention
from .attention.sparse import sparse_attention
from .attention.widths import fitting_form
from .lower import FunctionLowering
from .products.registers import HELD, STEP
from .templates_products import product_form
from .templates_rows import Template, kernel


def held_view(f: FunctionLowering, x: Value, form: str, shape: Shape | None = None) -> View:
    """A tensor as attention of that form reads it: pairs of channels as words in the dot form."""
    return paired(f.view(x, x.shape if shape is None else shape), form)


def paired(view: View, form: str) -> View:
    """The same memory with its last axis in steps of the form; the f32 form takes every dtype as it is."""
    if form != "dot":
        return view
    *lead, width = view.shape
    return View(view.ref, (*lead, number(width) // STEP[form]), HELD[form])


def lower_sparse_attention(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    q, ring, kv, past, new, sinks, *others = op.operands
    (batch, length, heads, width), entries = q.shape, others[:1]
    form = fitting_form(product_form(q, q), number(width))
    sizes = {"B": batch, "S": length, **({"N": entries[0].shape[1]} if entries else {}), "Q": length * heads}
    name = kernel(
        f, sparse_attention, heads=number(heads), width=number(width), window=number(ring.shape[1]), form=form,
        dtype=q.dtype, scale=op.attrs["scale"], rate=op.attrs["rate"], entries=bool(entries),
        top_k=number(others[1].shape[2]) if len(others) > 1 else 0, sizes={s: known(x) for s, x in sizes.items()},
    )  # fmt: skip
    rows = (batch, length * heads, width)
    (out,) = op.results
    args = (
        held_view(f, q, form, rows), held_view(f, ring, form), held_view(f, kv, form), *map(f.view, (past, new, sinks)),
        *(held_view(f, x, form) for x in entries), *(f.view(x, x.shape) for x in others[1:]),
        paired(out_view(f, out, rows), form),
    )  # fmt: skip
    f.launch(name, args, tuple(sizes.values()))


def lower_indexer(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    q, head_weights, keys, past = op.operands
    (batch, length, heads, width), (out,) = q.shape, op.results
    form = fitting_form(product_form(q, q) if q.dtype == keys.dtype else "f32", number(width))
    sizes = {"B": batch, "S": length, "N": keys.shape[1]}
    name = kernel(
        f, lightning_indexer, heads=number(heads), width=number(width), form=form, dtype=q.dtype,
        sizes={s: known(x) for s, x in sizes.items()}, **op.attrs,
    )  # fmt: skip
    args = (
        held_view(f, q, form),
        f.view(head_weights),
        held_view(f, keys, form),
        f.view(past),
        out_view(f, out, out.shape),
    )
    f.launch(name, args, tuple(sizes.values()))


def lower_mla_absorbed(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    _absorbed(f, op, skip=0)


def _absorbed(f: FunctionLowering, op: Op, skip: int) -> None:
    """``skip`` channels stand before those of q_rope."""
    q_latent, q_rope, latents, rope_keys, limit = op.operands
    (batch, length, heads, rank), turned, (out,) = q_latent.shape, number(rope_keys.shape[2]), op.results
    form = fitting_form(product_form(q_latent, latents), number(rank), turned, skip)
    sizes = {"B": batch, "S": length, "T": latents.shape[1], "Q": length * heads}
    name = kernel(
        f, mla_absorbed, heads=number(heads), rank=number(rank), turned=turned, skip=skip, form=form,
        dtype=latents.dtype, scale=op.attrs["scale"], top_k=_top_k(limit),
        sizes={s: known(x) for s, x in sizes.items()},
    )  # fmt: skip
    rows = (batch, length * heads)
    args = (
        held_view(f, q_latent, form, (*rows, rank)), held_view(f, q_rope, form, (*rows, skip + turned)),
        held_view(f, latents, form), held_view(f, rope_keys, form), f.view(limit),
        paired(out_view(f, out, (*rows, rank)), form),
    )  # fmt: skip
    f.launch(name, args, tuple(sizes.values()))


def lower_mla_attention(f: FunctionLowering, op: Op) -> None:
    """One launch. Where tokens choose, expanding each one's keys would cost a head's matrix a key: the matrices go to
    the query and the result instead.
    """
    q, latents, rope_keys, kv_b, past = op.operands
    if _top_k(past):
        absorb_heads(f, op, lambda core, skip: _absorbed(f, core, skip))
        return
    (batch, length, heads, whole), rank, (out,) = q.shape, number(latents.shape[2]), op.results
    nope, width = int_attr(op, "nope"), int_attr(op, "width")
    turned = number(whole) - nope
    form = fitting_form(product_form(q, latents), rank, nope, turned, width)
    sizes = {"B": batch, "S": length, "T": latents.shape[1], "Q": length * heads}
    name = kernel(
        f, mla_attention, heads=number(heads), rank=rank, nope=nope, turned=turned, width=width, form=form,
        dtype=q.dtype, scale=op.attrs["scale"], sizes={s: known(x) for s, x in sizes.items()},
    )  # fmt: skip
    rows = (batch, length * heads)
    args = (
        held_view(f, q, form, (*rows, whole)), held_view(f, latents, form), held_view(f, rope_keys, form),
        held_view(f, kv_b, form, (1, *kv_b.shape)), f.view(past), paired(out_view(f, out, (*rows, width)), form),
    )  # fmt: skip
    f.launch(name, args, tuple(sizes.values()))


def _top_k(limit: Value) -> int:
    """How many positions a token names; 0 where the limit is the past."""
    return number(limit.shape[2]) if limit.tensor.rank == 3 else 0


def _numbers(*extents: Extent) -> bool:
    return all(isinstance(extent, int) for extent in extents)


def _takes_sparse(op: Op) -> bool:
    """Numbers for what the kernel is built for."""
    q, ring, *others = op.operands
    return _numbers(q.shape[2], q.shape[3], ring.shape[1], *(x.shape[2] for x in others[5:]))


def _takes_indexer(op: Op) -> bool:
    q, _, keys, _ = op.operands
    return _numbers(q.shape[2], q.shape[3]) and q.dtype == keys.dtype


def _takes_mla(op: Op) -> bool:
    q, *others = op.operands
    known_widths = all(_numbers(x.shape[-1]) for x in (*others[:-1], *(o for o in others[-1:] if o.tensor.rank == 3)))
    return known_widths and _numbers(q.shape[2], q.shape[3])


ATTENTION: Mapping[str, Template] = {
    "sparse_attention": lower_sparse_attention, "lightning_indexer": lower_indexer,
    "mla_absorbed": lower_mla_absorbed, "mla_attention": lower_mla_attention,
}  # fmt: skip
ATTENTION_TAKES: Mapping[str, Callable[[Op], bool]] = {
    "sparse_attention": _takes_sparse, "lightning_indexer": _takes_indexer, "mla_absorbed": _takes_mla,
    "mla_attention": _takes_mla,
}  # fmt: skip
