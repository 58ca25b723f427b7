"""What the legalisers share: tiles as buffers, pieces as regions, and the steps recorded so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dsv4c.ir.types import BITS

from .. import logical
from ..chip import Chip
from ..logical import Piece, Tile
from ..physical import Buffer, Get, If, Instr, Loop, Place, Region, Ring, Step, Value
from ..scalar import Int, add, aligned, mul, var

if TYPE_CHECKING:
    from .direct import Slots

BLOCK = 32  # bytes: the unit of on-chip addresses and of strides
REPEAT = 256  # bytes that one repeat of a vector instruction takes
LANES = 64  # 4-byte elements of a repeat
MOST_REPEATS = 255
MOST_STRIDE = 255  # blocks between repeats


FLAGS = 11  # numbers 0..10 may always be used, and name the first vector core (ascend.md §2.4)


class IllegalError(Exception):
    """A tile program that the chip cannot run as it is."""


def per_block(dtype: str) -> int:
    """Elements of a block."""
    return BLOCK * 8 // BITS[dtype]


@dataclass
class Scope:
    """The program under construction."""

    chip: Chip
    core: str  # AIV | AIC
    shares: int = 1  # products that hold a part of L0 at the same time
    blocks: list[list[Step]] = field(default_factory=lambda: [[]])
    buffers: list[Buffer] = field(default_factory=list)
    homes: dict[Buffer, str] = field(default_factory=dict)  # the loop, by counter, that a buffer is declared in
    tiles: dict[Tile, tuple[Buffer, Int]] = field(default_factory=dict)  # with the counter whose turns it takes
    open: list[str] = field(default_factory=lambda: [""])
    turns: list[Int] = field(default_factory=list)
    prologue: list[Step] = field(default_factory=list)
    constants: dict[tuple[object, ...], Region] = field(default_factory=dict)
    rings: Mapping[str, Ring] = field(default_factory=dict)  # channels through global memory
    slots: Mapping[str, Slots] = field(default_factory=dict)  # channels from core to core
    _numbers: int = 0

    def fresh(self, stem: str) -> str:
        """A name that nothing has."""
        self._numbers += 1
        return f"{stem}{self._numbers}"

    # --- steps ---

    def emit(
        self, op: str, pipe: str, outs: tuple[Place, ...], ins: tuple[Place, ...], **args: Value
    ) -> None:
        """Record an instruction."""
        self.blocks[-1].append(Instr(op, pipe, outs, ins, args))

    def step(self, step: Step) -> None:
        """Record anything."""
        self.blocks[-1].append(step)

    def get(self, name: str, src: Region | logical.Tensor, index: Int) -> None:
        """Record a read of the scalar unit."""
        self.blocks[-1].append(Get(name, src, index))

    @contextmanager
    def loop(self, count: Int, name: str = "", tasks: bool = False) -> Iterator[Int]:
        """Record a loop; gives its counter. A loop of one turn is none."""
        if count == 1 and not tasks and not name:
            yield 0
            return
        name = name or self.fresh("c")
        turn = f"{name}n" if tasks else name
        self.blocks.append([])
        self.open.append(name)
        self.turns.append(var(turn))
        yield var(name)
        self.turns.pop()
        self.open.pop()
        body = tuple(self.blocks.pop())
        self.blocks[-1].append(Loop(name, count, body, tasks, turn if tasks else ""))

    @contextmanager
    def when(self, condition: Int) -> Iterator[None]:
        """Record a condition; one that is known needs none."""
        if condition == 1:
            yield
            return
        self.blocks.append([])
        yield
        body = tuple(self.blocks.pop())
        if condition != 0:
            self.blocks[-1].append(If(condition, body))

    # --- memory ---

    def buffer(self, name: str, scope: str, size: int, stages: int = 1) -> Buffer:
        """New memory that lives in the loop at hand."""
        made = Buffer(name, scope, aligned(size, BLOCK), stages)
        self.buffers.append(made)
        self.homes[made] = self.open[-1]
        return made

    def temp(self, count: int, dtype: str = "f32", name: str = "tmp") -> Region:
        """A line of new memory."""
        buffer = self.buffer(self.fresh(name), "UB", aligned(count * BITS[dtype] // 8, REPEAT))
        return Region(buffer, dtype, 0, ((count, 1),))

    def pitch(self, tile: Tile) -> int:
        """Elements from one row of a vector tile to the next."""
        return 1 if tile.cols == 1 else aligned(tile.cols, per_block(tile.dtype))

    def elements(self, tile: Tile) -> int:
        """Elements of a vector tile with its padding."""
        return aligned(tile.rows, 8) if tile.cols == 1 else tile.rows * self.pitch(tile)

    def region(self, piece: Piece) -> Region:
        """Where a piece of a vector tile lies: ``[rows, pitch]``, padding included; one row or column is a line."""
        buffer, turn = self.tiles[piece.tile]
        pitch = self.pitch(piece.tile)
        offset = add(mul(piece.row, pitch), piece.col)
        if isinstance(offset, int) and offset * BITS[piece.dtype] // 8 % BLOCK:
            raise IllegalError(f"{piece.tile.name}: row {piece.row}, column {piece.col} does not begin a block")
        if 1 in piece.shape:
            whole = piece.rows == 1 and piece.cols == piece.tile.cols != 1  # then padding is computed along
            count = aligned(piece.cols, 8) if whole else piece.rows * piece.cols
            return Region(buffer, piece.dtype, offset, ((count, 1),), turn)
        if piece.cols != piece.tile.cols:  # the same elements in other rows, which leave no gaps either
            pitch = piece.cols
            if pitch % per_block(piece.dtype):
                raise IllegalError(f"{piece.tile.name}: rows of {pitch} do not begin blocks")
        return Region(buffer, piece.dtype, offset, ((piece.rows, pitch), (pitch, 1)), turn)

    def whole(self, tile: Tile) -> Region:
        """A whole vector tile with its padding, as a line."""
        buffer, turn = self.tiles[tile]
        return Region(buffer, tile.dtype, 0, ((self.elements(tile), 1),), turn)


def check_flags(channels: int) -> None:
    """IllegalError where so many channels, of two flags each, are too many."""
    if 2 * channels > FLAGS:
        raise IllegalError(f"{channels} channels need {2 * channels} flags, there are {FLAGS}")


def in_rows(region: Region, rows: int, cols: int) -> Region:
    """Rows of a region, without their padding; a line is rows too, each of whole blocks."""
    pitch = region.dims[0][1] if len(region.dims) == 2 else aligned(cols, per_block(region.dtype))
    return region.at(0, (rows, pitch), (cols, 1))


def fillable(region: Region, value: float | Int) -> Region:
    """A line that the chip can fill: bytes, which it cannot, as halves that are 0."""
    if BITS[region.dtype] != 8:
        return region
    if value != 0 or region.offset != 0:
        raise IllegalError(f"{region.buffer.name}: bytes are filled with 0, from the start")
    return Region(region.buffer, "f16", 0, ((aligned(region.count, 2) // 2, 1),), region.turn)
