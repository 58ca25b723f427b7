"""Cases of caches, compressors and the order of experts (tiling.py)."""

from __future__ import annotations

import numpy as np
from tiling import FLOATS, Array, Arrays, Case, Cases, Sizes, normal, reference

from dsv4c.targets.tile.kernels import compress, copies, order
from dsv4c.targets.tile.templates.rows import WHOLE, row_tiles

I32 = np.int32
CHUNKS = tuple({"B": b, "S": s, "T": t} for b, s, t in ((1, 1, 4), (3, 5, 9), (2, 20, 40)))


def _tokens(rng: np.random.Generator, s: Sizes, past: int) -> Arrays:
    """Sequences of all lengths, the first one full and another one empty."""
    fresh = rng.integers(0, s["S"] + 1, s["B"])
    fresh[0], fresh[-1] = s["S"], 0 if s["B"] > 1 else s["S"]
    return {"past": rng.integers(0, past + 1, s["B"]).astype(I32), "fresh": fresh.astype(I32)}


def appends() -> Cases:
    for dtype, width, ring, cols in (
        ("bf16", 512, 0, 512), ("f32", 512, 0, 256), ("bf16", 576, 0, 208), ("bf16", 32, 0, 32), ("f32", 3, 0, 16),
        ("bf16", 512, 128, 512), ("f32", 32, 8, 32), ("bf16", 64, 5, 64), ("f32", 1024, 4, 512), ("bf16", 7, 3, 16),
    ):  # fmt: skip
        def inputs(rng: np.random.Generator, s: Sizes, dtype=dtype, width=width, ring=ring) -> Arrays:
            past = 1000 if ring else max(s["T"] - s["S"] // 2, 0)  # the last rows of some caches have no room
            cache = normal(rng, dtype, s["B"], ring or s["T"], width)
            return {"cache": cache, "rows": normal(rng, dtype, s["B"], s["S"], width), **_tokens(rng, s, past)}

        def want(a: Arrays, s: Sizes, ring=ring) -> Arrays:
            op = "append_ring" if ring else "append_cache"
            return {"cache": reference(op, a["cache"], a["rows"], a["past"], a["fresh"])[0]}

        yield f"append_{dtype}_{width}_{ring}", Case(
            copies.append, {"dtype": dtype, "width": width, "ring": ring}, [{"cols": cols}], CHUNKS, inputs, want
        )


def compressors() -> Cases:
    for width, half, rate, overlap, weight, cols, chunks in (
        (512, 32, 4, True, "same", (512,), ((1, 1), (2, 9), (1, 70))),
        (512, 32, 128, False, "same", (128, 64), ((1, 1), (2, 200))), (128, 32, 4, True, "f32", (128,), ((3, 6),)),
        (32, 4, 4, True, "same", (32, 16), ((1, 3), (3, 13))), (32, 4, 8, False, "f32", (32,), ((3, 30),)),
        (16, 4, 4, True, "same", (16,), ((2, 4), (1, 8))),
    ):  # fmt: skip
        for dtype in FLOATS:
            sizes = tuple({"B": b, "S": n, "N": 9 + n // rate, "W": (n + 2 * rate - 2) // rate} for b, n in chunks)
            case = _Compressor(dtype, width, half, rate, overlap, dtype if weight == "same" else weight)
            yield f"compress_{width}_{rate}_{dtype}", Case(
                compress.compress_kv, case.options(), [{"cols": c} for c in cols], sizes, case.inputs, case.want
            )


class _Compressor:
    def __init__(self, dtype: str, width: int, half: int, rate: int, overlap: bool, weight: str) -> None:
        self.dtype, self.width, self.half, self.rate, self.overlap = dtype, width, half, rate, overlap
        self.weight, self.parts = weight, 2 if overlap else 1
        self.frequencies = tuple(float(np.float32(160000.0 ** (-j / half))) for j in range(half))

    def options(self) -> dict[str, object]:
        return {
            "width": self.width, "channels": self.parts * self.width, "rate": self.rate, "tail": self.parts * self.rate,
            "overlap": self.overlap, "half": self.half, "eps": 1e-6, "dtype": self.dtype, "weight": self.weight,
        }  # fmt: skip

    def inputs(self, rng: np.random.Generator, s: Sizes) -> Arrays:
        channels, rate = self.parts * self.width, self.rate
        tokens = _tokens(rng, s, 8 * rate)
        tokens["past"][0] = 0 if s["S"] > 1 else 2 * rate - 1
        chunk, tail = (s["B"], s["S"], channels), (s["B"], self.parts * rate, channels)
        entries = (s["B"], s["N"], self.width)
        shapes = {"kv": chunk, "gate": chunk, "tail_kv": tail, "tail_gate": tail, "entries": entries}
        out = {name: normal(rng, self.dtype, *shape) for name, shape in shapes.items()} | tokens
        number = out["past"][:, None] // rate + np.arange(s["W"])
        angle = (number * rate).astype(np.float32)[..., None] * np.array(self.frequencies, np.float32)
        norm = {"bias": normal(rng, "f32", rate, channels), "norm": normal(rng, self.weight, self.width)}
        return out | norm | {"cos": np.cos(angle), "sin": np.sin(angle)}

    def want(self, a: Arrays, s: Sizes) -> Arrays:
        names = ("kv", "gate", "past", "fresh", "entries", "tail_kv", "tail_gate", "bias", "norm")
        attrs = {"rate": self.rate, "overlap": self.overlap, "eps": 1e-6, "factor": 1.0}
        out = reference("compress_kv", *(a[name] for name in names), frequencies=self.frequencies, **attrs)
        return {"entries": out[0]}


def orders() -> Cases:
    for experts, k, tokens in ((8, 3, (1, 40)), (256, 6, (1, 7, 100)), (384, 8, (30,)), (3, 1, (5,)), (16, 8, (200,))):
        def pairs(rng: np.random.Generator, s: Sizes, experts=experts, k=k) -> Arrays:
            chosen = rng.integers(-1, experts + 2, (s["T"], k)).astype(I32)  # some are none of ours
            return {"chosen": chosen, "live": rng.random(s["T"]) < 0.7}

        def alive(a: Arrays, s: Sizes, experts=experts) -> Arrays:
            ours = a["live"][:, None] & (a["chosen"] >= 0) & (a["chosen"] < experts)
            return {"y": np.where(ours, a["chosen"], experts).astype(I32)}

        yield f"live_experts_{experts}", Case(
            order.live_experts, {"k": k, "experts": experts}, list(row_tiles(WHOLE)), tuple({"T": t} for t in tokens),
            pairs, alive,
        )  # fmt: skip

        def sorted_inputs(rng: np.random.Generator, s: Sizes, experts=experts) -> Arrays:
            few = rng.integers(0, experts + 1, max(1, experts // 3))  # many experts get nothing
            return {"chosen": rng.choice(few, s["P"]).astype(I32), "order": np.full(s["P"], -7, I32)}

        yield f"expert_order_{experts}", Case(
            order.expert_order, {"experts": experts}, [{}], tuple({"P": t * k} for t in tokens), sorted_inputs,
            lambda a, s, e=experts: _sorted(a["chosen"], e, a["order"]),
        )  # fmt: skip


def _sorted(chosen: Array, experts: int, before: Array) -> Arrays:
    """A stable sort; what the kernel does not write keeps what was there."""
    by_expert = np.argsort(chosen, kind="stable")
    offsets = np.searchsorted(chosen[by_expert], np.arange(experts + 1)).astype(I32)
    mine = by_expert[: offsets[-1]]
    order, slot = before.copy(), np.full(chosen.size, chosen.size, I32)
    order[: mine.size], slot[mine] = mine, np.arange(mine.size)
    return {"offsets": offsets, "order": order, "slot": slot}


def combines() -> Cases:
    for width, k, cols, sizes in (
        (7168, 6, 4096, ((1, 6), (5, 17))), (4096, 6, 4096, ((3, 10),)), (64, 3, 64, ((1, 1), (33, 60))),
        (100, 8, 64, ((7, 50),)),
    ):  # fmt: skip
        for dtype in FLOATS:
            def inputs(rng: np.random.Generator, s: Sizes, width=width, k=k, dtype=dtype) -> Arrays:
                slot = rng.integers(0, s["P"] + 2, (s["T"], k)).astype(I32)
                slot[0] = s["P"] if s["T"] > 1 else slot[0]  # a token without any expert
                return {"x": normal(rng, dtype, s["P"], width), "slot": slot, "mix": normal(rng, "f32", s["T"], k)}

            def want(a: Arrays, s: Sizes) -> Arrays:
                rows = np.concatenate([a["x"].astype(np.float32), np.zeros((2, a["x"].shape[1]), np.float32)])
                total = (rows[a["slot"]] * a["mix"][..., None]).sum(axis=1, dtype=np.float32)
                return {"y": total.astype(a["x"].dtype)}

            yield f"combine_{width}_{k}_{dtype}", Case(
                order.combine, {"k": k, "width": width, "dtype": dtype}, [{"cols": cols}],
                tuple({"T": t, "P": p} for t, p in sizes), inputs, want,
            )  # fmt: skip


FAMILIES = (appends, compressors, orders, combines)
