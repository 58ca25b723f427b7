"""Cases of hyper-connections, routing and the order of experts (tiling.py)."""

from __future__ import annotations

import numpy as np
from tiling import FLOATS, Array, Arrays, Case, Cases, Sizes, counts, normal, reference

from dsv4c.targets.tile.kernels import hyper, route
from dsv4c.targets.tile.templates.rows import FEW, blocks, row_tiles

N = 4  # streams
SITE = {"eps": 1e-6, "hc_eps": 1e-6}
WIDTHS = (("tiny", 64, (1, 2, 37)), ("flash", 4096, (1, 5)), ("pro", 7168, (3,)), ("odd", 88, (17, 40)))


def sites() -> Cases:
    for label, width, tokens in WIDTHS:
        for dtype in FLOATS:
            yield f"hyper_pre_{label}_{dtype}", _pre(dtype, width, tokens)
            yield f"hyper_head_{label}_{dtype}", _head(dtype, width, tokens)


def _parameters(rng: np.random.Generator, dtype: str, tokens: int, width: int, outs: int, scales: int) -> Arrays:
    fn = (normal(rng, "f32", outs, N * width) / np.sqrt(N * width)).astype(np.float32)
    return {
        "x": normal(rng, dtype, tokens, N * width), "fn": fn, "base": normal(rng, "f32", outs),
        "scale": normal(rng, "f32", scales),
    }  # fmt: skip


def _pre(dtype: str, width: int, tokens: tuple[int, ...]) -> Case:
    attrs = {**SITE, "iterations": 20}

    def want(a: Arrays, s: Sizes) -> Arrays:
        x = a["x"].reshape(1, s["T"], N, width)
        rows, post, mix = reference("hyper_pre", x, a["fn"], a["base"], a["scale"], **attrs)
        shapes = {"rows": (rows, width), "post": (post, N), "mix": (mix, N * N)}
        return {name: value.reshape(s["T"], size) for name, (value, size) in shapes.items()}

    return Case(
        hyper.hyper_pre, {"n": N, "width": width, "dtype": dtype, **attrs}, list(blocks(width, FEW, 1024)),
        counts("T", *tokens), lambda r, s: _parameters(r, dtype, s["T"], width, (2 + N) * N, 3), want, units=40,
    )  # fmt: skip


def _head(dtype: str, width: int, tokens: tuple[int, ...]) -> Case:
    def want(a: Arrays, s: Sizes) -> Arrays:
        x = a["x"].reshape(1, s["T"], N, width)
        (rows,) = reference("hyper_head", x, a["fn"], a["base"], a["scale"], **SITE)
        return {"rows": rows.reshape(s["T"], width)}

    return Case(
        hyper.hyper_head, {"n": N, "width": width, "dtype": dtype, **SITE}, list(blocks(width, FEW, 1024)),
        counts("T", *tokens), lambda r, s: _parameters(r, dtype, s["T"], width, N, 1), want, units=40,
    )  # fmt: skip


def posts() -> Cases:
    for label, width, tokens in WIDTHS:
        for dtype in FLOATS:
            def inputs(rng: np.random.Generator, s: Sizes, width=width, dtype=dtype) -> Arrays:
                t = s["T"]
                out = {"y": normal(rng, dtype, t, width), "x": normal(rng, dtype, t, N * width)}
                return out | {"post": normal(rng, "f32", t, N), "mix": normal(rng, "f32", t, N * N)}

            def want(a: Arrays, s: Sizes, width=width) -> Arrays:
                t = s["T"]
                shapes = {"y": (1, t, width), "x": (1, t, N, width), "post": (1, t, N), "mix": (1, t, N, N)}
                (out,) = reference("hyper_post", *(a[name].reshape(shape) for name, shape in shapes.items()))
                return {"out": out.reshape(t, N * width)}

            options = {"n": N, "width": width, "dtype": dtype}
            yield f"hyper_post_{label}_{dtype}", Case(
                hyper.hyper_post, options, list(blocks(width, FEW, 1024)), counts("T", *tokens), inputs, want
            )


ROUTES = (  # experts, per token, groups, kept, scoring, normalise, scale, tokens
    (256, 8, 8, 4, "sigmoid", True, 2.5, (1, 7, 70)), (384, 6, 1, 1, "sqrtsoftplus", True, 2.5, (5,)),
    (8, 3, 1, 1, "sqrtsoftplus", True, 1.5, (1, 33)), (64, 6, 1, 1, "softmax", False, 1.0, (9,)),
    (12, 4, 4, 2, "softmax", True, 1.0, (17,)), (6, 2, 6, 3, "sigmoid", False, 0.5, (40,)),
    (100, 5, 5, 1, "sqrtsoftplus", False, 1.0, (3,)), (256, 6, 1, 1, "sqrtsoftplus", True, 1.5, (1, 20)),
)  # fmt: skip


def _logits(rng: np.random.Generator, tokens: int, experts: int) -> Array:
    """Some rows with many equal numbers, some with very small scores."""
    out = 3 * rng.standard_normal((tokens, experts))
    out[::3] = np.round(out[::3])
    out[1::3] -= 15
    return out.astype(np.float32)


def routes() -> Cases:
    for experts, per_token, groups, kept, scoring, normalise, scale, tokens in ROUTES:
        weigh = {"scoring": scoring, "normalise": normalise, "scale": scale}
        attrs = {**weigh, "per_token": per_token, "groups": groups, "groups_kept": kept}

        def inputs(rng: np.random.Generator, s: Sizes, experts=experts) -> Arrays:
            bias = np.round(rng.standard_normal(experts), 1).astype(np.float32)
            return {"logits": _logits(rng, s["T"], experts), "bias": bias if s["T"] % 2 else 0 * bias}

        def want(a: Arrays, s: Sizes, attrs=attrs) -> Arrays:
            chosen, mix = reference("route_topk", a["logits"], a["bias"], **attrs)
            return {"chosen": chosen, "mix": mix}

        def given(rng: np.random.Generator, s: Sizes, experts=experts, per_token=per_token) -> Arrays:
            chosen = rng.integers(0, experts, (s["T"], per_token)).astype(np.int32)
            return {"logits": _logits(rng, s["T"], experts), "chosen": chosen}

        def weights(a: Arrays, s: Sizes, weigh=weigh) -> Arrays:
            return {"mix": reference("route_hash", a["logits"], a["chosen"], **weigh)[0]}

        name, sizes = f"{experts}_{per_token}_{groups}_{scoring}", counts("T", *tokens)
        tiles = list(row_tiles(FEW))
        yield f"route_topk_{name}", Case(route.route_topk, {"experts": experts, **attrs}, tiles, sizes, inputs, want)
        options = {"experts": experts, "per_token": per_token, **weigh}
        yield f"route_hash_{name}", Case(route.route_hash, options, tiles, sizes, given, weights)


FAMILIES = (sites, posts, routes)
