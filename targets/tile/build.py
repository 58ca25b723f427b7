"""How a logical tile program is written: Python that reads like the kernel, run once to record its statements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count

from . import logical as ir
from .logical import Operand, Piece, Tensor, Tile, Window
from .scalar import Int, Scalar, var

BLOCK = 8  # columns of f32 or i32 that begin a block on every chip
STORAGE = ("bf16", "f16")  # moved and cast, never computed with


class Kernel:
    """Records a program. ``stages`` copies of what a loop loads or stores let it run ahead."""

    def __init__(self, name: str, stages: int = 2) -> None:
        self.name, self.stages = name, stages
        self._tensors: list[Tensor] = []
        self._sizes: list[str] = []
        self._blocks: list[list[ir.Statement]] = [[]]
        self._born: dict[Tile, int] = {}  # the loop depth at which a tile is declared
        self._loops = 0
        self._numbers = count()

    # --- arguments ---

    def size(self, name: str) -> Scalar:
        """An integer that each launch passes."""
        if name not in self._sizes:
            self._sizes.append(name)
        return var(name)

    def tensor(self, name: str, dtype: str, *shape: Int, role: str = "in") -> Tensor:
        """The next argument."""
        made = Tensor(name, dtype, shape, role)
        self._tensors.append(made)
        return made

    def out(self, name: str, dtype: str, *shape: Int) -> Tensor:
        """The next argument, which the kernel writes whole."""
        return self.tensor(name, dtype, *shape, role="out")

    def done(self) -> ir.Program:
        """What was recorded."""
        (body,) = self._blocks
        return ir.Program(self.name, tuple(self._tensors), tuple(self._sizes), tuple(body))

    # --- structure ---

    def tasks(self, number: Int) -> Iterator[Scalar]:
        """Independent pieces of work, shared out to the cores."""
        return self._loop(number, tasks=True)

    def loop(self, number: Int) -> Iterator[Scalar]:
        """One after the other."""
        return self._loop(number, tasks=False)

    def _loop(self, number: Int, tasks: bool) -> Iterator[Scalar]:
        name = f"{'t' if tasks else 'i'}{next(self._numbers)}"
        self._blocks.append([])
        self._loops += 1
        yield var(name)
        self._loops -= 1
        body = self._blocks.pop()
        self._add(ir.Loop(name, number, tuple(body), tasks))

    @contextmanager
    def when(self, condition: Int) -> Iterator[None]:
        """Only where the condition is not 0."""
        self._blocks.append([])
        yield
        self._add(ir.If(condition, tuple(self._blocks.pop())))

    def _add(self, statement: ir.Statement) -> None:
        self._blocks[-1].append(statement)

    # --- tiles ---

    def vec(self, rows: int, cols: int, dtype: str = "f32", name: str = "v") -> Piece:
        """A tile for vector work, undefined until written."""
        return self._tile(rows, cols, dtype, "vec", name)

    def mat(self, rows: int, cols: int, dtype: str, name: str = "m") -> Piece:
        """An operand of a matrix product."""
        return self._tile(rows, cols, dtype, "mat", name)

    def acc(self, rows: int, cols: int, name: str = "acc") -> Piece:
        """The f32 sum of a matrix product."""
        return self._tile(rows, cols, "f32", "acc", name)

    def _tile(self, rows: int, cols: int, dtype: str, kind: str, name: str) -> Piece:
        tile = Tile(f"{name}{next(self._numbers)}", rows, cols, dtype, kind)
        self._born[tile] = self._loops
        self._add(ir.Declare(tile))
        return Piece(tile, 0, rows, cols)

    def _staged(self, piece: Piece) -> None:
        """What moves to or from memory in the loop that declares it takes turns."""
        if self._loops and self._born[piece.tile] == self._loops:
            piece.tile.stages = self.stages

    # --- moving ---

    def load(self, src: Window, rows: int, cols: int, fill: float | None = 0.0) -> Piece:
        """A window as a tile of f32 or i32; what lies outside the window is ``fill``."""
        moved = self.vec(rows, cols, src.tensor.dtype, src.tensor.name)
        self.load_into(moved, src, fill)
        return self.cast(moved, "f32") if src.tensor.dtype in STORAGE else moved

    def load_all(self, srcs: Iterable[tuple[Window, int, int]], fill: float | None = 0.0) -> list[Piece]:
        """As ``load``, of windows with their rows and columns; all are on their way before the first is cast, so that
        one signal may tell that they are there.
        """
        moved = []
        for src, rows, cols in srcs:
            moved.append(self.vec(rows, cols, src.tensor.dtype, src.tensor.name))
            self.load_into(moved[-1], src, fill)
        return [self.cast(tile, "f32") if tile.dtype in STORAGE else tile for tile in moved]

    def load_into(self, dst: Piece, src: Window, fill: float | None = 0.0) -> None:
        """A window into a tile of its dtype."""
        self._staged(dst)
        self._add(ir.Load(dst, src, fill))

    def store(self, dst: Window, src: Piece) -> None:
        """A tile into a window, cast to its dtype."""
        if src.dtype != dst.tensor.dtype and src.tile.kind == "vec":  # a sum of products is cast on its way out
            src = self.cast(src, dst.tensor.dtype)
        self._staged(src)
        self._add(ir.Store(dst, src))

    def store_all(self, pairs: Iterable[tuple[Window, Piece]]) -> None:
        """As ``store``; all are cast before the first is on its way, so that one signal may tell that they are done."""
        cast = [(w, p if p.dtype == w.tensor.dtype else self.cast(p, w.tensor.dtype)) for w, p in pairs]
        for window, piece in cast:
            self.store(window, piece)

    def read(self, src: Tensor, offset: Int) -> Scalar:
        """An integer from memory, for addresses and loop counts."""
        name = f"{src.name}{next(self._numbers)}"
        self._add(ir.Read(name, src, offset))
        return var(name)

    def peek(self, src: Piece, col: Int) -> Scalar:
        """An integer from a row of i32."""
        name = f"p{next(self._numbers)}"
        self._add(ir.Peek(name, src, col))
        return var(name)

    # --- arithmetic ---

    def compute(self, op: str, *srcs: Operand, out: Piece | None = None) -> Piece:
        """Elementwise; rows and columns are repeated."""
        out = out or self._like(srcs)
        self._add(ir.Compute(op, out, srcs))
        return out

    def _like(self, srcs: tuple[Operand, ...], dtype: str = "") -> Piece:
        pieces = [s for s in srcs if isinstance(s, Piece)]
        rows, cols = max(p.rows for p in pieces), max(p.cols for p in pieces)
        return self.vec(rows, cols, dtype or pieces[0].dtype)

    def add(self, a: Operand, b: Operand, out: Piece | None = None) -> Piece:
        """a + b."""
        return self.compute("add", a, b, out=out)

    def sub(self, a: Operand, b: Operand, out: Piece | None = None) -> Piece:
        """a - b."""
        return self.compute("sub", a, b, out=out)

    def mul(self, a: Operand, b: Operand, out: Piece | None = None) -> Piece:
        """a * b."""
        return self.compute("mul", a, b, out=out)

    def div(self, a: Operand, b: Operand, out: Piece | None = None) -> Piece:
        """a / b."""
        return self.compute("div", a, b, out=out)

    def maximum(self, a: Operand, b: Operand, out: Piece | None = None) -> Piece:
        """The larger."""
        return self.compute("max", a, b, out=out)

    def minimum(self, a: Operand, b: Operand, out: Piece | None = None) -> Piece:
        """The smaller."""
        return self.compute("min", a, b, out=out)

    def exp(self, a: Piece, out: Piece | None = None) -> Piece:
        """e^a."""
        return self.compute("exp", a, out=out)

    def ln(self, a: Piece, out: Piece | None = None) -> Piece:
        """The natural logarithm."""
        return self.compute("ln", a, out=out)

    def sqrt(self, a: Piece, out: Piece | None = None) -> Piece:
        """The square root."""
        return self.compute("sqrt", a, out=out)

    def absolute(self, a: Piece, out: Piece | None = None) -> Piece:
        """|a|."""
        return self.compute("abs", a, out=out)

    def full(self, a: Operand, rows: int, cols: int) -> Piece:
        """A new tile of a number, a row or a column repeated."""
        return self.copy(a, self.vec(rows, cols))

    def copy(self, a: Operand, out: Piece) -> Piece:
        """a, or a number everywhere."""
        return self.compute("copy", a, out=out)

    def cast(self, a: Piece, dtype: str, out: Piece | None = None) -> Piece:
        """The nearest number of that dtype, ties to even."""
        out = out or self.vec(a.rows, a.cols, dtype)
        self._add(ir.Cast(out, a))
        return out

    def unpack(self, a: Piece) -> Piece:
        """The two numbers of e2m1 in each byte, as bf16, which holds them exactly."""
        out = self.vec(a.rows, 2 * a.cols, "bf16")
        self._add(ir.Unpack(out, a))
        return out

    def rounded(self, a: Piece, dtype: str) -> Piece:
        """f32 that went through a narrower dtype, as the model's does between two ops."""
        return a if dtype == "f32" else self.cast(self.cast(a, dtype), "f32")

    def where(
        self, left: Operand, cmp: str, right: Operand, yes: Operand, no: Operand, out: Piece | None = None
    ) -> Piece:
        """yes where left cmp right, else no."""
        out = out or self._like((left, right, yes, no), "f32")
        self._add(ir.Where(cmp, out, left, right, yes, no))
        return out

    def reduce(self, op: str, a: Piece, axis: int = 1, out: Piece | None = None) -> Piece:
        """Over the columns (axis 1) or the rows."""
        out = out or (self.vec(a.rows, 1, a.dtype) if axis == 1 else self.vec(1, a.cols, a.dtype))
        self._add(ir.Reduce(op, out, a, axis))
        return out

    def sum(self, a: Piece, axis: int = 1, out: Piece | None = None) -> Piece:
        """The sum over the columns, or over the rows."""
        return self.reduce("sum", a, axis, out)

    def largest(self, a: Piece, axis: int = 1, out: Piece | None = None) -> Piece:
        """The largest of the columns, or of the rows."""
        return self.reduce("max", a, axis, out)

    def smallest(self, a: Piece, axis: int = 1, out: Piece | None = None) -> Piece:
        """The smallest of the columns, or of the rows."""
        return self.reduce("min", a, axis, out)

    def transpose(self, a: Piece) -> Piece:
        """Rows become columns."""
        return self._rearranged("transpose", self.vec(a.cols, a.rows, a.dtype), a)

    def even(self, a: Piece) -> Piece:
        """Columns 0, 2, ..."""
        return self._rearranged("even", self.vec(a.rows, a.cols // 2, a.dtype), a)

    def odd(self, a: Piece) -> Piece:
        """Columns 1, 3, ..."""
        return self._rearranged("odd", self.vec(a.rows, a.cols // 2, a.dtype), a)

    def columns(self, a: Piece, start: int, cols: int) -> Piece:
        """Some columns of a row; moved where they do not begin a block."""
        if start % BLOCK == 0:
            return a.cut(start, cols)
        return self._rearranged(f"from {start}", self.vec(1, cols, a.dtype), a)

    def interleave(self, a: Piece, b: Piece) -> Piece:
        """Columns of a and b in turns."""
        return self._rearranged("interleave", self.vec(a.rows, 2 * a.cols, a.dtype), a, b)

    def _rearranged(self, op: str, out: Piece, *srcs: Piece) -> Piece:
        self._add(ir.Rearrange(op, out, srcs))
        return out

    def compress(self, src: Piece, left: Piece, cmp: str, right: Operand, out: Piece) -> None:
        """What of a row passes, to the front of ``out``."""
        self._add(ir.Compress(out, src, cmp, left, right))

    def shift_right(self, a: Piece, by: int, out: Piece | None = None) -> Piece:
        """i32 divided by a power of two, rounded down."""
        return self.compute("shift_right", a, float(by), out=out)

    def iota(self, cols: int, start: Int = 0, dtype: str = "i32") -> Piece:
        """A row start, start + 1, ..."""
        out = self.vec(1, cols, "i32")
        self._add(ir.Iota(out, start))
        return out if dtype == "i32" else self.cast(out, dtype)

    def mma(
        self, acc: Piece, a: Piece, b: Piece, first: Int, rows: Int, turned: tuple[Int, int] | None = None
    ) -> None:
        """acc (+)= a b^T, or ``turned`` a times some columns of b, of which ``rows`` rows matter."""
        self._add(ir.Mma(acc, a, b, first, rows, turned))

    def to_vector(self, acc: Piece) -> Piece:
        """A sum of products as a vector tile."""
        out = self.vec(acc.rows, acc.cols)
        return self._sent(acc, out)

    def to_cube(self, vec: Piece, dtype: str) -> Piece:
        """A vector tile as an operand of products."""
        src = vec if vec.dtype == dtype else self.cast(vec, dtype)
        return self._sent(src, self.mat(vec.rows, vec.cols, dtype))

    def _sent(self, src: Piece, dst: Piece) -> Piece:
        self._staged(src)
        self._staged(dst)
        # One channel serves all tiles of a shape: both cores meet them in the order of the program.
        way = "up" if src.tile.kind == "vec" else "down"
        self._add(ir.Chan(f"{way}_{src.rows}x{src.cols}_{src.dtype}", dst, src, self.stages))
        return dst
