"""Reductions: rows folded to 64 lanes, then one instruction for the last step of many rows."""

from __future__ import annotations

from ..logical import Reduce
from ..physical import Region
from ..scalar import aligned
from .scope import LANES, MOST_REPEATS, MOST_STRIDE, Scope, in_rows

FOLD = {"sum": "add", "max": "max", "min": "min"}


def reduce(s: Scope, r: Reduce) -> None:
    """Over columns or rows."""
    src, dst = s.region(r.src), s.region(r.dst)
    rows, cols = r.src.shape
    if r.axis == 0 and cols > 1:
        _rows(s, r.op, dst, src)
        return
    if r.axis == 0:  # a column over its rows is a row over its columns
        rows, cols = cols, rows
    if cols == 1:
        s.emit("adds", "V", (dst.line(rows),), (src.line(rows),), value=0.0)
        return
    columns(s, r.op, dst, in_rows(src, rows, cols))


def _rows(s: Scope, op: str, dst: Region, src: Region) -> None:
    """Row by row into the result."""
    if len(src.dims) == 1:
        s.emit("adds", "V", (dst,), (src.line(dst.count),), value=0.0)
        return
    (rows, pitch), _ = src.dims
    s.emit("adds", "V", (dst,), (src.line(dst.count),), value=0.0)
    if rows > 1:
        with s.loop(rows - 1) as i:
            s.emit(FOLD[op], "V", (dst,), (dst, src.line(dst.count, (i + 1) * pitch)))


def columns(s: Scope, op: str, dst: Region, src: Region) -> None:
    """``dst [rows]`` from ``src [rows, cols]``."""
    (rows, pitch), (cols, _) = src.dims
    if cols <= LANES:
        _last(s, op, dst, src)
    elif pitch // 8 <= MOST_STRIDE and rows * LANES >= cols:
        _folded(s, op, dst, src)
    else:
        _partial(s, op, dst, src)


def _last(s: Scope, op: str, dst: Region, src: Region) -> None:
    (rows, pitch), (cols, _) = src.dims
    for first in range(0, rows, MOST_REPEATS):
        n = min(rows - first, MOST_REPEATS)
        s.emit(f"whole_{op}", "V", (dst.line(n, first),), (src.at(first * pitch, (n, pitch), (cols, 1)),))


def _folded(s: Scope, op: str, dst: Region, src: Region) -> None:
    """Slices of 64 lanes one upon the other, all rows at once."""
    (rows, pitch), (cols, _) = src.dims
    acc = s.temp(rows * LANES)
    full, rest = divmod(cols, LANES)
    for first in range(0, rows, MOST_REPEATS):
        n = min(rows - first, MOST_REPEATS)

        def lanes(region: Region, at: int, step: int, width: int, n: int = n) -> Region:
            inner = ((width // 8, 8), (8, 1)) if width % 8 == 0 else ((width, 1),)
            return region.at(at, (n, step), *inner)

        a, begin = first * LANES, first * pitch
        s.emit("adds", "V", (lanes(acc, a, LANES, LANES),), (lanes(src, begin, pitch, LANES),), value=0.0)
        if full > 1:
            with s.loop(full - 1) as c:
                more = src.at(begin + LANES + c * LANES, (n, pitch), (8, 8), (8, 1))
                s.emit(FOLD[op], "V", (lanes(acc, a, LANES, LANES),), (lanes(acc, a, LANES, LANES), more))
        if rest:
            more = lanes(src, begin + full * LANES, pitch, rest)
            s.emit(FOLD[op], "V", (lanes(acc, a, LANES, rest),), (lanes(acc, a, LANES, rest), more))
    _last(s, op, dst, acc.at(0, (rows, LANES), (LANES, 1)))


def _partial(s: Scope, op: str, dst: Region, src: Region) -> None:
    """Few long rows: each to one number per 64 lanes, then those."""
    (rows, pitch), (cols, _) = src.dims
    full, rest = divmod(cols, LANES)
    count = full + (1 if rest else 0)
    width = aligned(count, 8)
    parts = s.temp(rows * width)
    with s.loop(rows) as r:
        for first in range(0, full, MOST_REPEATS):
            n = min(full - first, MOST_REPEATS)
            lanes = src.at(r * pitch + first * LANES, (n, LANES), (LANES, 1))
            s.emit(f"whole_{op}", "V", (parts.line(n, r * width + first),), (lanes,))
        if rest:
            lanes = src.at(r * pitch + full * LANES, (1, LANES), (rest, 1))
            s.emit(f"whole_{op}", "V", (parts.line(1, r * width + full),), (lanes,))
    columns(s, op, dst, parts.at(0, (rows, width), (count, 1)))
