"""V4's attention: a window, and beside it nothing, chosen (CSA) or all (HCA) compressed entries (§4)."""

from __future__ import annotations

from dsv4c.ir.builder import Builder, bundle, cast, linear, reshape
from dsv4c.ir.core import Function, Module, Value
from dsv4c.ir.kernel_ops.attention import sparse_attention
from dsv4c.ir.kernel_ops.compress import compress_kv
from dsv4c.ir.kernel_ops.grouped import grouped_linear
from dsv4c.ir.kernel_ops.indexer import lightning_indexer
from dsv4c.ir.kernel_ops.norm import rms_norm
from dsv4c.ir.kernel_ops.positions import append_ring, positions_of
from dsv4c.ir.kernel_ops.rope import rope
from dsv4c.ir.types import Bundle, TensorType

from .blocks import Angles, angles_of, frequencies, per_head
from .config import V4Config
from .skeleton import COUNTS, B, S, T
from .types import state_tensor


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
    with Builder(module, f"attention_{kind}", x=hidden, past=COUNTS, new=COUNTS, w=weights, state=state) as b:
        x, past, new, w, s = b.params
        angles = angles_of(positions_of(past, S), c.rope if kind == "window" else c.compress_rope)
        with b.scope("q"):
            rank = rms_norm(linear(x, w.q_a), w.q_norm, eps=c.eps)
            q = rms_norm(reshape(linear(rank, w.q_b), B, S, c.heads, c.head_dim), eps=c.eps)
            q = _rotate_last(q, per_head(angles))
        with b.scope("window"):
            kv = _rotate_last(rms_norm(linear(x, w.kv), w.kv_norm, eps=c.eps), angles)
        rate, others, parts = _rate(c, kind), [], []
        if kind != "window":
            with b.scope("compressor"):
                parts = _compress(x, past, new, w.compressor, (s.entries, s.tail_kv, s.tail_gate), c, kind)
            others.append(parts[0])
        if kind == "csa":
            with b.scope("indexer"):
                chosen, after = _indexer(x, rank, per_head(angles), past, new, w.indexer, s, c)
            others.append(chosen)
            parts += after
        with b.scope("core"):
            ring = s.window
            out = sparse_attention(q, ring, kv, past, new, w.sinks, *others, scale=c.head_dim**-0.5, rate=rate)
            ring = append_ring(ring, kv, past, new)
        with b.scope("o"):
            y = _output(_rotate_last(out, per_head(angles), inverse=True), w, c)
        return b.done(y, bundle(state, ring, *parts))


def _rotate_last(x: Value, angles: Angles, inverse: bool = False) -> Value:
    """Rotate neighbouring pairs among the last channels (§1.2)."""
    width, half = x.shape[-1], angles[0].shape[-1]
    assert isinstance(width, int) and isinstance(half, int)
    return rope(x, *angles, layout="pairs", start=width - 2 * half, inverse=inverse)


def _compress(
    x: Value, past: Value, new: Value, w: Value, state: tuple[Value, Value, Value], c: V4Config, kind: str
) -> list[Value]:
    """Entries and tails after the chunk ``x`` (§4.4)."""
    after = compress_kv(
        linear(x, w.kv), linear(x, w.gate), past, new, *state, w.position_bias, w.norm, rate=_rate(c, kind),
        overlap=kind == "csa", eps=c.eps, frequencies=frequencies(c.compress_rope), factor=c.compress_rope.factor,
    )  # fmt: skip
    return [*after]


def _rate(c: V4Config, kind: str) -> int:
    """Tokens to a compressed entry; 1 where there are none."""
    return {"window": 1, "hca": c.hca_rate, "csa": c.csa_rate}[kind]


def _indexer(
    x: Value, rank: Value, angles: Angles, past: Value, new: Value, w: Value, s: Value, c: V4Config
) -> tuple[Value, list[Value]]:
    """The lightning indexer over compressed keys (§4.5): the chosen entries i32 ``[B, S, k]``, and the new state."""
    i = c.indexer
    state = (s.index_entries, s.index_tail_kv, s.index_tail_gate)
    keys, *tails = _compress(x, past, new, w.compressor, state, c, "csa")
    q = _rotate_last(reshape(linear(rank, w.q_b), B, S, i.heads, i.head_dim), angles)
    head_weights = cast(linear(x, w.head_weights), "f32") * (i.heads**-0.5)
    chosen = lightning_indexer(
        q, head_weights, keys, past, rate=c.csa_rate, top_k=i.top_k, scale=i.head_dim**-0.5
    )
    return chosen, [keys, *tails]


def _output(out: Value, w: Value, c: V4Config) -> Value:
    """Grouped output projection (§4.3): each group of heads through its own block, then one joint matrix."""
    g, width = c.o_groups, c.heads * c.head_dim // c.o_groups
    inner = grouped_linear(reshape(out, B * S, g, width), reshape(w.o_a, g, c.o_rank, width))
    return linear(reshape(inner, B, S, g * c.o_rank), w.o_b)
