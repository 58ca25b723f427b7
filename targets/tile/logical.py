"""Logical tile programs: what a kernel does with tiles, without addresses, pipes or synchronisation.

Tiles are two-dimensional and of a fixed size; only loads and stores know how much of one is valid. Arithmetic is in
f32 and i32; bf16 and f16 tiles are storage, and casts are statements. A column ``[R, 1]`` and a row ``[1, R]`` are the
same memory, so that either may be read as the other.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .scalar import Int, Scalar, add, least, mul, sub

WHOLE = 16  # columns that are whole blocks in every dtype on every chip
UNARY = ("exp", "ln", "sqrt", "abs", "copy")
BINARY = ("add", "sub", "mul", "div", "max", "min")
COMPARE = ("<", ">", "<=", ">=", "==", "!=")


@dataclass(frozen=True)
class Tensor:
    """A tensor in global memory; ``shape`` may hold sizes that only the launch knows."""

    name: str
    dtype: str
    shape: tuple[Int, ...]
    role: str

    @property
    def size(self) -> Int:
        """Elements."""
        out: Int = 1
        for extent in self.shape:
            out = mul(out, extent)
        return out

    def window(self, offset: Int, rows: Int, cols: Int, pitch: Int) -> Window:
        """Any rectangle: ``rows`` rows of ``cols`` elements, ``pitch`` apart, from ``offset`` on."""
        return Window(self, offset, rows, cols, pitch)

    def block(self, row: Int, rows: Int, col: Int = 0, cols: Int | None = None) -> Window:
        """Rows ``row ... row + rows`` of the tensor as a matrix of its last axis, cut to what it has."""
        width = self.shape[-1]
        height: Int = 1
        for extent in self.shape[:-1]:
            height = mul(height, extent)
        wide = sub(width, col) if cols is None else least(cols, sub(width, col))
        return Window(self, add(mul(row, width), col), least(rows, sub(height, row)), wide, width)

    def row(self, row: Int, col: Int = 0, cols: Int | None = None) -> Window:
        """One row of the last axis, or a part of it, known to lie inside."""
        width = self.shape[-1]
        return Window(self, add(mul(row, width), col), 1, sub(width, col) if cols is None else cols, width)


@dataclass(frozen=True)
class Window:
    """A rectangle of a tensor in global memory; offsets and the pitch between rows are in elements."""

    tensor: Tensor
    offset: Int
    rows: Int
    cols: Int
    pitch: Int


@dataclass(eq=False)
class Tile:
    """On-chip memory for ``rows x cols`` elements; ``stages`` copies take turns in the loop that declares it.

    ``kind`` is ``vec``, or for matrix products ``mat`` (an operand) or ``acc`` (the sum).
    """

    name: str
    rows: int
    cols: int
    dtype: str
    kind: str = "vec"
    stages: int = 1


@dataclass(frozen=True)
class Piece:
    """A tile, or some rows of it, from ``row`` on; read as ``[rows, cols]``, and as ``bits`` of another dtype if
    given.
    """

    tile: Tile
    row: Int
    rows: int
    cols: int
    bits: str = ""
    col: int = 0  # the first column, of a single row

    @property
    def dtype(self) -> str:
        """Of the elements."""
        return self.bits or self.tile.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.cols

    def part(self, row: Int, rows: int = 1) -> Piece:
        """Some rows."""
        return replace(self, row=add(self.row, row), rows=rows)

    def cut(self, col: int, cols: int) -> Piece:
        """Some columns of a single row."""
        assert self.rows == 1
        return replace(self, col=self.col + col, cols=cols)

    def flat(self, rows: int, cols: int) -> Piece:
        """The same elements in another shape: of a row or a column, or where rows leave no gaps on any chip."""
        assert rows * cols == self.rows * self.cols
        assert (1 in (rows, cols) and 1 in self.shape) or self.tile.cols % WHOLE == 0
        return replace(self, rows=rows, cols=cols)

    def cast_bits(self, dtype: str) -> Piece:
        """The same bits as another dtype of the same width."""
        return replace(self, bits=dtype)

    @property
    def column(self) -> Piece:
        """A row read as a column."""
        return self.flat(self.rows * self.cols, 1)

    @property
    def as_row(self) -> Piece:
        """A column read as a row."""
        return self.flat(1, self.rows * self.cols)


Operand = Piece | float | Scalar  # a scalar is an integer made a number


@dataclass(frozen=True)
class Declare:
    """Tiles that live from here to the end of the block, with what they hold undefined."""

    tile: Tile


@dataclass(frozen=True)
class Load:
    """``dst = src``, the rest of ``dst`` filled; dtypes are equal."""

    dst: Piece
    src: Window
    fill: float | None


@dataclass(frozen=True)
class Store:
    """``dst = src``, as much as the window asks for; ``add`` adds to what is there."""

    dst: Window
    src: Piece


@dataclass(frozen=True)
class Compute:
    """``dst = op(srcs)``; a source of one row or one column is repeated."""

    op: str
    dst: Piece
    srcs: tuple[Operand, ...]


@dataclass(frozen=True)
class Cast:
    """``dst = src`` in the dtype of ``dst``, to the nearest, ties to even."""

    dst: Piece
    src: Piece


@dataclass(frozen=True)
class Unpack:
    """``dst [R, 2 C] =`` the two numbers of e2m1 that each byte of ``src [R, C]`` holds, the low half first."""

    dst: Piece
    src: Piece


@dataclass(frozen=True)
class Where:
    """``dst = yes where left cmp right, else no``; left and right f32."""

    cmp: str
    dst: Piece
    left: Operand
    right: Operand
    yes: Operand
    no: Operand


@dataclass(frozen=True)
class Reduce:
    """``dst [R, 1] = op over the columns of src [R, C]`` for axis 1, ``[1, C]`` over the rows for axis 0."""

    op: str  # sum | max | min
    dst: Piece
    src: Piece
    axis: int


@dataclass(frozen=True)
class Rearrange:
    """``transpose``; ``even`` and ``odd`` columns; ``interleave`` two tiles column by column; columns ``from N`` on."""

    op: str
    dst: Piece
    srcs: tuple[Piece, ...]


@dataclass(frozen=True)
class Compress:
    """The elements of the row ``src`` where ``left cmp right``, in their order, from the start of ``dst`` on; the rest
    of ``dst`` stays.
    """

    dst: Piece
    src: Piece
    cmp: str
    left: Piece
    right: Operand


@dataclass(frozen=True)
class Iota:
    """``dst[r, c] = start + c``."""

    dst: Piece
    start: Int


@dataclass(frozen=True)
class Read:
    """An integer from global memory, known by ``name`` from here to the end of the block."""

    name: str
    src: Tensor
    offset: Int


@dataclass(frozen=True)
class Peek:
    """An integer from an i32 tile, known by ``name`` from here to the end of the block."""

    name: str
    src: Piece
    col: Int


@dataclass(frozen=True)
class Mma:
    """``acc [M, N] (+)= a [M, K] b[N, K]^T`` or, turned, ``a b``; ``rows`` rows matter; ``first`` begins at zero.

    Columns behind the last of ``b``, up to a multiple of 16, are 0.
    """

    acc: Piece
    a: Piece
    b: Piece
    first: Int  # 0 or 1
    rows: Int
    turned: tuple[Int, int] | None = None  # b is [K, ..], of which these columns, first and number, are multiplied


@dataclass(frozen=True)
class Chan:
    """``dst = src`` across engines: a sum to a vector tile, or a vector tile to an operand; ``depth`` may be on their
    way at a time.
    """

    name: str
    dst: Piece
    src: Piece
    depth: int


@dataclass(frozen=True)
class Loop:
    """``count`` times, counting ``var`` from 0; ``tasks`` are shared out to the cores in any order."""

    var: str
    count: Int
    body: tuple[Statement, ...]
    tasks: bool = False


@dataclass(frozen=True)
class If:
    """The body where ``condition`` is not 0."""

    condition: Int
    body: tuple[Statement, ...]


Statement = (
    Declare | Load | Store | Compute | Cast | Unpack | Where | Reduce | Rearrange | Compress | Iota | Read
    | Peek | Mma | Chan | Loop | If
)


@dataclass(frozen=True)
class Program:
    """A kernel: ``tensors`` in the order of its arguments, ``sizes`` are the integers that a launch passes."""

    name: str
    tensors: tuple[Tensor, ...]
    sizes: tuple[str, ...]
    body: tuple[Statement, ...] = field(default=())
