"""Products with a block-diagonal matrix (architectures.md §4.3, and §2 for the heads of absorbed MLA)."""

from __future__ import annotations

from ..builder import matmul, transpose
from ..core import Value
from .define import kernel


@kernel("Each group of channels times its own matrix (§4.3)")
def grouped_linear(x: Value, w: Value) -> Value:
    """``x [M, G, K]``, ``w [G, N, K]`` to ``[M, G, N]``."""
    return transpose(matmul(transpose(x, 1, 0, 2), w, trans_b=True), 1, 0, 2)
