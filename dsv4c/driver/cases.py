"""The cases of ``dsv4c conformance``: for every kernel op of V3, V3.2 and V4, operand types, attributes and sizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np

from dsv4c.ir.dims import symbol
from dsv4c.ir.types import TensorType
from dsv4c.passes.quantize import PRODUCTS, SCALE, Storage

Array = np.ndarray[Any, Any]
Dims = Mapping[str, int]
Draw = Callable[[np.random.Generator, tuple[int, ...], Dims], Any]
B, S, T, N, M = (symbol(name) for name in "BSTNM")
CODES = ("f8e4m3", "f4e2m1", "i8")  # dtypes of weights, in bf16 models
WITH_CODES = frozenset(PRODUCTS)
MODEL = "f16"  # stands for the dtype under test; no case is in f16 itself


@dataclass(frozen=True)
class Case:
    """One op; ``operands`` by name, of which ``weights`` come from a checkpoint, some ``stored`` as codes with scales
    beside them; ``bindings`` are numbers for its dimensions.
    """

    op: str
    operands: Mapping[str, TensorType]
    attrs: Mapping[str, Any]
    bindings: tuple[Dims, ...]
    weights: frozenset[str] = frozenset()
    draw: Mapping[str, Draw] = field(default_factory=dict)
    stored: Mapping[str, Storage] = field(default_factory=dict)
    unordered: bool = False

    def typed(self, dtype: str) -> Case:
        """In one dtype."""
        kinds = {key: replace(t, dtype=dtype) if t.dtype == MODEL else t for key, t in self.operands.items()}
        return replace(self, operands=kinds)

    def packed(self, codes: str) -> Case:
        """With weights as codes and scales, as checkpoints store them; of i8 a scale for each output."""
        operands: dict[str, TensorType] = {}
        stored = {}
        for key, type_ in self.operands.items():
            if key in self.weights and type_.rank > 1:
                stored[key] = storage_of(codes, type_)
                operands[key], operands[key + SCALE] = stored[key].types(type_)
            else:
                operands[key] = type_
        scales = frozenset(key + SCALE for key in stored)
        return replace(self, operands=operands, weights=self.weights | scales, stored=stored)


def storage_of(codes: str, whole: TensorType) -> Storage:
    """How a weight of this type is stored as such codes (architectures.md §9)."""
    width = whole.shape[-1]
    assert isinstance(width, int)
    return {
        "f8e4m3": Storage(codes, "f8e8m0", 128, 128), "f4e2m1": Storage(codes, "f8e8m0", 1, 32),
        "i8": Storage(codes, "f32", 1, width),
    }[codes]  # fmt: skip


def t(*shape: Any, dtype: str = MODEL, state: bool = False) -> TensorType:
    """A tensor in the dtype under test."""
    return TensorType(shape, dtype, state)


def f32(*shape: Any) -> TensorType:
    """A tensor that is f32 in every model."""
    return TensorType(shape, "f32")


def i32(*shape: Any) -> TensorType:
    """Integers."""
    return TensorType(shape, "i32")


ROWS = tuple({"M": m} for m in (1, 5, 64, 700))
CHUNKS = tuple({"B": b, "S": s} for b, s in ((1, 1), (3, 1), (2, 7), (2, 150)))
SIZES = ((1, 1, 40, 9), (3, 1, 300, 70), (2, 7, 64, 16), (2, 30, 150, 37))
LONG = tuple({"B": b, "S": s, "T": t, "N": n} for b, s, t, n in SIZES)


def below(limit: int) -> Draw:
    """Numbers below a limit."""
    return lambda g, shape, dims: g.integers(0, limit, shape)


def past(g: np.random.Generator, shape: tuple[int, ...], dims: Dims) -> Array:
    """Some earlier tokens, so that a chunk still fits."""
    return g.integers(0, max(1, dims.get("T", 4 * dims.get("N", 20)) - dims["S"]), shape)


def fresh(g: np.random.Generator, shape: tuple[int, ...], dims: Dims) -> Array:
    """At least one new token a sequence, the first one all."""
    out = g.integers(1, dims["S"] + 1, shape)
    out[0] = dims["S"]
    return out


def picks(name: str) -> Draw:
    """Distinct numbers below a dimension, some of them -1."""

    def draw(g: np.random.Generator, shape: tuple[int, ...], dims: Dims) -> Array:
        *lead, k = shape
        rows = [np.resize(np.append(g.permutation(dims[name]), [-1] * k), k) for _ in range(int(np.prod(lead)))]
        return np.array(rows).reshape(shape)

    return draw


def frequencies(half: int) -> tuple[float, ...]:
    """Of a rotary embedding."""
    return tuple(10000.0 ** (-j / half) for j in range(half))


def _norms() -> list[Case]:
    out = []
    for width in (512, 7168 - 24):
        for weight in ({}, {"w": f32(width)}):
            out.append(Case("rms_norm", {"x": t(M, width), **weight}, {"eps": 1e-6}, ROWS, frozenset(weight)))
        both = {"w": f32(width), "bias": f32(width)}
        out.append(Case("layer_norm", {"x": t(M, width), **both}, {"eps": 1e-5}, ROWS, frozenset(both)))
    return out


def _ropes() -> list[Case]:
    out = []
    for heads, width, half, start in ((16, 512, 32, 448), (1, 76, 10, 56)):
        x = t(B, S, heads, width)
        angles = {"cos": f32(B, S, 1, half), "sin": f32(B, S, 1, half)}
        for layout, inverse in (("pairs", False), ("halves", True)):
            attrs = {"layout": layout, "start": start, "inverse": inverse}
            out.append(Case("rope", {"x": x, **angles}, attrs, CHUNKS))
            out.append(Case("norm_rope", {"x": x, **angles}, {"eps": 1e-6, **attrs}, CHUNKS))
        attrs = {"frequencies": frequencies(half), "factor": 1.0 if half == 32 else 1.25}
        out.append(Case("rope_angles", {"p": i32(B, S)}, attrs, CHUNKS, draw={"p": below(1 << 20)}))
    return out


def _products() -> list[Case]:
    out = []
    for n, k in ((256, 512), (70, 90)):
        weights = {"w": t(n, k)}
        out.append(Case("matmul", {"x": t(M, k), **weights}, {"trans_b": True, "out": ""}, ROWS, frozenset(weights)))
        grouped = {"w": t(3, n, k)}
        out.append(Case("grouped_linear", {"x": t(M, 3, k), **grouped}, {}, ROWS, frozenset(grouped)))
        out.append(Case("swiglu", {"gate": t(M, k), "up": t(M, k)}, {"limit": inf if n == 70 else 1.0}, ROWS))
        three = {"gate": t(n, k), "up": t(n, k), "down": t(k, n)}
        out.append(Case("mlp", {"x": t(M, k), **three}, {"limit": 10.0}, ROWS, frozenset(three)))
        experts = {"gate": t(6, n, k), "up": t(6, n, k), "down": t(6, k, n)}
        routed = {"x": t(M, k), "chosen": i32(M, 2), "mix": f32(M, 2), "live": TensorType((M,), "bool")}
        draw: dict[str, Draw] = {"chosen": below(6), "live": lambda g, shape, dims: g.integers(0, 4, shape) > 0}
        out.append(Case("experts", {**routed, **experts}, {"limit": 10.0}, ROWS, frozenset(experts), draw))
    return out


def _routes() -> list[Case]:
    out = []
    for experts, k, groups, scoring in ((256, 8, 8, "sigmoid"), (70, 6, 1, "sqrtsoftplus")):
        common = {"scoring": scoring, "normalise": True, "scale": 1.5}
        more = {"per_token": k, "groups": groups, "groups_kept": min(groups, 4)}
        bias = {"bias": f32(experts)}
        out.append(Case("route_topk", {"x": f32(M, experts), **bias}, {**common, **more}, ROWS, frozenset(bias)))
        given = {"x": f32(M, experts), "chosen": i32(M, k)}
        out.append(Case("route_hash", given, common, ROWS, draw={"chosen": below(experts)}))
    return out


def _hyper() -> list[Case]:
    out = []
    for width in (512, 100):
        x, gates = t(B, S, 4, width), {"eps": 1e-6, "hc_eps": 1e-6}
        site = {"fn": f32(24, 4 * width), "base": f32(24), "scale": f32(3)}
        out.append(Case("hyper_pre", {"x": x, **site}, {**gates, "iterations": 20}, CHUNKS, frozenset(site)))
        head = {"fn": f32(4, 4 * width), "base": f32(4), "scale": f32(1)}
        out.append(Case("hyper_head", {"x": x, **head}, gates, CHUNKS, frozenset(head)))
        parts = {"post": f32(B, S, 4), "mix": f32(B, S, 4, 4)}
        out.append(Case("hyper_post", {"y": t(B, S, width), "x": x, **parts}, {}, CHUNKS))
    return out


def _state() -> list[Case]:
    out = []
    counts: dict[str, TensorType] = {"past": i32(B), "new": i32(B)}
    draw: dict[str, Draw] = {"past": past, "new": fresh}
    for width in (512, 70):
        rows = {"rows": t(B, S, width), **counts}
        out.append(Case("append_cache", {"cache": t(B, T, width, state=True), **rows}, {}, LONG, draw=draw))
        out.append(Case("append_ring", {"ring": t(B, 16, width, state=True), **rows}, {}, LONG, draw=draw))
    for width, rate, overlap, half in ((128, 4, True, 16), (76, 8, False, 6)):
        channels, tail = width * (2 if overlap else 1), rate * (2 if overlap else 1)
        weights = {"bias": f32(rate, channels), "norm": f32(width)}
        operands = {
            "kv": t(B, S, channels), "gate": t(B, S, channels), **counts, "entries": t(B, N, width, state=True),
            "tail_kv": t(B, tail, channels, state=True), "tail_gate": t(B, tail, channels, state=True), **weights,
        }  # fmt: skip
        attrs = {"rate": rate, "overlap": overlap, "eps": 1e-6, "frequencies": frequencies(half), "factor": 1.0}
        out.append(Case("compress_kv", operands, attrs, LONG, frozenset(weights), draw))
    return out


def _attention() -> list[Case]:
    out = []
    draw: dict[str, Draw] = {"past": past, "new": fresh, "limit": past, "chosen": picks("N")}
    for heads, width, window, k in ((16, 128, 16, 5), (5, 40, 8, 3)):
        base = {
            "q": t(B, S, heads, width), "ring": t(B, window, width), "kv": t(B, S, width), "past": i32(B),
            "new": i32(B), "sinks": f32(heads),
        }  # fmt: skip
        more = {"entries": t(B, N, width)}
        for operands, rate in ((base, 1), ({**base, **more}, 4), ({**base, **more, "chosen": i32(B, S, k)}, 1)):
            out.append(Case("sparse_attention", operands, {"scale": 0.2, "rate": rate}, LONG, draw=draw))
        keys = {"q": t(B, S, heads, width), "weights": f32(B, S, heads), "keys": t(B, N, width), "past": i32(B)}
        attrs = {"rate": 4 if heads == 5 else 1, "top_k": k, "scale": 0.3}
        out.append(Case("lightning_indexer", keys, attrs, LONG, draw=draw, unordered=True))
    for heads, rank, nope, turned, wide in ((16, 64, 32, 16, 32), (5, 40, 24, 8, 20)):
        caches = {"latents": t(B, T, rank), "rope_keys": t(B, T, turned)}
        absorbed = {"q": t(B, S, heads, rank), "q_rope": t(B, S, heads, turned), **caches, "limit": i32(B)}
        out.append(Case("mla_absorbed", absorbed, {"scale": 0.2}, LONG, draw=draw))
        weights = {"kv_b": t(heads * (nope + wide), rank)}
        naive = {"q": t(B, S, heads, nope + turned), **caches, **weights}
        attrs = {"scale": 0.2, "nope": nope, "width": wide}
        for limit, drawn in ((i32(B), past), (i32(B, S, 5), picks("T"))):
            operands = {**naive, "limit": limit}
            out.append(Case("mla_attention", operands, attrs, LONG, frozenset(weights), {"limit": drawn}))
    return out


def _argmax() -> list[Case]:
    """Greedy choice among logits; some are equal."""
    ties = {"x": lambda g, shape, dims: np.round(g.standard_normal(shape) * 3)}
    widths = (64, 1000, 129280)
    return [Case("argmax", {"x": t(M, n)}, {"axis": 1}, ROWS[:3], draw=draw) for n in widths for draw in ({}, ties)]


CASES: tuple[Case, ...] = tuple(
    case
    for family in (_norms, _ropes, _products, _routes, _hyper, _state, _attention, _argmax)
    for case in family()
)
