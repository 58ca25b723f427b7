"""Integers, and the operands of logical statements, from their trees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lark import Token, Tree

from dsv4c.ir.types import BITS
from dsv4c.ir.unexpected import near

from ..logical import Operand, Piece, Tensor, Tile, Window
from ..scalar import Int, Scalar, evaluate, var
from .grammar import Node, TextError

OPS = {
    "add": "+", "sub": "-", "mul": "*", "div": "//", "mod": "%", "and": "and", "equal": "==", "less": "<",
}  # fmt: skip
EXTREMES = ("min", "max")


@dataclass
class Names:
    """What names stand for at a place in the text; ``integers`` is None where any name may be one."""

    tensors: Mapping[str, Tensor]
    integers: set[str] | None = None
    tiles: dict[str, Tile] = field(default_factory=dict)

    def inner(self) -> Names:
        """The names of a block inside."""
        return Names(self.tensors, None if self.integers is None else set(self.integers), dict(self.tiles))

    def tensor(self, at: Token) -> Tensor:
        """The tensor of that name."""
        if str(at) not in self.tensors:
            raise TextError(at, f"there is no tensor {at}", near(at, self.tensors))
        return self.tensors[str(at)]

    # --- integers ---

    def integer(self, tree: Node) -> Int:
        """A tree as an integer."""
        kind, parts = str(tree.data), tree.children
        if kind == "int":
            return int(str(parts[0]))
        if kind == "name":
            return self._variable(token(parts[0]))
        if kind == "negative":
            inner = self.integer(node(parts[0]))
            return -inner if isinstance(inner, int) else Scalar("-", (0, inner))
        if kind in OPS:
            left, right = (self.integer(p) for p in parts if isinstance(p, Tree))
            return _made(tree, OPS[kind], left, right)
        if kind == "call" and str(parts[0]) in EXTREMES and len(parts) == 3:
            return _made(tree, str(parts[0]), *(self.integer(node(p)) for p in parts[1:]))
        raise TextError(tree, "this is no integer", "use names, integers, + - * // % < == and, min() and max()")

    def _variable(self, at: Token) -> Int:
        if self.integers is not None and str(at) not in self.integers:
            raise TextError(at, f"there is no integer {at} here", near(at, [*self.integers, *self.tiles]))
        return var(str(at))

    def number(self, tree: Node) -> float | Int:
        """A tree as a number."""
        if tree.data == "float":
            return float(str(tree.children[0]))
        return self.integer(tree)

    def window(self, tree: Node) -> Window:
        """A rectangle of a tensor."""
        name, *rest = tree.children
        offset, rows, cols, pitch = (self.integer(node(x)) for x in rest)
        return Window(self.tensor(token(name)), offset, rows, cols, pitch)

    # --- tiles ---

    def piece(self, tree: Node) -> Piece:
        """A tile, or a part of one."""
        parts = tree.children
        if tree.data == "bits":
            dtype = dtype_of(token(parts[1]))
            return self.piece(node(parts[0])).cast_bits(dtype)
        at = token(parts[0])
        if tree.data not in ("name", "part") or str(at) not in self.tiles:
            raise TextError(at, f"there is no tile {at} here", near(at, self.tiles))
        tile = self.tiles[str(at)]
        if tree.data == "name":
            return Piece(tile, 0, tile.rows, tile.cols)
        _, row, col, rows, cols = parts
        return Piece(tile, self.integer(node(row)), int(str(rows)), int(str(cols)), "", int(str(col)))

    def operand(self, tree: Node) -> Operand:
        """A piece, a number or an integer."""
        if tree.data in ("bits", "part") or (tree.data == "name" and str(tree.children[0]) in self.tiles):
            return self.piece(tree)
        return self.number(tree)


def dtype_of(at: Token) -> str:
    """A dtype by its name."""
    if str(at) not in BITS:
        raise TextError(at, f"there is no dtype {at}", f"use one of {', '.join(BITS)}")
    return str(at)


def _made(tree: Node, op: str, *args: Int) -> Int:
    """An operation; of two known integers, its result."""
    made = Scalar(op, args)
    if any(isinstance(x, Scalar) for x in args):
        return made
    try:
        return evaluate(made, {})
    except ArithmeticError:
        raise TextError(tree, "this divides by nothing, or a negative number", "divide by a positive one") from None


def token(x: Token | Node | None) -> Token:
    """A token, of a name."""
    if not isinstance(x, Token):
        raise AssertionError(x)
    return x


def node(x: Token | Node | None) -> Node:
    """A tree, of anything else."""
    assert isinstance(x, Tree)
    return x
