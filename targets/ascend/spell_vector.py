"""AscendC text of vector instructions, and of copies between global memory and UB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dsv4c.ir.types import BITS

from ..tile.physical import Instr, Region
from ..tile.scalar import Int, aligned, mul, sub
from .spell_operands import CODES, TYPES, Lines, Operands, Spelling, c_text, codes, gm, literal, regions, windows

COMPARE = {"<": "LT", ">": "GT", "<=": "LE", ">=": "GE", "==": "EQ", "!=": "NE"}
BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min"}
NUMBER = {"adds": "Adds", "muls": "Muls", "maxs": "Maxs", "mins": "Mins"}
UNARY = {"exp": "Exp", "ln": "Ln", "sqrt": "Sqrt", "abs": "Abs"}


@dataclass(frozen=True)
class _Repeat:
    """A region as a vector instruction repeats over it; strides in blocks of 32 bytes."""

    mask: int
    repeats: int
    inner: int
    outer: int


def _repeat(r: Region) -> _Repeat:
    block = 256 // BITS[r.dtype]
    (repeats, step), *inner = r.dims if len(r.dims) > 1 else ((1, 0), *r.dims)
    if len(inner) == 2:
        (blocks, stride), (lanes, _) = inner
        return _Repeat(blocks * lanes, repeats, stride // block, step // block)
    ((lanes, _),) = inner
    return _Repeat(lanes, repeats, 1, step // block)


def _dense(i: Instr) -> bool:
    return all(isinstance(p, Region) and p.dense for p in (*i.outs, *i.ins))


def _binary(w: Operands, i: Instr) -> Lines:
    names = ", ".join(w.at(p) for p in regions(i.outs + i.ins))
    (dst,) = regions(i.outs)
    if _dense(i):
        return [f"{BINARY[i.op]}({names}, {dst.count});"]
    d, a, b = (_repeat(p) for p in regions(i.outs + i.ins))
    strides = f"{d.inner}, {a.inner}, {b.inner}, {d.outer}, {a.outer}, {b.outer}"
    return [f"{BINARY[i.op]}({names}, {d.mask}, {d.repeats}, BinaryRepeatParams({strides}));"]


def _number(w: Operands, i: Instr) -> Lines:
    (dst,), (src,) = regions(i.outs), regions(i.ins)
    value = literal(i.args["value"], dst.dtype)
    if _dense(i):
        return [f"{NUMBER[i.op]}({w.at(dst)}, {w.at(src)}, {value}, {dst.count});"]
    d, a = _repeat(dst), _repeat(src)
    strides = f"{d.inner}, {a.inner}, {d.outer}, {a.outer}"
    return [f"{NUMBER[i.op]}({w.at(dst)}, {w.at(src)}, {value}, {d.mask}, {d.repeats}, UnaryRepeatParams({strides}));"]


def _unary(w: Operands, i: Instr) -> Lines:
    (dst,), (src,) = regions(i.outs), regions(i.ins)
    return [f"{UNARY[i.op]}({w.at(dst)}, {w.at(src)}, {dst.count});"]


def _shift(w: Operands, i: Instr) -> Lines:
    (dst,), (src,) = regions(i.outs), regions(i.ins)
    return [f"ShiftRight({w.at(dst)}, {w.at(src)}, {literal(i.args['value'], 'i32')}, {dst.count});"]


def _duplicate(w: Operands, i: Instr) -> Lines:
    (dst,) = regions(i.outs)
    return [f"Duplicate({w.at(dst)}, {literal(i.args['value'], dst.dtype)}, {dst.count});"]


def _iota(w: Operands, i: Instr) -> Lines:
    (dst,) = regions(i.outs)
    return [f"CreateVecIndex({w.at(dst)}, {literal(i.args['start'], 'i32')}, {dst.count});"]


def _cast(w: Operands, i: Instr) -> Lines:
    (dst,), (src,) = regions(i.outs), regions(i.ins)
    source = codes(w, src, src.dtype) if src.dtype in CODES else w.at(src)
    return [f"Cast({w.at(dst)}, {source}, RoundMode::CAST_{i.args['mode']}, {dst.count});"]


def _unpack(w: Operands, i: Instr) -> Lines:
    (dst,), (src,) = regions(i.outs), regions(i.ins)
    return [f"Cast({w.at(dst)}, {codes(w, src, 'f4e2m1')}, RoundMode::CAST_NONE, {dst.count});"]


def _brcb(w: Operands, i: Instr) -> Lines:
    (dst,), (src,) = regions(i.outs), regions(i.ins)
    return [f"Brcb({w.at(dst)}, {w.at(src)}, {src.count // 8}, BrcbRepeatParams(1, 8));"]


def _gather(w: Operands, i: Instr) -> Lines:
    (dst,), (src, offsets) = regions(i.outs), regions(i.ins)
    return [f"Gather({w.at(dst)}, {w.at(src)}, {w.at(offsets)}.ReinterpretCast<uint32_t>(), 0, {dst.count});"]


def _whole(w: Operands, i: Instr) -> Lines:
    (dst,), (src,) = regions(i.outs), regions(i.ins)
    s, kind = _repeat(src), i.op.removeprefix("whole_").capitalize()
    order = "" if kind == "Sum" else ", ReduceOrder::ORDER_ONLY_VALUE"
    return [f"WholeReduce{kind}({w.at(dst)}, {w.at(src)}, {s.mask}, {s.repeats}, 1, 1, {s.outer or 8}{order});"]


def _compare(w: Operands, i: Instr) -> Lines:
    (dst,), (a, b) = regions(i.outs), regions(i.ins)
    return [f"Compare({w.at(dst)}, {w.at(a)}, {w.at(b)}, CMPMODE::{COMPARE[str(i.args['cmp'])]}, {a.count});"]


def _compares(w: Operands, i: Instr) -> Lines:
    (dst,), (a,) = regions(i.outs), regions(i.ins)
    value = literal(i.args["value"], "f32")
    return [f"CompareScalar({w.at(dst)}, {w.at(a)}, {value}, CMPMODE::{COMPARE[str(i.args['cmp'])]}, {a.count});"]


def _select(w: Operands, i: Instr) -> Lines:
    (dst,), (bits, a, b) = regions(i.outs), regions(i.ins)
    mode = "SELMODE::VSEL_TENSOR_TENSOR_MODE"
    return [f"Select({w.at(dst)}, {w.at(bits)}, {w.at(a)}, {w.at(b)}, {mode}, {dst.count});"]


def _selects(w: Operands, i: Instr) -> Lines:
    (dst,), (bits, a) = regions(i.outs), regions(i.ins)
    value, mode = literal(i.args["value"], "f32"), "SELMODE::VSEL_TENSOR_SCALAR_MODE"
    return [f"Select({w.at(dst)}, {w.at(bits)}, {w.at(a)}, {value}, {mode}, {dst.count});"]


def _compress(w: Operands, i: Instr) -> Lines:
    (dst,), (src, bits) = regions(i.outs), regions(i.ins)
    call = f"GatherMask({w.at(dst)}, {w.at(src)}, {w.at(bits)}.ReinterpretCast<uint32_t>(), true, {src.count}"
    return ["{", "    uint64_t kept = 0;", f"    {call}, GatherMaskParams(1, 1, 8, 8), kept);", "}"]


def _copy_in(w: Operands, i: Instr) -> Lines:
    (dst,), (src,) = regions(i.outs), windows(i.ins)
    size, kind = BITS[dst.dtype] // 8, TYPES[dst.dtype]
    block = 32 // size
    padding = sub(aligned(src.cols, block), src.cols)
    gap = sub(dst.dims[0][1] // block, aligned(src.cols, block) // block)
    params = _ext(src.rows, mul(src.cols, size), mul(sub(src.pitch, src.cols), size), gap, src.rows == 1)
    value = literal(i.args["fill"], dst.dtype)
    pad = f"DataCopyPadExtParams<{kind}>(true, 0, {c_text(padding)}, {value})"
    return [f"DataCopyPad({w.at(dst)}, {gm(src)}, {params}, {pad});"]


def _copy_out(w: Operands, i: Instr) -> Lines:
    (dst,), (src,) = windows(i.outs), regions(i.ins)
    size = BITS[src.dtype] // 8
    block = 32 // size
    gap = sub(src.dims[0][1] // block, aligned(dst.cols, block) // block)
    params = _ext(dst.rows, mul(dst.cols, size), gap, mul(sub(dst.pitch, dst.cols), size), dst.rows == 1)
    return [f"DataCopyPad({gm(dst)}, {w.at(src)}, {params});"]


def _ext(rows: Int, size: Int, src_gap: Int, dst_gap: Int, single: bool) -> str:
    """One row has no gaps, whatever its pitch would be."""
    gaps = ("0", "0") if single else (c_text(src_gap), c_text(dst_gap))
    count, length = c_text(rows), c_text(size)
    return f"DataCopyExtParams({count}, {length}, {gaps[0]}, {gaps[1]}, 0)"


SPELLING: Mapping[str, Spelling] = {
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(NUMBER, _number),
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(("whole_sum", "whole_max", "whole_min"), _whole),
    "shift_right": _shift, "duplicate": _duplicate, "iota": _iota, "cast": _cast, "unpack": _unpack, "brcb": _brcb,
    "gather": _gather, "compress": _compress, "compare": _compare, "compares": _compares, "select": _select,
    "selects": _selects, "copy_in": _copy_in, "copy_out": _copy_out,
}  # fmt: skip
