"""From a logical tile program to instructions: one program for each kind of core that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .. import logical as ir
from ..chip import Chip
from ..memory import CapacityError, assign
from ..physical import Part, Program, Ring
from ..sync import synchronised
from . import cube, direct, move, reduce, vector
from .channel import credits, rings_of, send
from .scope import IllegalError, Scope
from .unused import without_unused


def legalize(program: ir.Program, chip: Chip) -> Program:
    """The program for this chip, with addresses and synchronisation; Illegal where it cannot run there."""
    body = direct.separated(program.body) if chip.facts["channels"] == "direct" else program.body
    program = replace(program, body=body)
    statements = list(_walk(program.body))
    tiles = [x.tile for x in statements if isinstance(x, ir.Declare)]
    cores = [core for core, vec in (("AIC", False), ("AIV", True)) if vec in {tile.kind == "vec" for tile in tiles}]
    rings = rings_of(statements) if chip.facts["channels"] == "memory" else {}
    slots = direct.slots_of(statements) if chip.facts["channels"] == "direct" else {}
    parts = tuple(_shared(program, chip, core, rings, slots) for core in cores)
    return Program(program.name, chip.name, chip.arch, program.tensors, program.sizes, parts, tuple(rings.values()))


def _shared(
    program: ir.Program, chip: Chip, core: str, rings: Mapping[str, Ring], slots: Mapping[str, direct.Slots]
) -> Part:
    """One core's part; where its products do not fit L0 side by side, each gets less of it."""
    for shares in (1, 2, 4):
        try:
            return _part(program, Scope(chip, core, shares, rings=rings, slots=slots))
        except (CapacityError, IllegalError):
            if core == "AIV" or shares == 4:
                raise
    raise AssertionError


def _part(program: ir.Program, s: Scope) -> Part:
    s.buffers += [each.buffer for each in s.slots.values()]
    s.homes.update({each.buffer: "" for each in s.slots.values()})
    _block(s, program.body)
    (body,) = s.blocks
    opened, closed = direct.credits(s) if s.slots else credits(s)
    steps = without_unused((*s.prologue, *opened, *body, *closed))
    direct.check(steps)
    assign(steps, s.buffers, s.homes, s.chip)
    return Part(s.core, tuple(s.buffers), synchronised(steps, s.chip))


def _walk(body: tuple[ir.Statement, ...]) -> list[ir.Statement]:
    out: list[ir.Statement] = []
    for x in body:
        out.append(x)
        if isinstance(x, ir.Loop | ir.If):
            out += _walk(x.body)
    return out


def _block(s: Scope, body: tuple[ir.Statement, ...]) -> None:
    ends = direct.last_uses(body) if s.slots else {}
    for number, statement in enumerate(body):
        _statement(s, statement)
        for channel in ends.get(number, ()):
            direct.release(s, channel)


def _core_of(x: ir.Statement) -> str:
    """The core that executes a statement; empty for both."""
    match x:
        case ir.Declare():
            tile = x.tile
        case ir.Load() | ir.Compute() | ir.Cast() | ir.Unpack() | ir.Where() | ir.Iota():
            tile = x.dst.tile
        case ir.Compress() | ir.Reduce() | ir.Rearrange():
            tile = x.dst.tile
        case ir.Store() | ir.Peek():
            tile = x.src.tile
        case ir.Mma():
            tile = x.acc.tile
        case _:
            return ""
    return "AIV" if tile.kind == "vec" else "AIC"


def _statement(s: Scope, x: ir.Statement) -> None:
    if _core_of(x) not in ("", s.core):
        return
    match x:
        case ir.Loop():
            with s.loop(x.count, x.var, x.tasks):
                _block(s, x.body)
        case ir.If():
            with s.when(x.condition):
                _block(s, x.body)
        case ir.Declare():
            (move if x.tile.kind == "vec" else cube).declare(s, x)
        case ir.Load():
            (move if x.dst.tile.kind == "vec" else cube).load(s, x)
        case ir.Store():
            (move if x.src.tile.kind == "vec" else cube).store(s, x)
        case ir.Compute():
            (vector.compute if s.core == "AIV" else cube.clear)(s, x)
        case ir.Cast():
            vector.cast(s, x)
        case ir.Unpack():
            vector.unpack(s, x)
        case ir.Where():
            vector.where(s, x)
        case ir.Compress():
            vector.compress(s, x)
        case ir.Iota():
            vector.iota(s, x)
        case ir.Reduce():
            reduce.reduce(s, x)
        case ir.Rearrange():
            move.rearrange(s, x)
        case ir.Read():
            move.read(s, x)
        case ir.Peek():
            move.peek(s, x)
        case ir.Mma():
            cube.mma(s, x)
        case ir.Chan():
            (direct.send if s.slots else send)(s, x)
