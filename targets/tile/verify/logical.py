"""Whether a logical program means something: names, shapes, dtypes and engines of every statement.

What lies beyond one statement, tiles that are read before they are written, is ``defined``'s.
"""

from __future__ import annotations

from collections.abc import Sequence

from dsv4c.ir.types import BITS

from .. import logical as ir
from ..logical import Operand, Piece, Program, Tensor, Tile, Window
from ..scalar import Int, names, text
from ..text import statement_text
from .defined import check_defined
from .error import TileError
from .ranges import ANY, NATURAL, Interval, interval
from .shapes import refuse
from .statements import RULES, Scope

KINDS = {
    "vec": ("f32", "i32", "bf16", "f16", "bool", "i8", "f8e4m3"), "mat": ("f32", "bf16", "f16"), "acc": ("f32",),
}  # fmt: skip


def verify_logical(program: Program) -> None:
    """TileError where the program breaks a rule."""
    try:
        tensors = [t.name for t in program.tensors]
        for what, known in (("tensors", tensors), ("sizes", program.sizes)):
            twice = sorted({name for name in known if list(known).count(name) > 1})
            refuse(bool(twice), f"two {what} are named {', '.join(twice)}", "use different names")
        walker = _Walker(program)
        for t in program.tensors:
            walker.integers(*t.shape)
    except TileError as error:
        raise error.at(program.name) from None
    walker.block(program.body, False)
    stored = {s.dst.tensor.name for s in walker.stores}
    for t in program.tensors:
        if t.role == "out" and t.name not in stored:
            raise TileError(f"nothing is stored to {t.name}", "store it, or call it an input").at(program.name)
    check_defined(program)


class _Walker:
    """Statements in the order of the text, with what their names stand for."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.tensors = {t.name: t for t in program.tensors}
        self.known: dict[str, Interval] = dict.fromkeys(program.sizes, NATURAL)
        self.tiles: set[Tile] = set()
        self.channels: dict[str, tuple[object, ...]] = {}
        self.stores: list[ir.Store] = []

    def block(self, body: Sequence[ir.Statement], in_tasks: bool) -> None:
        """What a block names is known to its end."""
        known, tiles = dict(self.known), set(self.tiles)
        for s in body:
            try:
                self._statement(s, in_tasks)
            except TileError as error:
                raise error.at(self.program.name, statement_text(s), s) from None
            if isinstance(s, ir.Loop):
                before, last = dict(self.known), max(interval(s.count, self.known)[1] - 1, 0)
                self.known[s.var] = (0, last)
                self.block(s.body, in_tasks or s.tasks)
                self.known = before
            elif isinstance(s, ir.If):
                self.block(s.body, in_tasks)
        self.known, self.tiles = known, tiles

    def _statement(self, s: ir.Statement, in_tasks: bool) -> None:
        match s:
            case ir.Loop():
                self.integers(s.count)
                refuse(s.var in self.known, f"{s.var} is counted already", "use another name")
                refuse(s.tasks and in_tasks, "tasks inside tasks", "share out one loop only")
                refuse(interval(s.count, self.known)[1] < 1, "a loop that never turns", "leave it out")
            case ir.If():
                self.integers(s.condition)
                refuse(s.condition == 0, "a condition that never holds", "leave it out")
            case ir.Declare():
                self._declare(s.tile)
            case ir.Read():
                self._tensor(s.src)
                self.integers(s.offset)
                refuse(s.src.dtype != "i32", f"an integer from {s.src.dtype}", "read i32")
                self._integer(s.name)
            case _:
                self._operands(s)
                RULES[type(s)](Scope(self.known), s)
                if isinstance(s, ir.Peek):
                    self._integer(s.name)
                elif isinstance(s, ir.Chan):
                    self._channel(s)
                elif isinstance(s, ir.Store):
                    self.stores.append(s)

    def _declare(self, tile: Tile) -> None:
        refuse(tile in self.tiles, f"{tile.name} is declared already", "declare it once")
        refuse(tile.kind not in KINDS, f"a tile of kind {tile.kind}", f"use {', '.join(KINDS)}")
        dtypes = KINDS[tile.kind]
        refuse(tile.dtype not in dtypes, f"a {tile.kind} tile of {tile.dtype}", f"use {', '.join(dtypes)}")
        refuse(min(tile.rows, tile.cols, tile.stages) < 1, "a tile of nothing", "use at least 1")
        self.tiles.add(tile)

    def _integer(self, name: str) -> None:
        refuse(name in self.known, f"{name} is known already", "use another name")
        self.known[name] = ANY

    def _channel(self, s: ir.Chan) -> None:
        """All that goes through a channel is alike."""
        form = (s.dst.tile.kind, s.src.shape, s.src.dtype, s.depth)
        other = self.channels.setdefault(s.name, form)
        refuse(other != form, f"channel {s.name} carries other tiles as well", "use another name")

    def integers(self, *values: Int) -> None:
        """TileError where a name is not known."""
        for value in values:
            for name in sorted(names(value)):
                refuse(name not in self.known, f"{name} is not known here", "read or count it before")

    def _tensor(self, t: Tensor) -> None:
        refuse(self.tensors.get(t.name) != t, f"there is no tensor {t.name}", "use an argument")

    def _operands(self, s: ir.Statement) -> None:
        for value in vars(s).values():
            for each in value if isinstance(value, tuple) else (value,):
                self._operand(each)

    def _operand(self, o: Operand | Window | Int | str | None) -> None:
        if isinstance(o, Piece):
            self._piece(o)
        elif isinstance(o, Window):
            self._tensor(o.tensor)
            self.integers(o.offset, o.rows, o.cols, o.pitch)
            for extent in (o.rows, o.cols):
                refuse(interval(extent, self.known)[1] < 1, f"an extent of {text(extent)}", "use at least 1")
        elif not isinstance(o, float | str | None):
            self.integers(o)

    def _piece(self, p: Piece) -> None:
        refuse(p.tile not in self.tiles, f"{p.tile.name} is not declared here", "declare it before")
        self.integers(p.row)
        refuse(min(p.rows, p.cols) < 1, f"no elements of {p.tile.name}", "use at least 1")
        low, high = interval(p.row, self.known)
        refuse(low < 0 and low != ANY[0], f"{p.tile.name} from row {low:.0f} on", "begin inside the tile")
        last = high if high != ANY[1] else max(low, 0)
        end = last * p.tile.cols + p.col + p.rows * p.cols
        room = p.tile.rows * p.tile.cols
        refuse(end > room, f"{end:.0f} elements of {p.tile.name}", f"it has {room}")
        refuse(p.col > 0 and p.rows > 1, f"columns of {p.rows} rows of {p.tile.name}", "cut single rows only")
        same = not p.bits or BITS[p.bits] == BITS[p.tile.dtype]
        refuse(not same, f"{p.tile.dtype} read as {p.bits}", "use a dtype of the same width")
