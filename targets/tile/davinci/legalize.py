"""From a logical tile program to instructions of one kind of core."""

from __future__ import annotations

from .. import logical as ir
from ..chip import Chip
from ..memory import assign
from ..physical import Program
from ..sync import synchronised
from . import cube, move, reduce, vector
from .scope import Illegal, Scope

NARROW = ("bf16", "f16")


def legalize(program: ir.Program, chip: Chip) -> Program:
    """The program for this chip, with addresses and synchronisation; Illegal where it cannot run there."""
    statements = list(_walk(program.body))
    core = _core(statements)
    narrow = any(isinstance(x, ir.Declare) and x.tile.dtype in NARROW for x in statements)
    s = Scope(chip, 16 if narrow else 8)
    _block(s, program.body)
    (body,) = s.blocks
    steps = (*s.prologue, *body)
    assign(steps, s.buffers, s.homes, chip)
    ordered = synchronised(steps, chip)
    return Program(program.name, chip.name, chip.arch, core, program.tensors, program.sizes, tuple(s.buffers), ordered)


def _walk(body: tuple[ir.Statement, ...]) -> list[ir.Statement]:
    out: list[ir.Statement] = []
    for x in body:
        out.append(x)
        if isinstance(x, ir.Loop | ir.If):
            out += _walk(x.body)
    return out


def _core(statements: list[ir.Statement]) -> str:
    kinds = {x.tile.kind == "vec" for x in statements if isinstance(x, ir.Declare)}
    if len(kinds) > 1:
        raise Illegal("vector and matrix tiles in one program need channels between the cores")
    return "AIC" if kinds == {False} else "AIV"


def _block(s: Scope, body: tuple[ir.Statement, ...]) -> None:
    for statement in body:
        _statement(s, statement)


def _statement(s: Scope, x: ir.Statement) -> None:
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
            vector.compute(s, x)
        case ir.Cast():
            vector.cast(s, x)
        case ir.Where():
            vector.where(s, x)
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
