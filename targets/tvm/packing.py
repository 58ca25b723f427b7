"""Weights in the layout that the kernels read: column panels ``[groups, ceil(N / NR), K, NR]``, zero-padded.

Packing is IR like everything else: ``pack_function`` adds a small weights function for a form, which runs once, when
the checkpoint is packed. ``unpack`` undoes it, so that an artefact can be compared with the reference interpreter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dsv4c.ir.builder import Builder, cast, concat, const, reshape, transpose
from dsv4c.ir.core import Function, Module
from dsv4c.ir.dims import Extent, product, symbol
from dsv4c.ir.types import TensorType

from .kernels.gemm import NR

Array = np.ndarray[Any, Any]
E, N, K = symbol("E"), symbol("N"), symbol("K")  # matrices, rows (outputs) and columns (inputs) of a weight


@dataclass(frozen=True)
class Panels:
    """``groups`` matrices ``[n, k]`` held in ``dtype``."""

    groups: int
    n: int
    k: int
    dtype: str

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The packed shape."""
        return (self.groups, -(-self.n // NR), self.k, NR)


def panels_form(sizes: tuple[Extent, Extent, Extent], dtype: str) -> str:
    """The name of a layout, as plan references carry it: ``panels.8x32x64.f32``."""
    return f"panels.{'x'.join(str(s) for s in sizes)}.{dtype}"


def parse_form(form: str) -> Panels:
    """The layout of that name."""
    _, sizes, dtype = form.split(".")
    groups, n, k = (int(s) for s in sizes.split("x"))
    return Panels(groups, n, k, dtype)


def pack_function(module: Module, stored: TensorType, form: str) -> Function:
    """The weights function that packs tensors like ``stored`` into ``form``: ``[.., N, K]`` to ``[panels, K, NR]``.

    One serves all shapes: N and K are symbols, and that N fills whole panels is a requirement checked when it runs.
    Matrices whose last panel is padded get a function for their N.
    """
    p = parse_form(form)
    padded = p.n % NR != 0
    name = f"pack_{stored.dtype}_{stored.rank}d_to_{p.dtype}" + (f"_padded_{p.n}" if padded else "")
    if name in module.functions:
        return module.functions[name]
    lead = (E,) if stored.rank == 3 else ()
    rows: Extent = N if not padded else p.n if lead else p.groups * p.n
    with Builder(module, name, w=TensorType((*lead, rows, K), stored.dtype)) as b:
        w = cast(b.params[0], p.dtype)
        if padded:
            groups = E if lead else p.groups
            missing = const(0.0, p.dtype, (groups, -p.n % NR, K))
            w = reshape(concat(reshape(w, groups, p.n, K), missing, axis=1), groups * p.shape[1], NR, K)
        else:
            w = reshape(w, product(lead) * (N // NR), NR, K)
        return b.done(transpose(w, 0, 2, 1), kind="weights")


def unpack(packed: Array, form: str) -> Array:
    """``[groups, n, k]`` from panels: the inverse of packing, up to the reshape of the weight."""
    p = parse_form(form)
    rows = packed.reshape(p.shape).transpose(0, 1, 3, 2).reshape(p.groups, -1, p.k)
    return rows[:, : p.n]
