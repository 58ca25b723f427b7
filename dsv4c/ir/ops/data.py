"""Constants, and the ops that hold modules together: calls and bundles."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dims import Extent, Shape, product
from ..registry import Array, Require, ShapeError, checked, define
from ..types import DTYPES, TensorType


def _const_infer(require: Require, data: tuple[float, ...], shape: Shape, dtype: str) -> tuple[TensorType, ...]:
    checked(dtype in DTYPES, f"unknown dtype {dtype!r}")
    size = product(shape)
    checked(len(data) == 1 or size == len(data), f"{len(data)} numbers for {size} elements; give one, or one for each")
    return (TensorType(shape, dtype),)


def _const(data: tuple[float, ...], shape: tuple[int, ...], dtype: str) -> Array:
    numbers = np.array(data, np.int64 if DTYPES[dtype].kind in "iub" else np.float64).astype(DTYPES[dtype])
    return np.full(shape, numbers[0]) if len(data) == 1 else numbers.reshape(shape)


define(
    "const", _const_infer, _const, "A small table, or one number in every element",
    kind="elementwise",
    attrs={"data": "the numbers, row-major; a single one fills", "shape": "the shape", "dtype": "the dtype"},
)


def _iota_infer(require: Require, shape: Shape, axis: int) -> tuple[TensorType, ...]:
    checked(0 <= axis < len(shape), f"axis {axis} of {len(shape)} axes")
    return (TensorType(shape, "i32"),)


def _iota(shape: tuple[int, ...], axis: int) -> Array:
    line = np.arange(shape[axis], dtype=np.int32).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.broadcast_to(line, shape).copy()


define(
    "iota", _iota_infer, _iota, "The position along one axis, as i32",
    kind="elementwise", attrs={"shape": "the shape", "axis": "the axis whose position it is"},
)


def _extent_infer(require: Require, value: Extent) -> tuple[TensorType, ...]:
    return (TensorType((), "i32"),)


define(
    "extent", _extent_infer, lambda value: np.array(value, np.int32), "A dimension as an i32 scalar",
    kind="elementwise", attrs={"value": "the dimension"},
)


def _structural(*_: Any, **__: Any) -> Any:
    raise ShapeError("call, get and bundle are handled by the builder and the interpreter, not through the registry")


define("call", _structural, _structural, "Run a function of the module", attrs={
    "callee": "its name", "dims": "pairs (symbol of the callee, extent here); symbols not named bind to themselves"})
define("get", _structural, _structural, "One part of a bundle or list", attrs={"part": "field name or position"})
define("bundle", _structural, _structural, "A bundle from its parts, in order", attrs={
    "type": "the bundle's name, empty for a list", "fields": "the names of its parts, none for a list"})
