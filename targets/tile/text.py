"""Tile programs as text: what a kernel does, and what a chip executes for it."""

from __future__ import annotations

from collections.abc import Iterator

from . import logical as ir
from . import physical as ph
from .logical import Operand, Piece, Tensor, Window
from .scalar import Int, text

INDENT = "    "


def logical_text(program: ir.Program) -> str:
    """The logical program."""
    tensors = ", ".join(_tensor(t) for t in program.tensors)
    head = f"kernel {program.name}({tensors}; {', '.join(program.sizes)})"
    return "\n".join([head, *_logical(program.body, 1)]) + "\n"


def physical_text(program: ph.Program) -> str:
    """The physical program: buffers with their addresses, instructions by pipe, signals and barriers."""
    lines = [f"physical {program.name} on {program.chip} (dav-{program.arch})"]
    for ring in program.rings:
        shape = f"{ring.depth} x {ring.size} {ring.tensor.dtype}"
        lines.append(f"{INDENT}ring {ring.tensor.name}: {shape} at {ring.offset} of {program.workspace} B a group")
    for part in program.parts:
        lines.append(f"{INDENT}on {part.core}:")
        for b in sorted(part.buffers, key=lambda b: (b.scope, b.address)):
            if b.address >= 0:
                copies = f" x {b.stages}" if b.stages > 1 else ""
                lines.append(f"{INDENT * 2}buffer {b.name}: {b.scope} {b.size} B{copies} at {b.address}")
        lines += _physical(part.body, 2)
    return "\n".join(lines) + "\n"


def _tensor(t: Tensor) -> str:
    return f"{t.role} {t.name}: {t.dtype}[{', '.join(text(x) for x in t.shape)}]"


# --- logical ---


def _logical(body: tuple[ir.Statement, ...], depth: int) -> Iterator[str]:
    for s in body:
        match s:
            case ir.Loop():
                yield f"{INDENT * depth}{'tasks' if s.tasks else 'for'} {s.var} in {text(s.count)}:"
                yield from _logical(s.body, depth + 1)
            case ir.If():
                yield f"{INDENT * depth}if {text(s.condition)}:"
                yield from _logical(s.body, depth + 1)
            case _:
                yield INDENT * depth + _statement(s)


def _statement(s: ir.Statement) -> str:
    match s:
        case ir.Declare():
            staged = f" stages={s.tile.stages}" if s.tile.stages > 1 else ""
            return f"{s.tile.name} = {s.tile.kind} {s.tile.dtype}[{s.tile.rows}, {s.tile.cols}]{staged}"
        case ir.Load():
            fill = "" if s.fill is None else f" fill={s.fill}"
            return f"load {_piece(s.dst)} <- {_window(s.src)}{fill}"
        case ir.Store():
            return f"store {_window(s.dst)} <- {_piece(s.src)}"
        case ir.Compute():
            return f"{_piece(s.dst)} = {s.op}({', '.join(map(_operand, s.srcs))})"
        case ir.Cast():
            return f"{_piece(s.dst)} = cast {s.dst.dtype} {_piece(s.src)}"
        case ir.Unpack():
            return f"{_piece(s.dst)} = unpack e2m1 {_piece(s.src)}"
        case ir.Where():
            test = f"{_operand(s.left)} {s.cmp} {_operand(s.right)}"
            return f"{_piece(s.dst)} = {_operand(s.yes)} where {test} else {_operand(s.no)}"
        case ir.Reduce():
            return f"{_piece(s.dst)} = {s.op}({_piece(s.src)}, axis={s.axis})"
        case ir.Rearrange():
            return f"{_piece(s.dst)} = {s.op}({', '.join(map(_piece, s.srcs))})"
        case ir.Compress():
            return f"compress {_piece(s.dst)} <- {_piece(s.src)} where {_piece(s.left)} {s.cmp} {_operand(s.right)}"
        case ir.Iota():
            return f"{_piece(s.dst)} = iota(from={text(s.start)})"
        case ir.Read():
            return f"{s.name} = read {s.src.name}[{text(s.offset)}]"
        case ir.Peek():
            return f"{s.name} = peek {_piece(s.src)}[{text(s.col)}]"
        case ir.Mma():
            b = _piece(s.b) if s.turned is None else f"{_piece(s.b)}[:, {text(s.turned[0])} : +{s.turned[1]}]^T"
            return f"mma {_piece(s.acc)} <- {_piece(s.a)} {b} first={text(s.first)} rows={text(s.rows)}"
        case ir.Chan():
            return f"chan {s.name} depth={s.depth}: {_piece(s.dst)} <- {_piece(s.src)}"
        case ir.Loop() | ir.If():
            raise AssertionError("blocks are written by their owner")


def _piece(p: Piece) -> str:
    whole = p.shape == (p.tile.rows, p.tile.cols) and p.row == 0
    place = "" if whole else f"[{text(p.row)}, {p.col}]({p.rows} x {p.cols})"
    return p.tile.name + place + (f" as {p.bits}" if p.bits else "")


def _operand(o: Operand) -> str:
    return _piece(o) if isinstance(o, Piece) else str(o)


def _window(w: Window) -> str:
    return f"{w.tensor.name}[{text(w.offset)}]({text(w.rows)} x {text(w.cols)}, pitch {text(w.pitch)})"


# --- physical ---


def _physical(body: tuple[ph.Step, ...], depth: int) -> Iterator[str]:
    for s in body:
        match s:
            case ph.Loop():
                turn = f" turn {s.turn}" if s.turn else ""
                yield f"{INDENT * depth}{'tasks' if s.tasks else 'for'} {s.var} in {text(s.count)}{turn}:"
                yield from _physical(s.body, depth + 1)
            case ph.If():
                yield f"{INDENT * depth}if {text(s.condition)}:"
                yield from _physical(s.body, depth + 1)
            case _:
                yield INDENT * depth + _step(s)


def _step(s: ph.Step) -> str:
    match s:
        case ph.Instr():
            args = "".join(f" {key}={_value(value)}" for key, value in s.args.items())
            outs, ins = (", ".join(map(_place, places)) for places in (s.outs, s.ins))
            return f"{s.pipe:5}{s.op} {outs}" + (f" <- {ins}" if ins else "") + args
        case ph.Get():
            place = f"{s.src.name}[{text(s.index)}]" if isinstance(s.src, Tensor) else _place(s.src)
            return f"S    {s.name} = {place}"
        case ph.Set():
            return f"set  {s.src} -> {s.dst} #{text(s.number)}"
        case ph.Wait():
            return f"wait {s.src} -> {s.dst} #{text(s.number)}"
        case ph.Barrier():
            return f"barrier {s.pipe}"
        case ph.CrossSet():
            return f"cross set {s.pipe} #{s.number}"
        case ph.CrossWait():
            return f"cross wait #{s.number}"
        case ph.Tick():
            return f"tick {s.name}"
        case ph.Loop() | ph.If():
            raise AssertionError("blocks are written by their owner")


def _place(p: ph.Place) -> str:
    if isinstance(p, Window):
        return _window(p)
    dims = " ".join(f"{extent}:{stride}" for extent, stride in p.dims)
    turn = f" turn {text(p.turn)}" if p.buffer.stages > 1 else ""
    return f"{p.buffer.name}.{p.dtype}[{text(p.offset)}]({dims}{turn})"


def _value(v: ph.Value | Int) -> str:
    return str(v) if isinstance(v, float | str) else text(v)
