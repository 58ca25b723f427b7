"""Weights that stay codes with scales: the vector core makes each tile of them an operand of products for the cube.

Scales are one a row and ``columns`` columns. Where those are many, a tile is no deeper than they are, and meets a
column of scales that lie ``[across, rows]``; where they are few, a tile is as deep as ``GROUP`` of them, and its rows
are taken apart, scales lying ``[rows, across]``.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..build import Kernel
from ..logical import Piece, Tensor, Window
from ..scalar import Int, aligned, rest

GROUP = 16  # scales of a row that fill whole blocks in every dtype
MANY = 64  # columns of a scale that are deep enough for a tile; the same number of e2m1 fills a block
PER_BYTE = {"f4e2m1": 2}


@dataclass(frozen=True)
class Codes:
    """``kind`` says what a code is; ``scale`` the dtype of the scales, one for ``columns`` columns of a row."""

    kind: str
    scale: str
    columns: int

    def fine(self, k: int) -> bool:
        """Whether a tile of a product over ``k`` meets more than one scale in a row."""
        return self.columns < min(MANY, k)

    def depths(self, k: int) -> list[int]:
        """Depths of a tile, the best first."""
        if self.fine(k):
            return [GROUP * self.columns]
        block = 32 * PER_BYTE.get(self.kind, 1)  # codes that fill a block of memory
        deep = aligned(k, block)
        fit = (d for d in (256, 128, 64, 32) if d % block == 0 and (self.columns >= k or self.columns % d == 0))
        return sorted({min(d, deep) if self.columns >= k else d for d in fit}, reverse=True)

    def across(self, k: int) -> int:
        """Scales of a row in memory."""
        scales = -(-k // self.columns)
        return aligned(scales, GROUP) if self.fine(k) else scales


@dataclass(frozen=True)
class Packed:
    """A weight of ``rows`` rows of ``k`` columns in a kernel."""

    kernel: Kernel
    codes: Codes
    k: int
    rows: int
    w: Tensor
    scale: Tensor

    @classmethod
    def arguments(cls, kernel: Kernel, codes: Codes, rows: int, k: int) -> Packed:
        """The kernel's next two arguments."""
        per = PER_BYTE.get(codes.kind, 1)
        across = codes.across(k)
        w = kernel.tensor("w", "i8" if per > 1 else codes.kind, rows, k // per)
        shape = (rows, across) if codes.fine(k) else (across, rows)
        return cls(kernel, codes, k, rows, w, kernel.tensor("scale", codes.scale, *shape))

    def operand(self, row: Int, wide: Int, step: Int, cols: int, depth: int, dtype: str) -> Piece:
        """Rows from ``row`` on, ``wide`` of ``cols``, and slice ``step`` of ``depth`` columns, as an operand."""
        kernel, per = self.kernel, PER_BYTE.get(self.codes.kind, 1)
        held, width = self.k // per, depth // per
        stored = kernel.vec(cols, width, self.w.dtype, "codes")
        deep = rest(held, step * width, width)
        kernel.load_into(stored, self.w.window(row * held + step * width, wide, deep, held))
        numbers = kernel.cast(kernel.unpack(stored) if per > 1 else stored, "f32")
        if self.codes.fine(self.k):
            scales = kernel.load(self._fine(row, wide, step), cols, GROUP)
            column = scales.flat(cols * GROUP, 1)
            parts = numbers.flat(cols * GROUP, self.codes.columns)
            kernel.mul(parts, column, out=parts)
        else:
            scales = kernel.load(self._coarse(row, wide, step * depth // self.codes.columns), cols, 1)
            kernel.mul(numbers, scales, out=numbers)
        return kernel.to_cube(numbers, dtype)

    def _fine(self, row: Int, wide: Int, step: Int) -> Window:
        across = self.codes.across(self.k)
        return self.scale.window(row * across + step * GROUP, wide, GROUP, across)

    def _coarse(self, row: Int, wide: Int, number: Int) -> Window:
        return self.scale.window(number * self.rows + row, wide, 1, 1)
