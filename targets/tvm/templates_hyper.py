"""Hyper-connection sites: each half is one launch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dsv4c.ir.core import Op, Value
from dsv4c.ir.dims import Extent, product

from ..shapes import known, number, out_view
from .kernels.gemm import NR
from .lower import FunctionLowering
from .rows import hyper
from .templates_products import weight_view
from .templates_rows import Template, kernel


def _sizes(x: Value) -> tuple[Extent, int, int]:
    """Tokens, streams, width of ``x [.., n, d]``."""
    return product(x.shape[:-2]), number(x.shape[-2]), number(x.shape[-1])


def lower_site(f: FunctionLowering, op: Op) -> None:
    """hyper_pre and hyper_head."""
    x, fn, base, scale = op.operands
    tokens, n, width = _sizes(x)
    build = hyper.hyper_pre if op.name == "hyper_pre" else hyper.hyper_head
    name = kernel(f, build, n=n, width=width, dtype=x.dtype, tokens=known(tokens), **op.attrs)
    sizes = ((tokens, width), (tokens, n), (tokens, n * n))
    outs = tuple(out_view(f, r, shape) for r, shape in zip(op.results, sizes, strict=False))
    args = (f.view(x, (tokens, n * width)), weight_view(f, fn, "f32"), f.view(base), f.view(scale), *outs)
    f.launch(name, args, (tokens,))


def lower_hyper_post(f: FunctionLowering, op: Op) -> None:
    """Elementwise over channels, streams inside."""
    y, x, post, mix = op.operands
    tokens, n, width = _sizes(x)
    name = kernel(f, hyper.hyper_post, n=n, width=width, dtype=x.dtype, tokens=known(tokens))
    (out,) = op.results
    shapes = ((y, width), (x, n * width), (post, n), (mix, n * n))
    args = tuple(f.view(value, (tokens, size)) for value, size in shapes)
    f.launch(name, (*args, out_view(f, out, (tokens, n * width))), (tokens,))


def _fits(op: Op) -> bool:
    """The projections fill at most one panel, and streams and channels are numbers."""
    x, fn = op.operands[0], op.operands[1]
    rows = fn.shape[0]
    return isinstance(rows, int) and rows <= NR and all(isinstance(e, int) for e in x.shape[-2:])


HYPER: Mapping[str, Template] = {
    "hyper_pre": lower_site, "hyper_head": lower_site, "hyper_post": lower_hyper_post,
}  # fmt: skip
HYPER_TAKES: Mapping[str, Callable[[Op], bool]] = {"hyper_pre": _fits, "hyper_head": _fits}
