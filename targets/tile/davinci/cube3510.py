"""Cube instructions of dav-3510: L0A holds fractals column by column (Nz) like L1; one instruction loads a block.

Tiles have a multiple of 16 rows, so that no product has m = 1, whose operands lie otherwise.
"""

from __future__ import annotations

from ..logical import Window
from ..physical import Region
from .scope import Scope

LEFT = "Nz"


def load_left(s: Scope, dst: Region, src: Region, rows: int, depth: int) -> None:
    """``[rows, depth]`` to L0A."""
    s.emit("load_nz", "MTE1", (dst,), (src,), rows=rows, depth=depth)


def load_right(s: Scope, dst: Region, src: Region, rows: int, depth: int) -> None:
    """``[N, K]``, ``rows`` of N, to L0B: Nz of one is Zn of the other."""
    s.emit("load_nz", "MTE1", (dst,), (src,), rows=rows, depth=depth)


def load_right_turned(s: Scope, dst: Region, src: Region, rows: int, depth: int, n: int) -> None:
    """``n`` columns of ``depth`` rows of ``[K, N]``, which has ``rows``, to L0B."""
    s.emit("load_nz_turned", "MTE1", (dst,), (src,), rows=rows, depth=depth, n=n)


def drain(s: Scope, dst: Window, src: Region, rows: int) -> None:
    """A sum of ``rows`` rows to global memory."""
    s.emit("fixpipe_3510", "FIX", (dst,), (src,), rows=rows)
