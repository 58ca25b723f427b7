"""Executes logical tile programs with numpy: what a kernel means, before any chip is thought of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dsv4c.ir.kernel_ops.quantised import E2M1
from dsv4c.ir.types import DTYPES

from . import logical as ir
from .logical import Operand, Piece, Tile, Window
from .scalar import Int, evaluate

Array = np.ndarray[Any, Any]
UNDEFINED = {"f": np.nan, "V": np.nan, "b": 1}

BINARY: Mapping[str, Callable[[Any, Any], Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum, "min": np.minimum,
}  # fmt: skip
UNARY: Mapping[str, Callable[[Any], Any]] = {
    "exp": np.exp, "ln": np.log, "sqrt": np.sqrt, "abs": np.abs, "copy": np.array,
}  # fmt: skip
COMPARE: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal, "==": np.equal, "!=": np.not_equal,
}  # fmt: skip
CODES = np.array((*E2M1, *(-x for x in E2M1)), np.float32)
_REDUCE: Mapping[str, Callable[..., Any]] = {"sum": np.sum, "max": np.max, "min": np.min}


def unpacked(codes: Array) -> Array:
    """The two numbers of e2m1 in each byte, the low half first."""
    flat = codes.reshape(-1).view(np.uint8)
    return CODES[np.stack([flat & 15, flat >> 4], -1)]


class OutOfBoundsError(Exception):
    """A program touches memory outside a tensor or a tile."""


def run(program: ir.Program, arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> None:
    """Execute over contiguous arrays, one a tensor; outputs are written in place."""
    with np.errstate(all="ignore"):
        _Run({name: a.reshape(-1) for name, a in arrays.items()}, dict(sizes)).block(program.body)


def shapes(program: ir.Program, sizes: Mapping[str, int]) -> list[tuple[str, tuple[int, ...]]]:
    """Dtype and shape of each tensor for these sizes."""
    return [(t.dtype, tuple(evaluate(extent, dict(sizes)) for extent in t.shape)) for t in program.tensors]


def rows_of(name: str, flat: Array, offset: int, rows: int, cols: int, pitch: int) -> Array:
    """Rows of a tensor, as a view ``[rows, cols]``; OutOfBoundsError where it has no such elements."""
    if rows <= 0 or cols <= 0 or offset < 0 or offset + (rows - 1) * pitch + cols > flat.size:
        raise OutOfBoundsError(f"{name}: {rows} x {cols} from {offset}, pitch {pitch}, of {flat.size}")
    return np.lib.stride_tricks.as_strided(flat[offset:], (rows, cols), (pitch * flat.itemsize, flat.itemsize))


class _Run:
    def __init__(self, arrays: Mapping[str, Array], env: dict[str, int]) -> None:
        self.arrays, self.env = arrays, env
        self.tiles: dict[Tile, Array] = {}

    def block(self, body: tuple[ir.Statement, ...]) -> None:
        for statement in body:
            getattr(self, f"_{type(statement).__name__.lower()}")(statement)

    def number(self, a: Int) -> int:
        return evaluate(a, self.env)

    def piece(self, p: Piece) -> Array:
        """The elements, as a view that may be written."""
        flat, begin = self.tiles[p.tile].reshape(-1), self.number(p.row) * p.tile.cols + p.col
        part = flat[begin : begin + p.rows * p.cols] if begin >= 0 else flat[:0]
        if part.size != p.rows * p.cols:
            raise OutOfBoundsError(f"{p.tile.name}: {p.shape} from row {p.row}")
        return part.view(DTYPES[p.dtype]).reshape(p.shape)

    def operand(self, o: Operand) -> Any:
        if isinstance(o, Piece):
            return self.piece(o)
        return np.float32(o) if isinstance(o, float) else np.float32(self.number(o))

    def window(self, w: Window) -> Array:
        flat = self.arrays[w.tensor.name]
        offset, rows, cols, pitch = (self.number(x) for x in (w.offset, w.rows, w.cols, w.pitch))
        if rows <= 0 or cols <= 0:
            return flat[:0].reshape(0, 0)
        return rows_of(w.tensor.name, flat, offset, rows, cols, pitch)

    def _declare(self, s: ir.Declare) -> None:
        kind = DTYPES[s.tile.dtype]
        undefined = np.iinfo(kind).min // 2 if kind.kind == "i" else UNDEFINED.get(kind.kind, np.nan)
        self.tiles[s.tile] = np.full((s.tile.rows, s.tile.cols), undefined, kind)

    def _load(self, s: ir.Load) -> None:
        dst, src = self.piece(s.dst), self.window(s.src)
        if s.fill is not None:
            dst[...] = s.fill
        dst[: src.shape[0], : src.shape[1]] = src

    def _store(self, s: ir.Store) -> None:
        dst, src = self.window(s.dst), self.piece(s.src)
        dst[...] = src[: dst.shape[0], : dst.shape[1]]

    def _compute(self, s: ir.Compute) -> None:
        dst, srcs = self.piece(s.dst), [self.operand(o) for o in s.srcs]
        if s.op == "shift_right":
            dst[...] = srcs[0] >> int(srcs[1])
        elif len(srcs) == 2:
            kind = dst.dtype
            dst[...] = BINARY[s.op](*(np.asarray(x, kind) for x in srcs))
        else:
            dst[...] = UNARY[s.op](srcs[0])

    def _cast(self, s: ir.Cast) -> None:
        dst, src = self.piece(s.dst), self.piece(s.src)
        dst[...] = np.rint(src) if dst.dtype.kind == "i" and src.dtype.kind == "f" else src

    def _unpack(self, s: ir.Unpack) -> None:
        dst = self.piece(s.dst)
        dst[...] = unpacked(self.piece(s.src)).reshape(dst.shape)

    def _where(self, s: ir.Where) -> None:
        left, right, yes, no = (self.operand(o) for o in (s.left, s.right, s.yes, s.no))
        self.piece(s.dst)[...] = np.where(COMPARE[s.cmp](left, right), yes, no)

    def _reduce(self, s: ir.Reduce) -> None:
        src = self.piece(s.src)
        self.piece(s.dst)[...] = _REDUCE[s.op](src, axis=s.axis, keepdims=True)

    def _rearrange(self, s: ir.Rearrange) -> None:
        dst, srcs = self.piece(s.dst), [self.piece(p) for p in s.srcs]
        if s.op == "transpose":
            dst[...] = srcs[0].T
        elif s.op == "interleave":
            dst[:, 0::2], dst[:, 1::2] = srcs
        elif s.op.startswith("from"):
            dst[...] = srcs[0][:, int(s.op.split()[1]) :][:, : dst.shape[1]]
        else:
            dst[...] = srcs[0][:, int(s.op == "odd") :: 2]

    def _compress(self, s: ir.Compress) -> None:
        kept = self.piece(s.src)[COMPARE[s.cmp](self.piece(s.left), self.operand(s.right))]
        self.piece(s.dst)[0, : kept.size] = kept

    def _iota(self, s: ir.Iota) -> None:
        self.piece(s.dst)[...] = self.number(s.start) + np.arange(s.dst.cols)

    def _read(self, s: ir.Read) -> None:
        offset, flat = self.number(s.offset), self.arrays[s.src.name]
        if not 0 <= offset < flat.size:
            raise OutOfBoundsError(f"{s.src.name}[{offset}] of {flat.size}")
        self.env[s.name] = int(flat[offset])

    def _peek(self, s: ir.Peek) -> None:
        self.env[s.name] = int(self.piece(s.src)[0, self.number(s.col)])

    def _mma(self, s: ir.Mma) -> None:
        acc, rows = self.piece(s.acc), self.number(s.rows)
        a, b = self.piece(s.a)[:rows].astype(np.float32), self.piece(s.b).astype(np.float32)
        before = 0 if self.number(s.first) else acc[:rows].copy()
        if s.turned:
            first, width = self.number(s.turned[0]), s.turned[1]
            right = np.zeros((b.shape[0], width), np.float32)
            held = b[:, first : first + width]
            right[:, : held.shape[1]] = held
        else:
            right = b.T
        acc[:rows] = before + a @ right

    def _chan(self, s: ir.Chan) -> None:
        self.piece(s.dst)[...] = self.piece(s.src)

    def _loop(self, s: ir.Loop) -> None:
        for turn in range(self.number(s.count)):
            self.env[s.var] = turn
            self.block(s.body)

    def _if(self, s: ir.If) -> None:
        if self.number(s.condition):
            self.block(s.body)
