"""The verifier of physical programs: it accepts what the compiler makes, and refuses mutants without executing them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import product
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation_cases import CASES
from tile_texts import TEXTS
from tiling import CHIP

from dsv4c.targets.tile.chip import load_chip
from dsv4c.targets.tile.mutation.mutant import mutated
from dsv4c.targets.tile.mutation.operators import OPERATORS
from dsv4c.targets.tile.parse.file import parse
from dsv4c.targets.tile.physical import Buffer, Get, Instr, Loop, Program, Step
from dsv4c.targets.tile.scalar import Int, Scalar, evaluate, names, var
from dsv4c.targets.tile.search import fitted
from dsv4c.targets.tile.text import logical_text, physical_text
from dsv4c.targets.tile.verify.error import TileError
from dsv4c.targets.tile.verify.physical import verify_physical
from dsv4c.targets.tile.verify.ranges import factor, interval

CHIPS = {name: load_chip("dsv4c.targets.ascend", name) for name in ("910b3", "950pr")}
SAMPLED = ("rms_norm", "linear", "mla_absorbed", "expert_order")
# Of the first mutants of a class, this share is refused at least: the others differ in numbers or in time only.
REFUSED = {
    "sync or flag removed": 0.3, "wrong flag": 0.3, "bound +-1": 0.2, "stage count": 0.05, "accumulate bit": 0.6,
    "mask dropped": 0.6, "stride": 0.7, "cast mode": 0.1, "address overlap": 0.4, "tail length": 0.4,
}  # fmt: skip


def made(name: str, chip: str = CHIP.name) -> Program:
    case = CASES[name]
    return fitted(lambda **sizes: case.build(**case.options, **sizes), CHIPS[chip], case.tiles).physical


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", CASES)
def test_what_the_compiler_makes_is_legal(name: str, chip: str):
    verify_physical(made(name, chip), CHIPS[chip])


def test_mutants_are_refused():
    programs = {name: made(name) for name in SAMPLED}
    for kind, operator in OPERATORS.items():
        mutants = [(name, m) for name, p in programs.items() for m in list(operator(p))[:20]]
        refused = sum(_refused(mutated(programs[name], m)) for name, m in mutants)
        assert refused >= REFUSED[kind] * len(mutants), (kind, refused, len(mutants))


def _refused(program: Program) -> bool:
    try:
        verify_physical(program, CHIP)
    except TileError as error:
        assert error.kernel == program.name and error.what and error.fix
        return True
    return False


COPIED = "a.f32[0](1:64 64:1 turn t0n) <- x[t0 * 64](1 x 64,"
# Which program, what is written instead of what, and what is said of it.
BROKEN = (
    # the head
    ("vector", "on 910b3", "on 910b1", "a program for 910b1; 910b3 needs its own"),
    ("vector", "dav-2201", "dav-3510", "a program for dav-3510; 910b3 is dav-2201"),
    ("vector", "on AIV", "on AIX", "parts for AIX; use AIV, AIC, or AIC then AIV"),
    # buffers: 1.1
    ("vector", "buffer a: UB", "buffer a: UBB", "910b3 has no memory UBB; it has L0A, L0B, L0C, L1, UB"),
    ("vector", "buffer a: UB", "buffer a: L1", "AIV has no L1; it is a memory of AIC"),
    ("vector", "UB 32 B", "UB 40 B", "40 B; use whole blocks of 32 B"),
    ("vector", "at 3104", "at 3112", "address 3112; UB needs multiples of 32"),
    ("vector", "at 3104", "at 188064", "its end is at 188192; UB has 188160 B"),
    ("vector", "UB 256 B x 2 at 0", "UB 256 B x 800 at 0", "its end is at 204800; UB has 188160 B"),
    ("cube", "L0A 1024 B x 2 at 0", "L0A 1056 B x 2 at 0", "copies of 1056 B; L0A needs multiples of 512"),
    ("direct", "a: L1 1024 B at 512", "a: L1 1024 B at 480", "a overlaps what both cores reach"),
    ("cube", "bf16 at 4096", "bf16 at 2048", "it begins before another ends at 4096"),
    ("cube", "bf16 at 4096", "bf16 at 4100", "offset 4100; use a multiple of 32"),
    ("vector", "UB 256 B x 2 at 0", "UB 256 B x 0 at 0", "0 copies; use at least 1"),
    ("cube", "ring down: 2 x 512", "ring down: 0 x 512", "a ring without slots; use at least 1"),
    # lifetimes
    ("vector", "buffer bits: UB 32 B at 2816", "buffer bits: UB 32 B at 512", "b has overwritten bits"),
    ("vector", "buffer c: UB 2048 B at 768", "buffer c: UB 2048 B at 512", "c has overwritten b"),
    ("vector", "adds b.f32[0]", "adds c.f32[0]", "nothing was written to b on some way here; write it first"),
    ("vector", "            V    adds", "            if i < 3:\n                V    adds", "nothing was written to b"),
    ("cube", "first=c1 == 0", "first=0", "nothing was written to acc on some way here"),
    ("cube", "first=c1 == 0", "first=c1 == 1", "nothing was written to acc on some way here"),
    # names
    ("vector", "start=i", "start=k", "k is not known here; read or count it before"),
    ("vector", "for j in 3", "for i in 3", "i is counted already; use another name"),
    ("vector", "S    i = w[0]", "S    t0 = w[0]", "t0 is known already; use another name"),
    # loops and conditions
    ("vector", " turn t0n:", ":", "tasks that count no turns; write turn t0n"),
    ("vector", "for j in 3", "tasks j in 3 turn jn", "tasks inside tasks; share out one loop only"),
    ("vector", "for j in 3", "for j in 0", "a loop that never turns; leave it out"),
    ("vector", "if i < 3", "if 0", "a condition that never holds; leave it out"),
    # the scalar unit
    ("vector", "S    i = w[0]", "S    i = x[0]", "an integer from f32; read i32"),
    ("vector", "S    i = w[0]", "S    i = a.i32[0](2:1 turn t0n)", "the scalar unit reads UB; read one element of UB"),
    # pipes, memories, dtypes
    ("vector", "V    adds", "MTE2 adds", "adds on pipe MTE2; it is an instruction of V"),
    ("vector", "V    adds", "V    addz", "dav-2201 has no addz; it has abs, add"),
    ("vector", "a.f32[0](64:1 turn t0n) value", "x[0](1 x 64, pitch 64) value", "adds with an operand in GM"),
    ("vector", "whole_sum b.f32[8](4:1) <- c.f32[0](4:64 64:1)", "whole_sum b.i32[8](4:1) <- c.i32[0](4:64 64:1)",
     "whole_sum of i32 i32; use f16 f16 or f32 f32"),  # 3.6
    ("vector", "h.bf16[0](64:1) <- c.f32[0](64:1) mode=RINT", "h.i8[0](64:1) <- c.f32[0](64:1) mode=RINT",
     "dav-2201 has no cast from f32 to i8; cast to bf16 or f16 or f32 or i32 first"),  # 3.3
    ("vector", "mode=RINT", "mode=NONE", "f32 to bf16 has no rounding NONE; use RINT or FLOOR"),  # 3.3
    ("vector", "mode=RINT", "mode=NEAR", "mode=NEAR; use RINT or NONE"),
    ("vector", "V    cast h.bf16[0](64:1) <- c.f32[0](64:1) mode=RINT",
     "V    adds h.bf16[0](64:1) <- h.bf16[0](64:1) value=1.0",
     "adds of bf16 bf16; use f16 f16 or f32 f32 or i32 i32"),  # 3.2: 3510 has it
    ("direct", "add o.bf16[0](256:1) <- o.bf16[0](256:1), o.bf16[0](256:1)",
     "div o.bf16[0](256:1) <- o.bf16[0](256:1), o.bf16[0](256:1)", "div of bf16 bf16 bf16"),

        ("vector", '(8:1) <- c.f32[0](64:1) cmp="<" value=0.5', '(8:1) <- c.i32[0](64:1) cmp="<" value=2',
     "dav-2201 compares i32 by == only; cast to f32 first"),  # 3.5
    ("vector", "a.f32[0](64:1 turn t0n) value", "a.f32[0](64:1 turn t0n), a.f32[0](64:1 turn t0n) value",
     "adds with 1 results and 2 operands; it has 1 and 1"),
    # arguments
    ("vector", "value=1.0", "value=1.0 mask=3", "adds with arguments mask value; it has value"),
    ("vector", 'cmp="<"', 'cmp="<>"', "cmp=<>; use < or >"),
    ("vector", "start=i", "start=1.5", "start=1.5; use an integer"),
    ("vector", "V    iota n.i32[0](64:1) start=i", "V    duplicate n.i32[0](64:1) value=1.5",
     "1.5 for i32; use a whole number"),
    # elements within their buffers, from addresses that the memory allows: 1.1
    ("vector", "adds b.f32[0](64:1)", "adds b.f32[8](64:1)", "72 elements of f32 in b of 256 B; it holds 64"),
    ("vector", "c.f32[j * 64](64:1), b", "c.f32[j * 256](64:1), b", "576 elements of f32 in c of 2048 B"),
    ("vector", "c.f32[j * 64](64:1), b", "c.f32[j * 64 - 8](64:1), b", "c from element -8 on; begin inside the buffer"),
    ("vector", "c.f32[64](64:1)", "c.f32[65](64:1)", "begins no 32 bytes; use a multiple of 8 elements"),
    ("vector", "c.f32[j * 64](64:1), b", "c.f32[j * 60](64:1), b", "begins no 32 bytes; use a multiple of 8 elements"),
    ("cube", "l0a.bf16[0](512:1 turn c1) <- a", "l0a.bf16[16](256:1 turn c1) <- a", "begins no 512 bytes"),
    ("cube", "buffer acc: L0C 2048 B at 0", "buffer acc: L0C 2048 B at 512", "begins no 1024 bytes"),
    ("vector", "a.f32[0](64:1 turn t0n) value", "a.f32[0](0:1 turn t0n) value", "no elements of a; use at least 1"),
    # results and operands: 3.1
    ("vector", "V    adds b.f32[0](64:1) <- a.f32[0](64:1 turn t0n)", "V    adds c.f32[8](64:1) <- c.f32[0](64:1)",
     "results overlap operands of c, shifted"),
    # counts, repeats and strides: 3.1
    ("vector", "a.f32[0](64:1 turn t0n) value", "a.f32[0](32:1 turn t0n) value", "counts of elements differ: 64, 32"),
    ("vector", "b.f32[0](4:0 8:0 8:1)", "b.f32[0](4:0 4:0 8:1)", "lanes of a repeat differ: 64, 64, 32"),
    ("vector", "b.f32[0](4:0 8:0 8:1)", "b.f32[0](2:0 8:0 8:1)", "repeats differ: 4, 4, 2"),
    ("vector", "b.f32[0](4:0 8:0 8:1)", "b.f32[0](4:4 8:0 8:1)", "b: a stride of 4 elements; use whole blocks of 8"),
    ("vector", "b.f32[0](4:0 8:0 8:1)", "b.f32[0](4:0 16:0 4:1)", "b: 4:1 is no block; use 8:1"),
    ("vector", "b.f32[0](4:0 8:0 8:1)", "b.f32[0](4:0 9:0 8:1)", "b: 72 lanes, a repeat has 64 of f32"),
    ("vector", "<- c.f32[0](4:64 64:1)", "<- c.f32[0](4:64 65:1)", "c: 65 lanes, a repeat has 64 of f32"),
    ("vector", "whole_sum b.f32[8](4:1)", "whole_sum b.f32[8](5:1)", "results and rows differ: 5, 4"),
    ("vector", "b.f32[8](4:1) <- c.f32[0](4:64 64:1)", "b.f32[8](256:0) <- c.f32[0](256:0 64:1)", "has gaps"),
    ("vector", "brcb c.f32[0](512:1) <- b.f32[0](64:1)", "brcb c.f32[0](512:1) <- b.f32[0](60:1)",
     "60 elements are spread"),
    ("vector", "brcb c.f32[0](512:1)", "brcb c.f32[0](504:1)", "elements of the blocks differ: 504, 512"),
    ("vector", "b.f32[0](4:0 8:0 8:1)", "b.f32[0](4:0 64:0)", "b: 2 dimensions; use rows, blocks and lanes"),
    ("vector", "mul c.f32[0](4:64 8:8 8:1)", "mul c.f32[0](256:0 8:8 8:1)", "c: 256 repeats; use at most 255"),
    ("vector", "mul c.f32[0](4:64 8:8 8:1)", "mul c.f32[0](1:2048 8:16 8:1)", "c: a stride of 256 blocks"),
    # whole comparisons, and bits for all: 3.5
    ("vector", "bits.i8[0](8:1) <- c.f32[0](64:1) cmp", "bits.i8[0](8:1) <- c.f32[0](60:1) cmp",
     "60 elements of f32 are compared; pad them to a multiple of 64"),
    ("vector", "bits.i8[0](8:1) <- c.f32[0](64:1) cmp", "bits.i8[0](4:1) <- c.f32[0](64:1) cmp",
     "elements and bits differ"),
    ("vector", "<- bits.i8[0](8:1), c", "<- bits.i8[0](4:1), c", "32 bits for 64 elements; compare as many"),
    ("vector", "b.f32[0](64:1), bits.i8[0](8:1)\n", "b.f32[0](64:1), bits.i8[0](4:1)\n", "32 bits for 64 elements"),
    ("vector", "b.f32[0](64:1), n.i32[0](64:1)", "b.f32[0](64:1), n.i32[0](32:1)",
     "elements and offsets differ: 64, 32"),
    # copies: 3.10
    ("vector", "x[t0 * 64](1 x 64,", "x[t0 * 64](2 x 64,", "the number of rows 2 may be 2, the most is 1"),
    ("vector", "x[t0 * 64](1 x 64,", "x[t0 * 64](1 x 65,", "the number of columns 65 may be 65, the most is 64"),
    ("vector", "x[t0 * 64](1 x 64,", "x[t0 * 64](0 x 64,", "the number of rows 0 is never more than 0"),
    ("vector", "x[t0 * 64](1 x 64,", "x[-64](1 x 64,", "x from before its start"),
    ("vector", COPIED, "a.f32[0](2:36 28:1 turn t0n) <- x[t0 * 64](2 x 28,", "rows of 28 that are 36 apart"),
    ("vector", COPIED, "a.f32[0](2:24 28:1 turn t0n) <- x[t0 * 64](2 x 28,", "rows of 28 that are 24 apart"),
    ("vector", "out y", "in y", "y is written, and is an input; write an output"),
    ("cube", "down[down_turn % 2 * 512](16 x 32, pitch 32) <-", "down[down_turn % 3 * 512](16 x 32, pitch 32) <-",
     "1536 elements of down; it has 1024"),
    ("vector", "a.f32[0](1:64 64:1 turn t0n)", "a.f32[0](64:1 turn t0n)", "a is not in rows; give rows and columns"),
    # events: 2.3
    ("vector", "set  V -> MTE3 #0", "set  V -> MTE1 #0", "AIV has no event V_MTE1; its pipes are S, V, MTE2, MTE3"),
    ("vector", "wait V -> MTE2 #t0n % 2", "wait V -> MTE2 #t0n % 9", "an event's number may be 0 to 8; use 0 to 7"),
    ("vector", "        wait V -> MTE2 #1\n", "", "left set at the end: V -> MTE2 #1; wait for it"),
    ("vector", "        set  V -> MTE2 #1\n", "", "nothing has set event 1; set it before"),
    ("vector", "set  V -> MTE2 #t0n % 2", "set  V -> MTE2 #0", "event 0 is set again before it was waited for"),
    ("vector", "            wait MTE3 -> V #0\n", "", "left set at the end: MTE3 -> V #0"),
    ("vector", "            wait MTE3 -> V #0\n", "            if i < 3:\n                wait MTE3 -> V #0\n",
     "left set at the end: MTE3 -> V #0"),
    ("vector", "            set  MTE3 -> V #0\n            wait MTE3 -> V #0\n", "",
     "event 0 is set again, and V does not know that the last wait is over; let MTE3 tell V first"),
    ("vector", "#t0n % 2\n            wait MTE2 -> V #t0n % 2", "#0\n            wait MTE2 -> V #0",
     "event 0 is set again, and MTE2 does not know that the last wait is over; let V tell MTE2 first"),
    ("cube", "                barrier ALL\n", "", "MTE1 does not know that the last wait is over; let M tell"),
    ("cube", "            barrier MTE2\n", "            barrier MTE4\n",
     "pipe MTE4; use M, MTE1, MTE2, MTE3, FIX, ALL"),
    # flags between cores: 2.4
    ("cube", "cross set FIX #0", "cross set S #0", "pipe S; use M, MTE1, MTE2, MTE3, FIX"),
    ("cube", "cross set FIX #0", "cross set FIX #11", "flag 11 between cores; use 0 to 10"),
    ("cube", "cross set FIX #0", "cross set FIX #0 mode 4", "mode 4 of flags on dav-2201; use 2"),
    ("cube", "cross set FIX #0", "cross set FIX #5", "every core waits for another; set the flag before"),
    ("cube", "cross set MTE3 #2", "cross set MTE3 #0", "every core waits for another"),
    ("cube", "        cross wait S #1\n        cross wait S #1\n", "        cross wait S #1\n",
     "left set at the end: between cores #1"),
    ("vector", "            set  MTE2 -> V #t0n % 2\n", "            cross set V #0\n",
     "a flag between cores in a kernel of one; leave it out"),
    # products: 3.11
    ("cube", "m=16 n=32 k=32", "m=8 n=32 k=32", "m = 8; use a positive multiple of 16"),
    ("cube", "m=16 n=32 k=32", "m=16 n=32 k=64", "elements of the left operand differ: 512, 1024"),
    ("cube", "m=16 n=32 k=32", "m=16 n=16 k=32", "elements of the right operand differ: 1024, 512"),
    ("cube", "m=16 n=32 k=32", "m=4096 n=32 k=32", "m = 4096; use at most 4095"),
    ("cube", "left=Zz", "left=Nz", "left=Nz; L0A of dav-2201 is Zz"),
    ("direct", "left=Nz", "left=Zz", "left=Zz; L0A of dav-3510 is Nz"),
    ("cube", "first=c1 == 0", "first=c1 + 1", "first=c1 + 1 may be neither 0 nor 1"),
    ("cube", "load_a l0a", "load_nz l0a", "dav-2201 has no load_nz"),
    ("direct", "load_nz l0a", "load_a l0a", "dav-3510 has no load_a"),
    ("cube", "rows=16 depth=32", "rows=16 depth=16", "elements differ: 512, 512, 256"),
    ("cube", "rows=16 depth=32", "rows=8 depth=64", "rows = 8; use a positive multiple of 16"),
    ("cube", "w[0](32 x 64", "w[0](33 x 64", "the number of rows 33 may be 33, the most is 32"),
    ("cube", "w[0](32 x 64, pitch 64)", "w[0](32 x 64, pitch 65536)", "a pitch of 65536, the field holds 65535"),  # 0
    ("cube", "rows=32 single=0", "rows=24 single=0", "rows = 24; use a positive multiple of 16"),
    ("cube", "rows=32 single=0", "rows=48 single=0", "2048 elements are no fractals of 48 rows"),
    ("cube", "rows=32 single=0", "rows=32 single=2", "single = 2; use 0 or 1"),
    ("cube", "(512:1) rows=16\n", "(512:1) rows=64\n", "512 sums are no fractals of 64 rows"),
    ("cube", "(16 x 32, pitch 32) <- acc", "(32 x 16, pitch 16) <- acc",
     "the number of rows 32 may be 32, the most is 16"),
    ("direct", "up.bf16[0](1:256 256:1) rows=16 depth=16", "up.bf16[0](2:128 128:1) rows=16 depth=16",
     "up is taken as"),
    ("direct", "b.bf16[0](256:1) <- up.bf16[0](1:256 256:1) rows=16 depth=16 n",
     "b.bf16[0](512:1) <- a.bf16[0](1:256 512:1) rows=16 depth=32 n", "depth 32 of 16 rows; use fewer"),
    ("cube", "acc.f32[0](512:1) m=16", "acc.f32[0](1:512 512:1) m=16", "sums are added to other sums"),
    ("direct", "down.f32[0](16:16 16:1) <-", "down.f32[0](256:1) <-", "down is not in rows"),
    ("direct", "o.bf16[0](16:16 16:1) rows=16", "o.bf16[0](256:1) rows=16", "o is not in rows"),
    ("direct", "rows=16 depth=16 n=16", "rows=16 depth=32 n=16", "elements differ: 256, 512"),
    ("direct", "down.f32[0](16:16 16:1) <-", "down.f32[0](8:16 32:1) <-", "8 x 32 of 16 x 16 sums"),
    ("direct", "o.bf16[0](16:16 16:1) rows=16", "o.bf16[0](8:32 32:1) rows=16", "rows differ: 16, 8"),
)  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_programs_by_hand_are_legal(name: str):
    kernel = parse(TEXTS[name], f"{name}.tile")
    assert kernel.physical is not None
    assert logical_text(kernel.logical) + "\n" + physical_text(kernel.physical) == TEXTS[name]
    verify_physical(kernel.physical, CHIPS[kernel.physical.chip])


@pytest.mark.parametrize(("name", "old", "new", "message"), BROKEN)
def test_each_rule_refuses(name: str, old: str, new: str, message: str):
    text = TEXTS[name]
    assert old in text
    edited = text.replace(old, new, 1)
    kernel = parse(edited, f"{name}.tile")
    assert kernel.physical is not None
    with pytest.raises(TileError) as caught:
        verify_physical(kernel.physical, CHIPS["950pr" if name == "direct" else "910b3"])
    assert message in str(caught.value) and caught.value.kernel == name
    line = kernel.lines.get(id(caught.value.step))
    if line is not None:  # not where it is the program as a whole
        assert edited.splitlines()[line - 1].split() == caught.value.statement.split()


def test_a_spread_of_too_many():
    text = TEXTS["vector"].replace("b: UB 256 B at 512", "b: UB 8192 B at 4096")
    text = text.replace("c: UB 2048 B at 768", "c: UB 65536 B at 12288")
    text = text.replace("c.f32[0](512:1) <- b.f32[0](64:1)", "c.f32[0](16384:1) <- b.f32[0](2048:1)")
    with pytest.raises(TileError, match="256 repeats; spread fewer elements at a time"):
        verify_physical(_read(text), CHIP)


def _read(text: str) -> Program:
    program = parse(text).physical
    assert program is not None
    return program


def test_what_no_text_can_say():
    """Names that stand for nothing: the parser would not read them, but a compiler may write them."""
    program = _read(TEXTS["vector"])
    (part,) = program.parts
    first, _, *others = part.buffers
    nowhere = Buffer("a", "UB", 256)
    other = replace(program.tensors[0], name="z")

    def with_steps(change: Callable[[Step], Step]) -> Program:
        body = tuple(replace(s, body=tuple(map(change, s.body))) if isinstance(s, Loop) else s for s in part.body)
        return replace(program, parts=(replace(part, body=body),))

    def moved(step: Step, buffer: Buffer) -> Step:
        if isinstance(step, Instr) and step.op == "copy_in":
            return replace(step, outs=(replace(step.outs[0], buffer=buffer),))
        return step

    def renamed(step: Step) -> Step:
        if isinstance(step, Instr) and step.op == "copy_in":
            return replace(step, ins=(replace(step.ins[0], tensor=other),))
        return step

    named = replace(part, buffers=(first, Buffer("a", "UB", 256, 1, 4096), *others))
    unplaced = with_steps(lambda s: moved(s, nowhere))
    cases = (
        (replace(program, parts=(named,)), "another buffer is named a"),
        (unplaced, "a is no buffer of AIV"),
        (replace(unplaced, parts=(replace(unplaced.parts[0], buffers=(*part.buffers, nowhere)),)), "a has no address"),
        (with_steps(renamed), "there is no tensor z"),
        (with_steps(lambda s: replace(s, src=other) if isinstance(s, Get) else s), "there is no tensor z"),
    )
    for broken, message in cases:
        with pytest.raises(TileError, match=message):
            verify_physical(broken, CHIP)


@pytest.mark.parametrize("name", TEXTS)
def test_no_half_of_a_signal_can_be_left_out(name: str):
    lines = TEXTS[name].splitlines(keepends=True)
    halves = [n for n, line in enumerate(lines) if line.split()[:1] in (["set"], ["wait"], ["cross"])]
    assert len(halves) > 10
    for number in halves:
        program = _read("".join(lines[:number] + lines[number + 1 :]))
        with pytest.raises(TileError):
            verify_physical(program, CHIPS[program.chip])


NAMES = {"M": (1, 40), "t0": (0, 6), "q": (-9, 9)}


def integers() -> st.SearchStrategy[Int]:
    leaves: st.SearchStrategy[Int] = st.one_of(st.integers(-20, 60), st.sampled_from(list(map(var, NAMES))))
    signs = st.sampled_from(["+", "-", "*", "//", "%", "min", "max", "<", "==", "and"])
    return st.recursive(
        leaves, lambda inner: st.tuples(signs, inner, inner).map(lambda x: Scalar(x[0], (x[1], x[2]))), max_leaves=8
    )


@settings(max_examples=400)
@given(integers(), st.fixed_dictionaries({name: st.integers(*bounds) for name, bounds in NAMES.items()}))
def test_what_is_known_of_an_integer_is_true(number: Int, env: dict[str, int]):
    try:
        value = evaluate(number, env)
    except ArithmeticError:  # a program that divides by nothing, or a negative number
        return
    low, high = interval(number, NAMES)
    assert low <= value <= high
    loose = interval(number, {"t0": (0, inf)})
    assert loose[0] <= value <= loose[1]
    unit = factor(number)
    assert value == 0 if unit == 0 else value % unit == 0


@pytest.mark.parametrize("sign", ["+", "-", "*", "//", "%", "min", "max", "<", "==", "and"])
def test_what_is_known_of_one_operation_is_the_best(sign: str):
    """Both ends are reached, but of comparisons and remainders."""
    for args in product((3, 7, 40, *map(var, NAMES)), repeat=2):
        number = Scalar(sign, args)
        used = sorted(names(number))
        values = []
        for numbers in product(*(range(NAMES[name][0], NAMES[name][1] + 1) for name in used)):
            with suppress(ArithmeticError):
                values.append(evaluate(number, dict(zip(used, numbers, strict=True))))
        low, high = interval(number, NAMES)
        assert low <= min(values) and max(values) <= high
        assert all(value % (factor(number) or 1) == 0 for value in values)
        if sign in ("+", "-", "*", "min", "max") and args[0] != args[1]:
            assert (low, high) == (min(values), max(values)), str(number)
