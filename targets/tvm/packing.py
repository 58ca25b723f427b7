"""Weights in the layout that the kernels read: column panels ``[groups, ceil(N / NR), K, NR]``, zero-padded.

In ``pairs``, two neighbours along K lie side by side, ``[groups, ceil(N / NR), K / 2, NR, 2]``, as dot products of bf16
read them.

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


NAMES = {1: "panels", 2: "pairs"}


@dataclass(frozen=True)
class Panels:
    """``groups`` matrices ``[n, k]`` held in ``dtype``."""

    groups: int
    n: int
    k: int
    dtype: str
    step: int  # neighbours along K that lie side by side: 1, or 2 in pairs

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """The packed shape."""
        return (self.groups, -(-self.n // NR), self.k // self.step, NR, self.step)


def panels_form(sizes: tuple[Extent, Extent, Extent], dtype: str, step: int = 1) -> str:
    """The name of a layout, as plan references carry it: ``panels.8x32x64.f32``."""
    return f"{NAMES[step]}.{'x'.join(str(s) for s in sizes)}.{dtype}"


def parse_form(form: str) -> Panels:
    """The layout of that name."""
    name, sizes, dtype = form.split(".")
    groups, n, k = (int(s) for s in sizes.split("x"))
    return Panels(groups, n, k, dtype, next(step for step, known in NAMES.items() if known == name))


def pack_function(module: Module, stored: TensorType, form: str) -> Function:
    """The weights function that packs tensors like ``stored`` into ``form``: ``[.., N, K]`` to ``[panels, K, NR]``.

    One serves all shapes: N and K are symbols, and that N fills whole panels is a requirement checked when it runs.
    Matrices whose last panel is padded get a function for their N.
    """
    p = parse_form(form)
    padded = p.n % NR != 0
    name = f"pack_{stored.dtype}_{stored.rank}d_to_{p.dtype}" + ("_pairs" if p.step > 1 else "")
    name += f"_padded_{p.n}" if padded else ""
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
        if p.step > 1:
            w = transpose(reshape(w, w.shape[0], NR, K // p.step, p.step), 0, 2, 1, 3)
        else:
            w = transpose(w, 0, 2, 1)
        return b.done(w, kind="weights")


def unpack(packed: Array, form: str) -> Array:
    """``[groups, n, k]`` from panels: the inverse of packing, up to the reshape of the weight."""
    p = parse_form(form)
    rows = packed.reshape(p.shape).transpose(0, 1, 3, 2, 4).reshape(p.groups, -1, p.k)
    return rows[:, : p.n]
