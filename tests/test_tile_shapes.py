"""Statements over tiles of all shapes: rows, columns, single numbers, ragged widths, in every place they may stand.

What the logical interpreter broadcasts in one line of numpy, a chip does with strides, repeats and copies.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ascend import needs_compiler
from tiling import Arrays, Bench, Case, Sizes, normal

from dsv4c.targets.tile import interpret
from dsv4c.targets.tile.build import Kernel
from dsv4c.targets.tile.logical import Piece, Program

pytestmark = needs_compiler
Body = Callable[[Kernel, list[Piece]], Piece]
WHOLES = ((5, 70), (16, 8), (1, 40), (300, 24), (24, 1), (2, 2200))
SHAPES = ("whole", "row", "column", "one")
PAIRS = (*product(("sub",), SHAPES, SHAPES), *(("max", a, b) for a in SHAPES[1:] for b in SHAPES[:3] if a != b))


def shape_of(kind: str, rows: int, cols: int) -> tuple[int, int]:
    return {"whole": (rows, cols), "row": (1, cols), "column": (rows, 1), "one": (1, 1)}[kind]


def program(shapes: list[tuple[int, int]], out: tuple[int, int], body: Body, stages: int) -> Program:
    """``y = body(x0, x1, ..)`` for each of ``N`` sets of operands in turn."""
    k = Kernel("shapes", stages)
    count = k.size("N")
    xs = [k.tensor(f"x{i}", "f32", count, r * c) for i, (r, c) in enumerate(shapes)]
    y = k.out("y", "f32", count, out[0] * out[1])
    for task in k.tasks(count):
        loaded = []
        for x, (r, c) in zip(xs, shapes, strict=True):
            wide = 1 if c == 1 else c
            loaded.append(k.load(x.window(task * (r * c), r, wide, wide), r, c, fill=None))
        k.store(y.window(task * (out[0] * out[1]), out[0], out[1], out[1]), body(k, loaded))
    return k.done()


def case(shapes: list[tuple[int, int]], out: tuple[int, int], body: Body) -> Case:
    made = program(shapes, out, body, 1)

    def inputs(rng: np.random.Generator, s: Sizes) -> Arrays:
        return {f"x{i}": normal(rng, "f32", s["N"], r * c) for i, (r, c) in enumerate(shapes)}

    def want(a: Arrays, s: Sizes) -> Arrays:
        y = np.zeros((s["N"], out[0] * out[1]), np.float32)
        interpret.run(made, {**a, "y": y}, s)
        return {"y": y}

    # Sums of numbers of both signs cancel: what is left may be small against what was added.
    return Case(
        lambda stages: program(shapes, out, body, stages), {}, [{}], ({"N": 4},), inputs, want, units=4, absolute=1e-5
    )


def binary(op: str) -> Body:
    return lambda k, x: k.compute(op, x[0], x[1])


def cases() -> dict[str, Case]:
    out = {}
    for rows, cols in WHOLES:
        whole, label = (rows, cols), f"{rows}x{cols}"
        for op, a, b in PAIRS:
            shapes = [shape_of(a, rows, cols), shape_of(b, rows, cols)]
            full = (max(shapes[0][0], shapes[1][0]), max(shapes[0][1], shapes[1][1]))
            out[f"{op}_{a}_{b}_{label}"] = case(shapes, full, binary(op))
        for kind in SHAPES:
            shape = shape_of(kind, rows, cols)
            out[f"spread_{kind}_{label}"] = case([shape], whole, lambda k, x, w=whole: k.full(x[0], *w))
            where = case([whole, shape], whole, lambda k, x: k.where(x[0], "<", x[1], 1.0, x[0]))
            out[f"where_{kind}_{label}"] = where
            select = case([whole, shape], whole, lambda k, x: k.where(x[0], ">", 0.0, x[1], -2.0))
            out[f"select_{kind}_{label}"] = select
        for op in ("sum", "min"):
            out[f"{op}_columns_{label}"] = case([whole], (rows, 1), lambda k, x, op=op: k.reduce(op, x[0], 1))
            out[f"{op}_rows_{label}"] = case([whole], (1, cols), lambda k, x, op=op: k.reduce(op, x[0], 0))
        out[f"narrow_{label}"] = case([whole], whole, lambda k, x: k.mul(k.rounded(x[0], "bf16"), x[0]))
        out[f"number_{label}"] = case([whole], whole, lambda k, x: k.sub(1.0, k.div(2.0, k.mul(x[0], 3.0))))
        if cols > 1 and rows > 1:
            out[f"transpose_{label}"] = case([whole], (cols, rows), lambda k, x: k.transpose(x[0]))
        if cols % 2 == 0:
            halves = case([whole], whole, lambda k, x: k.interleave(k.odd(x[0]), k.even(x[0])))
            out[f"halves_{label}"] = halves
    return out


CASES = cases()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> Bench:
    return Bench(CASES, tmp_path_factory.mktemp("tile_shapes"), machine_folder)


@pytest.mark.parametrize("name", CASES)
def test_shapes(bench: Bench, name: str):
    bench.prove(name)
