"""V4's compressors: the windows that a chunk completes, then the tails for the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels import expr
from ..kernels.kernel import Arg, Kernel
from ..scalar import Expr, int64
from .cache import write_token
from .emit import build, choose, each, f32, lanes, load, local, loop, narrow, scalar, store, vectors
from .norm import inverse_rms, weighted
from .rope import angle, constants, turned
from .tuning import HEAVY, LANES

MASKED = -1e30  # as the reference masks the window before the first


@dataclass(frozen=True)
class Compressor:
    """What is known of a compressor when its kernel is built."""

    rate: int
    overlap: bool
    width: int
    dtype: str
    eps: float
    frequencies: tuple[float, ...]
    factor: float

    @property
    def slots(self) -> int:
        """Tokens that an entry pools."""
        return 2 * self.rate if self.overlap else self.rate

    @property
    def channels(self) -> int:
        """Width of the projections."""
        return 2 * self.width if self.overlap else self.width


def compress_kv(
    name: str, *, rate: int, overlap: bool, width: int, dtype: str, eps: float, frequencies: tuple[float, ...],
    factor: float, batch: int | None, length: int | None, room: int | None,
) -> Kernel:  # fmt: skip
    """kv, gate ``[B, S, C]``, past, new, entries ``[B, N, width]``, tail_kv, tail_gate ``[B, slots, C]``, bias
    ``[rate, C]``, norm ``[width]``; then those of B, S, N that are None.
    """
    c = Compressor(rate, overlap, width, dtype, eps, frequencies, factor)
    rows, tail = ("B", "S", c.channels), ("B", c.slots, c.channels)
    args = [
        Arg("kv", rows, dtype), Arg("gate", rows, dtype), Arg("past", ("B",), "i32"), Arg("new", ("B",), "i32"),
        Arg("entries", ("B", "N", width), dtype), Arg("tail_kv", tail, dtype), Arg("tail_gate", tail, dtype),
        Arg("bias", (rate, c.channels), "f32"), Arg("norm", (width,), "f32"),
    ]  # fmt: skip

    def body(k: Any) -> None:
        windows = (k.S + int64(2 * rate - 2)) // int64(rate)
        each(k.B * windows, c.slots * width * HEAVY, lambda i: _window(k, c, i // windows, i % windows))

        def token(i: Expr) -> None:
            b, s = i // k.S, i % k.S
            for tail_of, fresh in ((k.tail_kv, k.kv), (k.tail_gate, k.gate)):
                write_token(tail_of, fresh, k, b, s, int64(c.slots), c.channels, ring=True)

        each(k.B * k.S, c.channels, token)

    return build(name, args, {"B": batch, "S": length, "N": room}, body)


def _window(k: Any, c: Compressor, b: Expr, i: Expr) -> None:
    """Window i of those that the chunk of sequence b may complete, if it does."""
    past, new = k.past[b].astype("int64"), k.new[b].astype("int64")
    number = past // int64(c.rate) + i
    done = tirx.all((number + int64(1)) * int64(c.rate) <= past + new, number < k.N)
    with loop(0, tirx.Select(done, int64(1), int64(0))):
        pooled = local(c.width)
        _pool(k, c, b, past, number, pooled)
        inverse = inverse_rms(c.width, lambda j: pooled[j], c.eps)
        finish, row = weighted(c.dtype, k.norm), local(c.width)
        vectors(c.width, lambda j: T.buffer_store(row, narrow(finish(pooled[j] * inverse[0], j), c.dtype), [j]))
        _rotate(c, row, number)
        vectors(c.width, lambda j: store(k.entries, row[j], b, number, j))


def _pool(k: Any, c: Compressor, b: Expr, past: Expr, number: Expr, pooled: Any) -> None:
    """Softmax over the slots of a window, channel by channel, and the weighted sums, rounded once."""
    logits, values = local(c.slots, LANES), local(c.slots, LANES)
    with loop(0, c.width // LANES) as v:
        with loop(0, c.slots) as slot:
            _fetch(k, c, (b, past, number, slot, v), logits, values)
        peak, whole, sums = local(LANES), local(LANES), local(LANES)
        with lanes() as j:
            T.buffer_store(peak, logits[int64(0), j], [j])
        with loop(1, c.slots) as slot, lanes() as j:
            T.buffer_store(peak, tirx.max(peak[j], logits[slot, j]), [j])
        with lanes() as j:
            T.buffer_store(whole, f32(0), [j])
        with loop(0, c.slots) as slot, lanes() as j:
            T.buffer_store(logits, expr.exp(logits[slot, j] - peak[j]), [slot, j])
            T.buffer_store(whole, whole[j] + logits[slot, j], [j])
        with lanes() as j:
            T.buffer_store(sums, f32(0), [j])
        with loop(0, c.slots) as slot, lanes() as j:
            T.buffer_store(sums, sums[j] + logits[slot, j] / whole[j] * values[slot, j], [j])
        with lanes() as j:
            T.buffer_store(pooled, narrow(sums[j], c.dtype), [v * int64(LANES) + j])


def _fetch(k: Any, c: Compressor, at: tuple[Expr, Expr, Expr, Expr, Expr], logits: Any, values: Any) -> None:
    """One slot's biased logits and values: the token lies in the tail if it is an earlier one, else in the chunk.

    With overlap the window before gives the first half of its channels, the window itself the second half.
    """
    b, past, number, slot, v = at
    first = number * int64(c.rate) - (int64(c.rate) if c.overlap else int64(0))
    token, before = first + slot, slot < int64(c.rate)
    begin = v * int64(LANES) + (tirx.Select(before, int64(0), int64(c.width)) if c.overlap else int64(0))

    def take(gate: Any, kv: Any, row: Expr) -> None:
        with lanes() as j:
            T.buffer_store(logits, load(gate, b, row, begin + j) + k.bias[slot % int64(c.rate), begin + j], [slot, j])
            T.buffer_store(values, load(kv, b, row, begin + j), [slot, j])

    def nothing() -> None:
        with lanes() as j:
            T.buffer_store(logits, f32(MASKED), [slot, j])
            T.buffer_store(values, f32(0), [slot, j])

    def held() -> None:
        take(k.tail_gate, k.tail_kv, token % int64(c.slots))

    choose(
        token < int64(0),
        nothing,
        lambda: choose(token < past, held, lambda: take(k.gate, k.kv, token - past)),
    )


def _rotate(c: Compressor, row: Any, number: Expr) -> None:
    """The last channels turn by the position of the window's first token."""
    half = len(c.frequencies)
    table = constants(c.frequencies)
    cos, sin = local(half), local(half)
    position = (number * int64(c.rate)).astype("int32")

    def both(j: Expr) -> None:
        values = angle(position, table[j], c.factor)
        T.buffer_store(cos, values[0], [j])
        T.buffer_store(sin, values[1], [j])

    vectors(half, both)
    with loop(0, half) as j:
        at = int64(c.width - 2 * half) + j * int64(2)
        pair = scalar(row[at]), scalar(row[at + int64(1)])
        for i, out in enumerate(turned(pair[0][0], pair[1][0], cos[j], sin[j], False)):
            T.buffer_store(row, narrow(out, c.dtype), [at + int64(i)])
