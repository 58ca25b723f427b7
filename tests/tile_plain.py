"""Cases of copies, casts, comparisons, gathers and greedy choice (tiling.py)."""

from __future__ import annotations

import numpy as np
from tiling import Array, Arrays, Case, Cases, Sizes, core, counts, normal

from dsv4c.ir.types import DTYPES
from dsv4c.targets.tile.kernels import copies, lines
from dsv4c.targets.tile.kernels.select import argmax

LINE = [{"cols": 1024}]
POINTS = counts("N", 1, 31, 1024, 5000)


def integers(rng: np.random.Generator, *shape: int) -> Array:
    return rng.integers(-(2**15), 2**15, shape).astype(np.int32)  # products do not overflow


def anything(rng: np.random.Generator, dtype: str, *shape: int) -> Array:
    if dtype == "bool":
        return rng.random(shape) < 0.5
    return integers(rng, *shape) if dtype == "i32" else normal(rng, dtype, *shape)


def elementwise() -> Cases:
    for source, out in (
        ("bf16", "f32"), ("f32", "bf16"), ("i32", "f32"), ("f32", "f32"), ("bool", "f32"), ("bool", "i32"),
        ("f32", "bool"), ("bf16", "f16"), ("i32", "i32"), ("bf16", "bf16"), ("bool", "bool"),
    ):  # fmt: skip
        def inputs(rng: np.random.Generator, s: Sizes, source=source, out=out) -> Arrays:
            x = anything(rng, "bool", s["N"]).astype(np.float32) if out == "bool" else anything(rng, source, s["N"])
            return {"x0": x.astype(DTYPES[source])}

        def want(a: Arrays, s: Sizes, out=out) -> Arrays:
            return {"y": a["x0"].astype(DTYPES[out])}

        yield f"cast_{source}_{out}", Case(
            lines.cast_line, {"source": source, "out": out}, LINE, POINTS, inputs, want, units=0
        )
    for op, dtype in (("add", "f32"), ("sub", "bf16"), ("mul", "bf16"), ("add", "i32"), ("mul", "i32")):
        def pair(rng: np.random.Generator, s: Sizes, dtype=dtype) -> Arrays:
            return {name: anything(rng, dtype, s["N"]) for name in ("x0", "x1")}

        def both(a: Arrays, s: Sizes, op=op) -> Arrays:
            return {"y": core(op, a["x0"], a["x1"])}

        def one(a: Arrays, s: Sizes, op=op) -> Arrays:
            return {"y": core(op, a["x0"], np.array([3], a["x0"].dtype))}

        options = {"op": op, "dtype": dtype}
        yield f"binary_{op}_{dtype}", Case(lines.binary_line, options, LINE, POINTS, pair, both, units=1)
        yield f"number_{op}_{dtype}", Case(
            lines.number_line, {**options, "number": 3.0}, LINE, POINTS, lambda r, s, p=pair: {"x0": p(r, s)["x0"]},
            one, units=1,
        )  # fmt: skip


def comparisons() -> Cases:
    symbols = {"lt": "<", "le": "<=", "eq": "=="}
    for op, dtype in (("lt", "i32"), ("le", "bf16"), ("eq", "f32")):
        def pair(rng: np.random.Generator, s: Sizes, dtype=dtype) -> Arrays:
            return {name: rng.integers(0, 3, s["N"]).astype(DTYPES[dtype]) for name in ("x0", "x1")}

        def both(a: Arrays, s: Sizes, op=op) -> Arrays:
            return {"y": core(op, a["x0"], a["x1"])}

        options = {"cmp": symbols[op], "dtype": dtype}
        yield f"compare_{op}_{dtype}", Case(lines.compare_line, options, LINE, POINTS, pair, both)

    def lines_of(rng: np.random.Generator, s: Sizes) -> Arrays:
        return {"column": rng.integers(0, 99, s["A"]).astype(np.int32), "row": np.arange(s["N"], dtype=np.int32)}

    sizes = tuple({"A": a, "N": n} for a, n in ((1, 1), (3, 70), (5, 1500)))
    yield "positions", Case(
        lines.outer_add, {}, LINE, sizes, lines_of,
        lambda a, s: {"y": core("add", a["column"][:, None], a["row"][None])},
    )  # fmt: skip
    for op, cmp, swapped in (("lt", "<", False), ("lt", ">", True), ("le", ">=", True)):
        def outer(a: Arrays, s: Sizes, op=op, swapped=swapped) -> Arrays:
            row, column = a["row"][None], a["column"][:, None]
            return {"y": core(op, column, row) if swapped else core(op, row, column)}

        yield f"outer_{op}_{swapped}", Case(lines.outer_compare, {"cmp": cmp}, LINE, sizes, lines_of, outer)
    yield "iota", Case(
        lines.iota_line, {}, LINE, POINTS, lambda r, s: {}, lambda a, s: {"y": np.arange(s["N"], dtype=np.int32)}
    )


def copied() -> Cases:
    for dtype, source, start, out, at, width, tile in (
        ("bf16", 576, 512, 64, 0, 64, (16, 64)), ("f32", 1536, 0, 512, 0, 512, (16, 256)),
        ("bf16", 512, 0, 576, 64, 512, (8, 512)), ("i32", 33, 7, 11, 0, 11, (16, 16)),
        ("bool", 40, 1, 35, 3, 31, (8, 32)),
        ("bf16", 20000, 3, 19000, 0, 19000, (1, 4096)), ("f32", 5, 0, 9, 4, 5, (64, 8)),
    ):  # fmt: skip
        def inputs(rng: np.random.Generator, s: Sizes, dtype=dtype, source=source, out=out, width=width) -> Arrays:
            whole = {} if width == out else {"y": anything(rng, dtype, s["M"], out)}
            return {"x": anything(rng, dtype, s["M"], source), **whole}

        def want(a: Arrays, s: Sizes, start=start, at=at, width=width) -> Arrays:
            part = a["x"][:, start : start + width]
            if "y" in a:
                part, new = a["y"].copy(), part
                part[:, at : at + width] = new
            return {"y": np.ascontiguousarray(part)}

        options = {"dtype": dtype, "source": source, "start": start, "out": out, "at": at, "width": width}
        yield f"columns_{dtype}_{source}_{width}", Case(
            copies.copy_columns, options, [{"rows": tile[0], "cols": tile[1]}], counts("M", 1, 37), inputs, want
        )
    for dtype, width, tile in (
        ("bf16", 512, (16, 256)), ("f32", 64, (64, 64)), ("i32", 3, (8, 8)), ("bf16", 75, (8, 80)),
    ):  # fmt: skip
        yield f"swap_{dtype}_{width}", Case(
            copies.swap_axes, {"dtype": dtype, "width": width}, [{"rows": tile[0], "cols": tile[1]}],
            ({"A": 1, "B": 1, "C": 1}, {"A": 2, "B": 3, "C": 5}, {"A": 1, "B": 4, "C": 70}),
            lambda r, s, d=dtype, w=width: {"x": anything(r, d, s["A"], s["B"], s["C"], w)},
            lambda a, s: {"y": np.ascontiguousarray(a["x"].transpose(0, 2, 1, 3))},
        )  # fmt: skip
    for dtype, width, times, cols in (("bf16", 4096, 4, 4096), ("f32", 33, 3, 48), ("bool", 1, 5, 16)):
        yield f"repeat_{dtype}_{width}", Case(
            copies.repeat_rows, {"dtype": dtype, "times": times, "width": width}, [{"cols": cols}], counts("M", 1, 7),
            lambda r, s, d=dtype, w=width: {"x": anything(r, d, s["M"], w)},
            lambda a, s, n=times: {"y": np.repeat(a["x"][:, None], n, axis=1)},
        )  # fmt: skip


def gathers() -> Cases:
    for dtype, width, cols in (
        ("bf16", 7168, 7168), ("bf16", 7168, 2048), ("f32", 4096, 512), ("i32", 6, 16), ("f32", 1000, 256),
        ("bf16", 3, 16), ("bf16", 64, 64), ("f32", 200000, 8192),
    ):  # fmt: skip
        def inputs(rng: np.random.Generator, s: Sizes, dtype=dtype, width=width) -> Arrays:
            index = rng.integers(0, s["N"], s["M"]).astype(np.int32)
            return {"x": anything(rng, dtype, s["N"], width), "index": index}

        options = {"dtype": dtype, "width": width, "shared": 1, "each": 0, "counted": 0}
        yield f"gather_{dtype}_{width}_{cols}", Case(
            copies.gather_rows, options, [{"cols": cols}], ({"M": 1, "N": 2}, {"M": 13, "N": 7}), inputs,
            lambda a, s: {"y": core("gather", a["x"], a["index"], batch=0)},
        )  # fmt: skip


def special_gathers() -> Cases:
    def own(rng: np.random.Generator, s: Sizes) -> Arrays:
        index = rng.integers(0, s["N"], s["M"]).astype(np.int32)
        return {"x": normal(rng, "bf16", s["M"] // 4, s["N"], 40), "index": index}

    def chosen(a: Arrays, s: Sizes) -> Arrays:
        return {"y": core("gather", a["x"], a["index"].reshape(-1, 4), batch=1).reshape(s["M"], 40)}

    options = {"dtype": "bf16", "width": 40, "shared": 1, "each": 4, "counted": 0}
    yield "gather_own_tables", Case(copies.gather_rows, options, [{"cols": 48}], ({"M": 12, "N": 5},), own, chosen)

    def counted(rng: np.random.Generator, s: Sizes) -> Arrays:
        out = {"x": normal(rng, "f32", s["N"], 24), "index": rng.integers(0, 3 * s["N"], s["M"]).astype(np.int32)}
        return out | {"offsets": np.array([0, 2, 9], np.int32), "y": normal(rng, "f32", s["M"], 24)}

    def first(a: Arrays, s: Sizes) -> Arrays:
        out = a["y"].copy()
        out[:9] = a["x"][a["index"][:9] // 3]
        return {"y": out}

    options = {"dtype": "f32", "width": 24, "shared": 3, "each": 0, "counted": 2}
    yield "gather_counted", Case(copies.gather_rows, options, [{"cols": 32}], ({"M": 30, "N": 5},), counted, first)


def choices() -> Cases:
    def logits(rng: np.random.Generator, s: Sizes, dtype: str) -> Arrays:
        x = np.round(rng.standard_normal((s["M"], s["N"])) * 2)  # many are equal
        x[s["M"] // 2] = -np.inf
        return {"x": x.astype(DTYPES[dtype])}

    for dtype in ("f32", "bf16"):
        yield f"argmax_{dtype}", Case(
            argmax, {"dtype": dtype}, LINE, ({"M": 1, "N": 1}, {"M": 3, "N": 1000}, {"M": 50, "N": 5000}),
            lambda r, s, d=dtype: logits(r, s, d),
            lambda a, s: {"y": np.argmax(a["x"].astype(np.float32), 1).astype(np.int32)},
        )  # fmt: skip


FAMILIES = (elementwise, comparisons, copied, gathers, special_gathers, choices)
