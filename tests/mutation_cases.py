"""The kernels that are mutated, in sizes that leave tails everywhere: small tiles, more tasks than cores, several tasks
a core, several turns of every loop.
"""

from __future__ import annotations

import numpy as np
from tile_hyper import Site
from tiling import Array, Arrays, Case, Sizes, counts, normal, reference

from dsv4c.ir.types import DTYPES
from dsv4c.targets.tile.kernels import attention, compress, hyper, indexer, linear, norm, order, rope, route

Rng = np.random.Generator
BF16 = DTYPES["bf16"]
FAR = 13  # tokens of a run whose logits lie far apart: without the right maximum, exponentials overflow or vanish
ROUNDED = 4e-3  # the kernel rounds softmax's powers to bf16 for the cube core, the reference does not


def _rms_norm(width: int, dtype: str, rows: int) -> Case:
    def inputs(rng: Rng, s: Sizes) -> Arrays:
        return {"x": normal(rng, dtype, s["M"], width), "w": normal(rng, dtype, width)}

    def want(a: Arrays, s: Sizes) -> Arrays:
        return {"y": reference("rms_norm", a["x"], a["w"], eps=1e-6)[0]}

    options = {"width": width, "dtype": dtype, "weight": dtype, "eps": 1e-6}
    return Case(norm.rms_norm, options, [{"rows": rows}], counts("M", 10 * rows - 3), inputs, want)


def _rope() -> Case:
    turn = {"layout": "pairs", "start": 24, "inverse": False, "eps": 1e-6}

    def inputs(rng: Rng, s: Sizes) -> Arrays:
        angle = rng.uniform(-3, 3, (s["M"], 4)).astype("f")
        return {"x": normal(rng, "bf16", s["M"], 6, 32), "cos": np.cos(angle), "sin": np.sin(angle)}

    def want(a: Arrays, s: Sizes) -> Arrays:
        return {"y": reference("norm_rope", a["x"], a["cos"][:, None], a["sin"][:, None], **turn)[0]}

    options = {"width": 32, "half": 4, "heads": 6, "dtype": "bf16", "weight": "", **turn}
    return Case(rope.norm_rope, options, [{"rows": 4}], counts("M", 9), inputs, want)


def _products(x: Array, w: Array, dtype: str) -> Array:
    return (x.astype(np.float64) @ w.astype(np.float64).T).astype(np.float32).astype(DTYPES[dtype])


def _linear(dtype: str) -> Case:
    n, k = 70, 100

    def inputs(rng: Rng, s: Sizes) -> Arrays:
        return {"x": normal(rng, dtype, s["M"], k), "w": normal(rng, dtype, n, k)}

    def want(a: Arrays, s: Sizes) -> Arrays:
        return {"y": _products(a["x"], a["w"], dtype)}

    options = {"n": n, "k": k, "dtype": dtype, "out": dtype, "groups": 1}
    tiles = [{"rows": 16, "cols": 32, "depth": 32}]
    return Case(linear.linear, options, tiles, counts("M", 40), inputs, want, units=64)


def _linear_groups() -> Case:
    n, k, groups = 40, 36, 2

    def inputs(rng: Rng, s: Sizes) -> Arrays:
        return {"x": normal(rng, "bf16", s["M"], groups * k), "w": normal(rng, "bf16", groups * n, k)}

    def want(a: Arrays, s: Sizes) -> Arrays:
        pairs = [(a["x"][:, g * k : (g + 1) * k], a["w"][g * n : (g + 1) * n]) for g in range(groups)]
        return {"y": np.concatenate([_products(x, w, "f32") for x, w in pairs], axis=1)}

    options = {"n": n, "k": k, "dtype": "bf16", "out": "f32", "groups": groups}
    tiles = [{"rows": 32, "cols": 16, "depth": 16}]
    return Case(linear.linear, options, tiles, counts("M", 40), inputs, want, units=64)


def _linear_experts() -> Case:
    n, k, experts = 70, 100, 4

    def inputs(rng: Rng, s: Sizes) -> Arrays:
        x, w = normal(rng, "bf16", s["M"], k), normal(rng, "bf16", experts, n, k)
        offsets = np.array([0, 37, 37, 42, s["M"] - 2], np.int32)
        return {"x": x, "w": w, "offsets": offsets, "y": normal(rng, "bf16", s["M"], n)}

    def want(a: Arrays, s: Sizes) -> Arrays:
        y = a["y"].copy()
        for e, (begin, end) in enumerate(zip(a["offsets"], a["offsets"][1:], strict=False)):
            y[begin:end] = _products(a["x"][begin:end], a["w"][e], "bf16")
        return {"y": y}

    options = {"n": n, "k": k, "dtype": "bf16", "out": "bf16", "experts": experts}
    tiles = [{"rows": 16, "cols": 32, "depth": 32}]
    return Case(linear.linear_experts, options, tiles, counts("M", 63), inputs, want, units=64)


def _picks(rng: Rng, batch: int, length: int, count: int, k: int) -> Array:
    """Different keys of so many, and now and then none."""
    chosen = np.argsort(rng.random((batch, length, count)), axis=-1)[..., :k]
    return np.where(rng.random(chosen.shape) < 0.8, chosen, -1).astype(np.int32)


def _sparse_attention() -> Case:
    heads, width, window, top_k, rate, scale = 20, 48, 36, 37, 4, 48**-0.5

    def inputs(rng: Rng, s: Sizes) -> Arrays:
        b, length, n = s["B"], s["S"], s["N"]
        return {
            "q": normal(rng, "bf16", b, length, heads, width), "ring": normal(rng, "bf16", b, window, width),
            "kv": normal(rng, "bf16", b, length, width), "past": np.array([50], np.int32),
            "fresh": np.array([length - 1], np.int32), "sinks": normal(rng, "f32", heads),
            "entries": normal(rng, "bf16", b, n, width), "chosen": _picks(rng, b, length, n, top_k),
        }  # fmt: skip

    def want(a: Arrays, s: Sizes) -> Arrays:
        return {"out": reference("sparse_attention", *a.values(), scale=scale, rate=rate)[0]}

    options = {
        "heads": heads, "width": width, "window": window, "entries": True, "top_k": top_k, "rate": rate,
        "scale": scale, "dtype": "bf16",
    }  # fmt: skip
    tiles = [{"rows": 16, "panel": 16, "chunk": 16}]
    sizes = ({"B": 1, "S": 35, "N": 44},)
    return Case(attention.sparse_attention, options, tiles, sizes, inputs, want, 64, ROUNDED)


def _mla_absorbed(top_k: int) -> Case:
    heads, rank, turned, skip, scale = 20, 48, 32, 16, 0.1

    def inputs(rng: Rng, s: Sizes) -> Arrays:
        b, length, t = s["B"], s["S"], s["T"]
        return {
            "q_latent": normal(rng, "bf16", b, length, heads, rank),
            "q_rope": normal(rng, "bf16", b, length, heads, skip + turned),
            "latents": normal(rng, "bf16", b, t, rank), "rope_keys": normal(rng, "bf16", b, t, turned),
            **({"chosen": _picks(rng, b, length, t, top_k)} if top_k else {"past": np.array([33, 20], np.int32)}),
        }  # fmt: skip

    def want(a: Arrays, s: Sizes) -> Arrays:
        q = np.ascontiguousarray(a["q_rope"][..., skip:])
        values = (a["q_latent"], q, a["latents"], a["rope_keys"], a["chosen" if top_k else "past"])
        return {"out": reference("mla_absorbed", *values, scale=scale)[0]}

    options = {
        "heads": heads, "rank": rank, "turned": turned, "skip": skip, "top_k": top_k, "scale": scale, "dtype": "bf16",
    }  # fmt: skip
    tiles = [{"rows": 16, "panel": 16, "chunk": 16}]
    return Case(attention.mla_absorbed, options, tiles, ({"B": 2, "S": 3, "T": 40},), inputs, want, 64, ROUNDED)


def _lightning_indexer() -> Case:
    heads, width, rate, top_k, scale = 20, 40, 2, 21, 0.125

    def inputs(rng: Rng, s: Sizes) -> Arrays:
        b, length, n = s["B"], s["S"], s["N"]
        return {
            "q": rng.integers(-4, 5, (b, length, heads, width)).astype("f").astype(BF16),
            "head_weights": rng.integers(-3, 4, (b, length, heads)).astype("f"),
            "keys": rng.integers(-4, 5, (b, n, width)).astype("f").astype(BF16),
            "past": np.array([600, 90, 20], np.int32),
        }

    def want(a: Arrays, s: Sizes) -> Arrays:
        (best,) = reference("lightning_indexer", *a.values(), rate=rate, top_k=top_k, scale=scale)
        ordered = np.sort(np.where(best < 0, s["N"], best), axis=-1)  # the kernel gives them in the order of the keys
        return {"out": np.where(ordered == s["N"], -1, ordered).astype(np.int32)}

    options = {"heads": heads, "width": width, "rate": rate, "top_k": top_k, "scale": scale, "dtype": "bf16"}
    tiles = [{"rows": 32, "panel": 64, "chunk": 128}]
    return Case(indexer.lightning_indexer, options, tiles, ({"B": 3, "S": 4, "N": 310},), inputs, want)


def _hyper_pre() -> Case:
    n, width = 4, 40
    site = Site("hyper_pre", "bf16", width, (2 + n) * n)

    def inputs(rng: Rng, s: Sizes) -> Arrays:
        a = site.summed(rng, s)
        if s["T"] == FAR:
            a["base"][2 * n :] = 200 * np.repeat(np.arange(n), n) + np.tile([0] * (n - 1) + [100], n)
        return a

    options = {"n": n, "width": width, "dtype": "bf16", **site.attrs}
    return Case(hyper.hyper_pre, options, [{"cols": 32}], counts("T", 61, FAR), inputs, site.want, units=1024)


def _compress_kv() -> Case:
    width, rate, half = 48, 4, 4
    channels, tail = 2 * width, 2 * rate
    frequencies = tuple(float(np.float32(10000.0 ** (-j / half))) for j in range(half))
    attrs = {"rate": rate, "overlap": True, "eps": 1e-6}

    def inputs(rng: Rng, s: Sizes) -> Arrays:
        b, length, n, windows = s["B"], s["S"], s["N"], s["W"]
        past = np.array([0, 9, 31] if length == FAR else [3, 0, 2], np.int32)
        spread = BF16.type(64 if length == FAR else 1)
        angle = ((past[:, None] // rate + np.arange(windows)) * rate).astype("f")[..., None] * np.array(
            frequencies, "f"
        )
        return {
            "kv": normal(rng, "bf16", b, length, channels), "gate": spread * normal(rng, "bf16", b, length, channels),
            "past": past, "fresh": np.array([length, length - 2, length], np.int32),
            "entries": normal(rng, "bf16", b, n, width), "tail_kv": normal(rng, "bf16", b, tail, channels),
            "tail_gate": spread * normal(rng, "bf16", b, tail, channels), "bias": normal(rng, "f32", rate, channels),
            "norm": normal(rng, "bf16", width), "cos": np.cos(angle), "sin": np.sin(angle),
        }  # fmt: skip

    def want(a: Arrays, s: Sizes) -> Arrays:
        values = [v for k, v in a.items() if k not in ("cos", "sin")]
        return {"entries": reference("compress_kv", *values, **attrs, frequencies=frequencies, factor=1.0)[0]}

    options = {
        "width": width, "channels": channels, "rate": rate, "tail": tail, "overlap": True, "half": half, "eps": 1e-6,
        "dtype": "bf16", "weight": "bf16",
    }  # fmt: skip
    sizes = tuple({"B": 3, "S": n, "N": 16, "W": (n + 2 * rate - 2) // rate} for n in (FAR + 1, FAR))
    return Case(compress.compress_kv, options, [{"cols": 16}], sizes, inputs, want, units=64)


def _expert_order() -> Case:
    experts = 10

    def inputs(rng: Rng, s: Sizes) -> Arrays:
        chosen = rng.integers(0, experts + 1, s["P"]).astype(np.int32)
        return {"chosen": np.where(chosen == 3, 4, chosen).astype(np.int32), "order": np.full(s["P"], -9, np.int32)}

    def want(a: Arrays, s: Sizes) -> Arrays:
        chosen, pairs = a["chosen"], s["P"]
        order_ = np.argsort(chosen, kind="stable")
        live = int((chosen < experts).sum())
        slot = np.full(pairs, pairs, np.int32)
        slot[order_[:live]] = np.arange(live)
        offsets = np.searchsorted(chosen[order_], np.arange(experts + 1)).astype(np.int32)
        rows = a["order"].copy()
        rows[:live] = order_[:live]
        return {"offsets": offsets, "order": rows, "slot": slot}

    return Case(order.expert_order, {"experts": experts}, [{}], counts("P", 1023), inputs, want)


def _combine() -> Case:
    k, width = 3, 70

    def inputs(rng: Rng, s: Sizes) -> Arrays:
        slot = rng.integers(0, s["P"] + 2, (s["T"], k)).astype(np.int32)
        return {"x": normal(rng, "bf16", s["P"], width), "slot": slot, "mix": normal(rng, "f32", s["T"], k)}

    def want(a: Arrays, s: Sizes) -> Arrays:
        x = np.concatenate([a["x"].astype("f"), np.zeros((2, width), "f")])
        return {"y": (x[a["slot"]] * a["mix"][..., None]).sum(axis=1, dtype="f").astype(BF16)}

    options = {"k": k, "width": width, "dtype": "bf16"}
    return Case(order.combine, options, [{"cols": 32}], ({"T": 9, "P": 20},), inputs, want)


def _route_topk() -> Case:
    attrs = {
        "scoring": "sigmoid", "per_token": 5, "groups": 4, "groups_kept": 2, "normalise": True, "scale": 2.5,
    }  # fmt: skip
    experts = 40

    def inputs(rng: Rng, s: Sizes) -> Arrays:
        return {"logits": normal(rng, "f32", s["T"], experts), "bias": normal(rng, "f32", experts) / 4}

    def want(a: Arrays, s: Sizes) -> Arrays:
        chosen, mix = reference("route_topk", a["logits"], a["bias"], **attrs)
        return {"chosen": chosen, "mix": mix}

    return Case(
        route.route_topk, {"experts": experts, **attrs}, [{"rows": 8}], counts("T", 61), inputs, want, units=64
    )


CASES: dict[str, Case] = {
    "rms_norm": _rms_norm(70, "f32", 8), "rms_norm_bf16": _rms_norm(200, "bf16", 16), "rope": _rope(),
    "linear": _linear("bf16"), "linear_f32": _linear("f32"), "linear_groups": _linear_groups(),
    "linear_experts": _linear_experts(),
    "sparse_attention": _sparse_attention(), "mla_absorbed": _mla_absorbed(0),
    "mla_absorbed_chosen": _mla_absorbed(37),
    "lightning_indexer": _lightning_indexer(), "hyper_pre": _hyper_pre(), "compress_kv": _compress_kv(),
    "expert_order": _expert_order(), "combine": _combine(), "route_topk": _route_topk(),
}  # fmt: skip
