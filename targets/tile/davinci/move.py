"""Between global memory and vector tiles, rearrangements inside them, and integers for the scalar unit."""

from __future__ import annotations

from dsv4c.ir.types import BITS

from ..logical import Declare, Load, Peek, Piece, Read, Rearrange, Store, Window
from ..physical import Buffer, Instr, Region
from ..scalar import aligned, less, mul
from .scope import IllegalError, Scope, fillable, in_rows, per_block
from .vector import flat


def declare(s: Scope, d: Declare) -> None:
    """Memory for a tile; what instructions read beyond a column's end is given a value."""
    tile = d.tile
    size = s.elements(tile) * BITS[tile.dtype] // 8
    buffer = s.buffer(tile.name, "UB", size, tile.stages)
    s.tiles[tile] = buffer, s.turns[-1] if tile.stages > 1 else 0
    if tile.cols == 1 and tile.rows % 8:
        s.emit("duplicate", "V", (s.whole(tile).line(8, tile.rows // 8 * 8),), (), value=0.0)


def load(s: Scope, ld: Load) -> None:
    """Rows of a window, each to a whole number of blocks."""
    tile, src = ld.dst.tile, ld.src
    dst = s.region(ld.dst)
    rows, cols = ld.dst.shape
    if 1 in ld.dst.shape:  # a line
        src = _line(src, rows)
        rows, cols = 1, rows * cols
    padded = len(dst.dims) == 2 and aligned(cols, per_block(tile.dtype)) < dst.dims[0][1]
    partial = less(mul(src.rows, src.cols), rows * cols)
    if ld.fill is None and (partial != 0 or padded):
        _define_once(s, dst.buffer, tile.dtype)
    elif ld.fill is not None and (partial != 0 or padded):
        with s.when(1 if padded else partial):
            s.emit("duplicate", "V", (fillable(flat(dst), ld.fill),), (), value=ld.fill)
    s.emit("copy_in", "MTE2", (in_rows(dst, rows, cols),), (src,), fill=0.0 if ld.fill is None else ld.fill)


def _line(w: Window, rows: int) -> Window:
    """What a row or a column is loaded from, as one row."""
    if rows == 1:
        return Window(w.tensor, w.offset, 1, w.cols, w.pitch)
    if w.cols != 1 or w.pitch != 1:
        raise IllegalError(f"{w.tensor.name}: a column whose elements are not side by side")
    return Window(w.tensor, w.offset, 1, w.rows, w.rows)


def _define_once(s: Scope, buffer: Buffer, dtype: str) -> None:
    """What a partial load leaves is old but defined: all copies of the buffer are cleared before the kernel begins."""
    if any(isinstance(step, Instr) and step.outs[0].buffer is buffer for step in s.prologue):  # type: ignore[union-attr]
        return
    for stage in range(buffer.stages):
        everything = fillable(Region(buffer, dtype, 0, ((buffer.size * 8 // BITS[dtype], 1),), stage), 0)
        s.prologue.append(Instr("duplicate", "V", (everything,), (), {"value": 0.0}))
    s.homes[buffer] = ""


def store(s: Scope, st: Store) -> None:
    """As many rows and columns as the window asks for."""
    src, dst = s.region(st.src), st.dst
    rows, cols = st.src.shape
    if 1 in st.src.shape:
        dst = _line(dst, rows)
        rows, cols = 1, rows * cols
    s.emit("copy_out", "MTE3", (dst,), (in_rows(src, rows, cols),))


def read(s: Scope, r: Read) -> None:
    """From global memory, through the scalar unit's cache."""
    s.get(r.name, r.src, r.offset)


def peek(s: Scope, p: Peek) -> None:
    """From a tile."""
    s.get(p.name, s.region(p.src).line(1, p.col), 0)


def rearrange(s: Scope, r: Rearrange) -> None:
    """Gathers by offsets that are computed once."""
    dst = flat(s.region(r.dst))
    if r.op == "interleave":
        a, b = (flat(s.region(p)) for p in r.srcs)
        pair = s.temp(2 * a.count, r.dst.dtype)
        for n, part in enumerate((a, b)):
            s.emit("adds", "V", (pair.line(part.count, n * a.count),), (part,), value=0.0)
        offsets = _interleaved(s, r.dst.rows, _pitch(s, r.dst), _pitch(s, r.srcs[0]), a.count)
        s.emit("gather", "V", (dst,), (pair, offsets))
        return
    (piece,) = r.srcs
    src, step = flat(s.region(piece)), _pitch(s, piece)
    if r.op == "transpose":
        offsets = _strided(s, r.dst.rows, _pitch(s, r.dst), row=1, lane=step, last=piece.rows - 1)
    elif r.op.startswith("from"):
        first = int(r.op.split()[1])
        offsets = _strided(s, 1, _pitch(s, r.dst), row=0, lane=1, last=r.dst.cols - 1, first=first)
    else:
        offsets = _strided(
            s, r.dst.rows, _pitch(s, r.dst), row=step, lane=2, last=r.dst.cols - 1, first=int(r.op == "odd")
        )
    s.emit("gather", "V", (dst,), (src, offsets.line(dst.count)))


def _pitch(s: Scope, p: Piece) -> int:
    region = s.region(p)
    return region.dims[0][1] if len(region.dims) == 2 else region.count


def _strided(s: Scope, rows: int, pitch: int, row: int, lane: int, last: int, first: int = 0) -> Region:
    """Byte offsets: lane c of row r is element ``first + r * row + min(c, last) * lane``."""
    key = ("strided", rows, pitch, row, lane, last, first)
    if key not in s.constants:
        table, line = _constant(s, rows * pitch), _constant(s, pitch)
        _setup(s, "iota", (line,), (), start=0)
        _setup(s, "mins", (line,), (line,), value=last)
        _setup(s, "muls", (line,), (line,), value=4 * lane)
        for r in range(rows):
            _setup(s, "adds", (table.line(pitch, r * pitch),), (line,), value=4 * (first + r * row))
        s.constants[key] = table
    return s.constants[key]


def _interleaved(s: Scope, rows: int, pitch: int, step: int, second: int) -> Region:
    """Byte offsets: lane c of row r is element ``r * step + c // 2``, for odd c from ``second`` on."""
    key = ("interleaved", rows, pitch, step, second)
    if key not in s.constants:
        table, line, half = _constant(s, rows * pitch), _constant(s, pitch), _constant(s, pitch)
        _setup(s, "iota", (line,), (), start=0)
        _setup(s, "shift_right", (half,), (line,), value=1)
        _setup(s, "muls", (half,), (half,), value=-2)
        _setup(s, "add", (line,), (line, half))  # c % 2
        _setup(s, "muls", (line,), (line,), value=4 * second)
        _setup(s, "muls", (half,), (half,), value=-2)  # 4 (c // 2)
        _setup(s, "add", (line,), (line, half))
        for r in range(rows):
            _setup(s, "adds", (table.line(pitch, r * pitch),), (line,), value=4 * r * step)
        s.constants[key] = table
    return s.constants[key]


def _constant(s: Scope, count: int) -> Region:
    region = s.temp(count, "i32", "offsets")
    s.homes[region.buffer] = ""
    return region


def _setup(
    s: Scope, op: str, outs: tuple[Region, ...], ins: tuple[Region, ...], **args: int
) -> None:
    s.prologue.append(Instr(op, "V", outs, ins, args))


