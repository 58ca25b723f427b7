"""V4's compressors: one entry for every ``rate`` tokens (architectures.md §4.4)."""

from __future__ import annotations

from ..build import Kernel
from ..logical import Piece, Program, Tensor
from ..scalar import Int, less, most
from .norm import inverse_rms

MASKED = -1e30


def compress_kv(
    *, width: int, channels: int, rate: int, tail: int, overlap: bool, half: int, eps: float, dtype: str, weight: str,
    stages: int,
) -> Program:  # fmt: skip
    """The entries ``[B, N, width]`` of windows that a chunk completes. ``kv`` and ``gate [B, S, channels]`` are its
    projections, ``tail_kv`` and ``tail_gate [B, tail, channels]`` those of the tokens before it; ``bias`` f32
    ``[rate, channels]``, ``norm [width]``; ``cos`` and ``sin`` f32 ``[B, windows, half]`` of the windows' first tokens.
    """
    k = Kernel("compress_kv", stages)
    batch, length, count, windows = (k.size(name) for name in ("B", "S", "N", "W"))
    kv, gate = (k.tensor(name, dtype, batch, length, channels) for name in ("kv", "gate"))
    past, fresh = k.tensor("past", "i32", batch), k.tensor("fresh", "i32", batch)
    entries = k.tensor("entries", dtype, batch, count, width, role="inout")
    tails = [k.tensor(name, dtype, batch, tail, channels) for name in ("tail_kv", "tail_gate")]
    bias, norm = k.tensor("bias", "f32", rate, channels), k.tensor("norm", weight, width)
    cos, sin = (k.tensor(name, "f32", batch, windows, half) for name in ("cos", "sin"))
    back = 1 if overlap else 0
    slots = (1 + back) * rate
    scale = k.load(norm.row(0), 1, width)
    biases = k.vec(slots, width, name="bias")
    for part in range(1 + back):
        k.load_into(biases.part(part * rate, rate), bias.window(part * width, rate, width, channels))
    for task in k.tasks(batch * windows):
        b = task // windows
        before, there = k.read(past, b), k.read(fresh, b)
        number = before // rate + task % windows
        with k.when(less((number + 1) * rate - 1, before + there)):
            values, logits = k.vec(slots, width, dtype), k.vec(slots, width, dtype)
            for slot in k.loop(slots):
                at = (number - back) * rate + slot  # the token of this slot; before the first token there is none
                column = slot // rate * width if overlap else 0
                for tile, source, old in ((values, kv, tails[0]), (logits, gate, tails[1])):
                    with k.when(less(at, before)):
                        held = (b * tail + most(at, 0) % tail) * channels + column
                        k.load_into(tile.part(slot), old.window(held, 1, width, width))
                    with k.when(less(before - 1, at)):
                        new = (b * length + at - before) * channels + column
                        k.load_into(tile.part(slot), source.window(new, 1, width, width))
            pooled = _pooled(k, values, logits, biases, number, rate, overlap, dtype)
            normed = k.mul(pooled, inverse_rms(k, k.sum(k.mul(pooled, pooled)), width, eps))
            normed = k.mul(normed if weight == "f32" else k.rounded(normed, dtype), scale)
            angles = tuple(k.load(t.window(task * half, 1, half, half), 1, half) for t in (cos, sin))
            offset = (b * count + number) * width
            _store(k, k.rounded(normed, dtype), entries, offset, (angles[0], angles[1]), half)
    return k.done()


def _pooled(
    k: Kernel, values: Piece, logits: Piece, biases: Piece, number: Int, rate: int, overlap: bool, dtype: str
) -> Piece:
    """The weighted sum over slots, ``[1, width]``, rounded; window 0 has no window before it."""
    wide = [tile if dtype == "f32" else k.cast(tile, "f32") for tile in (values, logits)]
    scores = k.add(wide[1], biases)
    if overlap:
        with k.when(less(number, 1)):
            k.copy(MASKED, scores.part(0, rate))
    powers = k.exp(k.sub(scores, k.largest(scores, axis=0)))
    weights = k.div(powers, k.sum(powers, axis=0))
    return k.rounded(k.sum(k.mul(weights, wide[0]), axis=0), dtype)


def _store(
    k: Kernel, normed: Piece, entries: Tensor, offset: Int, angles: tuple[Piece, Piece], half: int
) -> None:
    """The last channels turned in pairs, the others as they are."""
    width, (c, s) = normed.cols, angles
    start = width - 2 * half
    if start:
        k.store(entries.window(offset, 1, start, width), normed)
    turning = normed.cut(start, 2 * half)
    even, odd = k.even(turning), k.odd(turning)
    turned = k.interleave(k.sub(k.mul(even, c), k.mul(odd, s)), k.add(k.mul(odd, c), k.mul(even, s)))
    k.store(entries.window(offset + start, 1, 2 * half, width), turned)
