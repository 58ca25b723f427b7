"""Kernel ops that work row by row, each as one launch. One function per op; ``TAKES`` says which cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dsv4c.ir.core import Op
from dsv4c.ir.dims import product

from ..shapes import angle_axes, known, out_view, rows_of
from .kernels.kernel import Kernel
from .lower import FunctionLowering
from .rows import activation, norm, rope

Template = Callable[[FunctionLowering, Op], None]


def kernel(f: FunctionLowering, build: Callable[..., Kernel], **options: Any) -> str:
    """The name of a kernel of the table; equal options give one kernel."""
    stem = build.__name__
    text = f"{stem}({', '.join(f'{k}={v!r}' for k, v in sorted(options.items()))})"
    return f.table.get(stem, text, lambda name: build(name, **options))


def lower_rms_norm(f: FunctionLowering, op: Op) -> None:
    """One row after the other."""
    x, *w = op.operands
    (out,) = op.results
    rows, width = rows_of(x)
    name = kernel(
        f, norm.rms_norm, rows=known(rows), width=width, dtype=x.dtype, weight=w[0].dtype if w else "", **op.attrs
    )
    args = (f.view(x, (rows, width)), *map(f.view, w), out_view(f, out, (rows, width)))
    f.launch(name, args, (rows,))


def lower_layer_norm(f: FunctionLowering, op: Op) -> None:
    """One row after the other."""
    x, w, bias = op.operands
    (out,) = op.results
    rows, width = rows_of(x)
    weights = (w.dtype, bias.dtype)
    name = kernel(f, norm.layer_norm, rows=known(rows), width=width, dtype=x.dtype, weights=weights, **op.attrs)
    f.launch(name, (f.view(x, (rows, width)), f.view(w), f.view(bias), out_view(f, out, (rows, width))), (rows,))


def lower_swiglu(f: FunctionLowering, op: Op) -> None:
    """Elementwise, over rows."""
    gate, up = op.operands
    shape = rows_of(gate)
    name = kernel(f, activation.swiglu, rows=known(shape[0]), width=shape[1], dtype=gate.dtype, **op.attrs)
    f.launch(name, (f.view(gate, shape), f.view(up, shape), out_view(f, op.results[0], shape)), shape[:1])


def lower_rope(f: FunctionLowering, op: Op) -> None:
    """Tokens in parallel, heads inside."""
    x, cos, sin = op.operands
    axes = angle_axes(x, cos)
    assert axes is not None
    wide, half = (*axes, x.shape[-1]), cos.shape[-1]
    name = kernel(
        f, rope.rope, sizes=tuple(map(known, axes)), width=x.shape[-1], half=half, dtype=x.dtype, **op.attrs
    )
    angles = (axes[1], half)
    f.launch(name, (f.view(x, wide), f.view(cos, angles), f.view(sin, angles), out_view(f, op.results[0], wide)), axes)


def lower_norm_rope(f: FunctionLowering, op: Op) -> None:
    """As rope; each row is normed on the way."""
    x, cos, sin, *w = op.operands
    axes = angle_axes(x, cos)
    assert axes is not None
    wide, half = (*axes, x.shape[-1]), cos.shape[-1]
    weight = w[0].dtype if w else ""
    name = kernel(
        f, rope.norm_rope, sizes=tuple(map(known, axes)), width=x.shape[-1], half=half, dtype=x.dtype, weight=weight,
        **op.attrs,
    )  # fmt: skip
    angles = (f.view(cos, (axes[1], half)), f.view(sin, (axes[1], half)))
    f.launch(name, (f.view(x, wide), *map(f.view, w), *angles, out_view(f, op.results[0], wide)), axes)


def lower_rope_angles(f: FunctionLowering, op: Op) -> None:
    """Both results in one launch."""
    (positions,) = op.operands
    rows = product(positions.shape)
    name = kernel(f, rope.rope_angles, rows=known(rows), **op.attrs)
    shape = (rows, op.results[0].shape[-1])
    f.launch(name, (f.view(positions, (rows,)), *(out_view(f, r, shape) for r in op.results)), (rows,))


def _wide(op: Op) -> bool:
    """The last axis is a number, which norms require already."""
    return isinstance(op.operands[0].shape[-1], int)


def _turns(op: Op) -> bool:
    x, cos, sin, *_ = op.operands
    return _wide(op) and cos.type == sin.type and cos.dtype == "f32" and angle_axes(x, cos) is not None


ROWS: Mapping[str, Template] = {
    "rms_norm": lower_rms_norm,
    "layer_norm": lower_layer_norm,
    "swiglu": lower_swiglu,
    "rope": lower_rope,
    "norm_rope": lower_norm_rope,
    "rope_angles": lower_rope_angles,
}
# Where a template takes only some cases of its op; the others are expanded.
TAKES: Mapping[str, Callable[[Op], bool]] = {"swiglu": _wide, "rope": _turns, "norm_rope": _turns}
