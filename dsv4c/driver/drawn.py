"""A launch of a kernel on drawn numbers, for kernels of a model that is too large to be executed here."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from dsv4c.ir.types import COMPUTE_FLOATS, DTYPES
from dsv4c.runtime.link import Slice, Step
from dsv4c.targets.target import Meaning

from .interpreted import Launched

Array = np.ndarray[Any, Any]
SIZE = 5  # of every dimension that a launch chooses: no multiple of any tile


def drawn_bytes(meaning: Meaning) -> int:
    """Bytes of such a launch; 0 where its operands cannot be drawn, because integers among them have a meaning."""
    shapes = meaning.shapes(dict.fromkeys(meaning.sizes, SIZE))
    if any(dtype not in COMPUTE_FLOATS for dtype, _ in shapes):
        return 0
    return sum(prod(shape) * DTYPES[dtype].itemsize for dtype, shape in shapes)


def drawn_launch(kernel: str, meaning: Meaning) -> Launched:
    """The launch: operands of order 1, weights like all others divided by the square root of their last axis."""
    rng, sizes = np.random.default_rng(0), dict.fromkeys(meaning.sizes, SIZE)
    arrays: dict[str, Array] = {}
    places = []
    for (name, role), (dtype, shape) in zip(meaning.tensors, meaning.shapes(sizes), strict=True):
        scale = 1.0 if len(shape) < 2 else shape[-1] ** -0.25  # a product of two of them is of order 1
        values = scale * rng.standard_normal(shape, np.float32) if role != "out" else np.zeros(shape, np.float32)
        arrays[name] = np.ascontiguousarray(values.astype(DTYPES[dtype]))
        places.append(Slice("drawn", name, 0, shape, dtype))
    before = {name: arrays[name].copy() for name, role in meaning.tensors if role != "out"}
    meaning.run(arrays, sizes)
    after = {name: arrays[name] for name, role in meaning.tensors if role != "in"}
    return Launched(Step(kernel, tuple(places), tuple(sizes.values()), "drawn"), meaning, before, after)
