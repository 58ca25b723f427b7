"""Where tokens stand: positions of a chunk, padding, and the caches that hold what earlier chunks left.

A chunk has ``S`` token slots a sequence, ``new [B]`` of which hold a token; ``past [B]`` tokens came before.
"""

from __future__ import annotations

from ..builder import broadcast_to, const, iota, reshape, scatter, where
from ..core import Value
from ..dims import Extent
from .define import kernel

MASKED = -1e30  # a logit no softmax can see, yet finite: a row without any key stays free of NaN


def positions_of(past: Value, length: Extent) -> Value:
    """Absolute positions i32 ``[B, S]`` of a chunk of ``length`` tokens after ``past`` earlier ones."""
    return reshape(past, past.shape[0], 1) + reshape(iota(length), 1, length)


def is_new(new: Value, length: Extent) -> Value:
    """Which of ``length`` token slots hold a token, bool ``[B, S]``; the rest is padding."""
    return reshape(iota(length), 1, length) < reshape(new, new.shape[0], 1)


def drop_padding(target: Value, new: Value) -> Value:
    """``target`` i32 ``[B, S]`` with -1 at padding, so that a scatter drops it."""
    return where(is_new(new, target.shape[1]), target, -1)


def mask_from(indices: Value, count: Extent) -> Value:
    """Bool ``[..., count]``: which positions occur in ``indices [..., k]``; -1 names none."""
    *lead, _ = indices.shape
    none = const(False, "bool", (*lead, count))
    return scatter(none, indices, broadcast_to(const(True, "bool"), *indices.shape), batch=len(lead))


def ring_slots(past: Value, new: Value, length: Extent, size: int) -> Value:
    """Where to write each token of a chunk in a ring: only the last ``size`` tokens, each to its own slot."""
    kept = reshape(iota(length), 1, length) >= reshape(new, new.shape[0], 1) - size
    return drop_padding(where(kept, positions_of(past, length) % size, -1), new)


def ring_positions(past: Value, size: int) -> Value:
    """The position each ring slot holds before the chunk, i32 ``[B, size]``; negative where none."""
    last = reshape(past, past.shape[0], 1) - 1
    return last - (last - reshape(iota(size), 1, size)) % size


@kernel("A cache [B, T, D] with the rows of a chunk at their positions; padding writes nothing (design.md §2)")
def append_cache(cache: Value, rows: Value, past: Value, new: Value) -> Value:
    """``rows [B, S, D]`` go to ``past ...`` of their sequence."""
    return scatter(cache, drop_padding(positions_of(past, rows.shape[1]), new), rows, batch=1)


@kernel("A ring [B, W, D] with the last W rows of a chunk, position p in slot p mod W (architectures.md §4.6)")
def append_ring(ring: Value, rows: Value, past: Value, new: Value) -> Value:
    """``rows [B, S, D]``; what is older than the last W tokens is dropped."""
    size = ring.shape[1]
    assert isinstance(size, int)
    return scatter(ring, ring_slots(past, new, rows.shape[1], size), rows, batch=1)
