"""What the model has to read and compute, on paper: the other half of every share of a limit."""

from __future__ import annotations

from functools import cache

from dsv4c.driver.inspect import active_parameters, attention_cost
from dsv4c.models.weights import weight_leaves

from .model import config

SIZES = {"f32": 4, "bf16": 2}


def active_bytes(dtype: str) -> float:
    """Bytes of the weights that one decoded token needs: no embedding table, and of the experts those that it hits."""
    c, total = config(), 0.0
    for path, leaf in weight_leaves(c).items():
        if path == "embed" or leaf.role == "i32":
            continue  # of tables a row is read
        hit = c.moe.per_token / c.moe.experts if ".experts." in path else 1.0
        total += hit * leaf.count * (SIZES[dtype] if leaf.role == "compute" else 4)
    return total


@cache
def prefill_flops(length: int) -> int:
    """Operations of a prompt from nothing: all layers for every token, the head for the last one only."""
    c = config()
    head = c.vocab * c.hidden
    return 2 * length * (active_parameters(c) - head) + 2 * head + attention_flops(0, length)


def attention_flops(past: int, length: int) -> int:
    """Operations of attention cores and indexers for ``length`` tokens after ``past`` earlier ones."""
    c = config()
    return sum(core_flops(layer, past, length) + index_flops(layer, past, length) for layer in range(c.layers))


@cache
def core_flops(layer: int, past: int, length: int) -> int:
    """Operations of one layer's attention core."""
    return sum(attention_cost(config(), layer, past + t + 1).core_flops for t in range(length))


@cache
def index_flops(layer: int, past: int, length: int) -> int:
    """Operations of one layer's indexer; 0 where it has none."""
    costs = (attention_cost(config(), layer, past + t + 1).indexer for t in range(length))
    return sum(cost.flops for cost in costs if cost)
