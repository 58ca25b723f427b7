"""Physical tile programs as AscendC text.

Everything is explicit: one TBuf per memory, tensors at fixed addresses in it, flags and barriers. The text is compiled
with automatic synchronisation off, and by the emulator's headers as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dsv4c.ir.types import BITS

from ..tile import physical as ph
from ..tile.logical import Tensor, Window
from ..tile.physical import Instr, Region
from ..tile.scalar import Int, Scalar, add, aligned, mul, rem, sub, text
from . import spell3510

TYPES = {
    "f32": "float", "bf16": "bfloat16_t", "f16": "half", "i32": "int32_t", "i8": "uint8_t", "bool": "uint8_t",
    "i64": "int64_t",
}  # fmt: skip
POSITIONS = {"UB": "VECCALC", "L1": "A1", "L0A": "A2", "L0B": "B2", "L0C": "CO1"}
SIGNS = {"//": "/", "and": "&&", "min": "Least", "max": "Most"}
COMPARE = {"<": "LT", ">": "GT", "<=": "LE", ">=": "GE", "==": "EQ", "!=": "NE"}
BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min"}
NUMBER = {"adds": "Adds", "muls": "Muls", "maxs": "Maxs", "mins": "Mins"}
UNARY = {"exp": "Exp", "ln": "Ln", "sqrt": "Sqrt", "abs": "Abs"}
HELPERS = {
    "Least": "__aicore__ inline int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }\n",
    "Most": "__aicore__ inline int64_t Most(int64_t a, int64_t b) { return a > b ? a : b; }\n",
    "TO_UB": "constexpr FixpipeConfig TO_UB = {CO2Layout::ROW_MAJOR, true};\n",
    "Infinity": "__aicore__ inline float Infinity() { uint32_t bits = 0x7f800000; return *(float*)&bits; }\n",
}


def c_text(a: Int) -> str:
    """A scalar in C++."""
    return text(a, 0, SIGNS)


def literal(value: ph.Value, dtype: str) -> str:
    """A number as an argument of that type."""
    if isinstance(value, float):
        if dtype == "i32":
            return f"int32_t({int(value)})"
        if value in (float("inf"), float("-inf")):
            return f"{'-' if value < 0 else ''}Infinity()"
        number = f"{value!r}f"
        return number if dtype == "f32" else f"{TYPES[dtype]}({number})"
    assert not isinstance(value, str)
    return f"{TYPES[dtype]}({c_text(value)})"


@dataclass(frozen=True)
class Spelled:
    """A kernel's file and the header that it shares with the host."""

    kernel: str
    tiling: str


def spell(program: ph.Program) -> Spelled:
    """The text of a kernel."""
    return Spelled(kernel_text(program, Writer), tiling_header(program))


def kernel_text(p: ph.Program, writer: Callable[[ph.Program, ph.Part, int], Writer]) -> str:
    """The file of a kernel, its parts written by such writers."""
    mixed = len(p.parts) > 1
    kind = "MIX_AIC_1_1" if mixed else f"{p.parts[0].core}_ONLY"
    parts = [writer(p, part, 2 if mixed else 1).text() for part in p.parts]
    if mixed:
        parts = [f"    if ASCEND_IS_{part.core} {{\n{text}\n    }}" for part, text in zip(p.parts, parts, strict=True)]
    body = "\n".join(parts)
    arguments = ", ".join(f"GM_ADDR {t.name}_gm" for t in p.tensors)
    sizes = "".join(f"    const int64_t {size} = sizes.{size};\n" for size in p.sizes)
    return (
        f"// {p.name} for dav-{p.arch}; written by dsv4c. Compile with automatic synchronisation off.\n"
        f'#include "kernel_operator.h"\n#include "{p.name}_tiling.h"\n\nusing namespace AscendC;\n\n{_helpers(body)}'
        f'extern "C" __global__ __aicore__ void {p.name}({arguments}, GM_ADDR workspace, GM_ADDR tiling)\n{{\n'
        f"    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_{kind});\n    REGISTER_TILING_DEFAULT({struct_name(p.name)});\n"
        f"    GET_TILING_DATA(sizes, tiling);\n{sizes}{body}\n}}\n"
    )


def _helpers(body: str) -> str:
    used = [text for name, text in HELPERS.items() if re.search(rf"\b{name}\b", body)]
    return "namespace {\n" + "".join(used) + "}\n\n" if used else ""


def struct_name(name: str) -> str:
    """The tiling struct of a kernel."""
    return "".join(part.capitalize() for part in name.split("_")) + "Tiling"


def tiling_header(program: ph.Program) -> str:
    """The sizes that a launch passes, as a plain struct."""
    guard = f"{program.name.upper()}_TILING_H"
    fields = "".join(f"    int64_t {size};\n" for size in program.sizes) or "    int64_t unused;\n"
    return (
        f"#ifndef {guard}\n#define {guard}\n#include <cstdint>\n\n"
        f"struct {struct_name(program.name)} {{\n{fields}}};\n\n#endif\n"
    )


class Writer:
    """Writes one part: what one kind of core executes."""

    def __init__(self, program: ph.Program, part: ph.Part, depth: int) -> None:
        self.program, self.part, self.depth = program, part, depth
        self.lines: list[str] = []
        self.names: dict[tuple[ph.Buffer, str], str] = {}

    def line(self, line: str) -> None:
        """One line, as deep as it stands."""
        self.lines.append("    " * self.depth + line)

    def text(self) -> str:
        """The whole part."""
        for t in _touched(self.program, self.part):
            kind = TYPES[t.dtype]
            self.line(f"GlobalTensor<{kind}> {t.name};")
            self.line(f"{t.name}.SetGlobalBuffer((__gm__ {kind}*){t.name}_gm, {c_text(t.size)});")
        for ring in self.program.rings:
            kind, name = TYPES[ring.tensor.dtype], ring.tensor.name
            place = f"workspace + GetBlockIdx() * {self.program.workspace} + {ring.offset}"
            self.line(f"GlobalTensor<{kind}> {name};")
            self.line(f"{name}.SetGlobalBuffer((__gm__ {kind}*)({place}), {ring.size * ring.depth});")
        for counter in sorted({step.name for step in ph.walk(self.part.body) if isinstance(step, ph.Tick)}):
            self.line(f"int64_t {counter} = 0;")
        self.line("TPipe pipe;")
        for scope in sorted({b.scope for b in self.part.buffers if b.address >= 0}):
            self._scope(scope)
        self.block(self.part.body)
        return "\n".join(self.lines)

    def _scope(self, scope: str) -> None:
        mine = sorted((b for b in self.part.buffers if b.scope == scope and b.address >= 0), key=lambda b: b.address)
        size = max(b.address + b.total for b in mine)
        name = scope.lower()
        self.line(f"TBuf<TPosition::{POSITIONS[scope]}> {name}_buf;")
        self.line(f"pipe.InitBuffer({name}_buf, {size});")
        kinds = _kinds(self.part.body)
        for b in mine:
            for number, dtype in enumerate(kinds.get(b, ())):
                kind = TYPES[dtype]
                self.names[b, dtype] = b.name if number == 0 else f"{b.name}_{dtype}"
                count, place = self.copies(b) * (b.size * 8 // BITS[dtype]), c_text(self.address(b))
                tensor = f"{name}_buf.GetWithOffset<{kind}>({c_text(count)}, {place})"
                self.line(f"LocalTensor<{kind}> {self.names[b, dtype]} = {tensor};")

    # --- steps ---

    def block(self, body: Sequence[ph.Step]) -> None:
        """Steps in their order."""
        for step in body:
            self.step(step)

    def step(self, step: ph.Step) -> None:
        """One step and what is inside it."""
        match step:
            case ph.Loop():
                self._loop(step)
            case ph.If():
                self.line(f"if ({c_text(step.condition)}) {{")
                self._inside(step.body)
            case ph.Set():
                self.line(f"SetFlag<HardEvent::{step.src}_{step.dst}>({c_text(step.number)});")
            case ph.Wait():
                self.line(f"WaitFlag<HardEvent::{step.src}_{step.dst}>({c_text(step.number)});")
            case ph.Barrier():
                self.line(f"PipeBarrier<PIPE_{step.pipe}>();")
            case ph.CrossSet():
                self.line(f"CrossCoreSetFlag<{step.mode}, PIPE_{step.pipe}>({step.number});")
            case ph.CrossWait():
                pipe = "" if step.pipe == "S" else f", PIPE_{step.pipe}"
                self.line(f"CrossCoreWaitFlag<{step.mode}{pipe}>({step.number});")
            case ph.Tick():
                self.line(f"++{step.name};")
            case ph.Get():
                index = step.index if isinstance(step.src, Tensor) else 0
                source = step.src.name if isinstance(step.src, Tensor) else self.at(step.src)
                self.line(f"const int64_t {step.name} = {source}.GetValue({c_text(index)});")
            case Instr():
                for line in SPELLING[step.op](self, step):
                    self.line(line)

    def _inside(self, body: Sequence[ph.Step]) -> None:
        self.depth += 1
        self.block(body)
        self.depth -= 1
        self.line("}")

    def _loop(self, loop: ph.Loop) -> None:
        v, count = loop.var, c_text(loop.count)
        if loop.tasks:
            steps = f"{v} += GetBlockNum(), ++{loop.turn}"
            self.line(f"for (int64_t {v} = GetBlockIdx(), {loop.turn} = 0; {v} < {count}; {steps}) {{")
        else:
            self.line(f"for (int64_t {v} = 0; {v} < {count}; ++{v}) {{")
        self._inside(loop.body)

    # --- operands ---

    def copies(self, b: ph.Buffer) -> Int:
        """How many copies of a buffer take turns."""
        return b.stages

    def address(self, b: ph.Buffer) -> Int:
        """Where a buffer begins."""
        return b.address

    def at(self, r: Region) -> str:
        """A region's first element."""
        b = r.buffer
        offset = r.offset
        if b.stages > 1:
            offset = add(mul(rem(r.turn, self.copies(b)), b.size * 8 // BITS[r.dtype]), offset)
        name = self.names[b, r.dtype]
        return name if offset == 0 else f"{name}[{c_text(offset)}]"

    def gm(self, window: Window) -> str:
        """A window's first element."""
        return _gm(window)

    def scalar(self, value: Int) -> str:
        """An integer."""
        return c_text(value)


def _kinds(body: Sequence[ph.Step]) -> dict[ph.Buffer, list[str]]:
    out: dict[ph.Buffer, list[str]] = {}
    for step in ph.walk(tuple(body)):
        places = (*step.outs, *step.ins) if isinstance(step, Instr) else (step.src,) if isinstance(step, ph.Get) else ()
        for place in places:
            if isinstance(place, Region) and place.dtype not in out.setdefault(place.buffer, []):
                out[place.buffer].append(place.dtype)
    return out


def _touched(program: ph.Program, part: ph.Part) -> list[Tensor]:
    """The arguments that a part reads or writes, in their order."""
    used: set[str] = set()
    for step in ph.walk(part.body):
        places = (*step.outs, *step.ins) if isinstance(step, Instr) else (step.src,) if isinstance(step, ph.Get) else ()
        used.update(p.tensor.name for p in places if isinstance(p, Window))
        used.update(p.name for p in places if isinstance(p, Tensor))
    return [t for t in program.tensors if t.name in used]


# --- instructions ---

Lines = list[str]


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


def _binary(w: Writer, i: Instr) -> Lines:
    names = ", ".join(w.at(p) for p in _regions(i.outs + i.ins))
    (dst,) = _regions(i.outs)
    if _dense(i):
        return [f"{BINARY[i.op]}({names}, {dst.count});"]
    d, a, b = (_repeat(p) for p in _regions(i.outs + i.ins))
    strides = f"{d.inner}, {a.inner}, {b.inner}, {d.outer}, {a.outer}, {b.outer}"
    return [f"{BINARY[i.op]}({names}, {d.mask}, {d.repeats}, BinaryRepeatParams({strides}));"]


def _regions(places: tuple[ph.Place, ...]) -> list[Region]:
    return [p for p in places if isinstance(p, Region)]


def _number(w: Writer, i: Instr) -> Lines:
    (dst,), (src,) = _regions(i.outs), _regions(i.ins)
    value = literal(i.args["value"], dst.dtype)
    if _dense(i):
        return [f"{NUMBER[i.op]}({w.at(dst)}, {w.at(src)}, {value}, {dst.count});"]
    d, a = _repeat(dst), _repeat(src)
    strides = f"{d.inner}, {a.inner}, {d.outer}, {a.outer}"
    return [f"{NUMBER[i.op]}({w.at(dst)}, {w.at(src)}, {value}, {d.mask}, {d.repeats}, UnaryRepeatParams({strides}));"]


def _unary(w: Writer, i: Instr) -> Lines:
    (dst,), (src,) = _regions(i.outs), _regions(i.ins)
    return [f"{UNARY[i.op]}({w.at(dst)}, {w.at(src)}, {dst.count});"]


def _shift(w: Writer, i: Instr) -> Lines:
    (dst,), (src,) = _regions(i.outs), _regions(i.ins)
    return [f"ShiftRight({w.at(dst)}, {w.at(src)}, {literal(i.args['value'], 'i32')}, {dst.count});"]


def _duplicate(w: Writer, i: Instr) -> Lines:
    (dst,) = _regions(i.outs)
    return [f"Duplicate({w.at(dst)}, {literal(i.args['value'], dst.dtype)}, {dst.count});"]


def _iota(w: Writer, i: Instr) -> Lines:
    (dst,) = _regions(i.outs)
    return [f"CreateVecIndex({w.at(dst)}, {literal(i.args['start'], 'i32')}, {dst.count});"]


def _cast(w: Writer, i: Instr) -> Lines:
    (dst,), (src,) = _regions(i.outs), _regions(i.ins)
    exact = dst.dtype == "f32" or (src.dtype, dst.dtype) == ("bool", "f16")
    mode = i.args.get("mode", "NONE" if exact else "RINT")
    return [f"Cast({w.at(dst)}, {w.at(src)}, RoundMode::CAST_{mode}, {dst.count});"]


def _brcb(w: Writer, i: Instr) -> Lines:
    (dst,), (src,) = _regions(i.outs), _regions(i.ins)
    return [f"Brcb({w.at(dst)}, {w.at(src)}, {src.count // 8}, BrcbRepeatParams(1, 8));"]


def _gather(w: Writer, i: Instr) -> Lines:
    (dst,), (src, offsets) = _regions(i.outs), _regions(i.ins)
    return [f"Gather({w.at(dst)}, {w.at(src)}, {w.at(offsets)}.ReinterpretCast<uint32_t>(), 0, {dst.count});"]


def _whole(w: Writer, i: Instr) -> Lines:
    (dst,), (src,) = _regions(i.outs), _regions(i.ins)
    s, kind = _repeat(src), i.op.removeprefix("whole_").capitalize()
    order = "" if kind == "Sum" else ", ReduceOrder::ORDER_ONLY_VALUE"
    return [f"WholeReduce{kind}({w.at(dst)}, {w.at(src)}, {s.mask}, {s.repeats}, 1, 1, {s.outer or 8}{order});"]


def _compare(w: Writer, i: Instr) -> Lines:
    (dst,), (a, b) = _regions(i.outs), _regions(i.ins)
    return [f"Compare({w.at(dst)}, {w.at(a)}, {w.at(b)}, CMPMODE::{COMPARE[str(i.args['cmp'])]}, {a.count});"]


def _compares(w: Writer, i: Instr) -> Lines:
    (dst,), (a,) = _regions(i.outs), _regions(i.ins)
    value = literal(i.args["value"], "f32")
    return [f"CompareScalar({w.at(dst)}, {w.at(a)}, {value}, CMPMODE::{COMPARE[str(i.args['cmp'])]}, {a.count});"]


def _select(w: Writer, i: Instr) -> Lines:
    (dst,), (bits, a, b) = _regions(i.outs), _regions(i.ins)
    mode = "SELMODE::VSEL_TENSOR_TENSOR_MODE"
    return [f"Select({w.at(dst)}, {w.at(bits)}, {w.at(a)}, {w.at(b)}, {mode}, {dst.count});"]


def _selects(w: Writer, i: Instr) -> Lines:
    (dst,), (bits, a) = _regions(i.outs), _regions(i.ins)
    value, mode = literal(i.args["value"], "f32"), "SELMODE::VSEL_TENSOR_SCALAR_MODE"
    return [f"Select({w.at(dst)}, {w.at(bits)}, {w.at(a)}, {value}, {mode}, {dst.count});"]


def _compress(w: Writer, i: Instr) -> Lines:
    (dst,), (src, bits) = _regions(i.outs), _regions(i.ins)
    call = f"GatherMask({w.at(dst)}, {w.at(src)}, {w.at(bits)}.ReinterpretCast<uint32_t>(), true, {src.count}"
    return ["{", "    uint64_t kept = 0;", f"    {call}, GatherMaskParams(1, 1, 8, 8), kept);", "}"]


def _copy_in(w: Writer, i: Instr) -> Lines:
    (dst,), (src,) = _regions(i.outs), _windows(i.ins)
    size, kind = BITS[dst.dtype] // 8, TYPES[dst.dtype]
    block = 32 // size
    padding = sub(aligned(src.cols, block), src.cols)
    blocks = aligned(src.cols, block) // block if isinstance(src.cols, int) else None
    filled = blocks if blocks is not None else (aligned(src.cols, block)) // block
    gap = sub(dst.dims[0][1] // block, filled)
    params = _ext(src.rows, mul(src.cols, size), mul(sub(src.pitch, src.cols), size), gap, src.rows == 1)
    value = literal(i.args["fill"], dst.dtype)
    pad = f"DataCopyPadExtParams<{kind}>(true, 0, {c_text(padding)}, {value})"
    return [f"DataCopyPad({w.at(dst)}, {_gm(src)}, {params}, {pad});"]


def _copy_out(w: Writer, i: Instr) -> Lines:
    (dst,), (src,) = _windows(i.outs), _regions(i.ins)
    size = BITS[src.dtype] // 8
    block = 32 // size
    gap = sub(src.dims[0][1] // block, aligned(dst.cols, block) // block)
    params = _ext(dst.rows, mul(dst.cols, size), gap, mul(sub(dst.pitch, dst.cols), size), dst.rows == 1)
    return [f"DataCopyPad({_gm(dst)}, {w.at(src)}, {params});"]


def _windows(places: tuple[ph.Place, ...]) -> list[Window]:
    return [p for p in places if isinstance(p, Window)]


def _gm(window: Window) -> str:
    return f"{window.tensor.name}[{c_text(window.offset)}]"


def _ext(rows: Int, size: Int, src_gap: Int, dst_gap: Int, single: bool) -> str:
    """One row has no gaps, whatever its pitch would be."""
    gaps = ("0", "0") if single else (c_text(src_gap), c_text(dst_gap))
    count, length = c_text(rows), c_text(size)
    return f"DataCopyExtParams({count}, {length}, {gaps[0]}, {gaps[1]}, 0)"


def _clear(w: Writer, i: Instr) -> Lines:
    (dst,) = _regions(i.outs)
    kind = TYPES[dst.dtype]
    blocks = dst.count * BITS[dst.dtype] // 256
    return [f"InitConstValue({w.at(dst)}, InitConstValueParams<{kind}>(1, {blocks}, 0, {literal(0.0, dst.dtype)}));"]


def _nd2nz(w: Writer, i: Instr) -> Lines:
    (dst,), (src,) = _regions(i.outs), _windows(i.ins)
    wide = bool(i.args["single"])
    rows = i.args["rows"]
    fields = {
        "ndNum": "1", "nValue": "1" if wide else c_text(src.rows), "dValue": c_text(src.cols), "srcNdMatrixStride": "0",
        "srcDValue": c_text(src.cols if wide else src.pitch), "dstNzC0Stride": str(rows), "dstNzNStride": "1",
        "dstNzMatrixStride": "0",
    }  # fmt: skip
    lines = ["{", "    Nd2NzParams nd2nz;", *(f"    nd2nz.{key} = {value};" for key, value in fields.items())]
    if not wide:
        return [*lines, f"    DataCopy({w.at(dst)}, {_gm(src)}, nd2nz);", "}"]
    c0 = 256 // BITS[dst.dtype]  # a pitch that the field cannot hold: row by row
    row = Window(src.tensor, add(src.offset, mul(Scalar("var", (), "row"), src.pitch)), 1, src.cols, src.pitch)
    here = w.at(dst.at(mul(Scalar("var", (), "row"), c0), (1, 1)))
    return [
        *lines, f"    for (int64_t row = 0; row < {c_text(src.rows)}; ++row) {{",
        f"        DataCopy({here}, {_gm(row)}, nd2nz);", "    }", "}",
    ]  # fmt: skip


def _load_2d(destination: str, source: str, repeats: int, stride: int, turned: bool = False) -> Lines:
    fields = {
        "startIndex": 0, "repeatTimes": repeats, "srcStride": stride, "sid": 0, "dstGap": 0,
        "ifTranspose": "true" if turned else "false",
    }  # fmt: skip
    lines = ["LoadData2DParams load;", *(f"load.{key} = {value};" for key, value in fields.items())]
    return [*lines, f"LoadData({destination}, {source}, load);"]


def _load_a(w: Writer, i: Instr) -> Lines:
    """Nz to Zz: band by band of 16 rows."""
    (dst,), (src,) = _regions(i.outs), _regions(i.ins)
    rows, depth = _int(i.args["rows"]), _int(i.args["depth"])
    c0 = 256 // BITS[dst.dtype]
    band = Scalar("var", (), "band")
    to, of = w.at(dst.at(mul(band, 16 * depth), (1, 1))), w.at(src.at(mul(band, 16 * c0), (1, 1)))
    inner = _load_2d(to, of, depth // c0, rows // 16)
    return [f"for (int64_t band = 0; band < {rows // 16}; ++band) {{", *(f"    {x}" for x in inner), "}"]


def _load_b(w: Writer, i: Instr) -> Lines:
    """``[N, K]`` in L1 is already what L0B wants."""
    (dst,), (src,) = _regions(i.outs), _regions(i.ins)
    fractal = 16 * 256 // BITS[dst.dtype]
    lines: Lines = []
    for first in range(0, dst.count // fractal, 255):
        n = min(255, dst.count // fractal - first)
        inner = _load_2d(w.at(dst.at(first * fractal, (1, 1))), w.at(src.at(first * fractal, (1, 1))), n, 1)
        lines += ["{", *(f"    {x}" for x in inner), "}"]
    return lines


def _load_b_turned(w: Writer, i: Instr) -> Lines:
    """``[K, N]`` in L1: band by band of 16 rows, each fractal transposed on its way."""
    (dst,), (src,) = _regions(i.outs), _regions(i.ins)
    rows, depth, n = _int(i.args["rows"]), _int(i.args["depth"]), _int(i.args["n"])
    band = Scalar("var", (), "band")
    to, of = w.at(dst.at(mul(band, 16 * n), (1, 1))), w.at(src.at(mul(band, 16 * 16), (1, 1)))
    inner = _load_2d(to, of, n // 16, rows // 16, turned=True)
    return [f"for (int64_t band = 0; band < {depth // 16}; ++band) {{", *(f"    {x}" for x in inner), "}"]


def _mmad(w: Writer, i: Instr) -> Lines:
    (dst,), (a, b, _) = _regions(i.outs), _regions(i.ins)
    fields = {key: i.args[key] for key in ("m", "n", "k")}
    first = i.args["first"]
    assert not isinstance(first, float | str)
    lines = [f"    product.{key} = {value};" for key, value in fields.items()]
    lines += [f"    product.cmatrixInitVal = {c_text(first)};", "    product.cmatrixSource = false;"]
    return ["{", "    MmadParams product;", *lines, f"    Mmad({w.at(dst)}, {w.at(a)}, {w.at(b)}, product);", "}"]


def _fixpipe(w: Writer, i: Instr) -> Lines:
    (dst,), (src,) = _windows(i.outs), _regions(i.ins)
    out = TYPES[dst.tensor.dtype]
    cast = {"f32": "NoQuant", "bf16": "F322BF16", "f16": "F322F16"}[dst.tensor.dtype]
    fields = {
        "nSize": c_text(dst.cols), "mSize": c_text(dst.rows), "srcStride": str(i.args["rows"]),
        "dstStride": c_text(dst.pitch), "quantPre": f"QuantMode_t::{cast}", "ndNum": "1", "srcNdStride": "0",
        "dstNdStride": "0",
    }  # fmt: skip
    lines = [f"    drain.{key} = {value};" for key, value in fields.items()]
    call = f"    Fixpipe<{out}, float, CFG_ROW_MAJOR>({_gm(dst)}, {w.at(src)}, drain);"
    return ["{", "    FixpipeParamsV220 drain;", *lines, call, "}"]


def _int(value: ph.Value | Int) -> int:
    assert isinstance(value, int)
    return value


SPELLING: Mapping[str, Callable[[Writer, Instr], Lines]] = {
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(NUMBER, _number),
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(("whole_sum", "whole_max", "whole_min"), _whole),
    "shift_right": _shift, "duplicate": _duplicate, "iota": _iota, "cast": _cast, "brcb": _brcb, "gather": _gather,
    "compress": _compress, "compare": _compare, "compares": _compares, "select": _select, "selects": _selects,
    "copy_in": _copy_in, "copy_out": _copy_out, "clear": _clear, "nd2nz": _nd2nz, "load_a": _load_a,
    "load_b": _load_b, "load_b_turned": _load_b_turned, "mmad": _mmad, "fixpipe": _fixpipe, **spell3510.SPELLING,
}  # fmt: skip
