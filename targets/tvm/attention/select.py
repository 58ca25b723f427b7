"""The k largest of a row of keys: a threshold found bit by bit, collected in order of index, sorted largest first.

Keys are int32 that sort like the scores (``kernels.order``), in rows padded with LOWEST to whole steps. Ties go to the
lower index. Memory is the row and k.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels.order import LOWEST, digit
from ..products.registers import ramp
from ..rows.emit import choose, loop
from ..scalar import Expr, int64
from .tuning import LANES, RANKED
from .widths import ceil, held, i32, memory, spread, up

STEP = 4 * LANES  # keys that are compared at a time


@dataclass(frozen=True)
class Chosen:
    """Indices and their keys, ``count`` of at most ``top_k``; one slot too many, and whole vectors."""

    index: Any
    key: Any
    count: Any
    top_k: int

    @classmethod
    def none(cls, top_k: int) -> Chosen:
        """Room for ``top_k``."""
        size = up(top_k + 1, LANES)
        return cls(memory(size, dtype="int32"), memory(size, dtype="int32"), memory(1, dtype="int64"), top_k)


def select(rows: Any, row: Expr, n: Expr, top_k: int, out: Any, b: Expr, s: Expr) -> None:
    """Write the indices of the largest of ``rows[row, :n]`` to ``out[b, s]``, -1 where there are less."""
    found = Chosen.none(top_k)
    threshold, ties = memory(1, dtype="int32"), memory(1, dtype="int32")
    zero = int64(0)
    T.buffer_store(threshold, i32(LOWEST), [zero])
    T.buffer_store(ties, i32(top_k), [zero])
    choose(n > int64(top_k), lambda: _threshold(rows, row, n, top_k, threshold, ties))
    _collect(rows, row, n, threshold[zero], ties, found)
    _sort(found, out, b, s)
    with loop(found.count[zero], top_k) as i:
        T.buffer_store(out, i32(-1), [b, s, i])


def _ones(condition: Expr) -> Expr:
    return tirx.Select(condition, spread(i32(1)), spread(i32(0)))


def _count(rows: Any, row: Expr, n: Expr, least: Expr) -> Expr:
    """How many keys are at least ``least``."""
    sums = [memory(LANES, dtype="int32") for _ in range(STEP // LANES)]
    for part in sums:
        T.buffer_store(part, spread(i32(0)), [ramp(0)])
    with loop(0, ceil(n, STEP)) as c:
        for v, part in enumerate(sums):
            keys = rows[row, ramp(c * int64(STEP) + int64(v * LANES))]
            T.buffer_store(part, part[ramp(0)] + _ones(keys >= spread(least)), [ramp(0)])
    for part in sums[1:]:
        T.buffer_store(sums[0], sums[0][ramp(0)] + part[ramp(0)], [ramp(0)])
    return _across(sums[0])


def _across(lanes: Any) -> Expr:
    """The sum of all lanes."""
    total = memory(1, dtype="int32")
    T.buffer_store(total, i32(0), [int64(0)])
    with loop(0, LANES) as j:
        T.buffer_store(total, total[int64(0)] + lanes[j], [int64(0)])
    return total[int64(0)]


def _threshold(rows: Any, row: Expr, n: Expr, top_k: int, threshold: Any, ties: Any) -> None:
    """The largest key that at least top_k keys reach, and how many of those that equal it are taken."""
    zero = int64(0)
    with loop(0, 32) as bit:
        trial = held(threshold[zero] ^ (i32(1) << (i32(31) - bit.astype("int32"))))
        enough = _count(rows, row, n, trial) >= i32(top_k)
        choose(enough, lambda: T.buffer_store(threshold, trial, [zero]))
    # No key is above the threshold where that is the highest number.
    above = _count(rows, row, n, threshold[zero] + i32(1))
    T.buffer_store(ties, i32(top_k) - above, [zero])


def _collect(rows: Any, row: Expr, n: Expr, threshold: Expr, ties: Any, found: Chosen) -> None:
    """Those above the threshold, and the first of those that equal it."""
    zero = int64(0)
    T.buffer_store(found.count, zero, [zero])
    with loop(0, ceil(n, LANES)) as c:
        hits = memory(LANES, dtype="int32")
        T.buffer_store(hits, _ones(rows[row, ramp(c * int64(LANES))] >= spread(threshold)), [ramp(0)])

        def scan(c: Expr = c) -> None:
            with loop(0, tirx.min(n - c * int64(LANES), int64(LANES))) as j:
                at = c * int64(LANES) + j
                key = held(rows[row, at])
                equal = key == threshold
                take = tirx.Or(key > threshold, tirx.And(equal, ties[zero] > i32(0)))
                # No branch: each would be a coin toss. What is not taken is written over.
                T.buffer_store(found.index, at.astype("int32"), [found.count[zero]])
                T.buffer_store(found.key, key, [found.count[zero]])
                T.buffer_store(found.count, found.count[zero] + tirx.Select(take, int64(1), zero), [zero])
                T.buffer_store(ties, ties[zero] - tirx.Select(equal, i32(1), i32(0)), [zero])

        choose(_across(hits) > i32(0), scan)


def _sort(found: Chosen, out: Any, b: Expr, s: Expr) -> None:
    """Write the indices in order of their keys, largest first; equal keys keep their order."""
    if found.top_k <= RANKED:
        _rank(found, out, b, s)
        return
    _by_digits(found)
    with loop(0, found.count[int64(0)]) as i:
        T.buffer_store(out, found.index[i], [b, s, i])


def _rank(found: Chosen, out: Any, b: Expr, s: Expr) -> None:
    """Every index goes where the number of larger keys says."""
    count = found.count[int64(0)]
    ranks = memory(LANES, dtype="int32")
    with loop(0, ceil(count, LANES)) as c:
        T.buffer_store(ranks, spread(i32(0)), [ramp(0)])
        place = tirx.Ramp(c.astype("int32") * i32(LANES), i32(1), LANES)
        with loop(0, count) as i:
            other = spread(found.key[i])
            mine = found.key[ramp(c * int64(LANES))]
            before = tirx.Or(other > mine, tirx.And(other == mine, spread(i.astype("int32")) < place))
            T.buffer_store(ranks, ranks[ramp(0)] + _ones(before), [ramp(0)])
        with loop(0, tirx.min(count - c * int64(LANES), int64(LANES))) as j:
            T.buffer_store(out, found.index[c * int64(LANES) + j], [b, s, ranks[j].astype("int64")])


def _by_digits(found: Chosen) -> None:
    """Four stable passes of a radix sort, into other memory and back."""
    other = Chosen.none(found.top_k)
    starts = memory(257, dtype="int32")
    for p in range(4):
        source, target = (found, other) if p % 2 == 0 else (other, found)
        with loop(0, 257) as d:
            T.buffer_store(starts, i32(0), [d])
        with loop(0, found.count[int64(0)]) as i:
            slot = digit(source.key[i], p).astype("int64") + int64(1)
            T.buffer_store(starts, starts[slot] + i32(1), [slot])
        with loop(0, 256) as d:
            T.buffer_store(starts, starts[d + int64(1)] + starts[d], [d + int64(1)])
        with loop(0, found.count[int64(0)]) as i:
            slot = held(digit(source.key[i], p).astype("int64"))
            to = held(starts[slot].astype("int64"))
            T.buffer_store(target.index, source.index[i], [to])
            T.buffer_store(target.key, source.key[i], [to])
            T.buffer_store(starts, starts[slot] + i32(1), [slot])
