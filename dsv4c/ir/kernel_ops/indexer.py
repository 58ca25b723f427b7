"""The lightning indexer of V3.2 and V4 (architectures.md §3, §4.5)."""

from __future__ import annotations

from ..builder import cast, iota, matmul, maximum, reshape, topk, total, where
from ..core import Value
from ..dims import Extent
from .define import kernel
from .positions import positions_of


def visible_entries(past: Value, length: Extent, count: Extent, rate: int) -> Value:
    """Bool ``[B, S, count]``: an entry is visible once the last of its ``rate`` tokens is not after the query."""
    done = positions_of(past, length) + 1
    done = done if rate == 1 else done // rate
    return reshape(iota(count), 1, 1, count) < reshape(done, past.shape[0], length, 1)


@kernel(
    "The top_k entries that each query scores highest among those it may see, -1 for none (§3, §4.5)",
    rate="tokens to an entry", top_k="how many", scale="of the products, after relu",
)  # fmt: skip
def lightning_indexer(
    q: Value, head_weights: Value, keys: Value, past: Value, *, rate: int, top_k: int, scale: float
) -> Value:
    """``q [B, S, H, D]``, ``head_weights`` f32 ``[B, S, H]``, ``keys [B, N, D]`` to i32 ``[B, S, top_k]``; in fp32."""
    batch, length, heads, width = q.shape
    count = keys.shape[1]
    flat = reshape(cast(q, "f32"), batch, length * heads, width)
    products = reshape(matmul(flat, cast(keys, "f32"), trans_b=True), batch, length, heads, count)
    scores = total(maximum(products, 0.0) * scale * reshape(head_weights, batch, length, heads, 1), axis=2)
    best, chosen = topk(where(visible_entries(past, length, count, rate), scores, float("-inf")), top_k)
    return where(best > float("-inf"), chosen, -1)
