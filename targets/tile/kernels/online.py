"""Online softmax over panels of keys: what attention kernels share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dsv4c.ir.kernel_ops.positions import MASKED

from ..build import Kernel
from ..logical import Operand, Piece, Tensor, Window
from ..scalar import Int, ceildiv, less, rest, sub


@dataclass(frozen=True)
class Sizes:
    """``rows`` heads a task, ``panel`` keys a turn, ``chunk`` channels of a weighted sum at a time."""

    rows: int
    panel: int
    chunk: int


@dataclass(frozen=True)
class Cache:
    """Keys or values as ``width`` channels of rows, from channel ``start`` and row ``first`` of a tensor on; ``pitch``
    channels make a row, where not all of them belong.
    """

    tensor: Tensor
    first: Int
    width: int
    start: Int = 0
    pitch: int = 0

    def rows(self, row: Int, count: Int, start: Int = 0, width: Int | None = None) -> Window:
        """Some rows, or some of their channels."""
        wide, pitch = self.width if width is None else width, self.pitch or self.width
        return self.tensor.window((self.first + row) * pitch + self.start + start, count, wide, pitch)


def masked(k: Kernel, column: Piece, cmp: str, bound: Int | float, scores: Piece) -> Piece:
    """Scores where a number of the column allows, else what no softmax sees."""
    limit: Operand = float(bound) if isinstance(bound, int) else bound
    return k.where(k.full(column, scores.rows, scores.cols), cmp, limit, scores, MASKED)


Mask = Callable[[Int, Piece], Piece]  # the first key of a panel, and its scores -> masked scores


class Task:
    """A block of queries over the same keys: heads of one token, or tokens of one head. Scores add up over pairs of
    query and cache; values are the keys of the first cache, or have a cache of their own.
    """

    def __init__(self, k: Kernel, sizes: Sizes, dtype: str, scale: float) -> None:
        self.k, self.sizes, self.dtype, self.scale = k, sizes, dtype, scale

    def begin(self, queries: Sequence[Window], width: int = 0) -> None:
        """The queries as operands; nothing seen yet. Values have ``width`` channels where they are not keys."""
        k, rows = self.k, self.sizes.rows
        self.queries = []
        for window in queries:
            assert isinstance(window.cols, int)
            operand = k.mat(rows, window.cols, self.dtype, "q")
            k.load_into(operand, window)
            self.queries.append(operand)
        self.peak, self.total = k.vec(rows, 1, name="peak"), k.vec(rows, 1, name="total")
        k.copy(MASKED, self.peak)
        k.copy(0.0, self.total)
        self.width = width or self.queries[0].cols
        self.chunks = -(-self.width // self.sizes.chunk)
        self.values = k.vec(self.chunks * rows, self.sizes.chunk, name="values")  # the chunks below each other
        k.copy(0.0, self.values)

    def sink(self, logits: Window) -> None:
        """A key without value: it is where peak and sum start."""
        sink = self.k.load(logits, self.sizes.rows, 1, fill=0.0)
        self.k.copy(sink, self.peak)
        self.k.copy(1.0, self.total)

    def contiguous(
        self, caches: Sequence[Cache], count: Int, mask: Mask | None = None, apart: Cache | None = None
    ) -> None:
        """``count`` keys side by side, but for those that ``mask`` hides; values that are no keys stand ``apart``."""
        k, panel = self.k, self.sizes.panel
        valued = apart or caches[0]
        for turn in k.loop(ceildiv(count, panel)):
            first = turn * panel
            here = rest(count, first, panel)
            keys = [self._operand(c.width) for c in caches]
            for operand, cache in zip(keys, caches, strict=True):
                k.load_into(operand, cache.rows(first, here))
            scores = self._scores(keys)
            scores = masked(k, k.iota(panel, 0, "f32"), "<", sub(count, first), scores)
            scores = scores if mask is None else mask(first, scores)

            def values(start: Int, first: Int = first, here: Int = here) -> Piece:
                return k.load(valued.rows(first, here, start, self._wide(start)), panel, self.sizes.chunk)

            operand = keys[0]
            if apart and self.dtype != "f32":
                operand = self._operand(apart.width)
                k.load_into(operand, apart.rows(first, here))
            self._panel(scores, operand, values)

    def gathered(self, caches: Sequence[Cache], chosen: Tensor, at: Int, top_k: int) -> None:
        """The keys whose numbers stand in ``chosen`` from ``at`` on; a negative number names none."""
        k, panel = self.k, self.sizes.panel
        for turn in k.loop(-(-top_k // panel)):
            first = turn * panel
            here = rest(top_k, first, panel)
            numbers = k.cast(k.load(chosen.window(at + first, 1, here, top_k), 1, panel, fill=-1.0), "f32")
            keys = [self._operand(c.width) for c in caches]
            for operand in keys:
                k.copy(0.0, operand)
            for i in k.loop(here):
                row = k.read(chosen, at + first + i)
                with k.when(less(-1, row)):
                    for operand, cache in zip(keys, caches, strict=True):
                        k.load_into(operand.part(i), cache.rows(row, 1))
            scores = masked(k, numbers, ">=", 0.0, self._scores(keys))

            def values(start: Int, first: Int = first, here: Int = here) -> Piece:
                return self._gathered_values(caches[0], start, chosen, at + first, here)

            self._panel(scores, keys[0], values)

    def _gathered_values(self, cache: Cache, start: Int, chosen: Tensor, at: Int, count: Int) -> Piece:
        k = self.k
        tile = k.vec(self.sizes.panel, self.sizes.chunk, self.dtype)
        k.copy(0.0, tile)
        for i in k.loop(count):
            row = k.read(chosen, at + i)
            with k.when(less(-1, row)):
                k.load_into(tile.part(i), cache.rows(row, 1, start, self._wide(start)))
        return tile

    def _wide(self, start: Int) -> Int:
        """Channels of the chunk from ``start`` on."""
        return rest(self.width, start, self.sizes.chunk)

    def _operand(self, width: int) -> Piece:
        return self.k.mat(self.sizes.panel, width, self.dtype, "keys")

    def _scores(self, keys: Sequence[Piece]) -> Piece:
        k, rows = self.k, self.sizes.rows
        products = k.acc(rows, self.sizes.panel, "scores")
        for number, (query, key) in enumerate(zip(self.queries, keys, strict=True)):
            k.mma(products, query, key, int(number == 0), rows)
        return k.mul(k.to_vector(products), self.scale)

    def _panel(self, scores: Piece, keys: Piece, values: Callable[[Int], Piece]) -> None:
        """Peak and sum move on, and so do the weighted values."""
        k = self.k
        peak = k.maximum(self.peak, k.largest(scores))
        fade = k.exp(k.sub(self.peak, peak))
        powers = k.exp(k.sub(scores, peak))
        k.add(k.mul(self.total, fade), k.sum(powers), out=self.total)
        k.copy(peak, self.peak)
        weights = k.to_cube(powers, self.dtype)
        for number in k.loop(self.chunks):
            start, held = number * self.sizes.chunk, self.values.part(number * self.sizes.rows, self.sizes.rows)
            sums = k.acc(self.sizes.rows, self.sizes.chunk, "sums")
            if self.dtype == "f32":  # [K, N] operands are of 16 bits: the vector core turns the panel
                turned = k.to_cube(k.transpose(values(start)), "f32")
                k.mma(sums, weights, turned, 1, self.sizes.rows)
            else:
                k.mma(sums, weights, keys, 1, self.sizes.rows, turned=(start, self.sizes.chunk))
            k.add(k.mul(held, fade), k.to_vector(sums), out=held)

    def end(self, out: Tensor, row: Int, valid: Int, apart: int = 1) -> None:
        """The weighted values over their sum, to rows of ``out``, each ``apart`` behind the last."""
        for number in self.k.loop(self.chunks):
            values, start = self.values.part(number * self.sizes.rows, self.sizes.rows), number * self.sizes.chunk
            window = out.window(row * self.width + start, valid, self._wide(start), apart * self.width)
            self.k.store(window, self.k.div(values, self.total))
