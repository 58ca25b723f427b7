"""What a function computes in a short life: prefill, chunk after chunk, decode. A proof replays it through a rewrite.

State flows from one step to the next as it does when a model runs, so that a later step sees what an earlier one left.
After these steps come some with a drawn state, lengths and ties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from dsv4c.ir.core import Function, Module, Value
from dsv4c.ir.dims import Dim, FloorDiv, evaluate, product
from dsv4c.ir.interp import run, shape_of, zeros
from dsv4c.ir.registry import lookup
from dsv4c.ir.types import DTYPES, TensorType, is_linear, leaves, same_layout

from .inputs import Inputs
from .replay import Call, Watch

Array = np.ndarray[Any, Any]
Data = Any
BATCH = 3
LARGEST = 128 << 20  # bytes of operands; drawing and reading these takes about a second
WORK = 20 * 10**9  # flops of one step; a laptop's second


class SkipError(Exception):
    """Why a function is not executed."""


@dataclass(frozen=True)
class Feed:
    """One step. ``length`` 0 stands for a chunk that fills every window; ``state`` is empty, kept or drawn."""

    length: int
    kind: str
    state: str


FEEDS = (
    Feed(0, "plain", "empty"),  # windows complete, lengths are ragged, padding follows
    Feed(3, "mixed", "kept"),
    Feed(1, "plain", "kept"),
    Feed(0, "mixed", "kept"),  # the window is full and wraps
    Feed(1, "mixed", "kept"),
    Feed(1, "plain", "empty"),  # fewer entries than k, windows not full
    Feed(4, "ties", "drawn"),
    Feed(1, "ties", "drawn"),
)


@dataclass(frozen=True)
class Step:
    """One execution: ``operands`` by parameter, the results, and in narrow dtypes the calls that it made."""

    dims: Mapping[str, int]
    operands: Mapping[str, Data]
    results: tuple[Data, ...]
    calls: tuple[Call, ...] = ()

    def says(self) -> str:
        """The dimensions, as a message shows them."""
        return ", ".join(f"{name}={size}" for name, size in sorted(self.dims.items())) or "no dimensions"


@dataclass(frozen=True)
class Sizes:
    """Tokens in a long chunk, and the capacity of the state."""

    long: int
    capacity: int


def sizes_of(module: Module) -> Sizes:
    """So long that every ring wraps and every compressed window completes."""
    tensors = [t for f in module.functions.values() if f.kind == "block" for p in f.params for _, t in leaves(p.type)]
    rate = max((_divisor(e) for t in tensors for e in t.shape), default=1)
    rings = [t.shape[1] for t in tensors if t.state and t.rank == 3 and isinstance(t.shape[1], int)]
    long = max(rate, *rings, 4) + 5
    return Sizes(long, 2 * long + 2 * rate + 8)


def record(module: Module, name: str, sizes: Sizes, largest: int = LARGEST) -> tuple[Step, ...]:
    """Run a function through all of ``FEEDS``.

    Raises SkipError with the reason where that would take too much memory or time, or no dimensions fit its requires.
    """
    function = module.functions[name]
    _refuse_large(module, function, _dims(function, sizes, 0), largest)
    life, steps = _Life(function, sizes.capacity), []
    for feed in FEEDS:
        dims = _dims(function, sizes, feed.length)
        operands, watch = life.operands(feed, dims), Watch(module)
        with np.errstate(all="ignore"):
            results = run(module, name, [operands[p.name] for p in function.params], dims, watch)
        life.state = _next(function, results)
        steps.append(Step(dims, operands, results, tuple(watch.calls) if is_narrow(function) else ()))
    return tuple(steps)


def is_narrow(function: Function) -> bool:
    """Whether a function takes numbers of 16 bits, so that it is compared call by call."""
    return any(tensor.dtype in ("bf16", "f16") for p in function.params for _, tensor in leaves(p.type))


class _Life:
    """Operands step by step; ``state`` and the number of tokens seen are what the last step left."""

    def __init__(self, function: Function, capacity: int) -> None:
        self._function, self._capacity, self._inputs = function, capacity, Inputs(function)
        self._weights = {kind: self._inputs.weights(kind) for kind in ("plain", "ties")}
        self._seen = np.zeros(BATCH, np.int32)
        self.state: dict[str, Data] = {}

    def operands(self, feed: Feed, dims: Mapping[str, int]) -> dict[str, Data]:
        """One operand for each parameter."""
        length, batch = dims.get("S", 1), dims.get("B", BATCH)
        past = self._past(feed, self._capacity - length, batch)
        new = np.maximum(length - 2 * np.arange(batch), 1).astype(np.int32)
        self._seen = past + new
        counts = {"past": past, "new": new}
        weights = self._weights["ties" if feed.kind == "ties" else "plain"]
        out = {}
        for param in self._function.params:
            if is_linear(param.type):
                out[param.name] = self._state(param, feed, dims)
            elif param.name in counts and isinstance(param.type, TensorType) and param.type.rank == 1:
                out[param.name] = counts[param.name]
            elif param.name in weights:
                out[param.name] = weights[param.name]
            else:
                out[param.name] = self._inputs.activation(param.name, param.type, dims, feed.kind)
        return out

    def _past(self, feed: Feed, room: int, batch: int) -> Array:
        if feed.state == "drawn":
            return self._inputs.counts(0, max(room, 0), batch)
        return self._seen if feed.state == "kept" and len(self._seen) == batch else np.zeros(batch, np.int32)

    def _state(self, param: Value, feed: Feed, dims: Mapping[str, int]) -> Data:
        if feed.state == "drawn":
            return self._inputs.state(param.type, dims, feed.kind)
        kept = self.state.get(param.name) if feed.state == "kept" else None
        return zeros(param.type, dims) if kept is None else kept


def _next(function: Function, results: Sequence[Data]) -> dict[str, Data]:
    """The state that the next step starts from: results of the type of a state parameter, in order."""
    left = [(r.type, data) for r, data in zip(function.results, results, strict=True) if is_linear(r.type)]
    out = {}
    for param in function.params:
        place = next((i for i, (t, _) in enumerate(left) if same_layout(t, param.type)), None)
        if is_linear(param.type) and place is not None:
            out[param.name] = left.pop(place)[1]
    return out


def _dims(function: Function, sizes: Sizes, length: int) -> dict[str, int]:
    """Numbers for the symbols that meet the function's requires."""
    known = {"B": BATCH, "S": length or sizes.long, "T": sizes.capacity}
    others = [s for s in function.symbols if s not in known]
    for spread in (1, 0):  # different numbers where that is allowed
        dims = {s: known[s] for s in function.symbols if s in known}
        dims |= {s: 4 + spread * i for i, s in enumerate(others)}
        if all(evaluate(left, dims) == evaluate(right, dims) for left, right in function.requires):
            return dims
    wanted = ", ".join(f"{left} == {right}" for left, right in function.requires)
    raise SkipError(f"no dimensions were found for which {wanted}")


def _refuse_large(module: Module, function: Function, dims: Mapping[str, int], largest: int) -> None:
    size = sum(nbytes(t, dims) for p in function.params for _, t in leaves(p.type))
    if size > largest:
        raise SkipError(f"operands of {_amount(size)} are more than {_amount(largest)}")
    work = _work(module, function, dims)
    if work > WORK:
        raise SkipError(f"{work / 1e9:,.0f} GFLOP a step are more than {WORK / 1e9:.0f}")


def nbytes(tensor: TensorType, dims: Mapping[str, int]) -> int:
    """Bytes of a tensor for these dimensions."""
    return prod(shape_of(tensor, dims)) * DTYPES[tensor.dtype].itemsize


def _amount(size: int) -> str:
    return f"{size / 2**30:,.1f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"


def _work(module: Module, function: Function, dims: Mapping[str, int]) -> int:
    """Flops of a function, and of those it calls."""
    total = 0
    for op in function.ops:
        if op.name == "call":
            pairs: Any = op.attrs["dims"]
            inner = dict(dims) | {str(s): evaluate(e, dims) for s, e in pairs}
            total += _work(module, module.functions[str(op.attrs["callee"])], inner)
        elif op.name not in ("get", "bundle") and op.operands:
            flops = lookup(op.name).work([o.tensor for o in op.operands], [r.tensor for r in op.results], op.attrs)
            total += sum(evaluate(product((f,)), dims) for f in flops.values())
    return total


def _divisor(extent: object) -> int:
    atoms = [a for m, _ in extent.terms for a in m] if isinstance(extent, Dim) else []
    return max((a.divisor for a in atoms if isinstance(a, FloorDiv)), default=1)
