"""What every family shares above its layers: the backbone that calls one function per layer, and the two entries.

``step`` gives the logits of each sequence's last new token, ``step_all`` those of every position fed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dsv4c.ir.builder import Builder, broadcast_to, bundle, call, gather, linear, reshape
from dsv4c.ir.core import Function, Module, Value
from dsv4c.ir.dims import symbol
from dsv4c.ir.kernel_ops.norm import rms_norm
from dsv4c.ir.types import Bundle, ListType, TensorType, Type

from .blocks import last_rows
from .config import Config, V4Config
from .types import BundleNames, tensor_of
from .weights import Leaf, hyper

B, S, T = symbol("B"), symbol("S"), symbol("T")  # sequences, new tokens each (padded), capacity of the state in tokens
TOKENS, COUNTS = TensorType((B, S), "i32"), TensorType((B,), "i32")


@dataclass(frozen=True)
class Family:
    """What a family adds: ``layer(index)`` gives the function of one layer, building it when its kind is new.

    The function takes (x, tokens, past, new, weights, state) and returns (x, state). ``opening`` turns embedding rows
    into the value that travels between layers and ``closing`` turns it back into rows for the final norm.
    """

    config: Config
    dtype: str
    layer: Callable[[int], Function]
    weights: Callable[[int], Bundle]
    state: Callable[[int], Bundle]
    opening: Callable[[Value], Value]
    closing: Callable[[Value, Value], Value]


def build_entries(module: Module, names: BundleNames, family: Family) -> None:
    """Add ``backbone``, ``step`` and ``step_all`` to a module."""
    weights, state = model_weights(names, family), model_state(names, family)
    common: dict[str, Type] = {"tokens": TOKENS, "past": COUNTS, "new": COUNTS, "weights": weights, "state": state}
    backbone = _backbone(module, family, common)
    for name in ("step_all", "step"):
        with Builder(module, name, **common) as b:
            tokens, past, new, w, s = b.params
            rows, after = call(backbone, tokens, past, new, w, s)
            if name == "step":
                rows = last_rows(rows, new)
            with b.scope("head"):
                logits = linear(rows, w.embed if family.config.tied_head else w.head, out="f32")
            b.done(logits, after)


def model_weights(names: BundleNames, family: Family) -> Bundle:
    """The record of all weights; paths are those of ``weights.weight_leaves``."""
    config = family.config
    table = Leaf((config.vocab, config.hidden))
    is_v4 = isinstance(config, V4Config)
    record: dict[str, Type] = {"embed": tensor_of(table, family.dtype)}
    record["layers"] = ListType(tuple(family.weights(i) for i in range(config.layers)))
    if isinstance(config, V4Config):
        leaves = hyper(config.streams, config.streams * config.hidden, scales=1)
        record["hc_head"] = names.from_leaves("hyper_head", leaves, family.dtype)
    record["norm"] = tensor_of(Leaf((config.hidden,), "f32" if is_v4 else "compute"), family.dtype)
    if not config.tied_head:
        record["head"] = tensor_of(table, family.dtype)
    return names.make("weights", record)


def model_state(names: BundleNames, family: Family) -> Bundle:
    """The record of everything that lives from one step to the next, for each layer."""
    return names.make("state", {"layers": ListType(tuple(family.state(i) for i in range(family.config.layers)))})


def _backbone(module: Module, family: Family, common: dict[str, Type]) -> Function:
    layers = [family.layer(i) for i in range(family.config.layers)]
    with Builder(module, "backbone", **common) as b:
        tokens, past, new, w, s = b.params
        with b.scope("embed"):
            x = family.opening(gather(w.embed, tokens))
        after, all_weights, all_state = [], w.layers, s.layers
        for index, layer in enumerate(layers):
            with b.scope(f"layers.{index}"):
                x, state = call(layer, x, tokens, past, new, all_weights[index], all_state[index])
                after.append(state)
        with b.scope("norm"):
            rows = rms_norm(family.closing(x, w), w.norm, eps=family.config.eps)
        state_type = common["state"]
        assert isinstance(state_type, Bundle)
        return b.done(rows, bundle(state_type, bundle(None, *after)))


def copies(x: Value, count: int) -> Value:
    """Rows ``[B, S, d]`` copied to ``count`` streams ``[B, S, count, d]``."""
    batch, length, width = x.shape
    return broadcast_to(reshape(x, batch, length, 1, width), batch, length, count, width)
