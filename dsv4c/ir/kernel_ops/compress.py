"""V4's compressors: one entry for every ``rate`` tokens (architectures.md §4.4)."""

from __future__ import annotations

from ..builder import cast, concat, const, gather, iota, reshape, scatter, slice_axis, split, total, where
from ..core import Value
from ..dims import Extent
from .activation import softmax
from .define import kernel
from .norm import rms_norm
from .positions import MASKED, ring_slots
from .rope import rope, rope_angles


@kernel(
    "Compressed entries [B, N, D] with the windows that a chunk completes, and the tails for the next one (§4.4)",
    rate="tokens to an entry", overlap="whether an entry sees the window before it too (CSA)",
    eps="of the norm", frequencies="of the rotation, at the position of the window's first token",
    factor="multiplies its cos and sin",
)  # fmt: skip
def compress_kv(
    kv: Value, gate: Value, past: Value, new: Value, entries: Value, tail_kv: Value, tail_gate: Value, bias: Value,
    norm: Value, *, rate: int, overlap: bool, eps: float, frequencies: tuple[float, ...],
    factor: float,
) -> tuple[Value, Value, Value]:  # fmt: skip
    """``kv`` and ``gate [B, S, C]``, the projections of a chunk, C = D or with overlap 2 D; tails ``[B, R, C]`` hold
    those of the last R = rate or 2 rate tokens; ``bias`` f32 ``[rate, C]``, ``norm [D]``. Softmax and sum in fp32.
    """
    length, size = kv.shape[1], tail_kv.shape[1]
    assert isinstance(size, int)
    # A chunk of S tokens after any number of earlier ones completes at most this many windows.
    windows = (length + 2 * rate - 2) // rate
    number = reshape(past // rate, past.shape[0], 1) + reshape(iota(windows), 1, windows)
    values, logits = (_slots(t, f, past, windows, rate, overlap) for t, f in ((tail_kv, kv), (tail_gate, gate)))
    biased = cast(logits, "f32") + (concat(*_halves(bias), axis=0) if overlap else bias)
    weights = softmax(_without_window_before_first(biased, number, rate) if overlap else biased, axis=2)
    pooled = cast(total(weights * cast(values, "f32"), axis=2), kv.dtype)
    cos, sin = rope_angles(number * rate, frequencies=frequencies, factor=factor)
    start = int(str(entries.shape[2])) - 2 * len(frequencies)
    fresh = rope(rms_norm(pooled, norm, eps=eps), cos, sin, layout="pairs", start=start, inverse=False)
    complete = (number + 1) * rate <= reshape(past + new, past.shape[0], 1)
    slots = ring_slots(past, new, length, size)
    return (
        scatter(entries, where(complete, number, -1), fresh, batch=1),
        scatter(tail_kv, slots, kv, batch=1),
        scatter(tail_gate, slots, gate, batch=1),
    )


def _slots(tail: Value, fresh: Value, past: Value, windows: Extent, rate: int, overlap: bool) -> Value:
    """Projections by window, ``[B, windows, slots, width]``: r slots, or with overlap the r of the window before
    (its first half of the channels) and the r of the window itself (its second half).
    """
    batch, size, channels = tail.shape
    assert isinstance(size, int)
    back = 1 if overlap else 0
    count = (windows + back) * rate
    at = (reshape(past // rate, batch, 1) - back) * rate + reshape(iota(count), 1, count)
    before = reshape(past, batch, 1)
    # `% size` is not negative, so windows before the first read some slot; their logits are masked.
    source = where(at < before, at % size, at - before + size)
    rows = reshape(gather(concat(tail, fresh, axis=1), source, batch=1), batch, windows + back, rate, channels)
    if not overlap:
        return rows
    earlier, current = _halves(rows)
    return concat(slice_axis(earlier, 0, windows, axis=1), slice_axis(current, 1, windows + 1, axis=1), axis=2)


def _without_window_before_first(logits: Value, number: Value, rate: int) -> Value:
    """Window 0 has no window before it: those slots get no weight."""
    first = reshape(number, *number.shape, 1, 1) <= 0
    in_before = reshape(iota(2 * rate), 1, 1, 2 * rate, 1) < rate
    return where(first & in_before, const(MASKED, "f32"), logits)


def _halves(x: Value) -> tuple[Value, Value]:
    """The two halves of the last axis: what serves the next window, and what serves its own (§4.4)."""
    width = x.shape[-1]
    assert isinstance(width, int)
    first, second = split(x, width // 2, width // 2)
    return first, second
