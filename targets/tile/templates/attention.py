"""Attention over explicit caches, and the indexer that chooses among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dsv4c.ir.core import Op
from dsv4c.ir.types import TensorType

from ...heads import absorb_heads
from ...shapes import int_attr, number, out_view
from ..kernels.attention import mla_absorbed, mla_naive, sparse_attention
from ..kernels.indexer import lightning_indexer
from ..kernels.select import UNIT
from ..lower import FunctionLowering, Template
from ..scalar import aligned

CHUNKS = (128, 96, 80, 64, 48, 32, 16)  # channels of a weighted sum


def _tiles(heads: int, width: int) -> Iterator[Mapping[str, int]]:
    """Queries of a task, keys of a turn, channels of a sum."""
    rows = sorted({min(aligned(heads, 16), r) for r in (128, 64, 32, 16)}, reverse=True)
    chunk = next(c for c in CHUNKS if aligned(width, 16) % c == 0)
    for r in rows:
        for panel in (128, 64, 32, 16):
            yield {"rows": r, "panel": panel, "chunk": chunk}


def lower_sparse_attention(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    q, ring, kv, past, new, sinks, *others = op.operands
    (batch, length, heads, width), entries = q.shape, others[:1]
    options = {
        "heads": number(heads), "width": number(width), "window": number(ring.shape[1]), "entries": bool(entries),
        "top_k": number(others[1].shape[2]) if len(others) > 1 else 0, "rate": op.attrs["rate"],
        "scale": op.attrs["scale"], "dtype": q.dtype,
    }  # fmt: skip
    name = f.table.get(sparse_attention, options, _tiles(number(heads), number(width)))
    args = (*(f.view(x) for x in (q, ring, kv, past, new, sinks, *others)), out_view(f, op.results[0], q.shape))
    f.run_kernel(name, args, {"B": batch, "S": length, "N": entries[0].shape[1] if entries else 0})


def lower_indexer(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    q, _, keys, _ = op.operands
    (batch, length, heads, width), (out,) = q.shape, op.results
    options = {"heads": number(heads), "width": number(width), "dtype": q.dtype, **op.attrs}
    held = aligned(number(out.shape[2]), UNIT)
    tiles = [
        {"rows": aligned(number(heads), 16), "panel": panel, "chunk": chunk}
        for chunk in sorted({max(held, 2 * UNIT), 2 * UNIT}, reverse=True)
        for panel in (128, 64)
    ]
    name = f.table.get(lightning_indexer, options, tiles)
    args = (*(f.view(x) for x in op.operands), out_view(f, out, out.shape))
    f.run_kernel(name, args, {"B": batch, "S": length, "N": keys.shape[1]})


def lower_mla_absorbed(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    _absorbed(f, op, skip=0)


def _absorbed(f: FunctionLowering, op: Op, skip: int) -> None:
    """``skip`` channels stand before those of q_rope."""
    q_latent, q_rope, latents, rope_keys, limit = op.operands
    (batch, length, heads, rank), turned, (out,) = q_latent.shape, number(rope_keys.shape[2]), op.results
    options = {
        "heads": number(heads), "rank": number(rank), "turned": turned, "skip": skip, "dtype": q_latent.dtype,
        "top_k": number(limit.shape[2]) if limit.tensor.rank == 3 else 0, "scale": op.attrs["scale"],
    }  # fmt: skip
    name = f.table.get(mla_absorbed, options, _tiles(number(heads), number(rank)))
    views = (*(f.view(x) for x in (q_latent, q_rope, latents, rope_keys, limit)), out_view(f, out, out.shape))
    f.run_kernel(name, views, {"B": batch, "S": length, "T": latents.shape[1]})


def lower_mla_attention(f: FunctionLowering, op: Op) -> None:
    """A chunk of tokens meets keys and values of every head, written out; one token, or positions that are chosen, meet
    the latents themselves, for which each head's matrices go to the query and to the result.
    """
    q, limit = op.operands[0], op.operands[4]
    if q.shape[1] == 1 or limit.tensor.rank == 3:
        absorb_heads(f, op, lambda core, skip: _absorbed(f, core, skip))
    else:
        _naive(f, op)


def _naive(f: FunctionLowering, op: Op) -> None:
    q, latents, rope_keys, kv_b, past = op.operands
    (batch, length, heads, _), (_, count, _), (out,) = q.shape, latents.shape, op.results
    width, nope = int_attr(op, "width"), int_attr(op, "nope")
    both = TensorType((batch, count, heads * (nope + width)), q.dtype)
    expanded = f.emit("matmul", (latents, kv_b), {"trans_b": True, "out": ""}, both)
    options = {
        "heads": number(heads), "nope": nope, "turned": number(rope_keys.shape[2]), "width": width,
        "scale": op.attrs["scale"], "dtype": q.dtype,
    }  # fmt: skip
    name = f.table.get(mla_naive, options, _tiles(128, width))
    shape = batch, count, heads, nope + width
    views = f.view(q), f.view(expanded, shape), f.view(rope_keys), f.view(past), out_view(f, out, out.shape)
    f.run_kernel(name, views, {"B": batch, "S": length, "T": count})


ATTENTION: Mapping[str, Template] = {
    "sparse_attention": lower_sparse_attention, "lightning_indexer": lower_indexer,
    "mla_absorbed": lower_mla_absorbed, "mla_attention": lower_mla_attention,
}  # fmt: skip
