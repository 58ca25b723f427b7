"""Kernels with matrix products, and two without, on the 950: tile programs at four levels (tiling.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ascend import needs_compiler
from tiling import Arrays, Bench, Case, Sizes, counts, normal, reference

from dsv4c.targets.ascend.spell import spell
from dsv4c.targets.tile.build import Kernel
from dsv4c.targets.tile.chip import load_chip
from dsv4c.targets.tile.davinci.legalize import legalize
from dsv4c.targets.tile.davinci.scope import IllegalError
from dsv4c.targets.tile.kernels import lines, norm
from dsv4c.targets.tile.kernels.attention import mla_absorbed, mla_naive, sparse_attention
from dsv4c.targets.tile.kernels.indexer import lightning_indexer
from dsv4c.targets.tile.kernels.linear import linear, linear_experts
from dsv4c.targets.tile.templates.rows import blocks, row_tiles

pytestmark = needs_compiler
Cases = Iterator[tuple[str, Case]]


def linears() -> Cases:
    for n, k, groups, dtype, out, tiles, sizes in (
        (40, 72, 1, "bf16", "bf16", {"rows": 32, "cols": 32, "depth": 32}, (1, 37)),
        (33, 40, 3, "f32", "f32", {"rows": 16, "cols": 48, "depth": 48}, (5,)),
        (256, 512, 1, "bf16", "f32", {"rows": 128, "cols": 256, "depth": 256}, (130,)),
    ):  # fmt: skip
        def inputs(rng: np.random.Generator, s: Sizes, n=n, k=k, groups=groups, dtype=dtype) -> Arrays:
            return {"x": normal(rng, dtype, s["M"], groups, k), "w": normal(rng, dtype, groups, n, k)}

        def want(a: Arrays, s: Sizes, out=out) -> Arrays:
            y = np.einsum("mgk,gnk->mgn", a["x"].astype("d"), a["w"].astype("d"))
            return {"y": y.astype("f").astype(a["x"].dtype if out == "bf16" else "f")}

        options = {"n": n, "k": k, "dtype": dtype, "out": out, "groups": groups}
        yield f"linear_{n}_{k}_{groups}", Case(linear, options, [tiles], counts("M", *sizes), inputs, want, 64)


def experts() -> Cases:
    n, k, number = 24, 48, 3

    def inputs(rng: np.random.Generator, s: Sizes) -> Arrays:
        out = {"x": normal(rng, "bf16", s["M"], k), "w": normal(rng, "bf16", number, n, k)}
        return out | {"offsets": np.array([0, 0, 20, s["M"] - 3], np.int32), "y": normal(rng, "bf16", s["M"], n)}

    def want(a: Arrays, s: Sizes) -> Arrays:
        y = a["y"].copy()
        for e, (begin, end) in enumerate(zip(a["offsets"], a["offsets"][1:], strict=False)):
            y[begin:end] = a["x"][begin:end].astype("f") @ a["w"][e].astype("f").T
        return {"y": y}

    options = {"n": n, "k": k, "dtype": "bf16", "out": "bf16", "experts": number}
    tiles = [{"rows": 16, "cols": 32, "depth": 32}]
    yield "linear_experts", Case(linear_experts, options, tiles, counts("M", 45), inputs, want, 64)


def picks(rng: np.random.Generator, shape: tuple[int, ...], count: int) -> np.ndarray[Any, Any]:
    """Different entries, some -1, the last query's all."""
    order = np.argsort(rng.random((*shape[:2], max(shape[2], count))), axis=-1)[..., : shape[2]]
    out = np.where((order < count) & (rng.random(shape) < 0.8), order, -1).astype(np.int32)
    out[0, -1] = -1
    return out


def sparse() -> Cases:
    window = 9
    for dtype, heads, width, kind, tiles in (
        ("f32", 4, 40, "window", {"rows": 16, "panel": 16, "chunk": 16}),
        ("f32", 4, 32, "chosen", {"rows": 16, "panel": 32, "chunk": 16}),
        ("bf16", 20, 64, "all", {"rows": 16, "panel": 32, "chunk": 64}),
        ("bf16", 64, 512, "chosen", {"rows": 64, "panel": 64, "chunk": 128}),
    ):  # fmt: skip
        k = 21 if kind == "chosen" else 0

        def inputs(
            rng: np.random.Generator, s: Sizes, dtype=dtype, heads=heads, width=width, kind=kind, k=k
        ) -> Arrays:
            b, n = s["B"], s["S"]
            past = np.array([40, 0, 3][:b], np.int32)
            fresh = np.array([n, max(n - 1, 1), n][:b], np.int32)
            out = {
                "q": normal(rng, dtype, b, n, heads, width), "ring": normal(rng, dtype, b, window, width),
                "kv": normal(rng, dtype, b, n, width), "past": past, "fresh": fresh, "sinks": normal(rng, "f32", heads),
            }  # fmt: skip
            more = {} if kind == "window" else {"entries": normal(rng, dtype, b, s["N"], width)}
            return out | more | ({"chosen": picks(rng, (b, n, k), s["N"])} if k else {})

        def want(a: Arrays, s: Sizes, width=width, kind=kind) -> Arrays:
            rate = 1 if kind == "window" else 4
            return {"out": reference("sparse_attention", *a.values(), scale=width**-0.5, rate=rate)[0]}

        options = {
            "heads": heads, "width": width, "window": window, "entries": kind != "window", "top_k": k,
            "rate": 1 if kind == "window" else 4, "scale": width**-0.5, "dtype": dtype,
        }  # fmt: skip
        sizes = ({"B": 1, "S": 1, "N": 30}, {"B": 2, "S": 3, "N": 30})
        absolute = 0.0 if dtype == "f32" else 0.02
        yield f"sparse_{kind}_{width}_{dtype}", Case(
            sparse_attention, options, [tiles], sizes[:1] if width == 512 else sizes, inputs, want, 64, absolute
        )


def absorbed() -> Cases:
    skip = 8
    for dtype, heads, rank, turned, k in (("f32", 4, 40, 8, 0), ("bf16", 18, 64, 32, 11)):
        def inputs(
            rng: np.random.Generator, s: Sizes, dtype=dtype, heads=heads, rank=rank, turned=turned, k=k
        ) -> Arrays:
            b, n, t = s["B"], s["S"], s["T"]
            limit = {"chosen": picks(rng, (b, n, k), t)} if k else {"past": np.array([t - n, 0][:b], np.int32)}
            return {
                "q_latent": normal(rng, dtype, b, n, heads, rank),
                "q_rope": normal(rng, dtype, b, n, heads, skip + turned),
                "latents": normal(rng, dtype, b, t, rank), "rope_keys": normal(rng, dtype, b, t, turned),
            } | limit  # fmt: skip

        def want(a: Arrays, s: Sizes) -> Arrays:
            plain, wide, *rest = a.values()
            out = reference("mla_absorbed", plain, np.ascontiguousarray(wide[..., skip:]), *rest, scale=0.2)[0]
            limit = rest[-1]
            if limit.ndim == 3:  # no key at all: the reference averages what it masks
                none = (limit < 0).all(axis=-1)
                out[none] = 0
            return {"out": out}

        options = {
            "heads": heads, "rank": rank, "turned": turned, "skip": skip, "top_k": k, "scale": 0.2, "dtype": dtype,
        }  # fmt: skip
        tiles, absolute = [{"rows": 16, "panel": 16, "chunk": 16}], 0.0 if dtype == "f32" else 0.02
        yield f"absorbed_{dtype}", Case(
            mla_absorbed, options, tiles, ({"B": 2, "S": 3, "T": 37},), inputs, want, 64, absolute
        )


def naive() -> Cases:
    for dtype, heads, nope, turned, width in (("f32", 3, 20, 8, 32), ("bf16", 2, 64, 32, 48)):
        channels = heads * (nope + width)

        def inputs(
            rng: np.random.Generator, s: Sizes, dtype=dtype, heads=heads, both=nope + turned, turned=turned, n=channels
        ) -> Arrays:
            b, t = s["B"], s["T"]
            return {
                "q": normal(rng, dtype, b, s["S"], heads, both), "expanded": normal(rng, dtype, b, t, n),
                "rope_keys": normal(rng, dtype, b, t, turned), "past": np.array([t - s["S"], 0][:b], np.int32),
            }  # fmt: skip

        def want(a: Arrays, s: Sizes, nope=nope, width=width, n=channels) -> Arrays:
            q, expanded, rope_keys, past = a.values()
            same = np.eye(n, dtype=expanded.dtype)  # a weight that leaves latents as they are
            operands = q, expanded, rope_keys, same, past
            return {"out": reference("mla_attention", *operands, scale=0.2, nope=nope, width=width)[0]}

        options = {"heads": heads, "nope": nope, "turned": turned, "width": width, "scale": 0.2, "dtype": dtype}
        tiles, absolute = [{"rows": 16, "panel": 16, "chunk": 16}], 0.0 if dtype == "f32" else 0.02
        sizes = ({"B": 2, "S": 21, "T": 40}, {"B": 1, "S": 1, "T": 5})
        yield f"naive_{dtype}", Case(mla_naive, options, tiles, sizes, inputs, want, 64, absolute)


def indexers() -> Cases:
    for dtype, heads, width, rate, top_k in (("f32", 4, 40, 1, 5), ("bf16", 18, 64, 4, 70)):
        def inputs(rng: np.random.Generator, s: Sizes, dtype=dtype, heads=heads, width=width) -> Arrays:
            b, n = s["B"], s["S"]
            whole = {
                "q": rng.integers(0, 30, (b, n, heads, width)), "head_weights": rng.integers(-2, 3, (b, n, heads)),
                "keys": rng.integers(-2, 3, (b, s["N"], width)),
            }  # fmt: skip
            kinds = normal(rng, dtype, 1).dtype, np.float32, normal(rng, dtype, 1).dtype
            out = {key: a.astype("f").astype(kind) for (key, a), kind in zip(whole.items(), kinds, strict=True)}
            return out | {"past": np.array([900, 17][:b], np.int32)}

        def want(a: Arrays, s: Sizes, rate=rate, top_k=top_k) -> Arrays:
            chosen = reference("lightning_indexer", *a.values(), rate=rate, top_k=top_k, scale=0.125)[0]
            some = np.sort(np.where(chosen < 0, 2**30, chosen), axis=-1)  # in the order of the keys
            return {"out": np.where(some == 2**30, -1, some).astype(np.int32)}

        options = {
            "heads": heads, "width": width, "rate": rate, "top_k": top_k, "scale": 0.125, "dtype": dtype,
        }  # fmt: skip
        tiles = [{"rows": 16 if heads < 16 else 32, "panel": 64, "chunk": 256}]
        yield f"indexer_{dtype}", Case(
            lightning_indexer, options, tiles, ({"B": 2, "S": 2, "N": 300},), inputs, want
        )


def vectors() -> Cases:
    def rows(rng: np.random.Generator, s: Sizes) -> Arrays:
        return {"x": normal(rng, "bf16", s["M"], 1000), "w": normal(rng, "f32", 1000)}

    def normed(a: Arrays, s: Sizes) -> Arrays:
        return {"y": reference("rms_norm", *a.values(), eps=1e-6)[0]}

    options = {"width": 1000, "dtype": "bf16", "weight": "f32", "eps": 1e-6}
    yield "rms_norm", Case(norm.rms_norm, options, list(row_tiles()), counts("M", 1, 70), rows, normed)

    def halves(rng: np.random.Generator, s: Sizes) -> Arrays:
        return {name: normal(rng, "bf16", s["M"], 1000) for name in ("gate", "up")}

    def gated(a: Arrays, s: Sizes) -> Arrays:
        return {"y": reference("swiglu", a["gate"], a["up"], limit=0.5)[0]}

    options = {"width": 1000, "dtype": "bf16", "limit": 0.5, "experts": 0}
    tiles = list(blocks(1000, (32, 16, 8, 4, 1), 1024))
    yield "swiglu", Case(lines.swiglu, options, tiles, counts("M", 7), halves, gated)


FAMILIES = (linears, experts, sparse, absorbed, naive, indexers, vectors)
CASES: dict[str, Case] = {name: case for family in FAMILIES for name, case in family()}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> Bench:
    chip = load_chip("dsv4c.targets.ascend", "950pr")
    return Bench(CASES, tmp_path_factory.mktemp("tile_cube"), machine_folder, chip)


@pytest.mark.parametrize("name", CASES)
def test_four_levels(bench: Any, name: str):
    bench.prove(name)


def test_what_the_950_does_without(bench: Any):
    text = "".join(spell(kernel.physical).kernel for kernel in bench.kernels.values())
    for other in ("PipeBarrier<PIPE_V>", "LoadData2DParams ", "FixpipeParamsV220", "CrossCoreSetFlag<2"):
        assert other not in text
    for own in ("LoadData2DParamsV2", "Fixpipe<float, float, TO_UB>", "CrossCoreWaitFlag<4, PIPE_MTE1>"):
        assert own in text
    assert {kernel.physical.workspace for kernel in bench.kernels.values()} == {0}


def test_two_held_at_the_same_time_are_refused():
    k = Kernel("held")
    x, acc = k.vec(16, 16), k.acc(16, 16)
    k.copy(0.0, x)
    first, second, third = (k.to_cube(x, "bf16") for _ in range(3))
    for a, b in ((third, third), (second, third), (first, second)):
        k.mma(acc, a, b, 1, 16)
    with pytest.raises(IllegalError, match="up_16x16_bf16: more than two"):
        legalize(k.done(), load_chip("dsv4c.targets.ascend", "950pr"))
