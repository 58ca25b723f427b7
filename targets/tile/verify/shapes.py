"""How the operands of vector instructions must fit each other: one rule a family, by the name that its row gives.

Extents that only the launch knows are judged by what is known of them; what cannot be refuted passes.
"""

from __future__ import annotations

from dataclasses import dataclass

from dsv4c.ir.types import BITS

from ..physical import Instr, Region
from ..scalar import Int, text
from .error import TileError
from .ranges import Interval, factor, interval
from .table import Arch

BLOCK, REPEAT = 32, 256  # bytes (3.1)
FRACTAL = 16  # rows (3.11)


@dataclass
class Context:
    """The chip, and what is known of the names at a step."""

    arch: Arch
    known: dict[str, Interval]

    def least(self, a: Int) -> float:
        """The smallest value it may have."""
        return interval(a, self.known)[0]

    def most(self, a: Int) -> float:
        """The largest value it may have."""
        return interval(a, self.known)[1]


def refuse(wrong: bool, what: str, fix: str) -> None:
    """TileError where something is wrong."""
    if wrong:
        raise TileError(what, fix)


def size(dtype: str) -> int:
    """Bytes of an element."""
    return BITS[dtype] // 8


def regions(i: Instr) -> list[Region]:
    """The operands on the chip, results first."""
    return [p for p in (*i.outs, *i.ins) if isinstance(p, Region)]


def no_more(c: Context, a: Int, most: float, what: str) -> None:
    """TileError for an extent that is always 0, or may be more than ``most``."""
    high = c.most(a)
    refuse(high <= 0, f"{what} {text(a)} is never more than 0", "give it at least 1")
    refuse(
        high > most and (isinstance(a, int) or high < float("inf")),
        f"{what} {text(a)} may be {high:.0f}, the most is {most:.0f}", "use less",
    )  # fmt: skip


def dense(*operands: Region) -> None:
    """TileError for elements that do not lie side by side."""
    for r in operands:
        refuse(not r.dense, f"{r.buffer.name} has gaps where the instruction takes a line", "use elements side by side")


def equal(what: str, *numbers: int) -> None:
    """TileError for numbers that differ."""
    refuse(len(set(numbers)) > 1, f"{what} differ: {', '.join(map(str, numbers))}", "make them equal")


def line(c: Context, i: Instr) -> None:
    """Elements side by side, as many in each operand."""
    dense(*regions(i))
    equal("counts of elements", *(r.count for r in regions(i)))


def repeat(c: Context, i: Instr) -> None:
    """A line, or repeats over rows: the same lanes and repeats in each operand (3.1)."""
    if all(r.dense for r in regions(i)):
        line(c, i)
        return
    shapes = [_repeats(c, r) for r in regions(i)]
    equal("lanes of a repeat", *(lanes for lanes, _ in shapes))
    equal("repeats", *(repeats for _, repeats in shapes))


def _repeats(c: Context, r: Region) -> tuple[int, int]:
    """Lanes and repeats of an operand whose rows are apart."""
    block, name = BLOCK // size(r.dtype), r.buffer.name
    (repeats, outer), *inner = r.dims if len(r.dims) > 1 else ((1, 0), *r.dims)
    lanes = 1
    for extent, _ in inner:
        lanes *= extent
    most = REPEAT // size(r.dtype)
    refuse(lanes > most, f"{name}: {lanes} lanes, a repeat has {most} of {r.dtype}", "use slices")
    strides = [outer]
    if len(inner) == 2:
        (_, between), (width, step) = inner
        refuse((width, step) != (block, 1), f"{name}: {width}:{step} is no block", f"use {block}:1")
        strides.append(between)
    else:
        refuse(len(inner) != 1 or inner[0][1] != 1, f"{name}: {len(r.dims)} dimensions", "use rows, blocks and lanes")
    refuse(repeats > c.arch.fields["repeats"], f"{name}: {repeats} repeats", f"use at most {c.arch.fields['repeats']}")
    for stride in strides:
        refuse(stride % block != 0, f"{name}: a stride of {stride} elements", f"use whole blocks of {block}")
        refuse(
            stride // block > c.arch.fields["stride"], f"{name}: a stride of {stride // block} blocks",
            f"use at most {c.arch.fields['stride']}",
        )  # fmt: skip
    return lanes, repeats


def unpack(c: Context, i: Instr) -> None:
    """Two numbers a byte, side by side (3.3)."""
    dst, src = regions(i)
    refuse(not (dst.dense and src.dense), "numbers or bytes that are not side by side", "make them so")
    refuse(dst.count != 2 * src.count, f"{dst.count} numbers of {src.count} bytes", f"a byte holds 2: {2 * src.count}")


def cast(c: Context, i: Instr) -> None:
    """The pair of dtypes exists, with that rounding (3.3)."""
    dst, src = regions(i)
    modes = c.arch.casts.get((src.dtype, dst.dtype), ())
    mode = str(i.args["mode"])
    known = sorted({to for of, to in c.arch.casts if of == src.dtype})
    refuse(
        not modes, f"dav-{c.arch.name} has no cast from {src.dtype} to {dst.dtype}",
        f"cast to {' or '.join(known) or 'nothing'} first",
    )  # fmt: skip
    refuse(mode not in modes, f"{src.dtype} to {dst.dtype} has no rounding {mode}", f"use {' or '.join(modes)}")
    line(c, i)


def brcb(c: Context, i: Instr) -> None:
    """A block for each of so many elements, 8 at a time (3.4)."""
    dst, src = regions(i)
    dense(dst, src)
    refuse(src.count % 8 != 0, f"{src.count} elements are spread", "use a multiple of 8")
    refuse(src.count // 8 > c.arch.fields["repeats"], f"{src.count // 8} repeats", "spread fewer elements at a time")
    equal("elements of the blocks", dst.count, src.count * (BLOCK // size(src.dtype)))


def compare(c: Context, i: Instr) -> None:
    """Whole repeats, a bit an element (3.5)."""
    bits, *operands = regions(i)
    dense(bits, *operands)
    first = operands[0]
    equal("counts of elements", *(r.count for r in operands))
    refuse(
        first.count * size(first.dtype) % c.arch.fields["compare"] != 0,
        f"{first.count} elements of {first.dtype} are compared",
        f"pad them to a multiple of {c.arch.fields['compare'] // size(first.dtype)}",
    )  # fmt: skip
    equal("elements and bits", first.count, bits.count * 8)
    wrong = first.dtype == "i32" and str(i.args["cmp"]) not in c.arch.integers_compared
    refuse(wrong, f"dav-{c.arch.name} compares i32 by {' '.join(c.arch.integers_compared)} only", "cast to f32 first")


def select(c: Context, i: Instr) -> None:
    """A bit an element, at least (3.5)."""
    dst, bits, *operands = regions(i)
    dense(dst, bits, *operands)
    equal("counts of elements", dst.count, *(r.count for r in operands))
    refuse(bits.count * 8 < dst.count, f"{bits.count * 8} bits for {dst.count} elements", "compare as many")


def whole(c: Context, i: Instr) -> None:
    """One number for each row of at most a repeat (3.6)."""
    dst, src = regions(i)
    dense(dst)
    _, repeats = _repeats(c, src)
    equal("results and rows", dst.count, repeats)


def gather(c: Context, i: Instr) -> None:
    """An offset an element (3.7)."""
    dst, src, offsets = regions(i)
    dense(dst, src, offsets)
    equal("elements and offsets", dst.count, offsets.count)


def compress(c: Context, i: Instr) -> None:
    """A bit an element (3.7); how many pass, and whether there is room for them, is known only when it runs."""
    dst, src, bits = regions(i)
    dense(dst, src, bits)
    refuse(bits.count * 8 < src.count, f"{bits.count * 8} bits for {src.count} elements", "compare as many")


def misaligned(r: Region, unit: int) -> bool:
    """Whether a region may begin at a byte that is no multiple of ``unit``."""
    steps = [factor(r.offset) * size(r.dtype), r.buffer.address, r.buffer.size if r.buffer.stages > 1 else 0]
    return any(step % unit for step in steps)
