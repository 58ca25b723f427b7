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
from ..tile.scalar import Int, add, mul, rem
from . import spell3510, spell_cube, spell_vector
from .spell_operands import TYPES, Spelling, c_text

POSITIONS = {"UB": "VECCALC", "L1": "A1", "L0A": "A2", "L0B": "B2", "L0C": "CO1"}
SPELLING: Mapping[str, Spelling] = {**spell_vector.SPELLING, **spell_cube.SPELLING, **spell3510.SPELLING}
HELPERS = {
    "Least": "__aicore__ inline int64_t Least(int64_t a, int64_t b) { return a < b ? a : b; }\n",
    "Most": "__aicore__ inline int64_t Most(int64_t a, int64_t b) { return a > b ? a : b; }\n",
    "TO_UB": "constexpr FixpipeConfig TO_UB = {CO2Layout::ROW_MAJOR, true};\n",
    "Infinity": "__aicore__ inline float Infinity() { uint32_t bits = 0x7f800000; return *(float*)&bits; }\n",
}


@dataclass(frozen=True)
class Spelled:
    """A kernel's file, the header that it shares with the host, and what the file has inside its entry."""

    kernel: str
    tiling: str
    body: str


@dataclass(frozen=True)
class Entry:
    """How a kernel is called: pointers in this order, then the workspace and the sizes.

    An operator is given the workspace with the part of the system in front.
    """

    pointers: tuple[str, ...]
    operator: bool = False


def spell(program: ph.Program, writer: Callable[[ph.Program, ph.Part, int], Writer] | None = None) -> Spelled:
    """The text of a kernel, its parts written by such writers."""
    body = _body(program, writer or Writer)
    entry = Entry(tuple(f"{t.name}_gm" for t in program.tensors))
    return Spelled(kernel_text(program, body, entry), tiling_header(program), body)


def _body(p: ph.Program, writer: Callable[[ph.Program, ph.Part, int], Writer]) -> str:
    mixed = len(p.parts) > 1
    parts = [writer(p, part, 2 if mixed else 1).text() for part in p.parts]
    if mixed:
        parts = [f"    if ASCEND_IS_{part.core} {{\n{text}\n    }}" for part, text in zip(p.parts, parts, strict=True)]
    return "\n".join(parts)


def kernel_text(p: ph.Program, body: str, entry: Entry) -> str:
    """The file of a kernel that is called so."""
    kind = "MIX_AIC_1_1" if len(p.parts) > 1 else f"{p.parts[0].core}_ONLY"
    arguments = ", ".join(f"GM_ADDR {name}" for name in entry.pointers)
    ours = "    workspace = GetUserWorkspace(workspace);\n" if entry.operator and p.rings else ""
    sizes = "".join(f"    const int64_t {size} = sizes.{size};\n" for size in p.sizes)
    return (
        f"// {p.name} for dav-{p.arch}; written by dsv4c. Compile with automatic synchronisation off.\n"
        f'#include "kernel_operator.h"\n#include "dsv4c_debug.h"\n#include "{p.name}_tiling.h"\n\n'
        f"using namespace AscendC;\n\n{_helpers(body)}"
        f'extern "C" __global__ __aicore__ void {p.name}({arguments}, GM_ADDR workspace, GM_ADDR tiling)\n{{\n'
        f"    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_{kind});\n    REGISTER_TILING_DEFAULT({struct_name(p.name)});\n"
        f"    GET_TILING_DATA(sizes, tiling);\n{ours}{sizes}{body}\n}}\n"
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
                for to in step.outs:
                    if isinstance(to, Window) and to.tensor in self.program.tensors:
                        sizes = f"{c_text(to.offset)}, {c_text(to.rows)}, {c_text(to.cols)}"
                        self.line(f'DSV4C_STORED("{self.part.core}", {to.tensor.name}, {sizes});')

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
            self.line(f'    DSV4C_TASK("{self.program.name}", "{self.part.core}", {v});')
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


def _kinds(body: Sequence[ph.Step]) -> dict[ph.Buffer, list[str]]:
    out: dict[ph.Buffer, list[str]] = {}
    for step in ph.walk(tuple(body)):
        for place in ph.places(step):
            if isinstance(place, Region) and place.dtype not in out.setdefault(place.buffer, []):
                out[place.buffer].append(place.dtype)
    return out


def _touched(program: ph.Program, part: ph.Part) -> list[Tensor]:
    """The arguments that a part reads or writes, in their order."""
    used: set[str] = set()
    for step in ph.walk(part.body):
        for place in ph.places(step):
            if not isinstance(place, Region):
                used.add(place.name if isinstance(place, Tensor) else place.tensor.name)
    return [t for t in program.tensors if t.name in used]
