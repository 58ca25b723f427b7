"""What the row kernels are written with: arguments, loops over vectors and tasks, loads and stores that round.

Numbers of narrow floats are f32 inside; ``store`` rounds them once. Positions and sizes are int64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from tvm import tirx
from tvm.s_tir import Schedule
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T

from ..kernels import expr
from ..kernels.kernel import ITEM_BYTES, Arg, Kernel, Source, finish
from ..scalar import DTYPE, NARROW, Expr, int64, rounded, stored
from .tuning import LANES, PARALLEL_FROM, SUM_LANES

IR_NAME = {tvm_name: name for name, tvm_name in DTYPE.items()}
Body = Callable[[Expr], None]
Element = Callable[[Expr], Expr]


def build(name: str, args: Sequence[Arg], sizes: Mapping[str, int | None], body: Callable[[Any], None]) -> Kernel:
    """The kernel whose ``body`` gets buffers and sizes as attributes; sizes given as None are scalar arguments."""
    source = Source(tuple(args), sizes, body)
    with prim_func(name) as ib:
        bound = {key: tirx.Var(key, "int64") if n is None else int64(n) for key, n in sizes.items()}
        buffers = {arg.name: T.arg(arg.name, buffer_type(arg, bound)) for arg in args}
        for key, n in sizes.items():
            if n is None:
                T.arg(key, bound[key])
        body(SimpleNamespace(**bound, **buffers))
    return finished(ib, name, source)


@contextmanager
def prim_func(name: str) -> Iterator[IRBuilder]:
    """A kernel being written."""
    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name(name)
        T.func_attr({"tirx.noalias": True, "global_symbol": name})
        yield ib


def finished(ib: IRBuilder, name: str, source: Source | None = None) -> Kernel:
    """What was written, as a kernel that needs no schedule."""
    func = ib.get()
    return replace(finish(func, Schedule(func), name), source=source)


def buffer_type(arg: Arg, sizes: Mapping[str, Expr]) -> Any:
    """The buffer of an argument."""
    dtype = DTYPE[arg.dtype]
    return T.Buffer(extents(arg, sizes), dtype, align=ITEM_BYTES[dtype])


def extents(arg: Arg, sizes: Mapping[str, Expr]) -> list[Expr]:
    """The shape of an argument."""
    return [sizes[e] if isinstance(e, str) else int64(e) for e in arg.shape]


def f32(value: float) -> Expr:
    """An f32 constant."""
    return tirx.const(value, "float32")


def load(buffer: Any, *index: Expr) -> Expr:
    """An element; narrow floats as f32."""
    element = buffer[tuple(index)]
    return expr.widen(element) if IR_NAME[buffer.dtype] in NARROW else element


def store(buffer: Any, value: Expr, *index: Expr) -> None:
    """Write an element; an f32 is rounded once where the buffer is narrower."""
    dtype = IR_NAME[buffer.dtype]
    T.buffer_store(buffer, stored(narrow(value, dtype), dtype), list(index))


def copy(target: Any, to: Sequence[Expr], source: Any, at: Sequence[Expr]) -> None:
    """Write an element as it is."""
    T.buffer_store(target, source[tuple(at)], list(to))


def narrow(value: Expr, dtype: str) -> Expr:
    """An f32 rounded to what ``dtype`` can hold."""
    return rounded(value, dtype) if dtype in NARROW else value


def local(*shape: int, dtype: str = "float32") -> Any:
    """Memory of one task. Up to 1024 bytes live in registers or on the stack; TVM takes more from a pool."""
    return T.sblock_alloc_buffer([int64(n) for n in shape], dtype, scope="local")


def scalar(value: Expr) -> Any:
    """A number computed once: read it as ``x[0]``."""
    held = local(1, dtype=str(value.ty.dtype))
    T.buffer_store(held, value, [0])
    return held


def loop(begin: Expr | int, end: Expr | int) -> Any:
    """A serial loop: a context that gives the position."""
    return T.serial(_int64(begin), _int64(end))


def lanes(count: int = LANES) -> Any:
    """A vector loop: a context that gives the lane."""
    return T.vectorized(int64(0), int64(count))


def _int64(x: Expr | int) -> Expr:
    return int64(x) if isinstance(x, int) else x


def vectors(extent: int, body: Body, width: int = LANES) -> None:
    """``body(i)`` for every i below ``extent``: whole vectors, then the rest one by one."""
    full = extent // width
    if full:
        with loop(0, full) as i, lanes(width) as j:
            body(i * int64(width) + j)
    if extent % width:
        with loop(full * width, extent) as i:
            body(i)


def total(extent: int, element: Element) -> Any:
    """The f32 sum of ``element(i)`` for i below ``extent``, as a scalar."""
    return _reduced(extent, element, f32(0), lambda x, y: x + y)


def largest(extent: int, element: Element) -> Any:
    """The maximum of ``element(i)`` for i below ``extent``, as a scalar."""
    return _reduced(extent, element, -tirx.infinity("float32"), tirx.max)


def _reduced(extent: int, element: Element, start: Expr, join: Callable[[Expr, Expr], Expr]) -> Any:
    width = SUM_LANES if extent >= SUM_LANES else LANES
    out = scalar(start)
    if extent >= width:
        part = local(width)
        with lanes(width) as j:
            T.buffer_store(part, start, [j])
        with loop(0, extent // width) as i, lanes(width) as j:
            T.buffer_store(part, join(part[j], element(i * int64(width) + j)), [j])
        with loop(0, width) as j:
            T.buffer_store(out, join(out[0], part[j]), [0])
    if extent % width:
        with loop(extent // width * width, extent) as i:
            T.buffer_store(out, join(out[0], element(i)), [0])
    return out


def each(count: Expr, work: Expr | int, body: Body) -> None:
    """``body(i)`` for every i below ``count``, on all threads where ``work`` elements a piece are worth it."""
    worth = count * _int64(work) >= int64(PARALLEL_FROM)
    choose(worth, lambda: _run(T.parallel, count, body), lambda: _run(T.serial, count, body))


def _run(kind: Any, count: Expr, body: Body) -> None:
    with kind(int64(0), count) as i:
        body(i)


def choose(condition: Expr, then: Callable[[], None], otherwise: Callable[[], None] | None = None) -> None:
    """A branch; only the side taken is written where the condition is known."""
    known = _known(condition)
    if known is not None:
        taken = then if known else otherwise
        if taken:
            taken()
        return
    with T.If(condition):
        with T.Then():
            then()
        if otherwise:
            with T.Else():
                otherwise()


def _known(condition: Expr) -> bool | None:
    return bool(condition.value) if isinstance(condition, tirx.IntImm) else None
