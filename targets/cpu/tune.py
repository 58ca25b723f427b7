"""Which tile each product of a model runs best with on this machine: a grid, measured in turns.

One row and many rows use different parameters of a tile, so that nine kernels a product try nine of each. Weights of a
single row come from memory, not from a cache, as they do in decode: copies are used in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import tvm

from dsv4c.ir.core import Module
from dsv4c.ir.expand import expand
from dsv4c.ir.types import DTYPES

from ..tvm.build import build_library
from ..tvm.host import set_threads
from ..tvm.kernels.gemm import NR
from ..tvm.kernels.kernel import Kernel
from ..tvm.lower import lower
from ..tvm.products.experts import gated_experts, gated_linear, linear_experts
from ..tvm.products.linear import linear
from ..tvm.products.registers import HELD, STEP
from ..tvm.products.tuning import TILES, Product, Tile, Tuning
from ..tvm.scalar import DTYPE
from ..tvm.table import KernelTable
from ..tvm.templates import LOWER, has_template
from .runner import aligned, usable_cpus

Progress = Callable[[str], None]
CHAINS, AHEAD = (1, 2, 4), (16, 32, 64)
ROWS, BLOCK = (4, 8, 12), (64, 128, 256)
MANY, PER_TOKEN = 256, 4  # tokens of a prefill, experts of a token
COLD = 256 << 20  # bytes of weights that are read in turn: more than a cache holds
ROUNDS = 7
WORTH = 0.97  # of the default's time that another tile must need at most


@dataclass(frozen=True)
class _Asked(Tuning):
    """Notes which products a model has."""

    products: dict[str, Product] = field(default_factory=dict)

    def tile(self, product: Product) -> Tile:
        """The default."""
        self.products[str(product)] = product
        return super().tile(product)


def tiles(module: Module, entries: tuple[str, ...], progress: Progress) -> dict[str, Tile]:
    """Tiles that are faster here than the defaults, by product of the entries' plan."""
    asked = _Asked()
    lower(expand(module, has_template)[0], entries, KernelTable(tuning=asked), LOWER)
    set_threads(usable_cpus())
    found: dict[str, Tile] = {}
    products = sorted(asked.products.items())
    for number, (name, product) in enumerate(products):
        progress(f"measuring {number + 1}/{len(products)}: {name}")
        best = _best(product)
        if best != TILES[product.form]:
            found[name] = best
    return found


def grid(form: str) -> list[Tile]:
    """The default, then tiles that have every pair of chains and ahead, and every pair of rows and block, once."""
    first = [(chains, ahead) for chains in CHAINS for ahead in AHEAD]
    second = [(rows, block) for rows in ROWS for block in BLOCK]
    pairs = zip(first, second, strict=True)
    return [TILES[form], *(Tile(rows=r, chains=c, ahead=a, block=b) for (c, a), (r, b) in pairs)]


def _best(product: Product) -> Tile:
    tiles = grid(product.form)
    with TemporaryDirectory(prefix="dsv4c-") as folder:
        path = Path(folder) / "candidates.so"
        build_library([_kernel(product, f"tile_{i}", tile) for i, tile in enumerate(tiles)], path, jobs=usable_cpus())
        library = tvm.runtime.load_module(str(path))
        kernels = [library[f"tile_{i}"] for i in range(len(tiles))]
        one, many = (tiles[_fastest(kernels, list(_calls(product, tokens)))] for tokens in (1, MANY))
    return Tile(rows=many.rows, chains=one.chains, ahead=one.ahead, block=many.block)


def _fastest(kernels: Sequence[Any], calls: Sequence[tuple[Any, ...]]) -> int:
    """The number of the fastest kernel; 0, the default, unless another one is clearly faster."""
    times: list[list[float]] = [[] for _ in kernels]
    for turn in range(1 + ROUNDS):
        for kernel, mine in zip(kernels, times, strict=True):
            start = perf_counter()
            for arguments in calls:
                kernel(*arguments)
            if turn:
                mine.append(perf_counter() - start)
    middle = [median(mine) for mine in times]
    best = min(range(len(kernels)), key=middle.__getitem__)
    return best if middle[best] <= WORTH * middle[0] else 0


def _kernel(product: Product, name: str, tile: Tile) -> Kernel:
    sizes: dict[str, Any] = {"n": product.n, "k": product.k, "form": product.form, "out": _out(product), "tile": tile}
    match product.op:
        case "linear":
            return linear(name, **sizes)
        case "gated_linear":
            return gated_linear(name, limit=10.0, **sizes)
        case "gated_experts":
            return gated_experts(name, experts=_experts(product), limit=10.0, **sizes)
        case _:
            return linear_experts(name, experts=_experts(product), **sizes)


def _out(product: Product) -> str:
    return "bf16" if product.form == "dot" else product.form


def _experts(product: Product) -> int:
    """As many of the experts as make a cold read: all of V4-Pro's would be 17 GB."""
    return max(PER_TOKEN, min(product.experts, COLD // _bytes(product)))


def _bytes(p: Product) -> int:
    """Of the panels of one matrix."""
    return -(-p.n // NR) * NR * p.k // STEP[p.form] * DTYPES[HELD[p.form]].itemsize


def _calls(product: Product, tokens: int) -> Iterator[tuple[Any, ...]]:
    """Arguments of calls with ``tokens`` rows, of one row each time with other weights."""
    return (_expert_calls if product.op.endswith("experts") else _plain_calls)(product, tokens)


def _plain_calls(p: Product, tokens: int) -> Iterator[tuple[Any, ...]]:
    gated = p.op == "gated_linear"
    x = _tensor((tokens, p.k // STEP[p.form]), HELD[p.form])
    out = _tensor((tokens, p.n) if gated else (tokens * p.n,), _out(p))
    for _ in range(max(1, min(64, COLD // _bytes(p))) if tokens == 1 else 1):
        if gated:
            yield x, _panels(p, 1), _panels(p, 1), out, tokens
        else:
            yield x, _panels(p, 1), out, tokens, tokens * p.n


def _expert_calls(p: Product, tokens: int) -> Iterator[tuple[Any, ...]]:
    gated, count, pairs = p.op == "gated_experts", _experts(p), tokens * PER_TOKEN
    weights = [_panels(p, count) for _ in range(2 if gated else 1)]
    x = _tensor((tokens if gated else pairs, p.k // STEP[p.form]), HELD[p.form])
    out = _tensor((pairs, p.n), _out(p))
    for first in range(0, count if tokens == 1 else 1, PER_TOKEN):
        chosen = (first + np.arange(pairs)) % count
        offsets = _tensor((count + 1,), "i32", np.searchsorted(np.sort(chosen), np.arange(count + 1)))
        if gated:
            source = _tensor((pairs,), "i32", np.argsort(chosen, kind="stable") // PER_TOKEN)
            yield x, source, offsets, *weights, out, tokens, pairs
        else:
            yield x, offsets, *weights, out, pairs


def _panels(p: Product, experts: int) -> Any:
    return _tensor((experts * -(-p.n // NR), p.k // STEP[p.form], NR), HELD[p.form])


def _tensor(shape: tuple[int, ...], dtype: str, values: Any = 0) -> Any:
    """A tensor of TVM's over memory of its own; floats are zero, which multiply as fast as others."""
    array = aligned(shape, dtype)
    array[...] = values  # also touches every page
    return tvm.runtime.from_dlpack(array.reshape(-1).view(np.int8))._create_view(shape, DTYPE[dtype])
