"""Memory as the dependence graph sees it: blocks of 32 bytes, who wrote them and who touched them last."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dsv4c.ir.types import BITS

from ..logical import Window
from ..physical import Place
from ..scalar import evaluate, names

BLOCK = 32  # bytes
Span = tuple[str, NDArray[np.int64], NDArray[np.bool_]]  # a scope, blocks of it, and which are covered whole
ROOM = 1 << 20  # bytes: more than any scope has


@dataclass
class Memory:
    """One scope, in blocks."""

    blocks: int
    value: NDArray[np.int64] = field(init=False)
    read: dict[tuple[int, str], NDArray[np.int64]] = field(default_factory=dict)
    written: dict[tuple[int, str], NDArray[np.int64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.value = np.zeros(self.blocks, np.int64)

    def last(self, kind: dict[tuple[int, str], NDArray[np.int64]], lane: tuple[int, str]) -> NDArray[np.int64]:
        """When a lane last did so, per block."""
        if lane not in kind:
            kind[lane] = np.zeros(self.blocks, np.int64)
        return kind[lane]


def spans_of(place: Place, env: dict[str, int], core: int, rings: set[str]) -> Iterator[Span]:
    """What a place is in memory, given the counters of loops."""
    if isinstance(place, Window):
        yield from _window(place, env, rings)
        return
    size, b = BITS[place.dtype] // 8, place.buffer
    scope = f"{b.scope} {core}"
    try:
        offset = evaluate(place.offset, env) * size
        copy = evaluate(place.turn, env) % b.stages * b.size
    except KeyError:  # not known here: anywhere in the buffer
        first, last = b.address // BLOCK, -(-(b.address + b.total) // BLOCK)
        blocks = np.arange(first, last)
        yield scope, blocks, np.zeros(blocks.size, np.bool_)
        return
    starts = np.zeros(1, np.int64)
    *outer, (lanes, step) = place.dims
    for extent, stride in outer:
        starts = (starts[:, None] + np.arange(extent) * stride * size).reshape(-1)
    length = ((lanes - 1) * step + 1) * size
    yield scope, *_covered(np.unique(starts) + b.address + copy + offset, length)


def _window(w: Window, env: dict[str, int], rings: set[str]) -> Iterator[Span]:
    if w.tensor.name not in rings:
        yield f"GM {w.tensor.name}", np.zeros(1, np.int64), np.zeros(1, np.bool_)
        return
    for name in names(w.offset) - env.keys():
        env[name] = 0
    size = BITS[w.tensor.dtype] // 8
    rows, cols, pitch = (evaluate(x, env) for x in (w.rows, w.cols, w.pitch))
    starts = (evaluate(w.offset, env) + np.arange(rows) * pitch) * size
    yield f"ring {w.tensor.name}", *_covered(starts, cols * size)


def _covered(starts: NDArray[np.int64], length: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Blocks that runs of so many bytes touch, and which of them they cover whole."""
    covered: dict[int, int] = {}
    if length % BLOCK == 0 and not (starts % BLOCK).any():
        blocks = np.unique((starts[:, None] // BLOCK + np.arange(length // BLOCK)).reshape(-1))
        return blocks, np.ones(blocks.size, np.bool_)
    for start in starts.tolist():
        at = start
        while at < start + length:
            n = min(BLOCK - at % BLOCK, start + length - at)
            covered[at // BLOCK] = covered.get(at // BLOCK, 0) + n
            at += n
    blocks = np.array(sorted(covered), np.int64)
    return blocks, np.array([covered[b] >= BLOCK for b in blocks.tolist()], np.bool_)
