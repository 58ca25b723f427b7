"""V4's compressors: one entry for every ``rate`` tokens (architectures.md §4.4)."""

from __future__ import annotations

from dataclasses import dataclass

from dsv4c.ir.kernel_ops.positions import MASKED

from ..build import Kernel
from ..logical import Piece, Program, Tensor
from ..scalar import Int, less, most
from .norm import inverse_rms
from .rope import rotated


def compress_kv(
    *, width: int, channels: int, rate: int, tail: int, overlap: bool, half: int, eps: float, dtype: str, weight: str,
    cols: int, stages: int,
) -> Program:  # fmt: skip
    """The entries ``[B, N, width]`` of windows that a chunk completes. ``kv`` and ``gate [B, S, channels]`` are its
    projections, ``tail_kv`` and ``tail_gate [B, tail, channels]`` those of the tokens before it; ``bias`` f32
    ``[rate, channels]``, ``norm [width]``; ``cos`` and ``sin`` f32 ``[B, W, half]`` of the windows' first tokens.
    ``cols`` channels at a time, which divide ``width`` and hold what turns.
    """
    k = Kernel("compress_kv", stages)
    batch, length, count, windows = (k.size(name) for name in ("B", "S", "N", "W"))
    kv, gate = (k.tensor(name, dtype, batch, length, channels) for name in ("kv", "gate"))
    past, fresh = k.tensor("past", "i32", batch), k.tensor("fresh", "i32", batch)
    entries = k.tensor("entries", dtype, batch, count, width, role="inout")
    tails = [k.tensor(name, dtype, batch, tail, channels) for name in ("tail_kv", "tail_gate")]
    bias, norm = k.tensor("bias", "f32", rate, channels), k.tensor("norm", weight, width)
    cos, sin = (k.tensor(name, "f32", batch, windows, half) for name in ("cos", "sin"))
    back, parts = 1 if overlap else 0, width // cols
    scale = k.load(norm.window(0, parts, cols, cols), parts, cols)
    for task in k.tasks(batch * windows):
        b = task // windows
        before, there = k.read(past, b), k.read(fresh, b)
        number = before // rate + task % windows
        with k.when(less((number + 1) * rate - 1, before + there)), k.when(less(number, count)):
            pooled = k.vec(parts, cols, name="pooled")
            source = _Slots(k, (1 + back) * rate, rate, cols, width, dtype, (number - back) * rate, before)
            for part in k.loop(parts):
                start = part * cols
                values = source.load((kv, b * length), (tails[0], b * tail, tail), start)
                logits = source.load((gate, b * length), (tails[1], b * tail, tail), start)
                k.add(logits, source.bias(bias, start), out=logits)
                if overlap:
                    with k.when(less(number, 1)):  # window 0 has no window before it
                        k.copy(MASKED, logits.part(0, rate))
                k.copy(_pooled(k, values, logits, dtype), pooled.part(part))
            normed = k.mul(pooled, inverse_rms(k, k.sum(k.sum(k.mul(pooled, pooled)), axis=0), width, eps))
            normed = k.mul(normed if weight == "f32" else k.rounded(normed, dtype), scale)
            turn = [k.load(t.window(task * half, 1, half, half), 1, half) for t in (cos, sin)]
            _store(k, k.rounded(normed, dtype), entries, (b * count + number) * width, turn[0], turn[1], half)
    return k.done()


@dataclass(frozen=True)
class _Slots:
    """The tokens of a window, and with overlap those of the window before it first; each reads half of the channels.

    Slot i holds token ``first + i``; tokens before ``before`` lie in the tail, the others in the chunk.
    """

    k: Kernel
    count: int
    rate: int
    cols: int
    width: int
    dtype: str
    first: Int
    before: Int

    def load(self, fresh: tuple[Tensor, Int], old: tuple[Tensor, Int, int], start: Int) -> Piece:
        """``cols`` channels of every slot, in f32."""
        k, (chunk, row), (tail, tail_row, size) = self.k, fresh, old
        tile = k.vec(self.count, self.cols, self.dtype)
        channels = chunk.shape[-1]
        for slot in k.loop(self.count):
            at = self.first + slot
            column = start + (slot // self.rate * self.width if self.count > self.rate else 0)
            with k.when(less(at, self.before)):
                held = (tail_row + most(at, 0) % size) * channels + column
                k.load_into(tile.part(slot), tail.window(held, 1, self.cols, self.cols))
            with k.when(less(self.before - 1, at)):
                new = (row + at - self.before) * channels + column
                k.load_into(tile.part(slot), chunk.window(new, 1, self.cols, self.cols))
        return tile if self.dtype == "f32" else k.cast(tile, "f32")

    def bias(self, bias: Tensor, start: Int) -> Piece:
        """What is added to the logits of each slot."""
        k, channels = self.k, bias.shape[-1]
        tile = k.vec(self.count, self.cols, name="bias")
        for half in range(self.count // self.rate):
            window = bias.window(start + half * self.width, self.rate, self.cols, channels)
            k.load_into(tile.part(half * self.rate, self.rate), window)
        return tile


def _pooled(k: Kernel, values: Piece, logits: Piece, dtype: str) -> Piece:
    """The values weighted by a softmax over slots, ``[1, cols]``, rounded; both operands are used up."""
    k.exp(k.sub(logits, k.largest(logits, axis=0), out=logits), out=logits)
    total = k.sum(logits, axis=0)
    k.mul(values, logits, out=values)
    return k.rounded(k.div(k.sum(values, axis=0), total), dtype)


def _store(k: Kernel, normed: Piece, entries: Tensor, offset: Int, cos: Piece, sin: Piece, half: int) -> None:
    """A row in parts: the last channels turned in pairs, the others as they are."""
    parts, cols = normed.shape
    if parts > 1:
        k.store(entries.window(offset, parts - 1, cols, cols), normed.part(0, parts - 1))
    last, here, start = normed.part(parts - 1), offset + (parts - 1) * cols, cols - 2 * half
    if start:
        k.store(entries.window(here, 1, start, cols), last)
    turning = k.columns(last, start, 2 * half)
    turned = rotated(k, k.even(turning), k.odd(turning), cos, sin, inverse=False)
    k.store(entries.window(here + start, 1, 2 * half, cols), k.interleave(*turned))
