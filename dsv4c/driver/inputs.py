"""Operands for a proof, drawn by the role that names and types give them, so that every branch is taken.

Three kinds of numbers. ``plain``: of order 1. ``mixed``: whole rows of zeros, of very small and of large numbers, so
that an eps, a mask or a clamp shows. ``ties``: coarse numbers and repeated rows, so that scores are equal; gates and
biases are large, so that Sinkhorn's sums are tiny.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zlib import crc32

import numpy as np

from dsv4c.ir.core import Function
from dsv4c.ir.interp import shape_of, tree
from dsv4c.ir.types import DTYPES, TensorType, Type, is_linear, leaves, type_symbols

Array = np.ndarray[Any, Any]
Data = Any
ROWS = np.array([1.0, 0.0, 1e-3, 20.0])  # factors of the rows of mixed activations; 1e-3 squared is a norm's eps
ANY = 4  # integers of unknown meaning are below this


def drawn_codes(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Array | None:
    """Codes of weights, and e8m0 scales that make weights of them small; None for any other dtype."""
    if dtype == "f8e8m0":
        return np.exp2(rng.integers(-8, -4, shape)).astype(DTYPES[dtype])
    if dtype == "f8e4m3":
        return rng.standard_normal(shape, np.float32).astype(DTYPES[dtype])
    return rng.integers(-128, 128, shape).astype(np.int8) if dtype == "i8" else None


class Inputs:
    """Draws for one function; the same function and seed give the same operands."""

    def __init__(self, function: Function, seed: int = 0) -> None:
        self._function = function
        self._rng = np.random.default_rng(crc32(function.name.encode()) + seed)
        shapes = {p.name + ("." + path if path else ""): t.shape for p in function.params for path, t in leaves(p.type)}
        self._experts = _extent(shapes, ("router",)) or _stacked(function) or ANY
        self._vocab = _extent(shapes, ("embed", "table")) or 16

    def weights(self, kind: str) -> dict[str, Data]:
        """The bundles that are the same at every step."""
        out = {}
        for param in self._function.params:
            if is_weight(param.type):
                flat = {path: self._weight(path, tensor, kind) for path, tensor in leaves(param.type)}
                out[param.name] = tree(param.type, flat)
        return out

    def state(self, type_: Type, dims: Mapping[str, int], kind: str) -> Data:
        """A state that holds something; with ``ties`` its rows are equal in pairs."""
        flat = {}
        for path, tensor in leaves(type_):
            array = self._floats(shape_of(tensor, dims), kind) if tensor.dtype not in ("i32", "i64") else (
                self._rng.integers(0, ANY, shape_of(tensor, dims))
            )
            flat[path] = array.astype(DTYPES[tensor.dtype])
        return tree(type_, flat)

    def activation(self, name: str, type_: Type, dims: Mapping[str, int], kind: str) -> Data:
        """Everything else: activations, tokens, choices."""
        return tree(type_, {
            path: self._tensor(path.rpartition(".")[2] or name, tensor, shape_of(tensor, dims), kind)
            for path, tensor in leaves(type_)
        })  # fmt: skip

    def counts(self, low: int, high: int, size: int) -> Array:
        """Numbers of tokens, with both ends of the range among them."""
        out = self._rng.integers(low, high + 1, size)
        out[: min(size, 2)] = (low, high)[: min(size, 2)]
        return out.astype(np.int32)

    def _tensor(self, name: str, tensor: TensorType, shape: tuple[int, ...], kind: str) -> Array:
        dtype = DTYPES[tensor.dtype]
        if tensor.dtype == "bool":
            return self._rng.integers(0, 2, shape).astype(np.bool_)
        if dtype.kind in "iu":
            return self._integers(name, shape, kind).astype(dtype)
        return self._floats(shape, kind).astype(dtype)

    def _floats(self, shape: tuple[int, ...], kind: str) -> Array:
        out: Array = self._rng.standard_normal(shape, np.float32)
        if kind == "mixed" and len(shape) > 1:
            lead = shape[:2] if len(shape) > 2 else shape[:1]
            factor = ROWS[np.arange(int(np.prod(lead))) % len(ROWS)].reshape(*lead, *[1] * (len(shape) - len(lead)))
            out *= factor.astype(np.float32)
        if kind == "ties":
            out = np.round(out * 2) / 2
            if len(shape) > 1:
                axis = 1 if len(shape) > 2 else 0
                _repeat(out, axis)
        return out

    def _integers(self, name: str, shape: tuple[int, ...], kind: str) -> Array:
        if name == "tokens":
            out = self._rng.integers(0, self._vocab, shape)
            if kind == "ties":
                _repeat(out, len(shape) - 1)
            return out
        if name in ("chosen", "table") and len(shape) == 2 and shape[1] <= self._experts:
            return self._choices(shape, self._experts)
        return self._rng.integers(0, ANY, shape)

    def _choices(self, shape: tuple[int, ...], experts: int) -> Array:
        """Distinct experts a row; the same few in every fourth row, so that others get no token."""
        order = self._rng.random((shape[0], experts)).argsort(axis=1)
        order[::4] = np.arange(experts)
        return order[:, : shape[1]]

    def _weight(self, path: str, tensor: TensorType, kind: str) -> Array:
        shape, dtype = shape_of(tensor, {}), DTYPES[tensor.dtype]
        name = path.rpartition(".")[2]
        codes = drawn_codes(self._rng, shape, tensor.dtype)
        if codes is not None:
            return codes
        if dtype.kind in "iub":
            return self._tensor(name, tensor, shape, kind)
        out: Array = self._rng.standard_normal(shape, np.float32)
        if len(shape) > 1:
            out /= np.float32(np.sqrt(shape[-1]))
        elif "norm" in name and "bias" not in name:
            out = 1 + out / 4
        elif kind == "ties":
            out *= 8
        if kind == "ties" and name in ("router", "bias"):
            _repeat(out, 0)
        return out.astype(dtype)


def is_weight(type_: Type) -> bool:
    """Whether a parameter holds weights: a bundle without state and without an extent that varies."""
    return not isinstance(type_, TensorType) and not is_linear(type_) and not type_symbols(type_)


def _repeat(array: Array, axis: int) -> None:
    """Every second slice along an axis becomes the one before it."""
    moved = np.moveaxis(array, axis, 0)
    odd = moved[1::2]
    odd[...] = moved[: 2 * len(odd) : 2]


def _extent(shapes: Mapping[str, tuple[Any, ...]], names: tuple[str, ...]) -> int:
    """The leading extent of the first leaf with one of these names; 0 if there is none."""
    found = [s[0] for path, s in shapes.items() if path.rpartition(".")[2] in names and s and isinstance(s[0], int)]
    return found[0] if found else 0


def _stacked(function: Function) -> int:
    """The leading extent of stacked expert weights; 0 if there are none."""
    for param in function.params:
        for path, tensor in leaves(param.type):
            if path and not tensor.state and tensor.rank == 3 and isinstance(tensor.shape[0], int):
                return tensor.shape[0]
    return 0
