"""What attention kernels are written with: vectors of f32, memory of a task, and the widths of keys and values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels.kernel import Arg
from ..products.registers import ramp
from ..rows.emit import loop
from ..scalar import Expr, int64
from .tuning import LANES, ROWS, WIDE


def up(n: int, unit: int) -> int:
    """The multiple of ``unit`` from ``n`` on."""
    return -(-n // unit) * unit


def ceil(n: Expr, unit: int) -> Expr:
    """n / unit, rounded up."""
    return (n + int64(unit - 1)) // int64(unit)


def i32(value: int) -> Expr:
    """An int32 constant."""
    return tirx.const(value, "int32")


def spread(x: Expr) -> Expr:
    """One number in all lanes."""
    return tirx.Broadcast(x, LANES)


def memory(*shape: int | Expr, dtype: str = "float32") -> Any:
    """Memory of a task; in registers where it has less than 1 KiB and indices are numbers (scope "local" is not)."""
    return T.sblock_alloc_buffer([int64(n) if isinstance(n, int) else n for n in shape], dtype)


def held(value: Expr) -> Expr:
    """A number computed once."""
    buffer = memory(1, dtype=str(value.ty.dtype))
    T.buffer_store(buffer, value, [int64(0)])
    return buffer[int64(0)]


def vectors(count: int) -> Any:
    """Positions of the vectors of ``count`` lanes."""
    return range(0, count, LANES)


@dataclass(frozen=True)
class Widths:
    """Channels of keys and of values, the form, and the dtype of what lies in memory.

    Values are the first channels of a gathered key; so are the keys, unless they begin ``apart`` channels later.
    """

    keys: int
    values: int
    form: str
    dtype: str
    apart: int = 0

    @property
    def step(self) -> int:
        """Channels of one element as it lies in memory."""
        return 2 if self.form == "dot" else 1

    @property
    def held(self) -> str:
        """The IR's dtype of operands and result as the kernel sees them."""
        return "i32" if self.form == "dot" else self.dtype

    @property
    def inside(self) -> str:
        """TVM's dtype of gathered keys."""
        return "int32" if self.form == "dot" else "float32"

    @property
    def padded(self) -> int:
        """Channels of the result in memory: whole register tiles."""
        return up(self.values, WIDE)

    @property
    def stride(self) -> int:
        """Elements from one gathered key to the next, whole register tiles."""
        return up(max(self.apart + self.keys, self.padded), WIDE) // self.step

    def arg(self, name: str, *lead: int | str, width: int = 0) -> Arg:
        """A buffer argument whose last axis is channels."""
        return Arg(name, (*lead, (width or self.keys) // self.step), self.held)


def fitting_form(form: str, *widths: int) -> str:
    """``dot`` only where pairs of channels fill vectors."""
    return "dot" if form == "dot" and all(width % WIDE == 0 for width in widths) else "f32"


def rows_side(rows: int) -> int:
    """Rows of a block: two vectors where that wastes nothing."""
    return 2 * LANES if rows % (2 * LANES) == 0 else LANES


def tokens_of_task(heads: int) -> int:
    """Tokens whose heads fill a task."""
    return max(1, ROWS // heads)


def multiply_add(form: str, total: Expr, x: Expr, y: Expr) -> Expr:
    """total + x * y, lane by lane; words of bf16 pairs in the dot form."""
    if form == "dot":
        return T.call_pure_extern("float32x16", "dsv4c_dot", total, x, y)
    return total + x * y


Emit = Callable[[int, int, Expr], None]


def products(
    form: str, steps: int, count: int, width: int, left: Callable[[int, Expr], Expr],
    right: Callable[[Expr, int], Expr], emit: Emit,
) -> None:  # fmt: skip
    """A register tile: ``emit(i, v, sum)`` for ``count`` rows and the vectors of ``width`` lanes, where the sum is that
    of ``left(i, d) * right(d, v)`` over ``steps`` d.
    """
    sums = [memory(width) for _ in range(count)]
    for total in sums:
        for v in vectors(width):
            T.buffer_store(total, spread(tirx.const(0.0, "float32")), [ramp(v)])
    with loop(0, steps) as d:
        for i, total in enumerate(sums):
            x = spread(left(i, d))
            for v in vectors(width):
                T.buffer_store(total, multiply_add(form, total[ramp(v)], x, right(d, v)), [ramp(v)])
    for i, total in enumerate(sums):
        for v in vectors(width):
            emit(i, v, total[ramp(v)])
