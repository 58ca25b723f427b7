"""The lightning indexer (architectures.md §3, §4.5): products on the cube core, the choice on the vector core."""

from __future__ import annotations

from ..build import Kernel
from ..logical import Program
from ..scalar import ceildiv, least, sub
from .select import NEVER, UNIT, Best


def lightning_indexer(
    *, heads: int, width: int, rate: int, top_k: int, scale: float, dtype: str, rows: int, panel: int, chunk: int,
    stages: int,
) -> Program:  # fmt: skip
    """``q [B, S, H, D]``, ``head_weights`` f32 ``[B, S, H]``, ``keys [B, N, D]``: for each query the numbers of the
    ``top_k`` visible keys whose ``sum_h w_h relu(q_h k) scale`` is largest, i32 ``[B, S, k]``, in the order of the
    keys, -1 behind the last. ``rows`` is the heads, padded; ``panel`` keys a product, ``chunk`` keys a choice.
    """
    k = Kernel("lightning_indexer", stages)
    batch, length, count = k.size("B"), k.size("S"), k.size("N")
    q = k.tensor("q", dtype, batch, length, heads, width)
    weights = k.tensor("head_weights", "f32", batch, length, heads)
    keys = k.tensor("keys", dtype, batch, count, width)
    past = k.tensor("past", "i32", batch)
    out = k.out("out", "i32", batch, length, top_k)
    for token in k.tasks(batch * length):
        b, s = token // length, token % length
        visible = least(count, (k.read(past, b) + s + 1) // rate)
        query = k.mat(rows, width, dtype, "q")
        k.load_into(query, q.window(token * heads * width, heads, width, width))
        factor = k.mul(k.load(weights.window(token * heads, heads, 1, 1), rows, 1), scale)
        best = Best(k, top_k, chunk)
        scores, numbers = best.room()
        for block in k.loop(ceildiv(visible, chunk)):
            k.copy(NEVER, scores)
            first = block * chunk
            ids = k.iota(chunk, first, "f32")
            k.copy(ids, numbers.flat(1, chunk))
            for turn in k.loop(ceildiv(least(chunk, sub(visible, first)), panel)):
                at = first + turn * panel
                operand = k.mat(panel, width, dtype, "keys")
                here = least(panel, sub(visible, at))
                k.load_into(operand, keys.window((b * count + at) * width, here, width, width))
                products = k.acc(rows, panel)
                k.mma(products, query, operand, 1, rows)
                weighted = k.mul(k.maximum(k.to_vector(products), 0.0), factor)
                row = k.sum(weighted, axis=0)
                seen = k.where(k.iota(panel, 0, "f32"), "<", sub(visible, at), row, NEVER)
                k.copy(seen, scores.part(turn * (panel // UNIT), panel // UNIT).flat(1, panel))
            best.update()
        k.store(out.window(token * top_k, 1, top_k, top_k), best.chosen())
    return k.done()
