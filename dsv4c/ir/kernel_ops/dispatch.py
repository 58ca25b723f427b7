"""Token-expert pairs on their way to the ranks that hold the experts, and back (architectures.md §13.3).

An expert has its weights in *slots*: rank r holds slots ``r * slots`` to ``(r + 1) * slots - 1``. A token-expert pair
names a slot; a number outside all of them, such as ``ranks * slots``, sends the pair nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core import ACTIVE, Attr, Value
from ..dims import Extent, product
from ..registry import Array, Kwargs, Require, checked
from ..types import BITS, COMPUTE_FLOATS, DTYPES, TensorType
from .collective import Operands, check_mesh, collective

TILE = 128  # channels that share a scale when rows travel in FP8 (architectures.md §9.1)
_WINDOW = {
    "slots": "expert slots of a rank", "first": "the first local slot that takes part", "count": "how many slots do",
}  # fmt: skip


def _check_pairs(slot: TensorType, mesh: str, ranks: int, slots: int, first: int, count: int) -> None:
    check_mesh(mesh, ranks)
    checked(slot.rank == 2 and slot.dtype == "i32", f"slots are {slot}; they are i32[tokens, per_token]")
    checked(first >= 0 and 1 <= count <= slots - first, f"slots {first} to {first + count} of a rank's {slots}")


def _dispatch_infer(
    x: TensorType, slot: TensorType, require: Require, mesh: str, ranks: int, slots: int, first: int, count: int,
    wire: str,
) -> tuple[TensorType, ...]:  # fmt: skip
    _check_pairs(slot, mesh, ranks, slots, first, count)
    checked(x.rank == 2 and x.dtype in COMPUTE_FLOATS, f"rows are {x}; they are [tokens, d] in a float dtype")
    checked(wire in ("", "f8e4m3"), f"wire = {wire!r}; use f8e4m3, or nothing for the dtype of the rows")
    require(x.shape[0], slot.shape[0])
    capacity = ranks * product(slot.shape)  # every pair of every rank may want this rank
    return TensorType((capacity, x.shape[1]), x.dtype), TensorType((count,), "i32"), TensorType(slot.shape, "i32")


def _dispatch(
    operands: Operands, mesh: str, ranks: int, slots: int, first: int, count: int, wire: str
) -> list[tuple[Array, ...]]:
    sent = [_on_wire(x, wire) for x, _ in operands]
    wanted = [slot.reshape(-1).astype(np.int64) for _, slot in operands]
    places = [np.full(w.shape, -1, np.int32) for w in wanted]
    results = []
    for here in range(ranks):
        rows, filled = np.zeros((ranks * wanted[0].size, sent[0].shape[1]), sent[0].dtype), 0
        counts = np.zeros(count, np.int32)
        for local in range(count):
            for there, slot in enumerate(wanted):
                (pairs,) = np.nonzero(slot == here * slots + first + local)
                stop = filled + pairs.size
                rows[filled:stop] = sent[there][pairs // operands[there][1].shape[1]]
                places[there][pairs] = np.arange(filled, stop)
                counts[local] += pairs.size
                filled = stop
        results.append((rows, counts))
    return [(*result, place.reshape(operands[0][1].shape)) for result, place in zip(results, places, strict=True)]


def _on_wire(x: Array, wire: str) -> Array:
    """Rows as they arrive: in FP8 each TILE channels share a power of two that brings the largest to 448 or less."""
    if not wire:
        return x
    rows, width = x.shape
    tiles = np.zeros((rows, -(-width // TILE), TILE), np.float32)
    tiles.reshape(rows, -1)[:, :width] = x.astype(np.float32)
    peak = np.maximum(np.abs(tiles).max(axis=-1, keepdims=True), np.float32(1e-4))
    scale = np.exp2(np.ceil(np.log2(peak / 448)))
    coded = (tiles / scale).astype(DTYPES[wire]).astype(np.float32) * scale
    out: Array = coded.reshape(rows, -1)[:, :width].astype(x.dtype)
    return out


def _dispatch_link(operands: Sequence[TensorType], results: Sequence[TensorType], attrs: Kwargs) -> Extent:
    x, slot = operands
    width = x.shape[1]
    row = width + (width + TILE - 1) // TILE if attrs["wire"] else width * (BITS[x.dtype] // 8)
    return product(slot.shape) * row * int(attrs["count"]) // int(attrs["slots"])


collective(
    "dispatch", _dispatch_infer, _dispatch, _dispatch_link,
    "Rows of token-expert pairs to the ranks that hold their slots: rows sorted by slot, counts, where pairs went",
    **_WINDOW, wire="f8e4m3 for a byte a channel and one scale a 128 channels on the link; empty for the rows' dtype",
)  # fmt: skip


def dispatch(x: Value, slot: Value, **attrs: Attr) -> tuple[Value, Value, Value]:
    """Send the row of each token-expert pair to the rank that holds its slot.

    ``x [tokens, d]``, ``slot`` i32 ``[tokens, k]``. Gives the rows that arrived here, ``[ranks * tokens * k, d]``,
    sorted by slot, then rank, then pair, zeros after them up to the worst case; how many each slot got, i32
    ``[count]``; and where each pair of this rank went, i32 ``[tokens, k]``, -1 where its slot takes no part.
    Bytes on links: ``tokens * k * d`` times the size of a channel, which is 1 and a 128th in FP8.
    """
    rows, counts, place = ACTIVE[-1].emit("dispatch", (x, slot), attrs)
    return rows, counts, place


def _combine_infer(
    rows: TensorType, slot: TensorType, place: TensorType, mix: TensorType, require: Require, mesh: str, ranks: int,
    slots: int, first: int, count: int,
) -> tuple[TensorType, ...]:  # fmt: skip
    _check_pairs(slot, mesh, ranks, slots, first, count)
    checked(rows.rank == 2 and rows.dtype in COMPUTE_FLOATS, f"rows are {rows}; they are [capacity, d], as dispatched")
    checked((place.dtype, mix.dtype) == ("i32", "f32"), f"places and weights are {place} and {mix}, not i32 and f32")
    for pairs in (place, mix):
        checked(pairs.rank == 2, f"{pairs} is not [tokens, per_token]")
        for have, want in zip(pairs.shape, slot.shape, strict=True):
            require(have, want)
    require(rows.shape[0], ranks * product(slot.shape))
    return (TensorType((slot.shape[0], rows.shape[1]), "f32"),)


def _combine(
    operands: Operands, mesh: str, ranks: int, slots: int, first: int, count: int
) -> list[tuple[Array, ...]]:
    results: list[tuple[Array, ...]] = []
    for _, slot, place, mix in operands:
        back = np.zeros((*slot.shape, operands[0][0].shape[1]), np.float32)
        for there, (rows, *_) in enumerate(operands):
            local = slot.astype(np.int64) - there * slots
            mine = (local >= first) & (local < first + count)
            back[mine] = rows[place[mine]].astype(np.float32)
        results.append(((back * mix[..., None]).sum(axis=1, dtype=np.float32),))
    return results


def _combine_link(operands: Sequence[TensorType], results: Sequence[TensorType], attrs: Kwargs) -> Extent:
    rows, slot, _, _ = operands
    sent = product(slot.shape) * rows.shape[1] * (BITS[rows.dtype] // 8)
    return sent * int(attrs["count"]) // int(attrs["slots"])


collective(
    "combine", _combine_infer, _combine, _combine_link,
    "Results of dispatched pairs back to their ranks, a token's summed with its weights, f32 [tokens, d]",
    **_WINDOW,
)  # fmt: skip


def combine(rows: Value, slot: Value, place: Value, mix: Value, **attrs: Attr) -> Value:
    """Send results back and sum a token's, weighted; pairs whose slot takes no part add nothing.

    ``rows`` in the order in which they arrived; ``slot``, ``place`` i32 and ``mix`` f32 ``[tokens, k]``; out f32
    ``[tokens, d]``. Bytes on links: ``tokens * k * d`` times the size of a channel.
    """
    (out,) = ACTIVE[-1].emit("combine", (rows, slot, place, mix), attrs)
    return out
