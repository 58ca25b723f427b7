"""Sums in registers: vectors of f32, and what one step of K adds to them.

Forms of operands:
    f32, bf16, f16   one element of A against a vector, both widened to f32
    dot              two neighbouring bf16 of A, held as one int32, against a vector of such pairs: ``vdpbf16ps``
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import tvm
from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels import expr
from ..kernels.kernel import Kernel
from ..scalar import Expr, int64
from .tuning import LANES

VECTOR = f"float32x{LANES}"
HELD = {"f32": "f32", "bf16": "bf16", "f16": "f16", "dot": "i32"}  # the dtype as which A and the panels are read
STEP = {"f32": 1, "bf16": 1, "f16": 1, "dot": 2}  # elements of K in one step
# LLVM text, because TVM widens the operands of an intrinsic on bfloat16 to floats.
_LLVM = """
define linkonce_odr <16 x float> @dsv4c_dot(<16 x float> %c, <16 x i32> %a, <16 x i32> %b) alwaysinline nounwind {
  %x = bitcast <16 x i32> %a to <32 x bfloat>
  %y = bitcast <16 x i32> %b to <32 x bfloat>
  %r = call <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float> %c, <32 x bfloat> %x, <32 x bfloat> %y)
  ret <16 x float> %r
}
declare <16 x float> @llvm.x86.avx512bf16.dpbf16ps.512(<16 x float>, <32 x bfloat>, <32 x bfloat>)
"""
_PREFETCH = """
define linkonce_odr i32 @dsv4c_prefetch(ptr %p) alwaysinline nounwind {
  call void @llvm.prefetch.p0(ptr %p, i32 0, i32 3, i32 1)
  ret i32 0
}
declare void @llvm.prefetch.p0(ptr, i32, i32, i32)
"""


def with_llvm(kernel: Kernel, form: str) -> Kernel:
    """The kernel with the LLVM text that its steps call."""
    text = _PREFETCH + (_LLVM if form == "dot" else "")
    source = replace(kernel.source, llvm=text) if kernel.source else None
    return Kernel(kernel.name, importing(kernel.before, text), importing(kernel.after, text), kernel.trace, source)


def importing(func: Any, text: str) -> Any:
    """The function with LLVM text at its side."""
    held = tvm.ir.StringImm(text)
    return func.with_body(tirx.AttrStmt(tvm.ir.StringImm("x"), "pragma_import_llvm", held, func.body))


def ramp(begin: Expr | int) -> Expr:
    """The indices of one vector."""
    return tirx.Ramp(int64(begin) if isinstance(begin, int) else begin, int64(1), LANES)


def sums(rows: int, width: int) -> Any:
    """``rows`` by ``width`` sums, all zero."""
    held = T.sblock_alloc_buffer([int64(rows), int64(width)], "float32", scope="local")
    for i in range(rows):
        for v in range(0, width, LANES):
            T.buffer_store(held, tirx.Broadcast(tirx.const(0.0, "float32"), LANES), [int64(i), ramp(v)])
    return held


def add_products(held: Any, i: int, width: int, a: Expr, panel: Any, at: list[Expr], form: str) -> None:
    """Row i of the sums gains one step: ``a`` times the panel's row at ``at``."""
    left = tirx.Broadcast(a if form == "dot" else expr.widen(a), LANES)
    for v in range(0, width, LANES):
        place = [int64(i), ramp(v)]
        right = panel[(*at, ramp(v))]
        if form == "dot":
            value = T.call_pure_extern(VECTOR, "dsv4c_dot", held[tuple(place)], left, right)
        else:
            value = held[tuple(place)] + left * _widened(right, form)
        T.buffer_store(held, value, place)


def _widened(x: Expr, form: str) -> Expr:
    """A vector as f32; as ``expr.widen`` does it for one element."""
    if form == "bf16":
        bits = tirx.reinterpret(f"uint16x{LANES}", x).astype(f"uint32x{LANES}")
        return tirx.reinterpret(VECTOR, bits << tirx.Broadcast(tirx.const(16, "uint32"), LANES))
    return x if form == "f32" else x.astype(VECTOR)


def fetch(panel: Any, at: list[Expr], width: int) -> None:
    """Ask for a panel's row ahead of time, a cache line at a time; past the end it does no harm."""
    for v in range(0, width, LANES):
        T.evaluate(T.call_extern("int32", "dsv4c_prefetch", T.address_of(panel[(*at, int64(v))])))


def staged(held: Any) -> Any:
    """The sums in memory: a loop may index those, while registers want numbers; what stores them is compiled once."""
    rows, width = (int(extent) for extent in held.shape)
    out = T.sblock_alloc_buffer([int64(rows), int64(width)], "float32", scope="local")
    for i in range(rows):
        for v in range(0, width, LANES):
            T.buffer_store(out, held[int64(i), ramp(v)], [int64(i), ramp(v)])
    return out


def fold(held: Any, rows: int, width: int) -> None:
    """Row 0 of the sums becomes the sum of all rows."""
    for i in range(1, rows):
        for v in range(0, width, LANES):
            value = held[(int64(0), ramp(v))] + held[(int64(i), ramp(v))]
            T.buffer_store(held, value, [int64(0), ramp(v)])
