"""Normalisations over the last axis (architectures.md §1.1)."""

from __future__ import annotations

from ..build import Kernel
from ..logical import Piece, Program
from ..scalar import ceildiv


def rms_norm(*, width: int, dtype: str, weight: str, eps: float, rows: int, stages: int) -> Program:
    """``y[r] = x[r] / sqrt(mean(x[r]^2) + eps) * w``; ``weight`` is its dtype, or empty where there is none.

    A weight in the model's dtype multiplies after the cast, as the models do it.
    """
    k = Kernel("rms_norm", stages)
    count = k.size("M")
    x = k.tensor("x", dtype, count, width)
    w = k.tensor("w", weight, width) if weight else None
    y = k.out("y", dtype, count, width)
    scale = k.load(w.row(0), 1, width) if w else None
    for task in k.tasks(ceildiv(count, rows)):
        tile = k.load(x.block(task * rows, rows), rows, width, fill=None)
        normed = k.mul(tile, inverse_rms(k, k.sum(k.mul(tile, tile)), width, eps))
        if scale is not None:
            normed = k.mul(normed if weight == "f32" else k.rounded(normed, dtype), scale)
        k.store(y.block(task * rows, rows), normed)
    return k.done()


def inverse_rms(k: Kernel, squares: Piece, width: int, eps: float) -> Piece:
    """1 / sqrt(squares / width + eps) for a column of sums of squares."""
    mean = k.add(k.mul(squares, 1.0 / width), eps)
    return k.div(1.0, k.sqrt(mean))


def layer_norm(*, width: int, dtype: str, weight: str, eps: float, rows: int, stages: int) -> Program:
    """``y[r] = (x[r] - mean) / sqrt(var + eps) * w + bias``; ``weight`` is the dtype of both."""
    k = Kernel("layer_norm", stages)
    count = k.size("M")
    x = k.tensor("x", dtype, count, width)
    w, b = k.tensor("w", weight, width), k.tensor("bias", weight, width)
    y = k.out("y", dtype, count, width)
    scale, shift = k.load(w.row(0), 1, width), k.load(b.row(0), 1, width)
    for task in k.tasks(ceildiv(count, rows)):
        tile = k.load(x.block(task * rows, rows), rows, width, fill=None)
        centred = k.sub(tile, k.mul(k.sum(tile), 1.0 / width))
        normed = k.mul(centred, inverse_rms(k, k.sum(k.mul(centred, centred)), width, eps))
        k.store(y.block(task * rows, rows), k.add(k.mul(normed, scale), shift))
    return k.done()
