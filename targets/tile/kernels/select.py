"""The k largest of a stream, exactly, ties to the lower number: no sort promises that, counting does.

A float's bits are an ordered integer, so that 32 counts find the k-th largest value, and counts over the places of
those equal to it say how many of them belong. What is chosen keeps its order.
"""

from __future__ import annotations

from ..build import Kernel
from ..logical import Piece, Program
from ..scalar import ceildiv, rest

UNIT = 64  # columns of the tiles that hold a stream: whole repeats
LEAST, MOST = -2139095040.0, 2139095040.0  # the ordered integers of -inf and inf
SIGN = -2147483648.0
BITS = 31  # steps that halve the integers of one sign
NEVER = float("-inf")


def argmax(*, dtype: str, cols: int, stages: int) -> Program:
    """``y [M]``: where the largest of ``x [M, N]`` stands in its row, the lowest place on ties; N below 2^24."""
    k = Kernel("argmax", stages)
    rows, count = k.size("M"), k.size("N")
    x, y = k.tensor("x", dtype, rows, count), k.out("y", "i32", rows)
    for row in k.tasks(rows):
        peak, place = k.full(NEVER, 1, 1), k.full(0.0, 1, 1)
        for chunk in k.loop(ceildiv(count, cols)):
            begin = chunk * cols
            tile = k.load(x.row(row, begin, rest(count, begin, cols)), 1, cols, fill=NEVER)
            top = k.largest(tile)
            first = k.smallest(k.where(tile, "==", top, k.iota(cols, begin, "f32"), MOST))
            k.where(top, ">", peak, first, place, out=place)
            k.maximum(top, peak, out=peak)
        k.store(y.window(row, 1, 1, 1), k.cast(place, "i32"))
    return k.done()


class Best:
    """The best ``k`` so far, and room for ``chunk`` more that come next, with numbers that only grow."""

    def __init__(self, kernel: Kernel, k: int, chunk: int) -> None:
        self.kernel, self.k, self.chunk = kernel, k, chunk
        self.held = -(-k // UNIT)
        rows = self.held + chunk // UNIT
        self.size = rows * UNIT
        self.scores, self.numbers = (kernel.vec(rows, UNIT, name=name) for name in ("scores", "numbers"))
        self.ones = kernel.vec(1, self.size, name="ones")
        kernel.copy(NEVER, self.scores)
        kernel.copy(-1.0, self.numbers)
        kernel.copy(1.0, self.ones)
        self.places = kernel.iota(self.size, 0, "f32")

    def room(self) -> tuple[Piece, Piece]:
        """Where the next scores and numbers go, in rows of ``UNIT``."""
        rows = self.chunk // UNIT
        return self.scores.part(self.held, rows), self.numbers.part(self.held, rows)

    def update(self) -> None:
        """The best of what is held and what came."""
        k = self.kernel
        scores = self.scores.flat(1, self.size)
        limit = self._limit(scores)
        above = self._count(scores, ">", limit)
        equal = k.where(scores, "==", limit, self.places, float(self.size))
        last = self._cut(equal, k.sub(float(self.k), above))
        low = k.where(equal, "<", last, self.ones, 0.0)
        chosen = k.where(scores, ">", limit, self.ones, low)
        for tile, nothing in ((self.scores, NEVER), (self.numbers, -1.0)):
            kept = k.vec(1, self.held * UNIT, name="kept")
            k.copy(nothing, kept)
            k.compress(tile.flat(1, self.size), chosen, "==", 1.0, kept)
            k.copy(kept, tile.part(0, self.held).flat(1, self.held * UNIT))

    def chosen(self) -> Piece:
        """The numbers, -1 behind the last, as i32 in a row of ``held * UNIT``."""
        k, wide = self.kernel, self.held * UNIT
        scores, numbers = (tile.part(0, self.held).flat(1, wide) for tile in (self.scores, self.numbers))
        out = k.full(-1.0, 1, wide)
        k.compress(numbers, scores, ">", NEVER, out)
        return k.cast(out, "i32")

    def _count(self, values: Piece, cmp: str, limit: Piece) -> Piece:
        """How many of a row compare so with a number, ``[1, 1]``."""
        k = self.kernel
        return k.sum(k.where(values, cmp, limit, self.ones, 0.0))

    def _limit(self, scores: Piece) -> Piece:
        """The k-th largest score, ``[1, 1]``: the largest value that at least k reach."""
        k = self.kernel
        low, high, middle = (k.vec(1, 8, "i32", name) for name in ("low", "high", "middle"))
        k.copy(LEAST, low)
        k.copy(MOST + 1.0, high)
        k.copy(0.0, middle)  # the sign first: then the distance of low and high is no overflow
        limit = k.vec(1, 1, name="limit")
        for turn in k.loop(BITS + 1):
            with k.when(turn):
                k.add(low, k.shift_right(k.sub(high, low), 1), out=middle)
            count = self._count(scores, ">=", _number(k, middle))
            enough = k.full(count, 1, 8)
            for bound, yes, no in ((low, middle, low), (high, high, middle)):
                moved = k.where(enough, ">=", float(self.k), yes.cast_bits("f32"), no.cast_bits("f32"))
                k.copy(moved.cast_bits("i32"), bound)
        k.copy(_number(k, low), limit)
        return limit

    def _cut(self, places: Piece, wanted: Piece) -> Piece:
        """The smallest bound, ``[1, 1]``, below which there are ``wanted`` of the places."""
        k = self.kernel
        low, high = k.vec(1, 8, name="low"), k.vec(1, 8, name="high")
        k.copy(-1.0, low)
        k.copy(float(self.size), high)
        need = k.full(wanted, 1, 8)
        for _ in k.loop((self.size + 1).bit_length()):
            middle = k.cast(k.shift_right(k.cast(k.add(low, high), "i32"), 1), "f32")
            count = k.copy(self._count(places, "<", _first(k, middle)), k.vec(1, 8))
            k.copy(k.where(count, ">=", need, low, middle), low)
            k.copy(k.where(count, ">=", need, middle, high), high)
        return _first(k, high)


def _first(k: Kernel, row: Piece) -> Piece:
    """One of equal lanes, ``[1, 1]``."""
    return k.largest(row)


def _number(k: Kernel, ordered: Piece) -> Piece:
    """The float ``[1, 1]`` of an ordered integer: for negative ones, the sign and the magnitude's bits."""
    negative = k.sub(SIGN, ordered)
    sign = k.cast(ordered, "f32")
    return _first(k, k.where(sign, "<", 0.0, negative.cast_bits("f32"), ordered.cast_bits("f32")))
