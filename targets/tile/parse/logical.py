"""Logical programs from their trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lark import Token

from dsv4c.ir.unexpected import near

from .. import logical as ir
from ..logical import Operand, Piece, Tensor, Tile
from ..scalar import Int, Scalar
from .expressions import Names, dtype_of, node, token
from .grammar import Node, TextError

ROLES = ("in", "out", "inout")
REDUCED = ("sum", "max", "min")
REARRANGED = ("transpose", "even", "odd", "interleave", "from")
COMPUTED = (*ir.UNARY, *ir.BINARY, "shift_right")
Lines = dict[int, int]  # by the id of a statement or step, where it stands


def read_kernel(tree: Node, lines: Lines) -> ir.Program:
    """The program; ``lines`` is filled."""
    name, tensors, sizes, *body = tree.children
    known = [str(size) for size in node(sizes).children if size is not None]
    names = Names({}, set(known))
    made = [_tensor(names, node(t)) for t in node(tensors).children if t is not None]
    names.tensors = {t.name: t for t in made}
    statements = _Reader(lines).block(body, names)
    return ir.Program(str(name), tuple(made), tuple(known), statements)


def _tensor(names: Names, tree: Node) -> Tensor:
    role, name, dtype, *shape = tree.children
    if str(role) not in ROLES:
        raise TextError(token(role), f"unexpected {role}", f"a tensor is {', '.join(ROLES)}")
    extents = tuple(names.integer(node(x)) for x in shape if x is not None)
    return Tensor(str(name), dtype_of(token(dtype)), extents, str(role))


class _Reader:
    def __init__(self, lines: Lines) -> None:
        self.lines = lines

    def block(self, trees: list[Token | Node], names: Names) -> tuple[ir.Statement, ...]:
        """Statements; what they name is known to the end of the block."""
        names, out = names.inner(), []
        for each in trees:
            tree = node(each)
            statement = READERS[str(tree.data)](self, names, tree)
            self.lines[id(statement)] = tree.meta.line
            out.append(statement)
        return tuple(out)

    def loop(self, names: Names, tree: Node) -> ir.Statement:
        var, count, body = tree.children
        counted = names.integer(node(count))
        inner = names.inner()
        _new(inner, token(var))
        return ir.Loop(str(var), counted, self.block(node(body).children, inner), tree.data == "tasks")

    def condition(self, names: Names, tree: Node) -> ir.Statement:
        condition, body = tree.children
        return ir.If(names.integer(node(condition)), self.block(node(body).children, names))

    def load(self, names: Names, tree: Node) -> ir.Statement:
        dst, src, *rest = map(node, tree.children)
        value = names.number(_named(rest[0], "fill")) if rest else None
        if isinstance(value, Scalar):
            raise TextError(rest[0], f"fill={value} is not known", "write a number")
        return ir.Load(names.piece(dst), names.window(src), value)

    def store(self, names: Names, tree: Node) -> ir.Statement:
        dst, src = tree.children
        return ir.Store(names.window(node(dst)), names.piece(node(src)))

    def compress(self, names: Names, tree: Node) -> ir.Statement:
        dst, src, left, cmp, right = map(node, tree.children)
        pieces = [names.piece(x) for x in (dst, src, left)]
        return ir.Compress(pieces[0], pieces[1], str(cmp.children[0]), pieces[2], names.operand(right))

    def mma(self, names: Names, tree: Node) -> ir.Statement:
        acc, a, b, turned, first, rows = tree.children
        columns: tuple[Int, int] | None = None
        if turned is not None:
            start, width = [x for x in node(turned).children if not (isinstance(x, Token) and x.type == "TURN")]
            columns = names.integer(node(start)), int(str(width))
        operands = [names.piece(node(x)) for x in (acc, a, b)]
        numbers = [names.integer(_named(node(x), key)) for x, key in ((first, "first"), (rows, "rows"))]
        return ir.Mma(operands[0], operands[1], operands[2], numbers[0], numbers[1], columns)

    def chan(self, names: Names, tree: Node) -> ir.Statement:
        name, depth, dst, src = tree.children
        return ir.Chan(str(name), names.piece(node(dst)), names.piece(node(src)), int(str(depth)))

    def assign(self, names: Names, tree: Node) -> ir.Statement:
        left, right = map(node, tree.children)
        if right.data in DEFINED:
            if left.data != "name":
                raise TextError(left, "a part of a tile is no name", "write a name")
            return DEFINED[str(right.data)](names, token(left.children[0]), right)
        dst = names.piece(left)
        if right.data == "cast":
            dtype, src = right.children
            if dtype_of(token(dtype)) != dst.dtype:
                raise TextError(token(dtype), f"a cast to {dtype} into {dst.dtype}", f"cast to {dst.dtype}")
            return ir.Cast(dst, names.piece(node(src)))
        if right.data == "unpack":
            codes, src = right.children
            if str(codes) != "e2m1":
                raise TextError(token(codes), f"codes of {codes}", "unpack e2m1")
            return ir.Unpack(dst, names.piece(node(src)))
        if right.data == "where":
            yes, a, cmp, b, no = map(node, right.children)
            values: list[Operand] = [names.operand(x) for x in (a, b, yes, no)]
            return ir.Where(str(cmp.children[0]), dst, *values)
        if right.data == "call":
            return _called(names, dst, right)
        raise TextError(right, "nothing is computed here", f"use {', '.join(COMPUTED)}, a cast, a reduction ...")


def _called(names: Names, dst: Piece, tree: Node) -> ir.Statement:
    at, *rest = tree.children
    op, plain, named = str(at), [], dict[str, Node]()
    for each in (node(x) for x in rest if x is not None):
        if each.data == "named":
            named[str(each.children[0])] = node(each.children[1])
        else:
            plain.append(each)
    keys = set(named)
    if op == "iota" and keys == {"start"} and not plain:
        return ir.Iota(dst, names.integer(named["start"]))
    if op in REDUCED and keys == {"axis"} and len(plain) == 1:
        axis = names.integer(named["axis"])
        if axis not in (0, 1):
            raise TextError(named["axis"], "there is no such axis", "use 0 or 1")
        return ir.Reduce(op, dst, names.piece(plain[0]), int(str(axis)))
    if op in REARRANGED and keys == ({"start"} if op == "from" else set()):
        full = f"from {names.integer(named['start'])}" if op == "from" else op
        return ir.Rearrange(full, dst, tuple(map(names.piece, plain)))
    if op in COMPUTED and not keys and plain:
        return ir.Compute(op, dst, tuple(map(names.operand, plain)))
    known = (*COMPUTED, *REARRANGED, "iota", "sum")
    if op in known:
        raise TextError(token(at), f"{op} does not take these", "see docs/tiles.md for what it takes")
    raise TextError(token(at), f"there is no {op}", near(op, known) or f"use {', '.join(known)}")


def _named(tree: Node, key: str) -> Node:
    """The value of ``key=value``."""
    name, value = tree.children
    if str(name) != key:
        raise TextError(token(name), f"unexpected {name}=", f"write {key}=")
    return node(value)


def _new(names: Names, at: Token) -> None:
    assert names.integers is not None
    if str(at) in names.integers or str(at) in names.tiles:
        raise TextError(at, f"{at} is known already", "use another name")
    names.integers.add(str(at))


def _tile(names: Names, at: Token, tree: Node) -> ir.Statement:
    kind, dtype, rows, cols, stages = tree.children
    if names.integers is not None and str(at) in names.integers:
        raise TextError(at, f"{at} is an integer already", "use another name")
    shape = int(str(rows)), int(str(cols))
    made = Tile(str(at), *shape, dtype_of(token(dtype)), str(kind), 1 if stages is None else int(str(stages)))
    names.tiles[str(at)] = made
    return ir.Declare(made)


def _read(names: Names, at: Token, tree: Node) -> ir.Statement:
    tensor, offset = tree.children
    made = ir.Read(str(at), names.tensor(token(tensor)), names.integer(node(offset)))
    _new(names, at)
    return made


def _peek(names: Names, at: Token, tree: Node) -> ir.Statement:
    src, col = tree.children
    made = ir.Peek(str(at), names.piece(node(src)), names.integer(node(col)))
    _new(names, at)
    return made


DEFINED: Mapping[str, Callable[[Names, Token, Node], ir.Statement]] = {"tile": _tile, "read": _read, "peek": _peek}
READERS: Mapping[str, Callable[[_Reader, Names, Node], ir.Statement]] = {
    "for": _Reader.loop, "tasks": _Reader.loop, "if": _Reader.condition, "load": _Reader.load,
    "store": _Reader.store, "compress": _Reader.compress, "mma": _Reader.mma, "chan": _Reader.chan,
    "assign": _Reader.assign,
}  # fmt: skip
