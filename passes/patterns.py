"""The idioms that become kernel ops, tier by tier, leaf first: upper tiers find kernel ops of the lower ones.

A case is written once, as a function of ``v`` that is called with 0 and 1; ``(a, b)[v]`` is what may differ between
places: sizes, epsilons, scales. Everything else is part of the idiom.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

from dsv4c.ir.core import Attrs, Value
from dsv4c.ir.dims import Extent, symbol
from dsv4c.ir.types import COMPUTE_FLOATS, TensorType

from . import spellings
from .rules import Example, KernelRule, Rule, Spelling
from .sinkhorn import SinkhornRule

B, S, T = symbol("B"), symbol("S"), symbol("T")
Sizes = Callable[[int], tuple[tuple[TensorType, ...], Attrs]]
Case = tuple[Example, Example]


def case(sizes: Sizes) -> Case:
    """Both examples of a case."""
    return Example(*sizes(0)), Example(*sizes(1))


def tensor(dtype: str, *shape: Extent) -> TensorType:
    """Short for the type."""
    return TensorType(shape, dtype)


def state(dtype: str, *shape: Extent) -> TensorType:
    """A tensor that is updated in place."""
    return TensorType(shape, dtype, state=True)


COUNTS = tensor("i32", B)


def _norms() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        for w in dict.fromkeys((None, "f32", x)):

            def sizes(v: int, x: str = x, w: str | None = w) -> tuple[tuple[TensorType, ...], Attrs]:
                d = (64, 80)[v]
                return (tensor(x, B, d), *([tensor(w, d)] if w else [])), {"eps": (1e-5, 2e-6)[v]}

            yield case(sizes)


def _layer_norms() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        yield case(
            lambda v, x=x: (  # type: ignore[misc]
                (tensor(x, B, (64, 80)[v]), *[tensor("f32", (64, 80)[v])] * 2), {"eps": (1e-5, 2e-6)[v]},
            )
        )  # fmt: skip


def _angles() -> Iterator[Case]:
    for plain in (True, False):
        yield case(
            lambda v, plain=plain: (  # type: ignore[misc]
                (tensor("i32", B, S),),
                {"frequencies": ((1.0, 0.5), (1.0, 0.25, 0.125))[v], "factor": 1.0 if plain else (1.5, 1.25)[v]},
            )
        )


def _ropes() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        for layout in ("pairs", "halves"):
            for inverse in (False, True):
                # All channels turn; the first; the last; some in between.
                for start, rest in ((0, 0), (0, 1), (1, 0), (1, 1)):

                    def sizes(
                        v: int, x: str = x, layout: str = layout, inverse: bool = inverse, start: int = start,
                        rest: int = rest,
                    ) -> tuple[tuple[TensorType, ...], Attrs]:  # fmt: skip
                        half, before, after = (4, 8)[v], start * (24, 40)[v], rest * (16, 48)[v]
                        angle = tensor("f32", B, S, 1, half)
                        attrs: Attrs = {"layout": layout, "start": before, "inverse": inverse}
                        return (tensor(x, B, S, (3, 5)[v], before + 2 * half + after), angle, angle), attrs

                    yield case(sizes)


def _norm_ropes() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        for layout in ("pairs", "halves"):
            for w in dict.fromkeys((None, "f32", x)):
                for start, rest in ((0, 0), (0, 1), (1, 0), (1, 1)):

                    def sizes(
                        v: int, x: str = x, layout: str = layout, w: str | None = w, start: int = start,
                        rest: int = rest,
                    ) -> tuple[tuple[TensorType, ...], Attrs]:  # fmt: skip
                        half, before, after = (4, 8)[v], start * (24, 40)[v], rest * (16, 48)[v]
                        angle, d = tensor("f32", B, S, half), before + 2 * half + after
                        attrs: Attrs = {"eps": (1e-5, 2e-6)[v], "layout": layout, "start": before, "inverse": False}
                        return (tensor(x, B, S, d), angle, angle, *([tensor(w, d)] if w else [])), attrs

                    yield case(sizes)


def _grouped() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        yield case(
            lambda v, x=x: (  # type: ignore[misc]
                (tensor(x, B * S, (3, 5)[v], (64, 80)[v]), tensor(x, (3, 5)[v], (96, 48)[v], (64, 80)[v])), {},
            )
        )  # fmt: skip


def _swiglus() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        for limited in (True, False):
            yield case(
                lambda v, x=x, limited=limited: (  # type: ignore[misc]
                    (tensor(x, B, (64, 80)[v]),) * 2, {"limit": (10.0, 7.0)[v] if limited else inf},
                )
            )  # fmt: skip


def _mlps() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        for limited in (True, False):

            def sizes(v: int, x: str = x, limited: bool = limited) -> tuple[tuple[TensorType, ...], Attrs]:
                d, wide = (64, 80)[v], (96, 48)[v]
                into = tensor(x, wide, d)
                return (tensor(x, B, d), into, into, tensor(x, d, wide)), {"limit": (10.0, 7.0)[v] if limited else inf}

            yield case(sizes)


def _appends(ring: bool) -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        yield case(
            lambda v, x=x: (  # type: ignore[misc]
                (state(x, B, (8, 16)[v] if ring else T, (32, 48)[v]), tensor(x, B, S, (32, 48)[v]), COUNTS, COUNTS), {},
            )
        )  # fmt: skip


def _scorings() -> Iterator[dict[str, Any]]:
    for scoring in ("sigmoid", "sqrtsoftplus", "softmax"):
        for normalise in (True, False):
            yield {"scoring": scoring, "normalise": normalise}


def _routes() -> Iterator[Case]:
    for attrs in _scorings():
        for grouped in (False, True):

            def sizes(v: int, attrs: Attrs = attrs, grouped: bool = grouped) -> tuple[tuple[TensorType, ...], Attrs]:
                e, groups = (32, 48)[v], (4, 8)[v] if grouped else 1
                more = {"per_token": (3, 6)[v], "groups": groups, "groups_kept": (2, 5)[v] if grouped else 1}
                return (tensor("f32", B * S, e), tensor("f32", e)), {**attrs, **more, "scale": (1.5, 2.5)[v]}

            yield case(sizes)


def _hashes() -> Iterator[Case]:
    for attrs in _scorings():
        yield case(
            lambda v, attrs=attrs: (  # type: ignore[misc]
                (tensor("f32", B * S, (32, 48)[v]), tensor("i32", B * S, (3, 6)[v])), {**attrs, "scale": (1.5, 2.5)[v]},
            )
        )  # fmt: skip


def _expert_blocks() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        for limited in (True, False):

            def sizes(v: int, x: str = x, limited: bool = limited) -> tuple[tuple[TensorType, ...], Attrs]:
                e, k, d, wide, rows = (8, 12)[v], (3, 6)[v], (64, 80)[v], (96, 48)[v], B * S
                into = tensor(x, e, wide, d)
                picks = (tensor("i32", rows, k), tensor("f32", rows, k), tensor("bool", rows))
                types = (tensor(x, rows, d), *picks, into, into, tensor(x, e, d, wide))
                return types, {"limit": (10.0, 7.0)[v] if limited else inf}

            yield case(sizes)


def _compressors() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        for overlap in (False, True):
            for partly in (True, False):  # whether channels before the rotated ones exist

                def sizes(
                    v: int, x: str = x, overlap: bool = overlap, partly: bool = partly
                ) -> tuple[tuple[TensorType, ...], Attrs]:
                    rate, half = (4, 8)[v], (4, 8)[v]
                    d = 2 * half + ((16, 24)[v] if partly else 0)
                    channels, tail = (2 * d, 2 * rate) if overlap else (d, rate)
                    rows, held = tensor(x, B, S, channels), state(x, B, tail, channels)
                    weights = (tensor("f32", rate, channels), tensor("f32", d))
                    attrs: Attrs = {
                        "rate": rate, "overlap": overlap, "eps": (1e-5, 2e-6)[v], "factor": 1.0,
                        "frequencies": tuple(1.0 / (1 + j) for j in range(half)),
                    }  # fmt: skip
                    return (rows, rows, COUNTS, COUNTS, state(x, B, T // rate, d), held, held, *weights), attrs

                yield case(sizes)


def _indexers() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        for plain in (False, True):  # rate 1: every token is an entry

            def sizes(v: int, x: str = x, plain: bool = plain) -> tuple[tuple[TensorType, ...], Attrs]:
                heads, d, rate = (4, 6)[v], (16, 32)[v], 1 if plain else (4, 8)[v]
                types = (tensor(x, B, S, heads, d), tensor("f32", B, S, heads), state(x, B, T // rate, d), COUNTS)
                return types, {"rate": rate, "top_k": (3, 7)[v], "scale": (0.25, 0.125)[v]}

            yield case(sizes)


def _sparse() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        for entries, chosen in ((False, False), (True, False), (True, True)):

            def sizes(
                v: int, x: str = x, entries: bool = entries, chosen: bool = chosen
            ) -> tuple[tuple[TensorType, ...], Attrs]:
                heads, d, rate = (3, 5)[v], (32, 48)[v], (4, 8)[v] if entries and not chosen else 1
                types = [tensor(x, B, S, heads, d), state(x, B, (6, 9)[v], d), tensor(x, B, S, d), COUNTS, COUNTS]
                types += [tensor("f32", heads)]
                types += [state(x, B, T // (4, 8)[v], d)] if entries else []
                types += [tensor("i32", B, S, (3, 7)[v])] if chosen else []
                return tuple(types), {"scale": (0.3, 0.2)[v], "rate": rate}

            yield case(sizes)


def _mlas(chosen: bool) -> Iterator[Case]:
    for x in COMPUTE_FLOATS:

        def sizes(v: int, x: str = x) -> tuple[tuple[TensorType, ...], Attrs]:
            heads, nope, width, turned, rank = (3, 5)[v], (16, 24)[v], (8, 40)[v], (6, 10)[v], (32, 48)[v]
            cache = (state(x, B, T, rank), state(x, B, T, turned))
            types = (tensor(x, B, S, heads, nope + turned), *cache, tensor(x, heads * (nope + width), rank))
            limit = tensor("i32", B, S, (3, 7)[v]) if chosen else COUNTS
            return (*types, limit), {"scale": (0.3, 0.2)[v], "nope": nope, "width": width}

        yield case(sizes)


def _head_width(operands: Sequence[Value], roots: Sequence[Value], found: Mapping[str, Any]) -> Attrs:
    width: Any = roots[0].shape[-1]
    return {"width": width}


def _hypers() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:

        def sizes(v: int, x: str = x) -> tuple[tuple[TensorType, ...], Attrs]:
            n, d, rows = (4, 3)[v], (64, 80)[v], ((2 + 4) * 4, (2 + 3) * 3)[v]
            weights = (tensor("f32", rows, n * d), tensor("f32", rows), tensor("f32", 3))
            attrs: Attrs = {"eps": (1e-5, 2e-6)[v], "hc_eps": (3e-5, 4e-6)[v], "iterations": (20, 7)[v]}
            return (tensor(x, B, S, n, d), *weights), attrs

        yield case(sizes)


def _hyper_posts() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:

        def sizes(v: int, x: str = x) -> tuple[tuple[TensorType, ...], Attrs]:
            n, d = (4, 3)[v], (64, 80)[v]
            return (tensor(x, B, S, d), tensor(x, B, S, n, d), tensor("f32", B, S, n), tensor("f32", B, S, n, n)), {}

        yield case(sizes)


def _hyper_heads() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:

        def sizes(v: int, x: str = x) -> tuple[tuple[TensorType, ...], Attrs]:
            n, d = (4, 3)[v], (64, 80)[v]
            weights = (tensor("f32", n, n * d), tensor("f32", n), tensor("f32", 1))
            return (tensor(x, B, S, n, d), *weights), {"eps": (1e-5, 2e-6)[v], "hc_eps": (3e-5, 4e-6)[v]}

        yield case(sizes)


def _half_ropes() -> Iterator[Case]:
    for x in COMPUTE_FLOATS:
        for start, rest in ((0, 0), (0, 1), (1, 0), (1, 1)):

            def sizes(v: int, x: str = x, start: int = start, rest: int = rest) -> tuple[tuple[TensorType, ...], Attrs]:
                half, before, after = (4, 8)[v], start * (24, 40)[v], rest * (16, 48)[v]
                angle = tensor("f32", B, S, 1, half)
                return (tensor(x, B, S, (3, 5)[v], before + 2 * half + after), angle, angle), {"start": before}

            yield case(sizes)


def _exported_mlas() -> Iterator[Case]:
    for scaled in ("scale", "root"):
        for held in (True, False):

            def sizes(v: int, scaled: str = scaled, held: bool = held) -> tuple[tuple[TensorType, ...], Attrs]:
                heads, nope, width, turned, rank = (3, 5)[v], (16, 24)[v], (8, 40)[v], (6, 10)[v], (32, 48)[v]
                count = T if held else S
                cache = (tensor("f32", B, count, rank), tensor("f32", B, 1, count, turned))
                types = (tensor("f32", B, heads, S, nope + turned), *cache, tensor("f32", heads * (nope + width), rank))
                return (*types, *([COUNTS] if held else [])), {scaled: (0.3, 0.2)[v], "nope": nope, "width": width}

            yield case(sizes)


def _rule(name: str, cases: Iterator[Case], spelling: Spelling | None = None, bound: float = 0.0) -> KernelRule:
    return KernelRule(name, tuple(cases), spelling, bound=bound)


LEAVES: tuple[Rule, ...] = (
    _rule("rms_norm", _norms()),
    _rule("rms_norm", _norms(), spellings.rms_norm_divided, spellings.ROUNDED),
    _rule("layer_norm", _layer_norms()),
    _rule("layer_norm", _layer_norms(), spellings.layer_norm_divided, spellings.ROUNDED),
    _rule("rope_angles", _angles()),
    _rule("rope_angles", _angles(), spellings.angles_by_product),
    _rule("rope", _ropes()),
    KernelRule("rope", tuple(_half_ropes()), spellings.rotated_halves, adapt=spellings.with_halves),
    _rule("norm_rope", _norm_ropes()),
    _rule("swiglu", _swiglus()),
    _rule("swiglu", _swiglus(), spellings.swiglu_divided, spellings.ROUNDED),
    _rule("grouped_linear", _grouped()),
    _rule("append_cache", _appends(ring=False)),
    _rule("append_ring", _appends(ring=True)),
    _rule("route_topk", _routes()),
    _rule("route_hash", _hashes()),
)
BLOCKS: tuple[Rule, ...] = (
    _rule("mlp", _mlps()),
    _rule("experts", _expert_blocks()),
    _rule("compress_kv", _compressors()),
    _rule("lightning_indexer", _indexers()),
    KernelRule("mla_attention", tuple(_mlas(chosen=False)), missing=_head_width),
    KernelRule(
        "mla_attention", tuple(_exported_mlas()), spellings.heads_first, missing=_head_width,
        adapt=spellings.tokens_first, bound=5e-6,
    ),
)
SPARSE: tuple[Rule, ...] = (
    _rule("sparse_attention", _sparse()),
    KernelRule("mla_attention", tuple(_mlas(chosen=True)), missing=_head_width),
)
HYPER: tuple[Rule, ...] = (
    SinkhornRule(),
    _rule("hyper_pre", _hypers()),
    _rule("hyper_post", _hyper_posts()),
    _rule("hyper_head", _hyper_heads()),
)
