"""The routed experts (architectures.md §6)."""

from __future__ import annotations

from ..builder import (
    broadcast_to,
    cast,
    const,
    cumsum,
    equal,
    extent,
    gather,
    iota,
    ragged_matmul,
    reshape,
    scatter,
    total,
    where,
)
from ..core import Value
from .activation import swiglu
from .define import kernel


@kernel("Each expert's SwiGLU block on its own rows, which are sorted by expert (§6)", limit="as in experts")
def grouped_experts(rows: Value, counts: Value, gate: Value, up: Value, down: Value, *, limit: float) -> Value:
    """``rows [M, d]``, ``counts`` i32 ``[E]``: how many are each expert's; rows beyond their sum come out as 0.

    What is left of ``experts`` where rows arrive sorted: DeepGEMM's and Ascend's grouped products take this layout.
    """
    inner = swiglu(ragged_matmul(rows, gate, counts), ragged_matmul(rows, up, counts), limit=limit)
    return ragged_matmul(inner, down, counts)


@kernel("The weighted sum of the chosen experts' SwiGLU blocks (§6)", limit="V4's swiglu_limit; inf for none")
def experts(
    x: Value, chosen: Value, mix: Value, live: Value, gate: Value, up: Value, down: Value, *, limit: float
) -> Value:
    """``x [tokens, d]``, ``chosen`` i32 and ``mix`` f32 ``[tokens, k]``, ``live`` bool ``[tokens]``; ``gate`` and ``up
    [E, I, d]``, ``down [E, d, I]``. Rows sorted by expert, one ragged product a matrix, rows put back; padding, and an
    expert number outside 0 to E - 1, reach no expert.
    """
    (tokens, width), k, count = x.shape, chosen.shape[1], gate.shape[0]
    assert isinstance(k, int) and isinstance(count, int)
    pairs = tokens * k
    alive = broadcast_to(reshape(live, tokens, 1), tokens, k)
    expert = reshape(where(alive, chosen, count), pairs)
    hit = cast(equal(reshape(expert, pairs, 1), reshape(iota(count), 1, count)), "i32")
    counts = total(hit, axis=0)
    starts = cumsum(counts, 0) - counts
    slot = where(total(hit) > 0, total(hit * (cumsum(hit, 0) + starts - 1)), reshape(extent(pairs), 1))
    source = scatter(const(0, "i32", (pairs,)), slot, iota(pairs) // k)
    rows = gather(x, source)
    back = gather(grouped_experts(rows, counts, gate, up, down, limit=limit), slot)
    weighted = cast(reshape(back, tokens, k, width), "f32") * reshape(mix, tokens, k, 1)
    return cast(total(weighted, axis=1), x.dtype)
