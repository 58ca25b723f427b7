"""Kernel ops through the CPU's own kernels, against the reference interpreter.

Every case is a function with one kernel op; all are lowered together, into one library. A case runs for several
bindings of its dimensions: one token, widths and lengths that fill no vector, ragged sequences, with and without past.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from math import inf
from typing import Any

import numpy as np
import pytest
from compiling import Compiled, compiled_module, held

from dsv4c.ir.builder import Builder
from dsv4c.ir.core import Module
from dsv4c.ir.dims import symbol
from dsv4c.ir.interp import run, shape_of
from dsv4c.ir.types import DTYPES, TensorType
from dsv4c.ir.verify import verify_function
from dsv4c.plan import Launch
from dsv4c.targets.tvm.templates import has_template

B, S, T, R = symbol("B"), symbol("S"), symbol("T"), symbol("R")
EPS = {"f32": 2.0**-23, "bf16": 2.0**-7, "f16": 2.0**-10}  # one unit in the last place, relative
FLOATS = ("f32", "bf16", "f16")
Array = np.ndarray[Any, Any]
Dims = dict[str, int]


@dataclass
class Case:
    """One kernel op: operand types, attributes, the bindings to run, and numbers that are not just normal."""

    op: str
    operands: tuple[TensorType, ...]
    attrs: dict[str, Any]
    bindings: tuple[Dims, ...]
    draw: dict[int, Callable[[np.random.Generator, tuple[int, ...], Dims], Array]] = field(default_factory=dict)
    units: float = 16  # of the last place of an f32 result's largest neighbour; sums are in another order
    launches: int = 1


def f(shape: tuple, dtype: str = "f32", state: bool = False) -> TensorType:
    return TensorType(shape, dtype, state)


def rows(*counts: int) -> tuple[Dims, ...]:
    return tuple({"R": n} for n in counts)


def chunks(*sizes: tuple[int, int], t: int = 0) -> tuple[Dims, ...]:
    return tuple({"B": b, "S": s} | ({"T": t} if t else {}) for b, s in sizes)


# --- the cases, one generator a family ---


def norms() -> Iterator[tuple[str, Case]]:
    for width in (1, 40, 64, 1000):
        for dtype in FLOATS:
            for weight in ("", "f32", dtype):
                w = (f((width,), weight),) if weight else ()
                yield f"rms_norm_{width}_{dtype}_{weight}", Case(
                    "rms_norm", (f((B, S, width), dtype), *w), {"eps": 1e-6}, chunks((1, 1), (2, 5), (3, 40))
                )
            yield f"layer_norm_{width}_{dtype}", Case(
                "layer_norm", (f((R, width), dtype), f((width,)), f((width,))), {"eps": 1e-5}, rows(1, 7, 100)
            )


def ropes() -> Iterator[tuple[str, Case]]:
    layouts = [("pairs", 0), ("pairs", 9), ("halves", 0), ("halves", 16)]
    for layout, start in layouts:
        for dtype in FLOATS:
            for half in (4, 16, 21):
                attrs = {"layout": layout, "start": start, "inverse": start > 0}
                width = start + 2 * half + (3 if half == 4 else 0)
                heads, plain = (f((B, S, 3, width), dtype), (B, S, 1, half)), (f((B, S, width), dtype), (B, S, half))
                for name, (x, angles) in {"heads": heads, "plain": plain}.items():
                    yield f"rope_{layout}_{start}_{half}_{dtype}_{name}", Case(
                        "rope", (x, f(angles), f(angles)), attrs, chunks((1, 1), (2, 5), (2, 300))
                    )
    for name, angles in {"none": (1, 1, 16), "tokens": (S, 1, 16), "heads": (1, 1, 3, 16)}.items():
        yield f"rope_broadcast_{name}", Case(
            "rope", (f((B, S, 3, 32)), f(angles), f(angles)), {"layout": "pairs", "start": 0, "inverse": False},
            chunks((2, 5)),
        )  # fmt: skip
    positions = {0: lambda g, shape, dims: g.integers(0, 100000, shape)}
    for half, factor in ((32, 1.0), (5, 1.25)):
        yield f"rope_angles_{half}", Case(
            "rope_angles", (f((B, S), "i32"),),
            {"frequencies": tuple(10000.0 ** (-j / half) for j in range(half)), "factor": factor},
            chunks((1, 1), (2, 5), (3, 700)), positions,
        )  # fmt: skip


def activations() -> Iterator[tuple[str, Case]]:
    for width in (1, 40, 512):
        for dtype in FLOATS:
            for limit in (inf, 1.0):
                yield f"swiglu_{width}_{dtype}_{limit}", Case(
                    "swiglu", (f((R, width), dtype), f((R, width), dtype)), {"limit": limit}, rows(1, 7, 50)
                )


CASES: dict[str, Case] = {name: case for family in (norms, ropes, activations) for name, case in family()}


# --- compile everything, run one function ---


@cache
def compiled() -> Compiled:
    module = Module("cases")
    for name, case in CASES.items():
        with Builder(module, name, **{f"x{i}": type_ for i, type_ in enumerate(case.operands)}) as b:
            verify_function(module, b.done(*b.emit(case.op, b.params, case.attrs)))
    return compiled_module(module)


def numbers(case: Case, dims: Dims) -> list[Array]:
    rng = np.random.default_rng(sum(dims.values()))
    out = []
    for i, type_ in enumerate(case.operands):
        shape = shape_of(type_, dims)
        values = case.draw[i](rng, shape, dims) if i in case.draw else rng.standard_normal(shape)
        out.append(held(np.asarray(values), type_.dtype))
    return out


def execute(name: str, operands: list[Array], dims: Dims) -> list[Array]:
    c = compiled()
    params = c.module.functions[name].params
    return c.execute(name, {p.name: {"": x} for p, x in zip(params, operands, strict=True)}, dims)


def agree(got: Array, want: Array, units: float) -> None:
    """Equal integers. f32: the order of sums differs, so ``units`` of the last place at the magnitude of the row.
    Narrow floats: such an f32 may round to the neighbour, one unit.
    """
    assert got.shape == want.shape and got.dtype == want.dtype
    if want.dtype.kind in "iub":
        assert (got == want).all()
        return
    dtype = next(name for name, kind in DTYPES.items() if kind == want.dtype)
    wide = want.astype(np.float64)
    size = np.abs(wide).max(axis=-1, keepdims=True) if want.size else 1
    bound = units * EPS["f32"] * size + (EPS[dtype] * np.maximum(np.abs(wide), 2.0**-14) if dtype != "f32" else 0)
    difference = np.abs(got.astype(np.float64) - wide)
    assert (np.where(got == want, 0, difference) <= bound).all(), float((difference / bound).max())


def test_templates_take_every_case():
    c = compiled()
    ops = {name: next(op for op in c.module.functions[name].ops if op.name == CASES[name].op) for name in CASES}
    assert [name for name, op in ops.items() if not has_template(op)] == []


@pytest.mark.parametrize("name", CASES)
def test_launches(name: str):
    steps = compiled().plan.functions[name].steps
    assert all(isinstance(step, Launch) for step in steps) and len(steps) == CASES[name].launches


@pytest.mark.parametrize("name", CASES)
def test_against_interpreter(name: str):
    case = CASES[name]
    for dims in case.bindings:
        operands = numbers(case, dims)
        want = run(compiled().module, name, operands, dims)
        got = execute(name, [held(x, t.dtype) for x, t in zip(operands, case.operands, strict=True)], dims)
        for mine, theirs in zip(got, want, strict=True):
            agree(mine, theirs, case.units)
