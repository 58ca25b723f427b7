"""Vector statements as instructions of the vector core's memory-to-memory unit.

An instruction acts on a line of ``count`` elements, or repeats itself over rows: 64 lanes (``mask`` of them) of each,
rows a stride apart; an operand whose stride is 0 is one row for all, and a column is first spread to a block an
element (``brcb``), whose stride inside a repeat is 0.
"""

from __future__ import annotations

from collections.abc import Iterator

from dsv4c.ir.types import BITS

from ..logical import Cast, Compress, Compute, Iota, Operand, Piece, Unpack, Where
from ..physical import Region
from ..scalar import Scalar, aligned, mul
from .scope import LANES, MOST_REPEATS, MOST_STRIDE, IllegalError, Scope

WITH_NUMBER = {"add": "adds", "mul": "muls", "max": "maxs", "min": "mins"}
BLOCK_LANES = 8  # f32 of a block


def compute(s: Scope, c: Compute) -> None:
    """Elementwise arithmetic."""
    dst, shape = s.region(c.dst), c.dst.shape
    if len(c.srcs) == 1:
        _unary(s, c.op, dst, shape, c.srcs[0])
        return
    left, right = c.srcs
    if not isinstance(left, Piece) and isinstance(right, Piece):
        _number_first(s, c.op, dst, shape, left, right)
    elif isinstance(left, Piece) and not isinstance(right, Piece):
        _number_last(s, c.op, dst, shape, left, right)
    elif isinstance(left, Piece) and isinstance(right, Piece):
        binary(s, c.op, dst, shape, left, right)
    else:
        raise IllegalError(f"{c.op} of two numbers")


def _unary(s: Scope, op: str, dst: Region, shape: tuple[int, int], src: Operand) -> None:
    if not isinstance(src, Piece):
        s.emit("duplicate", "V", (flat(dst),), (), value=src)
    elif op == "copy":
        spread(s, dst, shape, src)
    else:
        s.emit(op, "V", (flat(dst),), (line_of(s, src, shape, dst.count),))


def flat(region: Region) -> Region:
    """All elements of a region without gaps, as one line."""
    if not region.dense:
        raise IllegalError(f"{region.buffer.name}: rows with gaps where a line is needed")
    return region.line(region.count)


def _number_last(s: Scope, op: str, dst: Region, shape: tuple[int, int], a: Piece, b: float | Scalar) -> None:
    if op == "sub" and isinstance(b, float):
        op, b = "add", -b
    if op in WITH_NUMBER or op == "shift_right":
        s.emit(WITH_NUMBER.get(op, op), "V", (flat(dst),), (line_of(s, a, shape, dst.count),), value=b)
        return
    number = s.temp(dst.count, dst.dtype)
    s.emit("duplicate", "V", (number,), (), value=b)
    s.emit(op, "V", (flat(dst),), (line_of(s, a, shape, dst.count), number))


def _number_first(s: Scope, op: str, dst: Region, shape: tuple[int, int], a: float | Scalar, b: Piece) -> None:
    if op in WITH_NUMBER:
        _number_last(s, op, dst, shape, b, a)
        return
    number = s.temp(dst.count, dst.dtype)
    s.emit("duplicate", "V", (number,), (), value=a)
    s.emit(op, "V", (flat(dst),), (number, line_of(s, b, shape, dst.count)))


def _alike(a: Piece, shape: tuple[int, int]) -> bool:
    """Whether a piece has as many elements, in the same order; rows and columns are."""
    return a.shape == shape or (1 in shape and a.rows * a.cols == shape[0] * shape[1])


def line_of(s: Scope, a: Piece, shape: tuple[int, int], count: int) -> Region:
    """A piece in full shape as a line of ``count`` elements, padding included; what is smaller is spread."""
    if not _alike(a, shape):
        return flat(_spread_out(s, a, shape, count))
    region = flat(s.region(a))
    return region.line(count) if 1 in shape else region  # a row's padding and a column's are defined


def _spread_out(s: Scope, a: Piece, shape: tuple[int, int], count: int) -> Region:
    """New memory of ``count`` elements, in rows if there are several, that holds a row, a column or a number."""
    full, pitch = s.temp(count, a.dtype), count // shape[0]
    full = full if 1 in shape else full.at(0, (shape[0], pitch), (pitch, 1))
    spread(s, full, shape, a)
    return full


def binary(s: Scope, op: str, dst: Region, shape: tuple[int, int], left: Piece, right: Piece) -> None:
    """Two pieces, each of full shape, a row, a column or a number."""
    if not _alike(left, shape) and op in WITH_NUMBER and (_alike(right, shape) or left.shape == (1, 1)):
        left, right = right, left  # these may be swapped: add, mul, max, min
    if _alike(right, shape):
        s.emit(op, "V", (flat(dst),), (line_of(s, left, shape, dst.count), line_of(s, right, shape, dst.count)))
    elif right.shape == (1, 1):
        for d, x, y in _along(flat(dst), line_of(s, left, shape, dst.count), brcb(s, right)):
            s.emit(op, "V", (d,), (x, y))
    else:
        full = s.region(left) if _alike(left, shape) else _spread_out(s, left, shape, dst.count)
        _against(s, op, dst, full, right)


def _against(s: Scope, op: str, dst: Region, a: Region, b: Piece) -> None:
    """``dst = a op b`` for a row or a column ``b``."""
    if b.cols == 1:
        blocks = brcb(s, b)
        for d, x, y in by_rows(s, dst, a, blocks, column=True):
            s.emit(op, "V", (d,), (x, y))
    else:
        for d, x, y in by_rows(s, dst, a, s.region(b), column=False):
            s.emit(op, "V", (d,), (x, y))


def spread(s: Scope, dst: Region, shape: tuple[int, int], src: Piece) -> None:
    """Copy a piece into full shape."""
    if _alike(src, shape):
        s.emit("adds", "V", (flat(dst),), (line_of(s, src, shape, dst.count),), value=0.0)
    elif src.shape == (1, 1):
        blocks, line = brcb(s, src), flat(dst)
        for d, _, x in _along(line, line, blocks):
            s.emit("adds", "V", (d,), (x,), value=0.0)
    else:
        b = brcb(s, src) if src.cols == 1 else s.region(src)
        for d, _, y in by_rows(s, dst, dst, b, column=src.cols == 1):
            s.emit("adds", "V", (d,), (y,), value=0.0)


def brcb(s: Scope, column: Piece) -> Region:
    """A block of 8 copies for every element of a column."""
    src = s.region(column)
    count = aligned(column.rows * column.cols, BLOCK_LANES)
    out = s.temp(count * BLOCK_LANES, src.dtype, "brcb")
    for first in range(0, count, BLOCK_LANES * MOST_REPEATS):
        n = min(count - first, BLOCK_LANES * MOST_REPEATS)
        s.emit("brcb", "V", (out.line(n * BLOCK_LANES, first * BLOCK_LANES),), (src.line(n, first),))
    return out


def _along(dst: Region, a: Region, blocks: Region) -> Iterator[tuple[Region, Region, Region]]:
    """Two lines in repeats, against one block; a tail that fills no block is one of its own."""
    count, done = dst.count, 0
    while done < count:
        lanes = min(LANES, (count - done) // BLOCK_LANES * BLOCK_LANES)
        if not lanes:
            yield dst.line(count - done, done), a.line(count - done, done), blocks.line(count - done)
            return
        repeats = min((count - done) // lanes, MOST_REPEATS)
        inner = ((lanes // BLOCK_LANES, BLOCK_LANES), (BLOCK_LANES, 1))
        yield (
            dst.at(done, (repeats, lanes), *inner),
            a.at(done, (repeats, lanes), *inner),
            blocks.at(0, (repeats, 0), (lanes // BLOCK_LANES, 0), (BLOCK_LANES, 1)),
        )
        done += repeats * lanes


def by_rows(
    s: Scope, dst: Region, a: Region, b: Region, column: bool
) -> Iterator[tuple[Region, Region, Region]]:
    """The repeats that cover ``[rows, pitch]``: down the rows in slices of 64 lanes, or along each row.

    ``b`` is a row, or with ``column`` the blocks of one.
    """
    (rows, pitch), (width, _) = dst.dims
    if pitch // BLOCK_LANES <= MOST_STRIDE and rows * LANES >= width:
        yield from _down(s, dst, a, b, column)
        return
    with s.loop(rows) as r:
        if not column:
            yield dst.line(width, r * pitch), a.line(width, r * a.dims[0][1]), b.line(width)
            return
        done = 0
        while done < width:
            lanes = min(LANES, width - done)
            repeats = min((width - done) // lanes, MOST_REPEATS)
            inner = ((lanes // 8, 8), (8, 1))
            yield (
                dst.at(r * pitch + done, (repeats, lanes), *inner),
                a.at(r * a.dims[0][1] + done, (repeats, lanes), *inner),
                b.at(r * 8, (repeats, 0), (lanes // 8, 0), (8, 1)),
            )
            done += repeats * lanes


def _down(
    s: Scope, dst: Region, a: Region, b: Region, column: bool
) -> Iterator[tuple[Region, Region, Region]]:
    (rows, pitch), (width, _) = dst.dims
    step = a.dims[0][1]
    full, rest = divmod(width, LANES)
    for first in range(0, rows, MOST_REPEATS):
        n = min(rows - first, MOST_REPEATS)
        if full:
            with s.loop(full) as c:
                yield _slice(dst, a, b, n, first, pitch, step, c * LANES, LANES, column)
        if rest:
            yield _slice(dst, a, b, n, first, pitch, step, full * LANES, rest, column)


def _slice(
    dst: Region, a: Region, b: Region, n: int, first: int, pitch: int, step: int, at: int | Scalar, lanes: int,
    column: bool,
) -> tuple[Region, Region, Region]:  # fmt: skip
    inner = ((lanes // 8, 8), (8, 1))
    other = b.at(first * 8, (n, 8), (lanes // 8, 0), (8, 1)) if column else b.at(at, (n, 0), *inner)
    return dst.at(first * pitch + at, (n, pitch), *inner), a.at(first * step + at, (n, step), *inner), other


# Between two dtypes, what a cast goes through where the chip has no instruction for it (ascend.md §3.3).
THROUGH = {
    ("bf16", "f16"): ("f32",), ("f16", "bf16"): ("f32",), ("bool", "f32"): ("f16",), ("f32", "bool"): ("f16",),
    ("bf16", "i32"): ("f32",), ("i32", "bf16"): ("f32",), ("i32", "bool"): ("f32", "f16"),
    ("bool", "i32"): ("f16", "f32"), ("bf16", "bool"): ("f32", "f16"), ("bool", "bf16"): ("f16", "f32"),
    ("i8", "f32"): ("f16",),
}  # fmt: skip


def cast(s: Scope, c: Cast) -> None:
    """To the nearest, in as many steps as the chip needs."""
    src, dst = s.region(c.src), s.region(c.dst)
    if BITS[src.dtype] == 8 and src.dtype != "bool":
        check_codes(s, src.dtype)
    if len(src.dims) == 2 and src.dims != dst.dims:  # rows of different pitch
        (rows, wide), (_, narrow) = src.dims[0], dst.dims[0]
        count = min(wide, narrow)  # padding along: what follows computes with it
        with s.loop(rows) as r:
            _cast_line(s, src.line(count, mul(r, wide)), dst.line(count, mul(r, narrow)))
        return
    count = min(src.count, dst.count)
    _cast_line(s, src.line(count), dst.line(count))


def unpack(s: Scope, u: Unpack) -> None:
    """Two numbers a byte."""
    check_codes(s, "f4e2m1")
    dst, src = flat(s.region(u.dst)), flat(s.region(u.src))
    if dst.count != 2 * src.count:
        raise IllegalError(f"{u.src.tile.name}: rows of {u.src.cols} bytes are padded, rows of numbers are not")
    s.emit("unpack", "V", (dst,), (src,))


def check_codes(s: Scope, kind: str) -> None:
    """IllegalError where the chip cannot make numbers of such codes."""
    known = s.chip.facts["codes"]["value"]
    if kind not in known:
        raise IllegalError(f"{s.chip.name} has no casts of {kind}; it has those of {', '.join(known)}")


def _cast_line(s: Scope, src: Region, dst: Region) -> None:
    for between in THROUGH.get((src.dtype, dst.dtype), ()):
        wider = s.temp(src.count, between)
        s.emit("cast", "V", (wider,), (src,), mode=_mode(src, wider))
        src = wider
    s.emit("cast", "V", (dst,), (src,), mode=_mode(src, dst))


def _mode(src: Region, dst: Region) -> str:
    """To the nearest, ties to even; a cast that rounds nothing has no mode where there is one without."""
    return "NONE" if dst.dtype == "f32" or (src.dtype, dst.dtype) in (("bool", "f16"), ("i8", "f16")) else "RINT"


def where(s: Scope, w: Where) -> None:
    """Compare, then select."""
    dst, shape = flat(s.region(w.dst)), w.dst.shape
    left, right, cmp = w.left, w.right, w.cmp
    if not isinstance(left, Piece):
        left, right, cmp = right, left, {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(cmp, cmp)
    assert isinstance(left, Piece)
    mask = _compared(s, left, cmp, right, shape, dst.count)
    yes = _selectable(s, w.yes, shape, dst)
    if isinstance(w.no, Piece):
        s.emit("select", "V", (dst,), (mask, yes, _selectable(s, w.no, shape, dst)))
    else:
        s.emit("selects", "V", (dst,), (mask, yes), value=w.no)


def compress(s: Scope, c: Compress) -> None:
    """Compare, then gather."""
    mask = _compared(s, c.left, c.cmp, c.right, c.src.shape, c.src.cols)
    src = s.region(c.src).line(c.src.cols)
    s.emit("compress", "V", (flat(s.region(c.dst)),), (src, mask))


def _compared(s: Scope, left: Piece, cmp: str, right: Operand, shape: tuple[int, int], count: int) -> Region:
    """A mask of bits; comparisons take whole repeats, so that tails are padded."""
    size = aligned(count, LANES) // 8
    mask = s.temp(max(size, 32), "i8", "bits").line(size)
    a = _padded(s, left, shape, count)
    if isinstance(right, Piece):
        s.emit("compare", "V", (mask,), (a, _padded(s, right, shape, count)), cmp=cmp)
    else:
        s.emit("compares", "V", (mask,), (a,), cmp=cmp, value=right)
    return mask


def _selectable(s: Scope, operand: Operand, shape: tuple[int, int], dst: Region) -> Region:
    if isinstance(operand, Piece):
        return line_of(s, operand, shape, dst.count)
    made = s.temp(dst.count)
    s.emit("duplicate", "V", (made,), (), value=operand)
    return made


def _padded(s: Scope, piece: Piece, shape: tuple[int, int], count: int) -> Region:
    """A piece of ``count`` elements in whole repeats of 64 lanes."""
    region = line_of(s, piece, shape, count)
    if count % LANES == 0:
        return region
    padded = s.temp(aligned(count, LANES))
    s.emit("duplicate", "V", (padded,), (), value=0.0)
    s.emit("adds", "V", (padded.line(count),), (region,), value=0.0)
    return padded


def iota(s: Scope, i: Iota) -> None:
    """start, start + 1, ..."""
    s.emit("iota", "V", (flat(s.region(i.dst)),), (), start=i.start)
