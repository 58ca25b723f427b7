"""``dsv4c verify``: every function of an artefact, executed by its kernels and by the reference interpreter.

Weights are the artefact's own where it has them. Everything else is drawn from a fixed seed (``operands.py``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsv4c.artefact import MODULE, Artefact
from dsv4c.ir.core import Function, Module
from dsv4c.ir.dims import Dim, FloorDiv
from dsv4c.ir.interp import run, shape_of, tree
from dsv4c.ir.parser import parse
from dsv4c.ir.types import DTYPES, TensorType, Type, leaves
from dsv4c.plan import Plan, RefTree
from dsv4c.runtime.session import Session
from dsv4c.targets.target import Runner, find_target

from .operands import Draw, WeightStore
from .vectors import read_vectors

Array = np.ndarray[Any, Any]
Flat = dict[str, Array]

# f32: the project's bar for logits, here relative to the largest element; kernels differ from numpy only in the order
# of sums and in exp by an ulp.
# bf16: one rounding is 2^-9 relative; two roundings of the same number may differ by one step, 2^-8, and a row holds a
# mixture of such steps, so that its relative L2 error stays near 2^-8. 5 times that leaves room for sums of roundings.
TOLERANCE = {"f32": 1e-4, "bf16": 5 * 2.0**-8, "f16": 5 * 2.0**-11}
LARGEST = 2 << 30  # bytes of operands that a laptop is asked to hold twice


@dataclass(frozen=True)
class Row:
    """The outcome for one function; ``error`` is the worst over its cases."""

    name: str
    status: str  # "ok" | "failed" | "skipped"
    error: float
    detail: str


def verify_artefact(folder: Path | str, threads: int | None = None) -> list[Row]:
    """One row for each function of the plan. Raises UserError when the artefact cannot be opened or run here."""
    artefact = Artefact.open(folder)
    target = find_target(artefact.manifest["target"]["name"])
    module = parse((artefact.folder / MODULE).read_text(), str(artefact.folder / MODULE))
    runner = target.open(artefact.folder, artefact.manifest["target"]["facts"], threads)
    store = WeightStore(artefact, target, module)
    rows = [_verify(module, name, artefact, runner, store) for name in artefact.plan.functions]
    return rows + _vectors(artefact, threads)


def _verify(module: Module, name: str, artefact: Artefact, runner: Runner, store: WeightStore) -> Row:
    function = module.functions[name]
    tolerance = TOLERANCE[artefact.manifest["model"]["dtype"]]
    worst, cases = 0.0, 0
    for dims in _dims(function, artefact.manifest["model"]["max_context"]):
        size = _bytes(function, dims)
        if size > LARGEST:
            return Row(
                name, "skipped", 0.0, f"operands of {size / 2**30:.0f} GiB are more than {LARGEST / 2**30:.0f} GiB"
            )
        for seed in range(2):
            worst = max(worst, _case(module, function, dims, seed, artefact.plan, runner, store))
            cases += 1
    good = worst <= tolerance
    return Row(name, "ok" if good else "failed", worst, f"{cases} cases, tolerance {tolerance:.1e}")


def _vectors(artefact: Artefact, threads: int | None) -> list[Row]:
    """The whole model on the artefact's test vectors; no row when it has none."""
    stored = read_vectors(artefact.folder)
    if stored is None:
        return []
    tokens, new, want = stored
    session = Session(artefact, threads)
    batch, length = tokens.shape
    bound = session.bind("step_all", batch, length, length, session.state(batch, length))
    for name, data in (("tokens", tokens), ("past", 0), ("new", new)):
        bound.inputs[name][...] = data
    bound.program.run()
    dtype = artefact.manifest["model"]["dtype"]
    error = max(difference(bound.logits[row, :n], want[row, :n], dtype) for row, n in enumerate(new))
    status = "ok" if error <= TOLERANCE[dtype] else "failed"
    return [Row("test vectors", status, error, f"{batch} sequences, tolerance {TOLERANCE[dtype]:.1e}")]


def _dims(function: Function, limit: int) -> Iterator[dict[str, int]]:
    """Decode, and a prefill long enough to complete a compressed window."""
    rate = max((_divisor(e) for p in function.params for _, t in leaves(p.type) for e in t.shape), default=1)
    capacity = min(2 * rate + 24, limit)
    for length in sorted({1, min(rate + 5, capacity)}):
        yield {s: {"B": 2, "S": length, "T": capacity}.get(s, 3) for s in function.symbols}


def _divisor(extent: object) -> int:
    atoms = [a for m, _ in extent.terms for a in m] if isinstance(extent, Dim) else []
    return max((a.divisor for a in atoms if isinstance(a, FloorDiv)), default=1)


def _bytes(function: Function, dims: Mapping[str, int]) -> int:
    tensors = [t for p in function.params for _, t in leaves(p.type)]
    return sum(int(np.prod(shape_of(t, dims), dtype=np.int64)) * DTYPES[t.dtype].itemsize for t in tensors)


def _case(
    module: Module,
    function: Function,
    dims: Mapping[str, int],
    seed: int,
    plan: Plan,
    runner: Runner,
    store: WeightStore,
) -> float:
    """The error of one drawn case: the largest over results and updated state."""
    draw = Draw(np.random.default_rng(seed), dims, store.vocab)
    flats = {p.name: store.operand(function.name, p.name, p.type, draw) for p in function.params}
    expected = run(module, function.name, [tree(p.type, flats[p.name]) for p in function.params], dims)
    spaces = {p.name: _aligned(runner, p.type, flats[p.name]) for p in function.params}
    for name, packed in store.packed(plan, function, flats).items():
        spaces[name] |= {key: _copy(runner, array, dtype) for key, (array, dtype) in packed.items()}
    plain = {
        str(i): r.type for i, r in enumerate(function.results) if isinstance(r.type, TensorType) and not r.type.state
    }
    spaces["result"] = {i: runner.array(shape_of(t, dims), t.dtype) for i, t in plain.items()}
    runner.bind(plan, function.name, dims, {p.name: p.name for p in function.params}, spaces).run()
    error = 0.0
    for number, (result, want) in enumerate(zip(function.results, expected, strict=True)):
        place = plan.functions[function.name].results[number]
        for path, tensor in leaves(result.type):
            got = spaces["result"][str(number)] if str(number) in plain else _find(spaces, place, path)
            error = max(error, difference(got, _part(want, path), tensor.dtype))
    return error


def difference(got: Array, want: Array, dtype: str) -> float:
    """f32: largest difference over the largest reference; narrow floats: relative L2; integers: 0 or infinity."""
    if got.dtype.kind in "iub":
        return 0.0 if np.array_equal(got, want) else float("inf")
    a, b = got.astype(np.float64), want.astype(np.float64)
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf")
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    if not a.size:
        return 0.0
    if dtype == "f32":
        return float(np.max(np.abs(a - b))) / max(float(np.max(np.abs(b))), 1e-6)
    return float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(b)), 1e-6)


def _part(data: Any, path: str) -> Array:
    for part in path.split(".") if path else ():
        data = data[part]
    array: Array = data
    return array


def _find(spaces: Mapping[str, Flat], place: RefTree, path: str) -> Array:
    """The array behind a leaf of a result that lies in a parameter."""
    parts = path.split(".") if path else []
    while isinstance(place, dict):
        place = place[parts.pop(0)]
    return spaces[place.base][".".join(p for p in (place.path, *parts) if p)]


def _aligned(runner: Runner, type_: Type, flat: Flat) -> Flat:
    return {path: _copy(runner, flat[path], tensor.dtype) for path, tensor in leaves(type_)}


def _copy(runner: Runner, array: Array, dtype: str) -> Array:
    out = runner.array(array.shape, dtype)
    out[...] = array
    return out
