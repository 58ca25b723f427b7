"""Cases of hyper-connections, routing and the order of experts (tiling.py)."""

from __future__ import annotations

import numpy as np
from tiling import FLOATS, Array, Arrays, Case, Cases, Sizes, counts, normal, reference

from dsv4c.targets.tile.kernels import hyper, route
from dsv4c.targets.tile.templates.rows import FEW, blocks, columns, row_tiles

N = 4  # streams
SITE = {"eps": 1e-6, "hc_eps": 1e-6}
WIDTHS = (("tiny", 64, (1, 2, 37)), ("flash", 4096, (1, 5)), ("pro", 7168, (3,)), ("odd", 88, (17, 40)))


def sites() -> Cases:
    for label, width, tokens in WIDTHS:
        for dtype in FLOATS:
            for op, outs in (("hyper_pre", (2 + N) * N), ("hyper_head", N)):
                site = Site(op, dtype, width, outs)
                sizes, whole = counts("T", *tokens), N * width
                options = {"outs": outs, "whole": whole, "dtype": dtype}
                yield f"hyper_mixes_{outs}_{label}_{dtype}", Case(
                    hyper.hyper_mixes, options, list(columns(whole, 1024)), sizes,
                    lambda r, s, site=site: {name: site.inputs(r, s)[name] for name in ("x", "fn")},
                    lambda a, s, site=site: {"sums": site.sums(a["x"], a["fn"])}, absolute=1e-5,
                    counts=lambda sums, s, site=site: site.tokens(sums)[: s["T"]],
                )  # fmt: skip
                build = hyper.hyper_pre if op == "hyper_pre" else hyper.hyper_head
                yield f"{op}_{label}_{dtype}", Case(
                    build, {"n": N, "width": width, "dtype": dtype, **site.attrs}, list(columns(width, 1024)), sizes,
                    lambda r, s, site=site: site.summed(r, s), site.want, units=40,
                )  # fmt: skip


class Site:
    """Inputs of one of the ops, and what its two kernels write."""

    def __init__(self, op: str, dtype: str, width: int, outs: int) -> None:
        self.op, self.dtype, self.width, self.outs = op, dtype, width, outs
        self.attrs = {**SITE, "iterations": 20} if op == "hyper_pre" else SITE
        self.fn = (normal(np.random.default_rng(5), "f32", outs, N * width) / np.sqrt(N * width)).astype(np.float32)

    def inputs(self, rng: np.random.Generator, s: Sizes) -> Arrays:
        base, scale = normal(rng, "f32", self.outs), normal(rng, "f32", 1 if self.outs == N else 3)
        return {"x": normal(rng, self.dtype, s["T"], N * self.width), "fn": self.fn, "base": base, "scale": scale}

    def summed(self, rng: np.random.Generator, s: Sizes) -> Arrays:
        a = self.inputs(rng, s)
        return {"x": a["x"], "sums": self.sums(a["x"], a["fn"]), "base": a["base"], "scale": a["scale"]}

    def sums(self, x: Array, fn: Array) -> Array:
        """Tokens in lanes."""
        lanes, part, (tokens, whole) = hyper.LANES, hyper.PART, x.shape
        padded = np.zeros((-(-tokens // lanes) * lanes, whole))
        padded[:tokens] = x.astype(np.float64)
        out = np.zeros((padded.shape[0] // lanes, -(-whole // part), self.outs + hyper.MORE, lanes))
        for p in range(out.shape[1]):
            mine = slice(p * part, (p + 1) * part)
            rows = padded[:, mine].reshape(-1, lanes, padded[:, mine].shape[1])
            out[:, p, : self.outs] = np.einsum("btk,ok->bot", rows, fn[:, mine].astype(np.float64))
            out[:, p, self.outs] = (rows * rows).sum(axis=2)
        return out.reshape(*out.shape[:2], -1).astype(np.float32)

    def tokens(self, sums: Array) -> Array:
        """Sums with the tokens first; lanes beyond the last token may hold anything."""
        lanes = sums.reshape(*sums.shape[:2], -1, hyper.LANES).transpose(0, 3, 1, 2)
        return lanes.reshape(-1, *lanes.shape[2:])

    def want(self, a: Arrays, s: Sizes) -> Arrays:
        x = a["x"].reshape(1, s["T"], N, self.width)
        out = reference(self.op, x, self.fn, a["base"], a["scale"], **self.attrs)
        shapes = {"rows": self.width, "post": N, "mix": N * N}
        return {name: v.reshape(s["T"], size) for (name, size), v in zip(shapes.items(), out, strict=False)}


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
