"""Whether tiles are written before they are read, on every way through a logical program.

A declaration makes a tile undefined again in every turn. A tile is one thing here, with all its elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import logical as ir
from ..logical import Piece, Program, Tile
from ..scalar import Int, substitute
from ..text import statement_text
from .error import TileError
from .lifetime import opposite

Defined = frozenset[Tile]


def check_defined(program: Program) -> None:
    """TileError for a tile that is read before it is written."""
    _Walk(program.name).block(program.body, frozenset(), {})


class _Walk:
    def __init__(self, kernel: str) -> None:
        self.kernel = kernel

    def block(self, body: Sequence[ir.Statement], defined: Defined, turns: Mapping[str, Int]) -> Defined:
        """What is defined behind a block; ``turns`` has the loops that are in their first turn."""
        one_way: dict[Int, Defined] = {}  # by condition, what is defined where it holds
        for s in body:
            match s:
                case ir.If():
                    found = self.block(s.body, defined, turns)
                    both = next((way & found for c, way in one_way.items() if opposite(c, s.condition)), frozenset())
                    defined |= both  # nothing becomes undefined inside that was declared outside
                    one_way[s.condition] = found
                case ir.Loop():
                    defined = self._loop(s, defined, turns)
                case ir.Declare():
                    defined -= {s.tile}
                case _:
                    defined = self._statement(s, defined, turns)
        return defined

    def _loop(self, s: ir.Loop, defined: Defined, turns: Mapping[str, Int]) -> Defined:
        end = self.block(s.body, defined, turns if s.tasks else {**turns, s.var: 0})
        if s.count != 1:
            self.block(s.body, end, {name: turn for name, turn in turns.items() if name != s.var})
        runs = isinstance(s.count, int) and s.count > 0 and not s.tasks
        return end if runs else defined

    def _statement(self, s: ir.Statement, defined: Defined, turns: Mapping[str, Int]) -> Defined:
        written = s.acc if isinstance(s, ir.Mma) else getattr(s, "dst", None)
        for key, value in vars(s).items():
            for each in value if isinstance(value, tuple) else (value,):
                if isinstance(each, Piece) and (each is not written or key not in ("dst", "acc")):
                    self._read(s, each.tile, defined)
        if isinstance(s, ir.Mma) and substitute(s.first, turns) != 1:
            self._read(s, s.acc.tile, defined)
        return defined | {written.tile} if isinstance(written, Piece) else defined

    def _read(self, s: ir.Statement, tile: Tile, defined: Defined) -> None:
        if tile not in defined:
            what = f"nothing was written to {tile.name} on some way here"
            raise TileError(what, "write it first").at(self.kernel, statement_text(s), s)
