"""Schedules of loop nests: threads over the outer axes, vectors along the innermost where its extent allows."""

from __future__ import annotations

from typing import Any

from tvm.sym import Analyzer
from tvm.tirx.analysis import undefined_vars

from dsv4c.ir.core import Op
from dsv4c.ir.dims import Extent, Shape
from dsv4c.ir.types import INTEGERS

LANES = 16  # f32 lanes of a 512-bit register
SERIAL_BELOW = 16384  # elements: starting the threads costs more than this much elementwise work


def schedule_map(sch: Any, op: Op) -> None:
    """Outer axes in parallel, the innermost in vectors where its extent is a multiple of the lanes."""
    _schedule_store(sch, "map", op.results[0].shape)


def schedule_concat(sch: Any, op: Op) -> None:
    """Every part like a map."""
    for number_, part in enumerate(op.operands):
        _schedule_store(sch, f"part{number_}", part.shape)


def _schedule_store(sch: Any, block: str, shape: Shape) -> None:
    loops = list(sch.get_loops(sch.get_sblock(block)))
    inner = shape[-1] if shape else 1
    if isinstance(inner, int) and inner % LANES == 0 and not _fills_bf16(sch, block):
        outer, lanes = sch.split(loops.pop(), [None, LANES])
        sch.vectorize(lanes)
        loops.append(outer)
    elif len(loops) > 1:
        loops.pop()  # an inner axis of odd or unknown length stays a plain loop for LLVM's vectoriser
    if _large(shape):
        sch.parallel(sch.fuse(*loops) if len(loops) > 1 else loops[0])


def _fills_bf16(sch: Any, block: str) -> bool:
    """Whether all lanes store one bf16: TVM 0.27 cannot broadcast those, and LLVM makes vectors of the loop itself."""
    inside = sch.get(sch.get_sblock(block))
    lanes_vary = any(
        v.same_as(inside.iter_vars[-1].var) for v in undefined_vars(Analyzer().simplify(inside.body.value))
    )
    return str(inside.body.buffer.dtype) == "bfloat16" and not lanes_vary


def _large(shape: Shape) -> bool:
    total: Extent = 1
    for extent in shape:
        total = total * extent
    return not isinstance(total, int) or total >= SERIAL_BELOW


def schedule_reduction(sch: Any, op: Op) -> None:
    """Rows in parallel; lanes along the reduced axis if that is innermost and known, else along the last kept one."""
    source = op.operands[0]
    axis: Any = op.attrs["axis"]
    rank, inner, length = source.tensor.rank, source.shape[-1], source.shape[axis]
    block = sch.get_sblock("reduce")
    *outer, along = sch.get_loops(block)
    if axis == rank - 1:
        # TVM's rfactor knows the maximum of floats only from the lowest finite number; ours begins at -inf.
        splits = op.name == "sum" or source.dtype in INTEGERS
        if splits and isinstance(length, int) and length % LANES == 0 and length > LANES and outer:
            _lanes_along(sch, block, outer, along)
        elif outer and _large(source.shape):
            sch.parallel(sch.fuse(*outer) if len(outer) > 1 else outer[0])
    elif isinstance(inner, int) and inner % LANES == 0:
        *rows, last = outer
        chunk, lanes = sch.split(last, [None, LANES])
        sch.reorder(*rows, chunk, along, lanes)
        sch.vectorize(lanes)
        task = sch.fuse(*rows, chunk) if rows else chunk
        sch.parallel(task)
        zero = sch.decompose_reduction(block, along)
        sch.vectorize(sch.get_loops(zero)[-1])
    elif len(outer) > 1 and _large(source.shape):
        # Unknown inner length: reduce row by row, innermost kept axis as the plain inner loop.
        *rows, last = outer
        sch.reorder(*rows, along, last)
        sch.parallel(sch.fuse(*rows) if len(rows) > 1 else rows[0])
        sch.decompose_reduction(block, along)


def _lanes_along(sch: Any, block: Any, outer: list[Any], along: Any) -> None:
    """LANES partial results side by side, combined at the end of each row."""
    _, lanes = sch.split(along, [None, LANES])
    partial = sch.rfactor(lanes, factor_axis=0)
    task_loops = sch.get_loops(block)[:-1]
    task = sch.fuse(*task_loops) if len(task_loops) > 1 else task_loops[0]
    sch.parallel(task)
    sch.compute_at(partial, task)
    lane, step = sch.get_loops(partial)[-2:]
    sch.reorder(step, lane)
    sch.vectorize(lane)
    zero = sch.decompose_reduction(partial, step)
    sch.vectorize(sch.get_loops(zero)[-1])
    sch.set_scope(partial, 0, "local")


SCHEDULES: dict[str, Any] = {"concat": schedule_concat, "sum": schedule_reduction, "max": schedule_reduction}
