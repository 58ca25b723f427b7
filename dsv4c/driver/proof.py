"""Functions before and after a pass, executed on the same operands by the interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from dsv4c.ir.core import Function, Module
from dsv4c.ir.dims import Extent, symbol
from dsv4c.ir.interp import flatten, run
from dsv4c.ir.printer import function_text
from dsv4c.ir.shares import run_shared
from dsv4c.ir.types import TensorType, leaves
from dsv4c.passes.base import Pair, Pass

from .difference import Difference, difference
from .ranks import partitioned, why_not
from .recording import LARGEST, Sizes, SkipError, Step, is_narrow, record, sizes_of
from .replay import Replay

Array = np.ndarray[Any, Any]
# What a pass that is not exact may change, relative to the largest element, by the narrowest float that a function
# takes: its f32 results carry the roundings of the bf16 numbers that they are made of. f32: the project's bar. bf16 and
# f16: four units in the last place, for chains of sums that are each rounded once more or once less; two are seen.
LIMIT = {"f32": 1e-4, "bf16": 4 * 2.0**-7, "f16": 4 * 2.0**-10}


@dataclass(frozen=True)
class Compared:
    """The outcome for one pair of functions: the worst over all steps.

    ``status`` is unchanged (the text is the same), equal (bit for bit), close (within the limit), failed, or skipped.
    ``detail`` says why it was skipped, or where the first element differs.
    """

    before: str
    after: str
    status: str
    largest: float = 0.0
    relative: float = 0.0
    ulps: float = 0.0
    steps: int = 0
    detail: str = ""


class Prover:
    """Compares a module with the next one, pass after pass.

    What a function computed is recorded once; later passes replay the same operands. ``reference`` says what to
    compare with: ``last``, the module before the pass, or ``first``, the one where the record was made.
    """

    def __init__(self, largest: int = LARGEST, reference: str = "last", tolerance: float | None = None) -> None:
        self._largest, self._reference, self._tolerance = largest, reference, tolerance
        self._records: dict[str, tuple[Step, ...] | SkipError] = {}
        self._sizes: Sizes | None = None

    def prove(self, step: Pass, before: Module, after: Module) -> tuple[Compared, ...]:
        """One outcome for each pair of functions that the pass names, callees first."""
        self._sizes = self._sizes or sizes_of(before)
        texts, records, out = (_Texts(before), _Texts(after)), dict[str, tuple[Step, ...] | SkipError](), []
        pairs = step.pairs(before, after)
        names = {pair.after: pair.before for pair in pairs}
        for pair in pairs:
            if not pair.dims and texts[0].of(pair.before) == texts[1].of(pair.after):
                row, steps = Compared(pair.before, pair.after, "unchanged"), self._records.get(pair.before)
            else:
                row, steps = self._compare(step, pair, before, after, names)
            if steps is not None:
                records.setdefault(pair.after, steps)
            out.append(row)
        self._records = records
        return tuple(out)

    def _recorded(self, module: Module, name: str) -> tuple[Step, ...] | SkipError:
        if name not in self._records:
            try:
                self._records[name] = record(module, name, self._sizes or sizes_of(module), self._largest)
            except SkipError as reason:
                self._records[name] = reason
        return self._records[name]

    def _compare(
        self, step: Pass, pair: Pair, before: Module, after: Module, names: Mapping[str, str]
    ) -> tuple[Compared, tuple[Step, ...] | SkipError | None]:
        old, new = before.functions[pair.before], after.functions[pair.after]
        steps = self._steps(pair, before, after)
        if not isinstance(steps, SkipError) and not partitioned(after) and _repacked(old, new):
            why = "its weights are stored in another form; the next pass is compared on drawn ones of that form"
            return Compared(pair.before, pair.after, "skipped", detail=why), None
        if isinstance(steps, SkipError):
            return Compared(pair.before, pair.after, "skipped", detail=str(steps)), steps
        row, replayed = Compared(pair.before, pair.after, "equal", steps=len(steps)), []
        for given in steps:
            calls = Replay(after, given.calls, names)
            try:
                results = _executed(pair, before, after, given, calls)
                found = _results(old, new, given, results) | calls.found
            except Exception as error:  # whatever a wrong rewrite makes of an op
                found = {"it": Difference(inf, inf, inf, f" raises {type(error).__name__}: {error}")}
                results = given.results
            row = self._worse(row, self._limit(step, old), found, given)
            kept = given.results if self._reference == "first" else results
            dims = {name: given.dims[name] for name in new.symbols}
            replayed.append(Step(dims, {p.name: given.operands[p.name] for p in new.params}, kept, tuple(calls.calls)))
        return row, tuple(replayed)

    def _steps(self, pair: Pair, before: Module, after: Module) -> tuple[Step, ...] | SkipError:
        """What a pair is compared on, or why it is not."""
        if partitioned(before):
            return SkipError("the module is one rank's program already; partition-experts comes last")
        reason = why_not(before, before.functions[pair.before]) if partitioned(after) else ""
        steps = SkipError(reason) if reason else self._recorded(before, pair.before)
        if isinstance(steps, SkipError):
            return steps
        wanted = ", ".join(f"{name} = {value}" for name, value in (*pair.dims, *pair.given))
        return tuple(s for s in steps if _fits(pair, s)) or SkipError(f"no step has {wanted}")

    def _limit(self, step: Pass, function: Function) -> float:
        """The relative difference that a pass may make to a function."""
        if self._tolerance is not None:
            return self._tolerance
        dtypes = {tensor.dtype for p in function.params for _, tensor in leaves(p.type)}
        return 0.0 if step.exact else max(LIMIT[d] for d in LIMIT if d in {"f32", *dtypes})

    def _worse(self, row: Compared, limit: float, found: Mapping[str, Difference], given: Step) -> Compared:
        """The row with the results of one more step; its detail is the first difference, or the first that fails."""
        for place, apart in found.items():
            if not apart.first:
                continue
            failed = apart.relative > limit
            first = row.status == "equal" or (failed and row.status != "failed")
            row = replace(
                row,
                status="failed" if failed or row.status == "failed" else "close",
                detail=f"{place}{apart.first} at {given.says()}" if first else row.detail,
                largest=max(row.largest, apart.largest),
                relative=max(row.relative, apart.relative),
                ulps=max(row.ulps, apart.ulps),
            )
        return row


def _repacked(old: Function, new: Function) -> bool:
    """Whether a parameter of both holds tensors of other names or dtypes than before."""
    held = {p.name: [(path, tensor.dtype) for path, tensor in leaves(p.type)] for p in old.params}
    return any(
        p.name in held and held[p.name] != [(path, tensor.dtype) for path, tensor in leaves(p.type)]
        for p in new.params
    )


class _Texts:
    """Texts of the functions of a module, each with those that it calls."""

    def __init__(self, module: Module) -> None:
        self._module, self._bundles = module, module.bundles()
        self._texts: dict[str, frozenset[str]] = {}

    def of(self, name: str) -> frozenset[str]:
        if name not in self._texts:
            function = self._module.functions[name]
            inner = [self.of(callee) for callee in dict.fromkeys(function.callees())]
            self._texts[name] = frozenset({function_text(function, self._bundles)}).union(*inner)
        return self._texts[name]


def _executed(pair: Pair, before: Module, after: Module, given: Step, calls: Replay) -> tuple[Any, ...]:
    """Results of the new function on the operands of a step; of all ranks together where it is partitioned."""
    old, new = before.functions[pair.before], after.functions[pair.after]
    operands = [given.operands[p.name] for p in new.params]
    with np.errstate(all="ignore"):
        if partitioned(after):
            return run_shared(before, after, new.name, operands, given.dims)
        dims = {name: given.dims[name] for name in new.symbols}
        return run(after, new.name, operands, dims, calls if is_narrow(old) else None)


def _fits(pair: Pair, step: Step) -> bool:
    if any(step.dims.get(name) != size for name, size in pair.dims):
        return False
    return all(bool((step.operands[name] == value).all()) for name, value in pair.given)


def _results(old: Function, new: Function, step: Step, got: Sequence[Any]) -> dict[str, Difference]:
    """The difference of each result, by a name such as ``result 1, layers.0.window``."""
    out = {}
    if len(old.results) != len(new.results):
        return {"results": Difference(inf, inf, inf, f": {len(new.results)}, were {len(old.results)}")}
    for number, (before, after) in enumerate(zip(old.results, new.results, strict=True)):
        want, have = flatten(before.type, step.results[number]), flatten(after.type, got[number])
        if list(want) != list(have):
            other = ", ".join(sorted(set(want) ^ set(have)))
            out[f"result {number}"] = Difference(inf, inf, inf, f": other parts, {other}")
            continue
        for path, tensor in leaves(before.type):
            place = f"result {number}" + (f", {path}" if path else "")
            out[place] = difference(have[path], want[path], _seen(tensor, step))
    return out


def _seen(tensor: TensorType, step: Step) -> Array | None:
    """Where a result stands for a token: what a function leaves in the slots of padding is nobody's."""
    batch, length = symbol("B"), symbol("S")
    if "new" not in step.operands or tensor.state:
        return None
    new, size = step.operands["new"], step.dims.get("S", 1)
    live: Array = np.arange(size) < new.reshape(-1, 1)
    lead: tuple[Extent, ...] = tensor.shape
    if lead[:2] == (batch, length):
        return live
    return live.reshape(-1) if lead[:1] == (batch * length,) else None
