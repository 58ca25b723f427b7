"""Several row kernels written as one, on shared arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels.kernel import ITEM_BYTES, Arg, Kernel, Source
from ..products.registers import importing
from ..scalar import DTYPE, Expr, int64
from .emit import buffer_type, extents, finished, prim_func

Part = tuple[Source, Sequence[int], Sequence[int]]  # a kernel, and which of the arguments its buffers and scalars are


def build_joined(name: str, parts: Sequence[Part]) -> Kernel:
    """One body after the other. Arguments: buffers in order of first use, then int64 scalars."""
    scalars = [tirx.Var(f"n{i}", "int64") for i in range(1 + max((i for *_, mine in parts for i in mine), default=-1))]
    with prim_func(name) as ib:
        bound = [_sizes(source, [scalars[i] for i in mine]) for source, _, mine in parts]
        whole: dict[int, tuple[Any, str]] = {}
        for (source, buffers, _), sizes in zip(parts, bound, strict=True):
            for arg, place in zip(source.args, buffers, strict=True):
                if place not in whole:
                    whole[place] = T.arg(f"x{place}", buffer_type(arg, sizes)), _shape(arg, sizes)
        for scalar in scalars:
            T.arg(scalar.name, scalar)
        for (source, buffers, _), sizes in zip(parts, bound, strict=True):
            views = {a.name: _view(a, sizes, *whole[p]) for a, p in zip(source.args, buffers, strict=True)}
            source.body(SimpleNamespace(**sizes, **views))
    kernel = finished(ib, name)
    for text in dict.fromkeys(source.llvm for source, *_ in parts if source.llvm):
        kernel = Kernel(name, importing(kernel.before, text), importing(kernel.after, text), kernel.trace)
    return kernel


def _sizes(source: Source, given: Sequence[Expr]) -> Mapping[str, Expr]:
    scalars = iter(given)
    return {key: next(scalars) if n is None else int64(n) for key, n in source.sizes.items()}


def _shape(arg: Arg, sizes: Mapping[str, Expr]) -> str:
    return str(extents(arg, sizes))


def _view(arg: Arg, sizes: Mapping[str, Expr], buffer: Any, shape: str) -> Any:
    """The argument under the shape that a member reads it with."""
    if _shape(arg, sizes) == shape:
        return buffer
    dtype = DTYPE[arg.dtype]
    return T.decl_buffer(extents(arg, sizes), dtype, data=buffer.data, align=ITEM_BYTES[dtype])
