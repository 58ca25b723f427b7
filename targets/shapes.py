"""Shapes as kernels see them: rows and widths, numbers and sizes that only a launch knows."""

from __future__ import annotations

from dsv4c.ir.core import Op, Value
from dsv4c.ir.dims import Extent, Shape, product
from dsv4c.plan import View

from .lowering import FunctionLowering


def number(extent: Extent) -> int:
    """An extent that is known to be a number: ``TAKES`` keeps others away."""
    assert isinstance(extent, int)
    return extent


def known(extent: Extent) -> int | None:
    """A number if the extent is one, else None: the kernel then takes it as a scalar."""
    return extent if isinstance(extent, int) else None


def int_attr(op: Op, name: str) -> int:
    """An attribute that is a number."""
    value = op.attrs[name]
    assert isinstance(value, int)
    return value


def rows_of(x: Value) -> tuple[Extent, int]:
    """``[.., width]`` as ``[rows, width]``."""
    return product(x.shape[:-1]), number(x.shape[-1])


def out_view(f: FunctionLowering, value: Value, shape: Shape) -> View:
    """A result's memory under a shape."""
    return View(f.place(value), shape, value.dtype)


def angle_axes(x: Value, angles: Value) -> tuple[Extent, Extent, Extent] | None:
    """``x [.., D]`` as ``[outer, tokens, inner, D]`` where the angles are ``[tokens, half]``; None where their axes do
    not stand side by side.
    """
    lead = x.shape[:-1]
    own = (*[1] * (len(lead) - len(angles.shape) + 1), *angles.shape[:-1])
    if any(a not in (1, e) for a, e in zip(own, lead, strict=True)):
        return None
    varying = [i for i, a in enumerate(own) if a != 1]
    first, last = (varying[0], varying[-1] + 1) if varying else (0, 0)
    if any(own[i] == 1 and lead[i] != 1 for i in range(first, last)):
        return None
    return product(lead[:first]), product(lead[first:last]), product(lead[last:])
