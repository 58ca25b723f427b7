"""Cube instructions of dav-2201: L0A holds fractals row by row (Zz)."""

from __future__ import annotations

from ..logical import Window
from ..physical import Region
from .scope import Scope

LEFT = "Zz"


def load_left(s: Scope, dst: Region, src: Region, rows: int, depth: int) -> None:
    """``[rows, depth]`` to L0A."""
    s.emit("load_a", "MTE1", (dst,), (src,), rows=rows, depth=depth)


def load_right(s: Scope, dst: Region, src: Region, rows: int, depth: int) -> None:
    """``[N, K]``, ``rows`` of N, to L0B."""
    s.emit("load_b", "MTE1", (dst,), (src,), rows=rows, depth=depth)


def load_right_turned(s: Scope, dst: Region, src: Region, rows: int, depth: int, n: int) -> None:
    """``n`` columns of ``depth`` rows of ``[K, N]``, which has ``rows``, to L0B."""
    s.emit("load_b_turned", "MTE1", (dst,), (src,), rows=rows, depth=depth, n=n)


def drain(s: Scope, dst: Window, src: Region, rows: int) -> None:
    """A sum of ``rows`` rows to global memory."""
    s.emit("fixpipe", "FIX", (dst,), (src,), rows=rows)
