"""Weights as tile programs read them: as the checkpoint has them, in the dtype that a kernel computes with.

Codes are read as they are. Their scales get one a row, and lie as tiles meet them (kernels/packed.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from dsv4c.ir.builder import Builder, broadcast_to, cast, concat, const, reshape, slice_axis, transpose
from dsv4c.ir.core import Function, Module
from dsv4c.ir.dims import Extent, product
from dsv4c.ir.types import DTYPES, TensorType

from .kernels.packed import GROUP
from .scalar import aligned

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scales:
    """Scales ``[.., down, across]`` of blocks of ``rows`` rows, of matrices of ``n`` rows, in ``dtype``.

    They become ``[across, matrices * n]``, or where ``fine`` ``[matrices * n, across]`` with ``across`` a multiple of
    ``GROUP``.
    """

    PREFIX: ClassVar[str] = "scales."
    fine: bool
    rows: int
    n: int
    dtype: str

    @property
    def form(self) -> str:
        """The name of the layout, as plan references carry it: ``scales.fine.1x64.bf16``."""
        return f"{self.PREFIX}{'fine' if self.fine else 'coarse'}.{self.rows}x{self.n}.{self.dtype}"

    @classmethod
    def parse(cls, form: str) -> Scales:
        """The layout of that name."""
        _, kind, block, dtype = form.split(".")
        rows, n = map(int, block.split("x"))
        return cls(kind == "fine", rows, n, dtype)

    def pack(self, module: Module, stored: TensorType) -> Function:
        """The weights function that brings scales into this layout."""
        shape = "x".join(map(str, stored.shape))
        name = f"pack_{stored.dtype}_{shape}_to_{self.form.replace('.', '_')}"
        if name in module.functions:
            return module.functions[name]
        *lead, down, across = stored.shape
        total: Extent = product(tuple(lead)) * self.n
        with Builder(module, name, scale=TensorType(stored.shape, stored.dtype)) as b:
            each = cast(b.params[0], self.dtype)
            if self.rows > 1:
                each = broadcast_to(reshape(each, *lead, down, 1, across), *lead, down, self.rows, across)
                each = slice_axis(reshape(each, *lead, down * self.rows, across), 0, self.n, axis=len(lead))
            each = reshape(each, total, across)
            if not self.fine:
                return b.done(transpose(each, 1, 0), kind="weights")
            assert isinstance(across, int)
            missing = aligned(across, GROUP) - across
            whole = concat(each, const(0.0, self.dtype, (total, missing)), axis=1) if missing else each
            return b.done(whole, kind="weights")

    def unpack(self, packed: Array, stored: TensorType) -> Array:
        """The scales as they are stored, of type ``stored``."""
        *lead, down, across = (int(str(extent)) for extent in stored.shape)
        rows = packed[:, :across] if self.fine else packed.T
        whole = rows.reshape(*lead, self.n, across)[..., :: self.rows, :]
        assert whole.shape == (*lead, down, across)
        return np.ascontiguousarray(whole).astype(DTYPES[stored.dtype])


def pack_function(module: Module, stored: TensorType, form: str) -> Function:
    """The weights function that brings tensors like ``stored`` into ``form``, ``dense.f32`` and such."""
    if form.startswith(Scales.PREFIX):
        return Scales.parse(form).pack(module, stored)
    dtype = form.removeprefix("dense.")
    shape = "x".join(map(str, stored.shape))
    name = f"pack_{stored.dtype}_{shape}_to_{dtype}"
    if name in module.functions:
        return module.functions[name]
    with Builder(module, name, w=TensorType(stored.shape, stored.dtype)) as b:
        return b.done(cast(b.params[0], dtype), kind="weights")
