"""Ops that work row by row on the vector core."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dsv4c.ir.core import Op

from ...shapes import out_view, rows_of
from ..kernels.norm import layer_norm, rms_norm
from ..lower import FunctionLowering, Template


def row_tiles(*most: int) -> Iterator[Mapping[str, int]]:
    """Rows a task: many short ones, or few long ones."""
    for rows in most or (64, 32, 16, 8, 4, 2, 1):
        yield {"rows": rows}


def lower_rms_norm(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    x, *w = op.operands
    rows, width = rows_of(x)
    options = {"width": width, "dtype": x.dtype, "weight": w[0].dtype if w else "", "eps": op.attrs["eps"]}
    name = f.table.get(rms_norm, options, row_tiles())
    args = (f.view(x, (rows, width)), *map(f.view, w), out_view(f, op.results[0], (rows, width)))
    f.run_kernel(name, args, {"M": rows})


def lower_layer_norm(f: FunctionLowering, op: Op) -> None:
    """One launch."""
    x, w, bias = op.operands
    rows, width = rows_of(x)
    options = {"width": width, "dtype": x.dtype, "weight": w.dtype, "eps": op.attrs["eps"]}
    name = f.table.get(layer_norm, options, row_tiles())
    args = (f.view(x, (rows, width)), f.view(w), f.view(bias), out_view(f, op.results[0], (rows, width)))
    f.run_kernel(name, args, {"M": rows})


ROWS: Mapping[str, Template] = {"rms_norm": lower_rms_norm, "layer_norm": lower_layer_norm}
