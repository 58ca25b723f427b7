"""Which kernel ops a target has kernels for, in which dtypes and on which shapes: by executing every one of them.

Each case is a function with one kernel op. All are lowered and emitted together, as a model would be, and run for
several numbers of their dimensions: aligned and ragged widths; one row, few, and more than fit on a chip.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from dsv4c.errors import UserError
from dsv4c.ir.builder import Builder
from dsv4c.ir.core import Attrs, Module
from dsv4c.ir.interp import run, shape_of
from dsv4c.ir.types import DTYPES, Bundle, TensorType
from dsv4c.passes.quantize import SCALE
from dsv4c.targets.target import Target, find_target

from .cases import CASES, CODES, WITH_CODES, Case
from .inputs import drawn_codes
from .kernels import Kernels
from .operands import Packer
from .verify import TOLERANCE, difference

Array = np.ndarray[Any, Any]
COLUMNS = 32  # that share a scale, of which every target that keeps codes takes multiples


@dataclass(frozen=True)
class Row:
    """What was executed for one op and dtype; ``error`` is the worst, ``detail`` a failure in words."""

    op: str
    dtype: str
    shapes: int
    error: float
    status: str  # "ok" | "failed"
    detail: str = ""


def conformance(target: str, only: str = "") -> Iterator[Row]:
    """One row for each op and dtype, of all ops or the one named; UserError where there is no such target or op."""
    chosen = find_target(target)
    cases = [c for c in CASES if only in ("", c.op)]
    if not cases:
        known = ", ".join(sorted({c.op for c in CASES}))
        raise UserError(f"there is no op {only!r} with cases", where="--op", fix=f"use one of {known}")
    for op in sorted({c.op for c in cases}):
        for dtype in ("f32", "bf16"):
            yield _row(chosen, op, dtype, [c.typed(dtype) for c in cases if c.op == op])
        for codes in CODES if op in WITH_CODES else ():
            if chosen.keeps(codes, COLUMNS):
                yield _row(chosen, op, "bf16", [c.typed("bf16").packed(codes) for c in cases if c.op == op], codes)


def _row(target: Target, op: str, dtype: str, cases: list[Case], codes: str = "") -> Row:
    module = Module("conformance")
    for number, case in enumerate(cases):
        _function(module, f"case{number}", case)
    entries = tuple(module.functions)
    with TemporaryDirectory() as name:
        folder = Path(name)
        emitted = target.emit(module, entries, folder, None)
        runner = target.open(folder, emitted.facts, None)
        kernels = Kernels(module, emitted.plan, runner, Packer(target, module))
        worst, shapes = 0.0, 0
        try:
            for entry, case in zip(entries, cases, strict=True):
                for dims in case.bindings:
                    worst = max(worst, _error(module, kernels, entry, case, dims, dtype))
                    shapes += 1
        except UserError as error:
            return Row(op, codes or dtype, shapes, float("inf"), "failed", str(error))
    return Row(op, codes or dtype, shapes, worst, "ok" if worst <= TOLERANCE[dtype] else "failed")


def _function(module: Module, name: str, case: Case) -> None:
    """A function with the op; weights are parts of a bundle, as in a model."""
    weights = {key: t for key, t in case.operands.items() if key in case.weights}
    bundle = Bundle(f"{name}_w", tuple({**weights, "none": TensorType((1,), "f32")}.items()))
    params = {key: t for key, t in case.operands.items() if key not in weights}
    with Builder(module, name, **params, w=bundle) as b:
        *values, w = b.params
        plain = dict(zip(params, values, strict=True))
        scales = {key + SCALE for key in case.stored}
        given = {key: w[key] if key in weights else plain[key] for key in case.operands if key not in scales}
        for key, how in case.stored.items():
            attrs: Attrs = {"codes": how.codes, "rows": how.rows, "columns": how.columns, "out": "bf16"}
            (given[key],) = b.emit("dequantize", (given[key], w[key + SCALE]), attrs)
        b.done(*b.emit(case.op, tuple(given.values()), case.attrs))


def _error(module: Module, kernels: Kernels, entry: str, case: Case, dims: Mapping[str, int], dtype: str) -> float:
    rng = np.random.default_rng(sum(dims.values()))
    drawn = {key: _drawn(rng, case, key, t, dims) for key, t in case.operands.items()}
    plain = [a for key, a in drawn.items() if key not in case.weights]
    weights: dict[str, Any] = {key: a for key, a in drawn.items() if key in case.weights}
    operands: list[Any] = [*plain, {**weights, "none": np.zeros(1, np.float32)}]
    want = run(module, entry, operands, dims)
    got = kernels(entry, operands, dims)
    pairs = zip(got, want, strict=True)
    return max(difference(_canonical(a, case), _canonical(b, case), dtype) for a, b in pairs)


def _canonical(array: Any, case: Case) -> Array:
    """Choices are sets: their order is the target's own."""
    out: Array = np.sort(array, axis=-1) if case.unordered else array
    return out


def _drawn(rng: np.random.Generator, case: Case, key: str, t: TensorType, dims: Mapping[str, int]) -> Array:
    shape = shape_of(t, dims)
    codes = drawn_codes(rng, shape, t.dtype)
    if codes is not None:
        return codes
    if key in case.draw:
        values = case.draw[key](rng, shape, dims)
    elif key.removesuffix(SCALE) in case.stored:
        values = rng.uniform(2.0**-11, 2.0**-10, shape)
    else:
        scale = 1 / np.sqrt(shape[-1]) if key in case.weights and len(shape) > 1 else 1.0
        values = rng.standard_normal(shape) * scale
    return np.asarray(values).astype(DTYPES[t.dtype])


