"""``dsv4c verify``: every function of an artefact, executed by its kernels and by the reference interpreter.

Weights are the artefact's own where it has them. Everything else is drawn from a fixed seed (``operands.py``).

In f32 a function is interpreted with all that it calls. In narrow dtypes one rounding more or less, which the order of
a sum decides, can flip a top-k further down, and then nothing behind it compares (architectures.md §15.4). There the
proof is by induction over the calls: a function's own ops are interpreted, what it calls is executed by kernels that
have a row of their own, so that both sides give every callee the same inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsv4c.artefact import MODULE, Artefact, broken
from dsv4c.ir.core import Function
from dsv4c.ir.dims import Dim, FloorDiv
from dsv4c.ir.interp import Data, flatten, run, shape_of, tree, zeros
from dsv4c.ir.types import DTYPES, Type, leaves
from dsv4c.runtime.link import BindError
from dsv4c.targets.target import find_target

from .kernels import Kernels
from .operands import Draw, WeightStore
from .reading import read_module
from .vectors import read_vectors

Array = np.ndarray[Any, Any]

# f32: the project's bar for logits, here relative to the largest element; kernels differ from numpy only in the order
# of sums and in exp by an ulp.
# bf16: one rounding is 2^-9 relative; two roundings of the same number may differ by one step, 2^-8, and a row holds a
# mixture of such steps, so that its relative L2 error stays near 2^-8. 5 times that leaves room for sums of roundings.
# f16: the same with three bits more.
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
    proof = _Proof(artefact, threads)
    try:
        return [proof.function(name) for name in artefact.plan.functions] + proof.vectors()
    except BindError as error:
        raise broken(artefact.folder, f"its parts do not fit together: {error}") from None


class _Proof:
    """One artefact on this machine, and the means to execute its functions in both ways."""

    def __init__(self, artefact: Artefact, threads: int | None) -> None:
        self.folder, model = artefact.folder, artefact.manifest["model"]
        target = find_target(artefact.manifest["target"]["name"])
        self.module = read_module(self.folder / MODULE)
        if absent := [name for name in artefact.plan.functions if name not in self.module.functions]:
            raise broken(self.folder / MODULE, f"has no function {absent[0]}, which the plan has")
        runner = target.open(self.folder, artefact.manifest["target"]["facts"], threads)
        self.store = WeightStore(artefact, target, self.module)
        self.kernels = Kernels(self.module, artefact.plan, runner, self.store)
        self.limit: int = model["max_context"]
        self.dtype: str = model["dtype"]
        self.tolerance = TOLERANCE[self.dtype]

    def function(self, name: str) -> Row:
        """A decode and a prefill on two draws each."""
        function = self.module.functions[name]
        worst, cases = 0.0, 0
        for dims in verified_sizes(function, self.limit):
            size = operand_bytes(function, dims)
            if size > LARGEST:
                what = f"operands of {size / 2**30:.0f} GiB are more than {LARGEST / 2**30:.0f} GiB"
                return Row(name, "skipped", 0.0, what)
            for seed in range(2):
                operands = self._drawn(function, dims, seed)
                want = run(self.module, name, operands, dims, None if self.dtype == "f32" else self.kernels)
                worst = max(worst, _worst(function, self.kernels(name, operands, dims), want))
                cases += 1
        return self._row(name, worst, f"{cases} cases")

    def _drawn(self, function: Function, dims: Mapping[str, int], seed: int) -> list[Data]:
        draw = Draw(np.random.default_rng(seed), dims, self.store.vocab)
        return [tree(p.type, self.store.operand(function.name, p.name, p.type, draw)) for p in function.params]

    def vectors(self) -> list[Row]:
        """The whole model on the artefact's test vectors; no row when it has none."""
        stored = read_vectors(self.folder)
        if stored is None:
            return []
        tokens, new, want = stored
        operands, dims = self._fed(tokens, new)
        name, cases = "test vectors", f"{len(tokens)} sequences"
        if self.dtype == "f32":
            logits, _ = self.kernels("step_all", operands, dims)
            return [self._row(name, max(difference(logits[at], want[at], "f32") for at in _live(new)), cases)]
        check = _CallByCall(self)
        logits, _ = check("step_all", operands, dims)
        errors = [difference(logits[row, i], want[row, i], self.dtype) for row, n in enumerate(new) for i in range(n)]
        near = sum(error <= self.tolerance for error in errors)
        cases += f", {check.count} calls, each on the inputs that the kernels gave it"
        return [self._row(name, check.worst, cases, f"; {near} of {len(errors)} positions within it of stored logits")]

    def _fed(self, tokens: Array, new: Array) -> tuple[list[Data], dict[str, int]]:
        """Operands and dimensions of ``step_all`` with a fresh state and the artefact's weights."""
        batch, length = tokens.shape
        dims = {"B": batch, "S": length, "T": length}
        types: dict[str, Type] = {p.name: p.type for p in self.module.functions["step_all"].params}
        draw = Draw(np.random.default_rng(0), dims, self.store.vocab)  # nothing is drawn: the weights are there
        weights = tree(types["weights"], self.store.operand("step_all", "weights", types["weights"], draw))
        return [tokens, np.zeros(batch, np.int32), new, weights, zeros(types["state"], dims)], dims

    def _row(self, name: str, error: float, cases: str, more: str = "") -> Row:
        good = error <= self.tolerance
        return Row(name, "ok" if good else "failed", error, f"{cases}, tolerance {self.tolerance:.1e}{more}")


class _CallByCall:
    """Kernels all the way down; at every call its own ops are interpreted as well, on the same inputs."""

    def __init__(self, proof: _Proof) -> None:
        self._proof, self.worst, self.count = proof, 0.0, 0

    def __call__(self, name: str, operands: Sequence[Data], dims: Mapping[str, int]) -> tuple[Data, ...]:
        """Results of the kernels; ``worst`` grows to the largest error seen on the way."""
        got = self._proof.kernels(name, operands, dims)
        want = run(self._proof.module, name, operands, dims, self)
        self.worst = max(self.worst, _worst(self._proof.module.functions[name], got, want))
        self.count += 1
        return got


def _live(new: Array) -> Iterator[tuple[int, slice]]:
    """Where each sequence has a token: what lies behind is padding."""
    for row, count in enumerate(new):
        yield row, slice(0, int(count))


def verified_sizes(function: Function, limit: int) -> Iterator[dict[str, int]]:
    """Decode, and a prefill long enough to complete a compressed window."""
    rate = max((_divisor(e) for p in function.params for _, t in leaves(p.type) for e in t.shape), default=1)
    capacity = min(2 * rate + 24, limit)
    for length in sorted({1, min(rate + 5, capacity)}):
        yield {s: {"B": 2, "S": length, "T": capacity}.get(s, 3) for s in function.symbols}


def _divisor(extent: object) -> int:
    atoms = [a for m, _ in extent.terms for a in m] if isinstance(extent, Dim) else []
    return max((a.divisor for a in atoms if isinstance(a, FloorDiv)), default=1)


def operand_bytes(function: Function, dims: Mapping[str, int]) -> int:
    """Bytes of everything that a function is given."""
    tensors = [t for p in function.params for _, t in leaves(p.type)]
    return sum(int(np.prod(shape_of(t, dims), dtype=np.int64)) * DTYPES[t.dtype].itemsize for t in tensors)


def _worst(function: Function, got: Sequence[Data], want: Sequence[Data]) -> float:
    """The largest difference over the leaves of results and updated state."""
    error = 0.0
    for result, left, right in zip(function.results, got, want, strict=True):
        a, b = flatten(result.type, left), flatten(result.type, right)
        error = max([error, *(difference(a[path], b[path], tensor.dtype) for path, tensor in leaves(result.type))])
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
