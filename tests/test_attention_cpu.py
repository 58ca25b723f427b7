"""Attention and its indexer through the CPU's kernels, against the reference interpreter.

Every case is a function with one kernel op; all are lowered together, into one library, and run for several bindings:
one token and many, lengths that fill no tile, ragged chunks, contexts of nothing, less and more than a window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest
from compiling import Compiled, compiled_module, held

from dsv4c.ir.builder import Builder
from dsv4c.ir.core import Module
from dsv4c.ir.dims import symbol
from dsv4c.ir.interp import run, run_tensors, shape_of
from dsv4c.ir.types import Bundle, TensorType
from dsv4c.plan import DERIVED, Launch
from dsv4c.targets.tvm.attention.tuning import CHUNK_ROWS
from dsv4c.targets.tvm.packing import pack_function
from dsv4c.targets.tvm.templates import has_template

B, S, T, N = symbol("B"), symbol("S"), symbol("T"), symbol("N")
Array = np.ndarray[Any, Any]
Dims = dict[str, int]
Draw = Callable[[np.random.Generator, tuple[int, ...], Dims, int], Array]


@dataclass
class Case:
    """One kernel op; ``draw`` makes integers, and may look at the number of the binding."""

    op: str
    operands: tuple[TensorType, ...]
    attrs: dict[str, Any]
    bindings: tuple[Dims, ...]
    draw: dict[int, Draw] = field(default_factory=dict)
    launches: int = 1
    weight: int | None = None  # the operand that is a checkpoint weight


def f(shape: tuple, dtype: str = "f32") -> TensorType:
    return TensorType(shape, dtype)


def fixed(*values: tuple[int, ...]) -> Draw:
    """The first B numbers of the tuple of a binding."""
    return lambda g, shape, dims, run: np.resize(values[run % len(values)], shape)


def picks(limit: str) -> Draw:
    """Distinct indices with holes; twice the same and one that does not exist; a token that has chosen nothing."""

    def draw(g: np.random.Generator, shape: tuple[int, ...], dims: Dims, run: int) -> Array:
        b, s, k = shape
        count = dims[limit]
        order = np.argsort(g.random((b, s, max(k, count))), axis=-1)[..., :k]
        out = np.where((order < count) & (g.random(shape) < 0.9), order, -1)
        out[0, -1] = -1
        if s > 1 and k > 2:
            out[0, 0, 0], out[0, 0, 1], out[0, 0, 2] = out[0, 0, -1], count + 5, -7
        return out

    return draw


# --- the cases ---

PAST = ((0, 0, 0), (3, 0, 5), (17, 40, 16), (1, 2, 3), (500, 123, 16))
NEW = ((1, 1, 1), (5, 2, 0), (33, 1, 30), (9, 9, 9), (1, 1, 1))
LENGTHS = ({"B": 1, "S": 1}, {"B": 3, "S": 5}, {"B": 2, "S": 33}, {"B": 1, "S": 9}, {"B": 1, "S": 1})


def sparse() -> Iterator[tuple[str, Case]]:
    for dtype in ("f32", "bf16", "f16"):
        for heads, width, window in ((4, 40, 16), (16, 64, 16), (32, 32, 9)):
            base = (
                f((B, S, heads, width), dtype), f((B, window, width), dtype), f((B, S, width), dtype), f((B,), "i32"),
                f((B,), "i32"), f((heads,)),
            )  # fmt: skip
            draw: dict[int, Draw] = {3: fixed(*PAST), 4: fixed(*NEW)}
            kinds = {
                "window": ((), 1),
                "all": ((f((B, N, width), dtype),), 8),
                "chosen": ((f((B, N, width), dtype), f((B, S, 21), "i32")), 4),
            }
            for kind, (more, rate) in kinds.items():
                sizes = tuple(
                    {**d, **({"N": n} if more else {})} for d, n in zip(LENGTHS, (1, 3, 30, 70, 70), strict=True)
                )
                yield f"sparse_{kind}_{heads}x{width}_{dtype}", Case(
                    "sparse_attention", (*base, *more), {"scale": width**-0.5, "rate": rate}, sizes,
                    {**draw, **({7: picks("N")} if kind == "chosen" else {})},
                )  # fmt: skip
    # enough work for a second thread: one token whose keys are cut into shares, and many tokens
    wide = (
        f((B, S, 32, 128)), f((B, 16, 128)), f((B, S, 128)), f((B,), "i32"), f((B,), "i32"), f((32,)), f((B, N, 128)),
    )  # fmt: skip
    yield "sparse_shares", Case(
        "sparse_attention", wide, {"scale": 0.1, "rate": 4},
        ({"B": 1, "S": 1, "N": 999}, {"B": 1, "S": 3, "N": 999}, {"B": 1, "S": 41, "N": 999}),
        {3: fixed((4000,)), 4: fixed((1,), (2,), (41,))},
    )  # fmt: skip


def whole(low: int, high: int) -> Draw:
    """Whole numbers, so that scores are exact in any order of sums, and often equal."""
    return lambda g, shape, dims, run: g.integers(low, high, shape)


def indexers() -> Iterator[tuple[str, Case]]:
    dims = (
        {"B": 1, "S": 1, "N": 1}, {"B": 3, "S": 5, "N": 30}, {"B": 2, "S": 33, "N": 700}, {"B": 1, "S": 1, "N": 1500},
        {"B": 1, "S": 3, "N": 65},
    )  # fmt: skip
    for dtype, heads, width, rate, top_k in (
        ("f32", 4, 40, 1, 5), ("f32", 64, 96, 4, 21), ("bf16", 64, 128, 1, 128), ("bf16", 16, 64, 4, 21),
        ("f16", 3, 33, 1, 600), ("bf16", 3, 33, 2, 1), ("f32", 16, 32, 1, 600),
    ):  # fmt: skip
        past = {3: fixed((0,), (0, 7, 90), (500, 2000), (9000,), (rate * 80 - 2,))}
        for kind, q in (("ties", whole(-2, 3)), ("apart", lambda g, shape, dims, run: g.integers(0, 100, shape))):
            yield f"indexer_{kind}_{heads}x{width}_{dtype}_{top_k}_{rate}", Case(
                "lightning_indexer",
                (f((B, S, heads, width), dtype), f((B, S, heads)), f((B, N, width), dtype), f((B,), "i32")),
                {"rate": rate, "top_k": top_k, "scale": 0.125}, dims,
                {0: q, 1: whole(-2, 3), 2: whole(-2, 3), **past},
            )  # fmt: skip


LATENT = ({"B": 1, "S": 1, "T": 1}, {"B": 3, "S": 5, "T": 40}, {"B": 2, "S": 70, "T": 210}, {"B": 1, "S": 1, "T": 999})
BEFORE = ((0,), (0, 3, 35), (140, 1), (990,))


def absorbed() -> Iterator[tuple[str, Case]]:
    for dtype, heads, rank, turned in (
        ("f32", 4, 40, 8), ("f32", 32, 128, 64), ("bf16", 16, 64, 32), ("f16", 3, 33, 6), ("bf16", 5, 40, 8),
    ):  # fmt: skip
        base = (
            f((B, S, heads, rank), dtype), f((B, S, heads, turned), dtype), f((B, T, rank), dtype),
            f((B, T, turned), dtype),
        )  # fmt: skip
        kinds = (("all", f((B,), "i32"), fixed(*BEFORE)), ("chosen", f((B, S, 21), "i32"), picks("T")))
        for kind, limit, draw in kinds:
            yield (
                f"absorbed_{kind}_{heads}x{rank}_{dtype}",
                Case("mla_absorbed", (*base, limit), {"scale": 0.2}, LATENT, {4: draw}),
            )


def naive() -> Iterator[tuple[str, Case]]:
    for dtype, heads, rank, nope, turned, width in (
        ("f32", 4, 40, 16, 8, 24), ("f32", 2, 128, 64, 32, 64), ("bf16", 3, 64, 32, 32, 96), ("f16", 3, 33, 7, 6, 20),
        ("bf16", 2, 40, 16, 8, 24),
    ):  # fmt: skip
        base = (
            f((B, S, heads, nope + turned), dtype), f((B, T, rank), dtype), f((B, T, turned), dtype),
            f((heads * (nope + width), rank), dtype),
        )  # fmt: skip
        attrs = {"scale": 0.02, "nope": nope, "width": width}
        long = ({"B": 1, "S": CHUNK_ROWS + 33, "T": CHUNK_ROWS + 40},) if heads == 4 else ()
        yield (
            f"naive_all_{heads}x{rank}_{dtype}",
            Case(
                "mla_attention", (*base, f((B,), "i32")), attrs, (*LATENT, *long), {4: fixed(*BEFORE, (5,))}, weight=3
            ),
        )
        yield (
            f"naive_chosen_{heads}x{rank}_{dtype}",
            Case("mla_attention", (*base, f((B, S, 21), "i32")), attrs, LATENT, {4: picks("T")}, launches=4, weight=3),
        )


FAMILIES = (sparse, indexers, absorbed, naive)
CASES: dict[str, Case] = {name: case for family in FAMILIES for name, case in family()}


# --- compile everything, run one function ---


@cache
def compiled() -> Compiled:
    module = Module("cases")
    for name, case in CASES.items():
        types: dict[str, Any] = {f"x{i}": type_ for i, type_ in enumerate(case.operands)}
        if case.weight is not None:
            types[f"x{case.weight}"] = Bundle("W", (("w", case.operands[case.weight]),))
        with Builder(module, name, **types) as b:
            operands = [p.w if i == case.weight else p for i, p in enumerate(b.params)]
            b.done(*b.emit(case.op, operands, case.attrs))
    return compiled_module(module)


def stored(c: Compiled, name: str, case: Case, w: Array) -> dict[str, Array]:
    """A weight in every form that the plan of a case asks for."""
    out = {}
    for path, form in c.plan.weights(name, f"x{case.weight}"):
        value = w
        if path.startswith(DERIVED):
            (value,) = run_tensors(c.module, c.plan.derived[path[len(DERIVED) :]].function, [w])
        if form:
            type_ = TensorType(value.shape, case.operands[case.weight or 0].dtype)
            (value,) = run_tensors(c.module, pack_function(c.module, type_, form).name, [value])
        out[f"{path}@{form}" if form else path] = held(value, case.operands[case.weight or 0].dtype)
    return out


def operands_of(case: Case, dims: Dims, number: int) -> list[Array]:
    rng = np.random.default_rng(number)
    out = []
    for i, type_ in enumerate(case.operands):
        shape = shape_of(type_, dims)
        values = case.draw[i](rng, shape, dims, number) if i in case.draw else rng.standard_normal(shape)
        out.append(held(np.asarray(values), type_.dtype))
    return out


def execute(name: str, operands: list[Array], dims: Dims) -> Array:
    c, case = compiled(), CASES[name]
    function = c.module.functions[name]
    data = {p.name: {"": x} for p, x in zip(function.params, operands, strict=True)}
    if case.weight is not None:
        data[f"x{case.weight}"] = stored(c, name, case, operands[case.weight])
    (out,) = c.execute(name, data, dims)
    return out


def agree(got: Array, want: Array, largest: float) -> None:
    """Equal integers. An output is a mean of values, so errors are measured against the largest of them.

    f32: dot products of up to 600 terms and exp in another order and rounding: 1e-5 of it. Narrow floats: the
    reference rounds weights after it divides them by their sum, the kernel before it does or not at all, and keys and
    values that are computed are rounded at other places: a unit of a weight, twice, and the rounding of the result.
    """
    assert got.shape == want.shape and got.dtype == want.dtype
    if want.dtype.kind in "iub":
        assert (got == want).all()
        return
    unit = {"float32": 1e-5, "bfloat16": 2.0**-8, "float16": 2.0**-11}[str(want.dtype)]
    difference = np.abs(got.astype(np.float64) - want.astype(np.float64))
    assert np.isfinite(want.astype(np.float64)).all()
    assert (difference <= 2 * unit * largest).all(), float(difference.max() / largest)


@pytest.mark.parametrize("name", CASES)
def test_against_interpreter(name: str):
    case = CASES[name]
    c = compiled()
    assert has_template(c.module.functions[name].ops[-1])
    steps = c.plan.functions[name].steps
    assert all(isinstance(step, Launch) for step in steps) and len(steps) == case.launches
    for number, dims in enumerate(case.bindings):
        operands = operands_of(case, dims, number)
        given = [{"w": x} if i == case.weight else x for i, x in enumerate(operands)]
        (want,) = run(c.module, name, given, dims)
        got = execute(name, operands, dims)
        agree(got, want, largest_value(case, operands))


def largest_value(case: Case, operands: list[Array]) -> float:
    """The largest magnitude of what an output can be the mean of."""
    wide = [x.astype(np.float64) for x in operands]
    if case.op == "sparse_attention":
        return max(float(np.abs(x).max(initial=1)) for x in (*wide[1:3], *wide[6:7]))
    if case.op == "mla_absorbed":
        return float(np.abs(wide[2]).max(initial=1))
    return float(np.abs(wide[1] @ wide[3].T).max(initial=1)) if case.op == "mla_attention" else 1.0
