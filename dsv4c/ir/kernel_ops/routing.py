"""Which experts, with which weights (architectures.md §6.1, §6.2)."""

from __future__ import annotations

from ..builder import gather, reshape, topk, total, unary, where
from ..core import Value
from .activation import sigmoid, softmax, softplus
from .define import kernel, shaped
from .positions import mask_from


def expert_scores(logits: Value, scoring: str) -> Value:
    """Router scores from fp32 logits."""
    if scoring == "softmax":
        return softmax(logits)
    return sigmoid(logits) if scoring == "sigmoid" else unary("sqrt", softplus(logits))


@kernel(
    "The experts of each token and their weights, i32 and f32 [tokens, per_token] (§6.1, §6.2)",
    scoring="sigmoid, sqrtsoftplus or softmax", per_token="experts a token", groups="of experts; 1 for none",
    groups_kept="groups that experts are chosen from", normalise="whether weights sum to scale", scale="of the weights",
)  # fmt: skip
def route_topk(
    logits: Value, bias: Value, *, scoring: str, per_token: int, groups: int, groups_kept: int, normalise: bool,
    scale: float,
) -> tuple[Value, Value]:  # fmt: skip
    """``logits`` f32 ``[tokens, E]``; ``bias`` f32 ``[E]`` counts for the choice only."""
    shaped("the bias", bias, logits.shape[-1])
    scores = expert_scores(logits, scoring)
    biased = scores + bias
    if groups > 1:
        tokens, experts = scores.shape
        assert isinstance(experts, int)
        grouped = reshape(biased, tokens, groups, experts // groups)
        best, _ = topk(grouped, min(2, experts // groups))
        _, kept = topk(total(best), groups_kept)
        mask = reshape(mask_from(kept, groups), tokens, groups, 1)
        biased = reshape(where(mask, grouped, float("-inf")), tokens, experts)
    _, chosen = topk(biased, per_token)
    return chosen, _weights(scores, chosen, normalise, scale)


@kernel(
    "Weights f32 [tokens, per_token] of experts that a table chose (§6.2)",
    scoring="sigmoid, sqrtsoftplus or softmax", normalise="whether weights sum to scale", scale="of the weights",
)  # fmt: skip
def route_hash(logits: Value, chosen: Value, *, scoring: str, normalise: bool, scale: float) -> Value:
    """``logits`` f32 ``[tokens, E]``, ``chosen`` i32 ``[tokens, per_token]``."""
    return _weights(expert_scores(logits, scoring), chosen, normalise, scale)


def _weights(scores: Value, chosen: Value, normalise: bool, scale: float) -> Value:
    picked = gather(scores, chosen, batch=1)
    if normalise:
        picked = picked / (total(picked, keep=True) + 1e-20)
    return picked * scale
