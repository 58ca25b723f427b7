"""Tile programs as text: what a kernel does, and what a chip executes for it. ``parse`` reads it back."""

from __future__ import annotations

from collections.abc import Iterator

from . import logical as ir
from . import physical as ph
from .logical import Operand, Piece, Tensor, Window
from .scalar import Int, text

INDENT = "    "
SUM = 4  # how tightly a sum binds: comparisons are written in brackets beside a comparison


def logical_text(program: ir.Program) -> str:
    """The logical program."""
    tensors = ", ".join(_tensor(t) for t in program.tensors)
    head = f"kernel {program.name}({tensors}; {', '.join(program.sizes)})"
    return "\n".join([head, *_logical(program.body, 1)]) + "\n"


def physical_text(program: ph.Program) -> str:
    """The physical program: buffers with their addresses, instructions by pipe, signals and barriers."""
    lines = [f"physical {program.name} on {program.chip} (dav-{program.arch})"]
    lines += [INDENT + ring_text(ring) for ring in program.rings]
    for part in program.parts:
        lines.append(f"{INDENT}on {part.core}:")
        for b in sorted(part.buffers, key=lambda b: (b.scope, b.address)):
            if b.address >= 0:
                lines.append(INDENT * 2 + buffer_text(b))
        lines += _physical(part.body, 2)
    return "\n".join(lines) + "\n"


def ring_text(ring: ph.Ring) -> str:
    """The line of a ring; the offset is in the workspace of each group of cores."""
    return f"ring {ring.tensor.name}: {ring.depth} x {ring.size} {ring.tensor.dtype} at {ring.offset}"


def buffer_text(b: ph.Buffer) -> str:
    """The line of a buffer."""
    copies = f" x {b.stages}" if b.stages != 1 else ""
    return f"buffer {b.name}: {b.scope} {b.size} B{copies} at {b.address}{' shared' if b.shared else ''}"


def _tensor(t: Tensor) -> str:
    return f"{t.role} {t.name}: {t.dtype}[{', '.join(text(x) for x in t.shape)}]"


# --- logical ---


def _logical(body: tuple[ir.Statement, ...], depth: int) -> Iterator[str]:
    for s in body:
        match s:
            case ir.Loop() | ir.If():
                yield INDENT * depth + statement_text(s)
                yield from _logical(s.body, depth + 1)
            case _:
                yield INDENT * depth + statement_text(s)


def statement_text(s: ir.Statement) -> str:
    """The line of a statement; of a loop or a condition, its first."""
    match s:
        case ir.Loop():
            return f"{'tasks' if s.tasks else 'for'} {s.var} in {text(s.count)}:"
        case ir.If():
            return f"if {text(s.condition)}:"
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
            yes, left, right, no = (_operand(o, SUM) for o in (s.yes, s.left, s.right, s.no))
            return f"{_piece(s.dst)} = {yes} where {left} {s.cmp} {right} else {no}"
        case ir.Reduce():
            return f"{_piece(s.dst)} = {s.op}({_piece(s.src)}, axis={s.axis})"
        case ir.Rearrange():
            op, _, start = s.op.partition(" ")
            first = f", start={start}" if start else ""
            return f"{_piece(s.dst)} = {op}({', '.join(map(_piece, s.srcs))}{first})"
        case ir.Compress():
            test = f"{_piece(s.left)} {s.cmp} {_operand(s.right, SUM)}"
            return f"compress {_piece(s.dst)} <- {_piece(s.src)} where {test}"
        case ir.Iota():
            return f"{_piece(s.dst)} = iota(start={text(s.start)})"
        case ir.Read():
            return f"{s.name} = read {s.src.name}[{text(s.offset)}]"
        case ir.Peek():
            return f"{s.name} = peek {_piece(s.src)} at {text(s.col)}"
        case ir.Mma():
            b = _piece(s.b) if s.turned is None else f"{_piece(s.b)}[:, {text(s.turned[0])} : +{s.turned[1]}]^T"
            return f"mma {_piece(s.acc)} <- {_piece(s.a)} {b} first={text(s.first)} rows={text(s.rows)}"
        case ir.Chan():
            return f"chan {s.name} depth={s.depth}: {_piece(s.dst)} <- {_piece(s.src)}"


def _piece(p: Piece) -> str:
    whole = p.shape == (p.tile.rows, p.tile.cols) and p.row == 0
    place = "" if whole else f"[{text(p.row)}, {p.col}]({p.rows} x {p.cols})"
    return p.tile.name + place + (f" as {p.bits}" if p.bits else "")


def _operand(o: Operand, outer: int = 0) -> str:
    return _piece(o) if isinstance(o, Piece) else str(o) if isinstance(o, float) else text(o, outer)


def _window(w: Window) -> str:
    return f"{w.tensor.name}[{text(w.offset)}]({text(w.rows)} x {text(w.cols)}, pitch {text(w.pitch)})"


# --- physical ---


def _physical(body: tuple[ph.Step, ...], depth: int) -> Iterator[str]:
    for s in body:
        match s:
            case ph.Loop() | ph.If():
                yield INDENT * depth + step_text(s)
                yield from _physical(s.body, depth + 1)
            case _:
                yield INDENT * depth + step_text(s)


def step_text(s: ph.Step) -> str:
    """The line of a step; of a loop or a condition, its first."""
    match s:
        case ph.Loop():
            turn = f" turn {s.turn}" if s.turn else ""
            return f"{'tasks' if s.tasks else 'for'} {s.var} in {text(s.count)}{turn}:"
        case ph.If():
            return f"if {text(s.condition)}:"
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
            return f"cross set {s.pipe} #{s.number}{_mode(s.mode)}"
        case ph.CrossWait():
            return f"cross wait {s.pipe} #{s.number}{_mode(s.mode)}"
        case ph.Tick():
            return f"tick {s.name}"


def _mode(mode: int) -> str:
    return f" mode {mode}" if mode != 2 else ""


def _place(p: ph.Place) -> str:
    if isinstance(p, Window):
        return _window(p)
    dims = " ".join(f"{extent}:{stride}" for extent, stride in p.dims)
    turn = f" turn {text(p.turn)}" if p.buffer.stages > 1 else ""
    return f"{p.buffer.name}.{p.dtype}[{text(p.offset)}]({dims}{turn})"


def _value(v: ph.Value | Int) -> str:
    if isinstance(v, str) and not v.isalnum():
        return f'"{v}"'
    return str(v) if isinstance(v, float | str) else text(v)
