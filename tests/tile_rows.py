"""Cases of kernels that work row by row: norms, rotary embedding, activations (tiling.py)."""

from __future__ import annotations

from math import inf

import numpy as np
from tiling import FLOATS, Arrays, Case, Cases, Sizes, counts, normal, reference

from dsv4c.ir.types import DTYPES
from dsv4c.targets.tile.kernels import angles, lines, norm, rope
from dsv4c.targets.tile.templates.rows import WHOLE, blocks, row_tiles


def norms() -> Cases:
    for width, dtype, weight, sizes in (
        (7168, "bf16", "f32", (1, 21)), (4096, "bf16", "bf16", (5,)), (512, "bf16", "", (300,)),
        (64, "f32", "f32", (1, 70)), (70, "f32", "", (33,)), (1000, "f32", "f32", (9,)), (24, "bf16", "bf16", (17,)),
        (1, "f32", "f32", (3,)),
    ):  # fmt: skip
        def inputs(rng: np.random.Generator, s: Sizes, width=width, dtype=dtype, weight=weight) -> Arrays:
            x = {"x": normal(rng, dtype, s["M"], width)}
            return x | ({"w": normal(rng, weight, width)} if weight else {})

        def want(a: Arrays, s: Sizes) -> Arrays:
            return {"y": reference("rms_norm", *a.values(), eps=1e-6)[0]}

        options = {"width": width, "dtype": dtype, "weight": weight, "eps": 1e-6}
        yield f"rms_norm_{width}_{dtype}_{weight}", Case(
            norm.rms_norm, options, list(row_tiles()), counts("M", *sizes), inputs, want
        )


def ropes() -> Cases:
    for layout, width, half, start, inverse, heads, weight, sizes in (
        ("pairs", 512, 32, 448, False, 128, None, (1, 3)),
        ("pairs", 512, 32, 448, True, 128, None, (2,)),
        ("pairs", 512, 32, 448, False, 1, "f32", (1, 40)),
        ("pairs", 512, 32, 448, False, 64, "", (2,)),
        ("pairs", 32, 4, 24, False, 4, "", (1, 5)),
        ("halves", 128, 32, 0, False, 3, None, (7,)),
        ("halves", 75, 16, 9, True, 1, "same", (33,)),
        ("pairs", 64, 32, 0, True, 5, "f32", (13,)),
    ):  # fmt: skip
        for dtype in FLOATS:
            yield _rope(dtype, layout, width, half, start, inverse, heads, weight, sizes)


def _rope(
    dtype: str, layout: str, width: int, half: int, start: int, inverse: bool, heads: int, weight: str | None,
    sizes: tuple[int, ...],
) -> tuple[str, Case]:  # fmt: skip
    weight = dtype if weight == "same" else weight
    turn = {"layout": layout, "start": start, "inverse": inverse}
    options = {"width": width, "half": half, "heads": heads, "dtype": dtype, **turn}
    build, op = rope.rope, "rope"
    if weight is not None:
        build, op, options = rope.norm_rope, "norm_rope", {**options, "weight": weight, "eps": 1e-6}
        turn["eps"] = 1e-6

    def inputs(rng: np.random.Generator, s: Sizes) -> Arrays:
        angle = rng.uniform(-3, 3, (s["M"], half)).astype(np.float32)
        out = {"x": normal(rng, dtype, s["M"], heads, width), "cos": np.cos(angle), "sin": np.sin(angle)}
        return out | ({"w": normal(rng, weight, width)} if weight else {})

    def want(a: Arrays, s: Sizes) -> Arrays:
        cos, sin = a["cos"][:, None], a["sin"][:, None]
        return {"y": reference(op, a["x"], cos, sin, *([a["w"]] if weight else []), **turn)[0]}

    name = f"{op}_{layout}_{width}_{start}_{heads}_{dtype}_{weight or 'plain'}_{'inverse' if inverse else 'forward'}"
    return name, Case(build, options, list(row_tiles()), counts("M", *sizes), inputs, want)


def angle_cases() -> Cases:
    for half, factor, sizes in ((32, 1.0, (1, 8, 100)), (5, 1.25, (3, 70)), (4, 1.0, (33,))):
        frequencies = tuple(float(np.float32(160000.0 ** (-j / half))) for j in range(half))

        def inputs(rng: np.random.Generator, s: Sizes, frequencies=frequencies) -> Arrays:
            positions = rng.integers(0, 2**20, s["M"]).astype(np.int32)
            positions[0] = 0
            return {"positions": positions, "frequencies": np.array(frequencies, np.float32)}

        def want(a: Arrays, s: Sizes, factor=factor) -> Arrays:
            angle = (a["positions"].astype(np.float32)[:, None] * a["frequencies"]).astype(np.float64)
            return {"cos": (np.cos(angle) * factor).astype("f"), "sin": (np.sin(angle) * factor).astype("f")}

        yield f"rope_angles_{half}", Case(
            angles.rope_angles, {"half": half, "factor": factor}, list(row_tiles(WHOLE)), counts("M", *sizes), inputs,
            want, units=0, absolute=2e-7 * factor,
        )  # fmt: skip


def window_angles() -> Cases:
    half = 4
    frequencies = np.array([10000.0 ** (-j / half) for j in range(half)], np.float32)

    def inputs(rng: np.random.Generator, s: Sizes) -> Arrays:
        return {"past": rng.integers(0, 2**17, s["B"]).astype(np.int32), "frequencies": frequencies}

    for rate in (4, 128):
        def want(a: Arrays, s: Sizes, rate=rate) -> Arrays:
            position = (a["past"][:, None] // rate + np.arange(s["W"])) * rate
            angle = (position.astype(np.float32)[..., None] * frequencies).astype(np.float64)
            return {"cos": np.cos(angle).astype("f"), "sin": np.sin(angle).astype("f")}

        yield f"window_angles_{rate}", Case(
            angles.window_angles, {"half": half, "factor": 1.0, "rate": rate}, list(row_tiles(WHOLE)),
            ({"B": 1, "W": 1}, {"B": 3, "W": 70}), inputs, want, units=0, absolute=2e-7,
        )  # fmt: skip


def swiglus() -> Cases:
    for width, limit, sizes in (
        (3072, 10.0, (1, 33)), (2048, inf, (5,)), (32, 10.0, (1, 40)), (1000, 0.5, (7,)), (35, inf, (3,)),
        (18432, inf, (2,)),
    ):  # fmt: skip
        for dtype in FLOATS:
            def inputs(rng: np.random.Generator, s: Sizes, width=width, dtype=dtype) -> Arrays:
                return {a: (4 * normal(rng, "f32", s["M"], width)).astype(DTYPES[dtype]) for a in ("gate", "up")}

            def want(a: Arrays, s: Sizes, limit=limit) -> Arrays:
                return {"y": reference("swiglu", a["gate"], a["up"], limit=limit)[0]}

            options = {"width": width, "dtype": dtype, "limit": limit, "experts": 0}
            tiles = list(blocks(width, (32, 16, 8, 4, 1), 1024))
            yield f"swiglu_{width}_{dtype}", Case(lines.swiglu, options, tiles, counts("M", *sizes), inputs, want)


def counted_swiglu() -> Cases:
    def inputs(rng: np.random.Generator, s: Sizes) -> Arrays:
        out = {a: normal(rng, "bf16", s["M"], 40) for a in ("gate", "up")}
        return out | {"offsets": np.array([0, 2, 2, s["M"] // 2], np.int32), "y": normal(rng, "bf16", s["M"], 40)}

    def want(a: Arrays, s: Sizes) -> Arrays:
        out, last = a["y"].copy(), a["offsets"][-1]
        out[:last] = reference("swiglu", a["gate"][:last], a["up"][:last], limit=10.0)[0]
        return {"y": out}

    options = {"width": 40, "dtype": "bf16", "limit": 10.0, "experts": 3}
    yield "swiglu_counted", Case(
        lines.swiglu, options, list(blocks(40, (32, 16, 8, 4, 1), 1024)), counts("M", 4, 90), inputs, want
    )


FAMILIES = (norms, ropes, angle_cases, window_angles, swiglus, counted_swiglu)
