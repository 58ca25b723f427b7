"""What core ops remain between kernel ops, element by element: tensors are lines, cut to pieces of a tile's size."""

from __future__ import annotations

from collections.abc import Callable

from ..build import Kernel
from ..logical import Operand, Piece, Program, Tensor
from ..scalar import Int, ceildiv, rest

Body = Callable[[Kernel, list[Piece]], Piece]


def cast_line(*, source: str, out: str, cols: int, stages: int) -> Program:
    """``y [N] = x [N]`` in another dtype."""
    return _lines("cast_line", (source,), out, cols, stages, lambda k, x: x[0])


def binary_line(*, op: str, dtype: str, cols: int, stages: int) -> Program:
    """``z [N] = x [N] op y [N]`` in f32, one cast out; i32 as it is."""
    return _lines("binary_line", (dtype, dtype), dtype, cols, stages, lambda k, x: k.compute(op, *x))


def number_line(*, op: str, dtype: str, number: float, cols: int, stages: int) -> Program:
    """``y [N] = x [N] op number``."""
    return _lines("number_line", (dtype,), dtype, cols, stages, lambda k, x: k.compute(op, x[0], number))


def compare_line(*, cmp: str, dtype: str, cols: int, stages: int) -> Program:
    """``z [N] = x [N] cmp y [N]`` as bool; i32 below 2^24."""

    def compared(k: Kernel, xs: list[Piece]) -> Piece:
        a, b = (k.cast(x, "f32") if x.dtype == "i32" else x for x in xs)
        return k.where(a, cmp, b, k.full(1.0, 1, cols), 0.0)

    return _lines("compare_line", (dtype, dtype), "bool", cols, stages, compared)


def _lines(name: str, sources: tuple[str, ...], out: str, cols: int, stages: int, body: Body) -> Program:
    k = Kernel(name, stages)
    count = k.size("N")
    xs = [k.tensor(f"x{number}", dtype, count) for number, dtype in enumerate(sources)]
    y = k.out("y", out, count)
    for task in k.tasks(ceildiv(count, cols)):
        begin = task * cols
        wide = rest(count, begin, cols)
        loaded = [_load(k, x, begin, wide, cols) for x in xs]
        k.store(y.window(begin, 1, wide, cols), body(k, loaded))
    return k.done()


def _load(k: Kernel, x: Tensor, offset: Int, wide: Int, cols: int) -> Piece:
    return k.load(x.window(offset, 1, wide, cols), 1, cols, fill=None)


def iota_line(*, cols: int, stages: int) -> Program:
    """``y [N] = 0, 1, ...`` i32."""
    k = Kernel("iota_line", stages)
    count = k.size("N")
    y = k.out("y", "i32", count)
    for task in k.tasks(ceildiv(count, cols)):
        begin = task * cols
        k.store(y.window(begin, 1, rest(count, begin, cols), cols), k.iota(cols, begin))
    return k.done()


def outer_add(*, cols: int, stages: int) -> Program:
    """``y [A, N] = column [A] + row [N]``, i32."""
    return _outer("outer_add", "i32", cols, stages, lambda k, row, number: k.add(row, number))


def outer_compare(*, cmp: str, cols: int, stages: int) -> Program:
    """``y [A, N] = row [N] cmp column [A]`` as bool; numbers below 2^24."""

    def compared(k: Kernel, row: Piece, number: Operand) -> Piece:
        return k.where(k.cast(row, "f32"), cmp, number, k.full(1.0, 1, cols), 0.0)

    return _outer("outer_compare", "bool", cols, stages, compared)


def _outer(name: str, out: str, cols: int, stages: int, body: Callable[[Kernel, Piece, Operand], Piece]) -> Program:
    k = Kernel(name, stages)
    rows, count = k.size("A"), k.size("N")
    column, row = k.tensor("column", "i32", rows), k.tensor("row", "i32", count)
    y = k.out("y", out, rows, count)
    parts = ceildiv(count, cols)
    for task in k.tasks(rows * parts):
        a, begin = task // parts, task % parts * cols
        number = k.read(column, a)
        wide = rest(count, begin, cols)
        made = body(k, _load(k, row, begin, wide, cols), number)
        k.store(y.window(a * count + begin, 1, wide, cols), made)
    return k.done()


def swiglu(*, width: int, dtype: str, limit: float, experts: int, rows: int, cols: int, stages: int) -> Program:
    """``y = silu(min(gate, limit)) * clamp(up, -limit, limit)`` over ``[M, width]``, in f32 with one cast out (§1.3).

    With ``experts``, only the rows of experts count: as many as the last of ``offsets`` i32 ``[experts + 1]`` says.
    """
    k = Kernel("swiglu", stages)
    count = k.size("M")
    gate, up = k.tensor("gate", dtype, count, width), k.tensor("up", dtype, count, width)
    offsets = k.tensor("offsets", "i32", experts + 1) if experts else None
    y = k.tensor("y", dtype, count, width, role="inout" if experts else "out")
    last = k.read(offsets, experts) if offsets else count
    parts = -(-width // cols)
    for task in k.tasks(ceildiv(last, rows) * parts):
        row, col = task // parts * rows, task % parts * cols
        tall, wide = rest(last, row, rows), rest(width, col, cols)
        g, u = (k.load(x.window(row * width + col, tall, wide, width), rows, cols, fill=None) for x in (gate, up))
        if limit != float("inf"):
            g, u = k.minimum(g, limit), k.maximum(k.minimum(u, limit), -limit)
        silu = k.div(g, k.add(k.exp(k.mul(g, -1.0)), 1.0))
        k.store(y.window(row * width + col, tall, wide, width), k.mul(silu, u))
    return k.done()
