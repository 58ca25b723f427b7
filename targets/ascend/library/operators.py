"""Kernels that an operator of the vendor's library can stand in for: what must hold, and its call (ascend.md §6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...tile.logical import Tensor
from ...tile.physical import Program
from ...tile.scalar import Int, mul
from ..spell_operands import c_text

TYPES = {"f32": "ACL_FLOAT", "bf16": "ACL_BF16", "f16": "ACL_FLOAT16", "i32": "ACL_INT32"}


@dataclass(frozen=True)
class Call:
    """Of operator ``name``, declared in ``header``: ``operands`` are tensors by name, and ``arguments`` of its first
    phase, in their order.
    """

    name: str
    header: str
    operands: Mapping[str, str]
    arguments: str


Options = Mapping[str, Any]
Maker = Callable[[Program, Options], Call | str]  # or why it cannot


def linear(kernel: Program, options: Options) -> Call | str:
    """aclnnMm of x and the weight ``[N, K]``, seen as ``[K, N]``."""
    if options["groups"] != 1:
        return f"aclnnMm has no groups, this product has {options['groups']}"
    if options["dtype"] != options["out"]:
        return f"aclnnMm gives the dtype of its operands, this product {options['out']} of {options['dtype']}"
    if "codes" in options:
        return "aclnnMm takes numbers, this weight is codes with scales"
    x, w, y = kernel.tensors
    n, k = w.shape
    turned = _tensor(1, w.dtype, (k, n), (1, k))
    operands = {"x": _dense(0, x), "w": turned, "y": _dense(2, y)}
    return Call("aclnnMm", "aclnn_mm.h", operands, "x, w, y, 0")


def rms_norm(kernel: Program, options: Options) -> Call | str:
    """aclnnRmsNorm, which rounds once, behind the weight."""
    if options["weight"] != options["dtype"]:
        has = options["weight"] or "none"
        return f"aclnnRmsNorm takes a weight in the dtype of its rows, {options['dtype']}; this one has {has}"
    x, w, y = kernel.tensors
    rows = x.shape[0]
    rstd = _tensor(f"library::scratch(1, {c_text(mul(rows, 4))})", "f32", (rows, 1))
    operands = {"x": _dense(0, x), "w": _dense(1, w), "y": _dense(2, y), "rstd": rstd}
    return Call("aclnnRmsNorm", "aclnn_rms_norm.h", operands, f"x, w, {options['eps']!r}, y, rstd")


def gather_rows(kernel: Program, options: Options) -> Call | str:
    """aclnnEmbedding, where rows of one table are taken, all of them."""
    if options["shared"] != 1 or options["each"] or options["counted"]:
        return "aclnnEmbedding takes each row of one table once"
    x, index, y = kernel.tensors
    if x.dtype not in TYPES:
        return f"aclnnEmbedding has no {x.dtype} here"
    operands = {"x": _dense(0, x), "index": _dense(1, index), "y": _dense(2, y)}
    return Call("aclnnEmbedding", "aclnn_embedding.h", operands, "x, index, y")


OPERATORS: Mapping[str, Maker] = {"gather_rows": gather_rows, "linear": linear, "rms_norm": rms_norm}


def _dense(number: int, t: Tensor) -> str:
    return _tensor(number, t.dtype, t.shape)


def _tensor(data: int | str, dtype: str, shape: tuple[Int, ...], strides: tuple[Int, ...] = ()) -> str:
    place = f"a[{data}]" if isinstance(data, int) else data
    parts = [place, TYPES[dtype], _list(shape), *([_list(strides)] if strides else [])]
    return "{" + ", ".join(parts) + "}"


def _list(values: tuple[Int, ...]) -> str:
    return "{" + ", ".join(c_text(v) for v in values) + "}"
