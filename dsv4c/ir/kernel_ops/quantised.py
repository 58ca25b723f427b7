"""Weights that stay as the checkpoint stores them: codes of few bits, and one scale a block (architectures.md §9)."""

from __future__ import annotations

from ..builder import broadcast_to, cast, concat, const, gather, iota, reshape, slice_axis
from ..core import Value
from ..registry import ShapeError
from .define import kernel

# Values of codes 0 to 7 of e2m1; bit 3 is the sign (§9.2).
E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
CODES = ("f8e4m3", "f4e2m1", "i8")
SCALES = ("f32", "bf16", "f8e8m0")


@kernel(
    "What the codes of a weight and the scales of its blocks stand for: code times scale (§9)",
    codes="what a code is: f8e4m3 or i8, of that dtype; f4e2m1, two in a byte of i8, the low half first",
    rows="rows that share a scale", columns="columns that share one", out="the dtype, rounded to once",
)  # fmt: skip
def dequantize(w: Value, scale: Value, *, codes: str, rows: int, columns: int, out: str) -> Value:
    """``w [.., N, K]``, or ``[.., N, K / 2]`` for f4e2m1, ``scale [.., ceil(N / rows), ceil(K / columns)]``.

    A target may keep such a weight as it is and do this inside of the product; one that does not does it when weights
    are packed.
    """
    if codes not in CODES or w.dtype != ("i8" if codes == "f4e2m1" else codes):
        raise ShapeError(f"w is {w.type} for codes {codes!r}; use {', '.join(CODES)}, the second in bytes of i8")
    if scale.dtype not in SCALES or rows < 1 or columns < 1:
        raise ShapeError(f"scale is {scale.type} of {rows} x {columns}; use {', '.join(SCALES)}, a block of 1 or more")
    numbers = _nibbles(w) if codes == "f4e2m1" else cast(w, "f32")
    (*lead, n, k), (*_, down, across) = numbers.shape, scale.shape
    whole = (*lead, (n + rows - 1) // rows, (k + columns - 1) // columns)
    if scale.shape != whole:
        raise ShapeError(f"scale is {scale.type}, expected [{', '.join(map(str, whole))}]")
    spread = broadcast_to(
        reshape(cast(scale, "f32"), *lead, down, 1, across, 1), *lead, down, rows, across, columns
    )  # fmt: skip
    each = reshape(spread, *lead, down * rows, across * columns)
    if rows > 1:
        each = slice_axis(each, 0, n, axis=len(lead))
    if columns > 1:
        each = slice_axis(each, 0, k, axis=len(lead) + 1)
    return cast(numbers * each, out)


def _nibbles(w: Value) -> Value:
    """``[.., N, K]`` from ``[.., N, K / 2]``: a byte picks its two numbers from a table of all 256, low half first."""
    byte = iota(256, 1)
    pairs = gather(const((*E2M1, *(-x for x in E2M1)), "f32"), concat(byte % 16, byte // 16))
    return reshape(gather(pairs, cast(w, "i32") & 255), *w.shape[:-1], 2 * w.shape[-1])
