"""Caches that chunks append to, and compressed entries."""

from __future__ import annotations

from collections.abc import Mapping

from dsv4c.ir.core import Op, Value
from dsv4c.ir.dims import product
from dsv4c.ir.types import TensorType

from ...shapes import number, out_view
from ..kernels.angles import window_angles
from ..kernels.compress import compress_kv
from ..kernels.copies import append
from ..lower import FunctionLowering, Template
from ..scalar import aligned
from .rows import WHOLE, frequencies, row_tiles


def lower_append(f: FunctionLowering, op: Op) -> None:
    """append_cache and append_ring: one launch."""
    f.alias(op)
    cache, rows, past, new = op.operands
    _append(f, cache, rows, past, new, number(cache.shape[1]) if op.name == "append_ring" else 0)


def _append(f: FunctionLowering, cache: Value, rows: Value, past: Value, new: Value, ring: int) -> None:
    width = number(product(cache.shape[2:]))
    tiles = [{"cols": min(aligned(width, 16), cols)} for cols in (8192, 2048, 512)]
    name = f.table.get(append, {"dtype": cache.dtype, "width": width, "ring": ring}, tiles)
    sizes = {"B": rows.shape[0], "S": rows.shape[1], "T": cache.shape[1]}
    f.run_kernel(name, tuple(f.view(x) for x in (cache, rows, past, new)), sizes)


def lower_compress(f: FunctionLowering, op: Op) -> None:
    """Angles of the windows, the entries, and then the tails, which the entries still read."""
    f.alias(op)
    kv, gate, past, new, entries, tail_kv, tail_gate, bias, norm = op.operands
    (batch, length, channels), rate = kv.shape, op.attrs["rate"]
    assert isinstance(rate, int)
    half = len(op.attrs["frequencies"])  # type: ignore[arg-type]
    windows = (length + 2 * rate - 2) // rate
    cos, sin = (Value(TensorType((batch, windows, half), "f32")) for _ in range(2))
    name = f.table.get(window_angles, {"half": half, "factor": op.attrs["factor"], "rate": rate}, row_tiles(WHOLE))
    turns = tuple(out_view(f, v, v.shape) for v in (cos, sin))
    f.run_kernel(name, (f.view(past), frequencies(f, op), *turns), {"B": batch, "W": windows})
    options = {
        "width": number(entries.shape[2]), "channels": number(channels), "rate": rate, "tail": number(tail_kv.shape[1]),
        "overlap": op.attrs["overlap"], "half": half, "eps": op.attrs["eps"], "dtype": kv.dtype, "weight": norm.dtype,
    }  # fmt: skip
    width = number(entries.shape[2])
    tiles = [{"cols": c} for c in (512, 256, 128, 64, 32, 16) if width % c == 0 and c >= 2 * half] or [{"cols": width}]
    name = f.table.get(compress_kv, options, tiles)
    args = (kv, gate, past, new, entries, tail_kv, tail_gate, bias, norm)
    sizes = {"B": batch, "S": length, "N": entries.shape[1], "W": windows}
    f.run_kernel(name, (*map(f.view, args), *turns), sizes)
    for tail, rows in ((tail_kv, kv), (tail_gate, gate)):
        _append(f, tail, rows, past, new, number(tail.shape[1]))


STATE: Mapping[str, Template] = {
    "append_cache": lower_append, "append_ring": lower_append, "compress_kv": lower_compress,
}  # fmt: skip
