"""What each logical statement asks of its operands: engines, shapes and dtypes.

Arithmetic is in f32 and i32; bf16, f16 and bool are storage, that only loads, stores and casts touch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import logical as ir
from ..logical import Operand, Piece
from ..scalar import Int, aligned, text
from .ranges import Interval, interval
from .shapes import refuse

INTEGERS = ("add", "sub", "mul", "max", "min", "copy", "shift_right")  # what i32 can do
Shape = tuple[int, int]


@dataclass
class Scope:
    """What is known of the integers at a statement."""

    known: Mapping[str, Interval]

    def most(self, a: Int) -> float:
        """The largest value it may have."""
        return interval(a, self.known)[1]


def _on(kind: str, *pieces: Operand) -> None:
    for p in pieces:
        wrong = isinstance(p, Piece) and p.tile.kind != kind
        refuse(wrong, f"{_name(p)} is no {kind} tile", f"bring it into a {kind} tile first")


def _name(o: Operand) -> str:
    return o.tile.name if isinstance(o, Piece) else str(o)


def _of(dtypes: tuple[str, ...], *pieces: Operand) -> None:
    for p in pieces:
        if isinstance(p, Piece):
            refuse(p.dtype not in dtypes, f"{_name(p)} is {p.dtype}", f"cast it to {' or '.join(dtypes)} first")


def _shape(p: Piece, want: Shape) -> None:
    refuse(p.shape != want, f"{_name(p)} is {_said(p.shape)}", f"use {_said(want)}")


def _said(shape: Shape) -> str:
    return f"{shape[0]} x {shape[1]}"


def _repeats(o: Operand, shape: Shape) -> None:
    """A row, a column or a number may stand for a whole."""
    if isinstance(o, Piece):
        fits = all(have in (1, want) for have, want in zip(o.shape, shape, strict=True))
        refuse(not fits, f"{_name(o)} of {_said(o.shape)} is no {_said(shape)}", "use that, a row or a column of it")


def _whole(o: Operand, dtype: str) -> None:
    wrong = dtype == "i32" and isinstance(o, float) and not o.is_integer()
    refuse(wrong, f"{o} for i32", "use a whole number")


def _window(c: Scope, w: ir.Window, p: Piece) -> None:
    for extent, most, what in ((w.rows, p.rows, "rows"), (w.cols, p.cols, "columns")):
        high = c.most(extent)
        wrong = high > most and high != float("inf")
        refuse(wrong, f"{high:.0f} {what} ({text(extent)}) for {most} of {_name(p)}", "use a larger tile, or less")


def load(c: Scope, s: ir.Load) -> None:
    """As it lies in memory."""
    refuse(s.dst.tile.kind == "acc", f"{_name(s.dst)} is a sum", "load into a vec or a mat tile")
    _of((s.src.tensor.dtype,), s.dst)
    _window(c, s.src, s.dst)


def store(c: Scope, s: ir.Store) -> None:
    """As it lies in the tile; sums may be rounded on their way."""
    refuse(s.src.tile.kind == "mat", f"{_name(s.src)} is an operand", "store a vec tile or a sum")
    refuse(s.dst.tensor.role == "in", f"{s.dst.tensor.name} is an input", "store to an output")
    if s.src.tile.kind == "acc":
        rounded = s.dst.tensor.dtype in ("f32", "bf16", "f16")
        refuse(not rounded, f"sums to {s.dst.tensor.dtype}", "store f32, bf16 or f16")
    else:
        _of((s.dst.tensor.dtype,), s.src)
    _window(c, s.dst, s.src)


def compute(c: Scope, s: ir.Compute) -> None:
    """Arithmetic of f32 or i32; of an operand of products, that it is cleared."""
    counts = {**dict.fromkeys(ir.UNARY, 1), **dict.fromkeys((*ir.BINARY, "shift_right"), 2)}
    refuse(s.op not in counts, f"there is no {s.op}", f"use {', '.join(counts)}")
    refuse(len(s.srcs) != counts[s.op], f"{s.op} of {len(s.srcs)}", f"it takes {counts[s.op]}")
    if s.dst.tile.kind == "mat":
        refuse((s.op, s.srcs) != ("copy", (0.0,)), f"{s.op} on {_name(s.dst)}", "an operand can be cleared: copy(0.0)")
        return
    _on("vec", s.dst, *s.srcs)
    _of(("f32", "i32"), s.dst)
    kind = s.dst.dtype
    _of((kind,), *s.srcs)
    refuse(kind == "i32" and s.op not in INTEGERS, f"{s.op} of i32", f"i32 has {', '.join(INTEGERS)}")
    refuse(kind != "i32" and s.op == "shift_right", f"shift_right of {kind}", "it is for i32")
    numbers = [o for o in s.srcs if not isinstance(o, Piece)]
    refuse(len(numbers) == 2, f"{s.op} of two numbers", "compute it before")
    shifted = s.op == "shift_right" and (not numbers or numbers[0] is not s.srcs[1])
    refuse(shifted, "a shift by tiles", "shift by a number")
    for o in s.srcs:
        _repeats(o, s.dst.shape)
        _whole(o, kind)


def cast(c: Scope, s: ir.Cast) -> None:
    """Element by element."""
    _on("vec", s.dst, s.src)
    _shape(s.src, s.dst.shape)


def unpack(c: Scope, s: ir.Unpack) -> None:
    """Two numbers a byte."""
    _on("vec", s.dst, s.src)
    _of(("i8",), s.src)
    _of(("bf16",), s.dst)
    _shape(s.dst, (s.src.rows, 2 * s.src.cols))


def where(c: Scope, s: ir.Where) -> None:
    """All f32."""
    refuse(s.cmp not in ir.COMPARE, f"{s.cmp} is no comparison", f"use {' '.join(ir.COMPARE)}")
    operands = (s.left, s.right, s.yes, s.no)
    _on("vec", s.dst, *operands)
    _of(("f32",), s.dst, *operands)
    pieces = isinstance(s.left, Piece) or isinstance(s.right, Piece)
    refuse(not pieces, "two numbers are compared", "use a condition")
    for o in operands:
        _repeats(o, s.dst.shape)


def reduce(c: Scope, s: ir.Reduce) -> None:
    """To a column or a row, in f32."""
    refuse(s.op not in ("sum", "max", "min"), f"there is no {s.op} of columns or rows", "use sum, max or min")
    refuse(s.axis not in (0, 1), f"axis {s.axis}", "use 0 or 1")
    _on("vec", s.dst, s.src)
    _of(("f32",), s.dst, s.src)
    _shape(s.dst, (s.src.rows, 1) if s.axis else (1, s.src.cols))


def rearrange(c: Scope, s: ir.Rearrange) -> None:
    """Of elements of four bytes."""
    op, _, start = s.op.partition(" ")
    known = ("transpose", "even", "odd", "interleave", "from")
    refuse(op not in known, f"there is no {op}", f"use {', '.join(known)}")
    refuse(len(s.srcs) != 1 + (op == "interleave"), f"{op} of {len(s.srcs)}", f"it takes {1 + (op == 'interleave')}")
    _on("vec", s.dst, *s.srcs)
    _of(("f32", "i32"), s.dst)
    _of((s.dst.dtype,), *s.srcs)
    (rows, cols), (high, wide) = s.srcs[0].shape, s.dst.shape
    if op == "transpose":
        _shape(s.dst, (cols, rows))
    elif op in ("even", "odd"):
        refuse(cols % 2 != 0, f"{cols} columns have no halves", "use an even number")
        _shape(s.dst, (rows, cols // 2))
    elif op == "interleave":
        _shape(s.srcs[1], (rows, cols))
        _shape(s.dst, (rows, 2 * cols))
    else:
        fits = high == rows == 1 and int(start) + wide <= cols
        refuse(not fits, f"{wide} columns from {start} on of {_said((rows, cols))}", "use columns of one row")


def compress(c: Scope, s: ir.Compress) -> None:
    """Rows, compared in f32."""
    refuse(s.cmp not in ir.COMPARE, f"{s.cmp} is no comparison", f"use {' '.join(ir.COMPARE)}")
    _on("vec", s.dst, s.src, s.left, s.right)
    _of(("f32",), s.left, s.right)
    _of(("f32", "i32"), s.src)
    _of((s.src.dtype,), s.dst)
    refuse(s.dst.rows != 1 or s.src.rows != 1, "several rows", "use one")
    _shape(s.left, s.src.shape)
    _repeats(s.right, s.src.shape)


def iota(c: Scope, s: ir.Iota) -> None:
    """A row of i32."""
    _on("vec", s.dst)
    _of(("i32",), s.dst)
    refuse(s.dst.rows != 1, "several rows", "use one")


def peek(c: Scope, s: ir.Peek) -> None:
    """From a row of i32."""
    _on("vec", s.src)
    _of(("i32",), s.src)
    refuse(s.src.rows != 1, "several rows", "use one")
    high = c.most(s.col)
    wrong = high >= s.src.cols and high != float("inf")
    refuse(wrong, f"column {high:.0f} of {s.src.cols}", "look inside the tile")


def mma(c: Scope, s: ir.Mma) -> None:
    """Whole operands, of one dtype."""
    _on("acc", s.acc)
    _on("mat", s.a, s.b)
    for p in (s.acc, s.a, s.b):
        _shape(p, (p.tile.rows, p.tile.cols))
    _of((s.a.dtype,), s.b)
    if s.turned is None:
        refuse(s.a.cols != s.b.cols, f"depths of {s.a.cols} and {s.b.cols}", "make them equal")
        _shape(s.acc, (s.a.rows, s.b.rows))
    else:
        first, width = s.turned
        refuse(s.a.cols != s.b.rows, f"depths of {s.a.cols} and {s.b.rows}", "make them equal")
        _shape(s.acc, (s.a.rows, width))
        wrong = c.most(first) + width > aligned(s.b.cols, ir.WHOLE) and c.most(first) != float("inf")
        refuse(wrong, f"columns up to {c.most(first) + width:.0f} of {s.b.cols}", "use fewer")
    low, high = interval(s.first, c.known)
    refuse(low < 0 or high > 1, f"first={text(s.first)} may be neither 0 nor 1", "use a condition")
    most = c.most(s.rows)
    refuse(most > s.a.rows and most != float("inf"), f"{most:.0f} rows of {s.a.rows}", "use fewer")


def chan(c: Scope, s: ir.Chan) -> None:
    """From a sum to a vector tile, or from a vector tile to an operand."""
    way = s.src.tile.kind, s.dst.tile.kind
    refuse(way not in (("acc", "vec"), ("vec", "mat")), f"from {way[0]} to {way[1]}", "use acc to vec, or vec to mat")
    refuse(s.depth < 1, f"depth {s.depth}", "use at least 1")
    _of((s.src.dtype,), s.dst)
    _shape(s.dst, s.src.shape)


RULES: Mapping[type, Callable[[Scope, Any], None]] = {
    ir.Load: load, ir.Store: store, ir.Compute: compute, ir.Cast: cast, ir.Unpack: unpack, ir.Where: where,
    ir.Reduce: reduce, ir.Rearrange: rearrange, ir.Compress: compress, ir.Iota: iota, ir.Peek: peek, ir.Mma: mma,
    ir.Chan: chan,
}  # fmt: skip
