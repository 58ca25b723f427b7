"""What reads and writes state, and routing: one launch each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dsv4c.ir.core import Op

from ..shapes import known, number, out_view
from .lower import FunctionLowering
from .rows import cache, compress, route
from .rows.tuning import LANES
from .templates_rows import Template, kernel


def lower_append(f: FunctionLowering, op: Op) -> None:
    """The rows of a chunk into their cache or ring."""
    state, rows, past, new = op.operands
    (batch, length, width), room = rows.shape, state.shape[1]
    f.alias(op)
    sizes = {"batch": known(batch), "length": known(length), "room": known(room)}
    ring = op.name == "append_ring"
    name = kernel(f, cache.append, width=number(width), dtype=state.dtype, ring=ring, **sizes)
    f.launch(name, tuple(f.view(x, x.shape) for x in (state, rows, past, new)), (batch, length, room))


def lower_compress(f: FunctionLowering, op: Op) -> None:
    """Entries and both tails in place."""
    kv, entries = op.operands[0], op.operands[4]
    (batch, length, _), (_, room, width) = kv.shape, entries.shape
    f.alias(op)
    name = kernel(
        f, compress.compress_kv, width=number(width), dtype=kv.dtype, batch=known(batch), length=known(length),
        room=known(room), **op.attrs,
    )  # fmt: skip
    f.launch(name, tuple(f.view(x, x.shape) for x in op.operands), (batch, length, room))


def lower_route_topk(f: FunctionLowering, op: Op) -> None:
    """Both results of every token."""
    logits, bias = op.operands
    tokens, experts = logits.shape
    name = kernel(f, route.route_topk, experts=number(experts), tokens=known(tokens), **op.attrs)
    outs = tuple(out_view(f, r, r.shape) for r in op.results)
    f.launch(name, (f.view(logits, logits.shape), f.view(bias), *outs), (tokens,))


def lower_route_hash(f: FunctionLowering, op: Op) -> None:
    """Weights of experts that are given."""
    logits, chosen = op.operands
    tokens, experts = logits.shape
    k = number(chosen.shape[1])
    name = kernel(f, route.route_hash, experts=number(experts), per_token=k, tokens=known(tokens), **op.attrs)
    (mix,) = op.results
    args = (f.view(logits, logits.shape), f.view(chosen, chosen.shape), out_view(f, mix, mix.shape))
    f.launch(name, args, (tokens,))


def _whole(op: Op) -> bool:
    """Channels and rates are numbers, channels in whole vectors, and the norm's weight is f32."""
    kv, entries, norm = op.operands[0], op.operands[4], op.operands[8]
    widths = (kv.shape[2], entries.shape[2], op.operands[5].shape[1])
    return all(isinstance(w, int) for w in widths) and number(entries.shape[2]) % LANES == 0 and norm.dtype == "f32"


def _rows(op: Op) -> bool:
    return isinstance(op.operands[1].shape[2], int)


def _routed(op: Op) -> bool:
    return isinstance(op.operands[0].shape[1], int)


STATE: Mapping[str, Template] = {
    "append_cache": lower_append, "append_ring": lower_append, "compress_kv": lower_compress,
    "route_topk": lower_route_topk, "route_hash": lower_route_hash,
}  # fmt: skip
STATE_TAKES: Mapping[str, Callable[[Op], bool]] = {
    "append_cache": _rows, "append_ring": _rows, "compress_kv": _whole, "route_topk": _routed, "route_hash": _routed,
}  # fmt: skip
