"""V4's attention: a window, and beside it nothing, chosen (CSA) or all (HCA) compressed entries (§4)."""

from __future__ import annotations

from dsv4c.ir.builder import (
    Builder,
    bundle,
    cast,
    concat,
    const,
    exp,
    gather,
    iota,
    largest,
    linear,
    matmul,
    maximum,
    reshape,
    scatter,
    slice_axis,
    split,
    topk,
    total,
    transpose,
    where,
)
from dsv4c.ir.core import Function, Module, Value
from dsv4c.ir.dims import Extent
from dsv4c.ir.types import Bundle, TensorType

from .blocks import (
    MASKED,
    drop_padding,
    is_new,
    mask_from,
    positions_of,
    rms_norm,
    rope_angles,
    rotate_last,
    softmax,
)
from .config import Rope, V4Config
from .skeleton import COUNTS, B, S, T
from .types import state_tensor

Angles = tuple[Value, Value]


def attention_state(c: V4Config, kind: str, dtype: str) -> dict[str, TensorType]:
    """The state of one layer (§4.6). A ring holds position p in slot p mod its length.

    ``window`` holds the last keys; ``entries`` the compressed ones; the tails hold the projections of the tokens that
    later entries still need: one window for HCA, two for the overlapping CSA. CSA has the same again for its indexer.
    """
    out = {"window": state_tensor((B, c.window, c.head_dim), dtype)}
    if kind == "hca":
        out |= _compressor_state("", c.hca_rate, c.hca_rate, c.head_dim, c.head_dim, dtype)
    if kind == "csa":
        out |= _compressor_state("", c.csa_rate, 2 * c.csa_rate, c.head_dim, 2 * c.head_dim, dtype)
        width = c.indexer.head_dim
        out |= _compressor_state("index_", c.csa_rate, 2 * c.csa_rate, width, 2 * width, dtype)
    return out


def _compressor_state(
    prefix: str, rate: int, tail: int, width: int, channels: int, dtype: str
) -> dict[str, TensorType]:
    return {
        f"{prefix}entries": state_tensor((B, T // rate, width), dtype),
        f"{prefix}tail_kv": state_tensor((B, tail, channels), dtype),
        f"{prefix}tail_gate": state_tensor((B, tail, channels), dtype),
    }


def attention(module: Module, c: V4Config, kind: str, hidden: TensorType, weights: Bundle, state: Bundle) -> Function:
    """The function ``attention_<kind>`` (x, past, new, weights, state) -> (y, state)."""
    rope = c.rope if kind == "window" else c.compress_rope
    with Builder(module, f"attention_{kind}", x=hidden, past=COUNTS, new=COUNTS, w=weights, state=state) as b:
        x, past, new, w, s = b.params
        positions = positions_of(past, S)
        angles = rope_angles(positions, rope)
        with b.scope("q"):
            rank = rms_norm(linear(x, w.q_a), c.eps, w.q_norm)
            q = rms_norm(reshape(linear(rank, w.q_b), B, S, c.heads, c.head_dim), c.eps)
            q = rotate_last(q, _per_head(angles), c.rope.dim)
        with b.scope("window"):
            kv = rotate_last(rms_norm(linear(x, w.kv), c.eps, w.kv_norm), angles, c.rope.dim)
            keys, seen, ring = _window(kv, positions, past, new, s.window, c.window)
        parts = [ring]
        if kind != "window":
            step = _Chunk(past, new, positions, c.hca_rate if kind == "hca" else c.csa_rate, rope, c.eps)
            with b.scope("compressor"):
                entries, tails = step.compress(
                    x, w.compressor, s.entries, s.tail_kv, s.tail_gate, overlap=kind == "csa"
                )
                visible = step.visible(entries.shape[1])
                parts += [entries, *tails]
            if kind == "csa":
                with b.scope("indexer"):
                    visible, index_state = _indexer(x, rank, angles, visible, step, w.indexer, s, c)
                    parts += index_state
            keys, seen = concat(keys, entries, axis=1), concat(seen, visible, axis=2)
        with b.scope("core"):
            out = _core(q, keys, seen, w.sinks, c)
        with b.scope("o"):
            y = _output(rotate_last(out, _per_head(angles), c.rope.dim, inverse=True), w, c)
        return b.done(y, bundle(state, *parts))


def _per_head(angles: Angles) -> Angles:
    cos, sin = (reshape(a, B, S, 1, a.shape[-1]) for a in angles)
    return cos, sin


def _ring_slots(positions: Value, new: Value, size: int) -> Value:
    """Where to write each token of a chunk in a ring: only the last ``size`` tokens, each to its own slot."""
    order = reshape(iota(S), 1, S)
    kept = order >= reshape(new, B, 1) - size
    return drop_padding(where(kept, positions % size, -1), new, S)


def _ring_positions(past: Value, size: int) -> Value:
    """The position each ring slot holds before the chunk, i32 ``[B, size]``; negative where none."""
    last = reshape(past, B, 1) - 1
    return last - (last - reshape(iota(size), 1, size)) % size


def _window(kv: Value, positions: Value, past: Value, new: Value, ring: Value, size: int) -> tuple[Value, Value, Value]:
    """Keys of the ring and the chunk ``[B, W + S, D]``, who sees which ``[B, S, W + S]``, and the updated ring."""
    keys = concat(ring, kv, axis=1)
    fresh = where(is_new(new, S), positions, -1)
    held = concat(_ring_positions(past, size), fresh, axis=1)
    key_at, query_at = reshape(held, B, 1, size + S), reshape(positions, B, S, 1)
    seen = (key_at >= 0) & (key_at <= query_at) & (key_at > query_at - size)
    return keys, seen, scatter(ring, _ring_slots(positions, new, size), kv, batch=1)


class _Chunk:
    """Compression of one chunk of tokens: which windows it may complete, and who may see them (§4.4, §4.5)."""

    def __init__(self, past: Value, new: Value, positions: Value, rate: int, rope: Rope, eps: float) -> None:
        self.past, self.new, self.positions, self.rate, self.rope, self.eps = past, new, positions, rate, rope, eps
        # A chunk of S tokens after any number of earlier ones completes at most this many windows.
        self.windows: Extent = (S + 2 * rate - 2) // rate
        self.first = reshape(past // rate, B, 1)

    def visible(self, count: Extent) -> Value:
        """Bool ``[B, S, count]``: an entry is visible once its window's last token is not after the query."""
        done = (self.positions + 1) // self.rate
        return reshape(iota(count), 1, 1, count) < reshape(done, B, S, 1)

    def compress(
        self, x: Value, w: Value, entries: Value, tail_kv: Value, tail_gate: Value, overlap: bool
    ) -> tuple[Value, tuple[Value, Value]]:
        """Entries with the windows that this chunk completes, and the tails that the next chunk needs."""
        kv, gate = linear(x, w.kv), linear(x, w.gate)
        tail = 2 * self.rate if overlap else self.rate
        values = self._slots(tail_kv, kv, tail, overlap)
        logits = cast(self._slots(tail_gate, gate, tail, overlap), "f32")
        if overlap:
            logits = self._without_window_before_first(logits + concat(*_halves(w.position_bias), axis=0))
        else:
            logits = logits + w.position_bias
        pooled = total(softmax(logits, axis=2) * cast(values, "f32"), axis=2)
        number = self.first + reshape(iota(self.windows), 1, self.windows)
        angles = rope_angles(number * self.rate, self.rope)
        fresh = rotate_last(rms_norm(cast(pooled, x.dtype), self.eps, w.norm), angles, self.rope.dim)
        complete = (number + 1) * self.rate <= reshape(self.past + self.new, B, 1)
        updated = scatter(entries, where(complete, number, -1), fresh, batch=1)
        slots = _ring_slots(self.positions, self.new, tail)
        return updated, (scatter(tail_kv, slots, kv, batch=1), scatter(tail_gate, slots, gate, batch=1))

    def _slots(self, tail: Value, fresh: Value, size: int, overlap: bool) -> Value:
        """Projections by window, ``[B, windows, slots, width]``: r slots, or with overlap the r of the window before
        (its first half of the channels) and the r of the window itself (its second half).
        """
        r, windows, channels = self.rate, self.windows, fresh.shape[-1]
        back = 1 if overlap else 0
        count = (windows + back) * r
        at = (self.first - back) * r + reshape(iota(count), 1, count)
        before = reshape(self.past, B, 1)
        # `% size` is not negative, so windows before the first read some slot; their logits are masked.
        source = where(at < before, at % size, at - before + size)
        rows = reshape(gather(concat(tail, fresh, axis=1), source, batch=1), B, windows + back, r, channels)
        if not overlap:
            return rows
        earlier, current = _halves(rows)
        return concat(slice_axis(earlier, 0, windows, axis=1), slice_axis(current, 1, windows + 1, axis=1), axis=2)

    def _without_window_before_first(self, logits: Value) -> Value:
        """Window 0 has no window before it: those slots get no weight."""
        slots = 2 * self.rate
        number = reshape(self.first + reshape(iota(self.windows), 1, self.windows), B, self.windows, 1, 1)
        in_before = reshape(iota(slots), 1, 1, slots, 1) < self.rate
        return where((number <= 0) & in_before, const(MASKED, "f32"), logits)


def _halves(x: Value) -> tuple[Value, Value]:
    """The two halves of the last axis: what serves the next window, and what serves its own (§4.4)."""
    width = x.shape[-1]
    assert isinstance(width, int)
    first, second = split(x, width // 2, width // 2)
    return first, second


def _indexer(
    x: Value, rank: Value, angles: Angles, visible: Value, step: _Chunk, w: Value, s: Value, c: V4Config
) -> tuple[Value, list[Value]]:
    """The lightning indexer over compressed keys (§4.5): who sees which entries after top-k, and the new state."""
    i, count = c.indexer, visible.shape[2]
    keys, tails = step.compress(x, w.compressor, s.index_entries, s.index_tail_kv, s.index_tail_gate, overlap=True)
    q = rotate_last(reshape(linear(rank, w.q_b), B, S, i.heads, i.head_dim), _per_head(angles), c.rope.dim)
    flat = reshape(cast(q, "f32"), B, S * i.heads, i.head_dim)
    products = reshape(matmul(flat, cast(keys, "f32"), trans_b=True), B, S, i.heads, count)
    head_weights = cast(linear(x, w.head_weights), "f32") * (i.heads**-0.5)
    scaled = maximum(products, 0.0) * (i.head_dim**-0.5)
    scores = total(scaled * reshape(head_weights, B, S, i.heads, 1), axis=2)
    best, chosen = topk(where(visible, scores, float("-inf")), i.top_k)
    mask = mask_from(where(best > float("-inf"), chosen, -1), count)
    return mask, [keys, *tails]


def _core(q: Value, keys: Value, seen: Value, sinks: Value, c: V4Config) -> Value:
    """Attention of ``q [B, S, H, D]`` over shared keys, which are the values too (§4.3); out ``[B, S, H, D]``.

    Softmax in fp32; the sink only adds to the denominator.
    """
    count = keys.shape[1]
    flat = reshape(q, B, S * c.heads, c.head_dim)
    scores = reshape(matmul(flat, keys, trans_b=True, out="f32"), B, S, c.heads, count) * (c.head_dim**-0.5)
    scores = where(reshape(seen, B, S, 1, count), scores, MASKED)
    sink = reshape(sinks, 1, 1, c.heads, 1)
    peak = maximum(largest(scores, keep=True), sink)
    powers = exp(scores - peak)
    weights = powers / (total(powers, keep=True) + exp(sink - peak))
    out = matmul(reshape(cast(weights, q.dtype), B, S * c.heads, count), keys)
    return reshape(out, B, S, c.heads, c.head_dim)


def _output(out: Value, w: Value, c: V4Config) -> Value:
    """Grouped output projection (§4.3): each group of heads through its own block, then one joint matrix."""
    g, width = c.o_groups, c.heads * c.head_dim // c.o_groups
    groups = transpose(reshape(out, B * S, g, width), 1, 0, 2)
    inner = matmul(groups, reshape(w.o_a, g, c.o_rank, width), trans_b=True)
    return linear(reshape(transpose(inner, 1, 0, 2), B, S, g * c.o_rank), w.o_b)
