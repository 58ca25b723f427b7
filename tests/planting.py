"""Functions that hold what a rule looks for, and data for them: what tests/test_rules.py is made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np
import pytest

from dsv4c.ir.core import Attrs, Function, Module, Op
from dsv4c.ir.dims import symbol
from dsv4c.ir.interp import run, shape_of
from dsv4c.ir.kernel_ops.define import trace_function
from dsv4c.ir.printer import function_text
from dsv4c.ir.registry import lookup
from dsv4c.ir.types import DTYPES, TensorType
from dsv4c.ir.verify import verify
from dsv4c.passes.base import Log
from dsv4c.passes.canonicalize import canonical
from dsv4c.passes.patterns import BLOCKS, HYPER, LEAVES, SPARSE
from dsv4c.passes.rules import Example, KernelRule, Rule, apply_rules

RULES: tuple[Rule, ...] = LEAVES + BLOCKS + SPARSE + HYPER
DIMS = {"B": 2, "S": 3, "T": 16}
Array = np.ndarray[Any, Any]
Case = tuple[Example, Example]


def cases(rule: Rule) -> tuple[Case, ...]:
    """The cases of a rule; Sinkhorn's, which has no picture of its own, are written here."""
    if isinstance(rule, KernelRule):
        return rule.cases
    assert rule.name == "sinkhorn"
    lead = (symbol("B"), symbol("S"))
    few, many = (
        Example((TensorType((*lead, n, n), "f32"),), {"iterations": steps, "eps": eps})
        for n, steps, eps in ((4, 1, 1e-5), (3, 20, 2e-6))
    )
    return ((few, many), (many, few))


def case_name(rule: Rule, case: Case) -> str:
    """Readable, and different for each case of a rule."""
    plain = [f"{k}={v}" for k, v in case[0].attrs.items() if case[1].attrs[k] == v]
    types = [t.dtype + "".join("x" if isinstance(e, int) else "?" for e in t.shape) for t in case[0].types]
    return "-".join([rule.name, *types, *plain])


def every_case() -> list[Any]:
    """(number of the rule, case) of all, as pytest parameters."""
    return [
        pytest.param(number, case, id=f"{case_name(rule, case)}-{index}")
        for number, rule in enumerate(RULES)
        for index, case in enumerate(cases(rule))
    ]


def equation(rule: Rule, example: Example) -> Function:
    """What the rule looks for, written out in core ops."""
    text = rule.text if isinstance(rule, KernelRule) else lookup(rule.name).decompose
    assert text is not None
    return trace_function(text, example.types, example.attrs)


def rewritten(function: Function, rules: Sequence[Rule] = RULES) -> tuple[Function, Log]:
    """The function made canonical, and with rules applied; proven to be well-formed."""
    module, log = Module("m", entry=function.name), Log()
    out = apply_rules(module, canonical(module, function), tuple(rules), log)
    check(out)
    return out, log


def canonical_text(function: Function) -> str:
    """The text of the function's canonical form."""
    return function_text(canonical(Module("m"), function), {})


def check(function: Function) -> None:
    """Verify one function."""
    verify(Module("m", {function.name: function}, function.name))


@cache
def needed(number: int) -> tuple[Rule, ...]:
    """The rule with those before it whose kernel ops its picture holds, or that would take a part of it away."""
    rule, before = RULES[number], RULES[:number]
    if not isinstance(rule, KernelRule):
        return (rule,)
    names = set[str]()
    for case in cases(rule):
        made = rewritten(equation(rule, case[0]), before)[0]
        names |= {op.name for op in made.ops}
    return (*(r for r in before if r.name in names), rule)


def kernels(function: Function, name: str) -> list[tuple[tuple[int, ...], str]]:
    """Operands (by their number in the function) and attributes of every kernel op of a name."""
    numbers = {id(p): -1 - i for i, p in enumerate(function.params)}
    for op in function.ops:
        numbers.update({id(r): len(numbers) + i for i, r in enumerate(op.results)})
    return [
        (tuple(numbers[id(o)] for o in op.operands), attrs_key(op.attrs)) for op in function.ops if op.name == name
    ]


def like_bits(function: Function, left: Sequence[Array], right: Sequence[Array], rules: Sequence[Rule]) -> bool:
    """Whether results are equal: bit for bit, or where rules have a bound within it and two roundings."""
    bound = max((rule.bound for rule in rules if isinstance(rule, KernelRule)), default=0.0)
    if not bound:
        return same_bits(left, right)
    dtypes = {r.dtype for op in function.ops for r in op.results} | {p.dtype for p in function.params}
    rounding = 2.0**-7 if "bf16" in dtypes else 2.0**-10 if "f16" in dtypes else 0.0
    return all(_close(a, b, bound + 2 * rounding) for a, b in zip(left, right, strict=True))


def _close(a: Array, b: Array, bound: float) -> bool:
    if a.dtype.kind in "iub":
        return np.array_equal(a, b)
    x, y = a.astype(np.float64), b.astype(np.float64)
    there = np.isfinite(x)
    largest = np.max(np.abs(x[there]), initial=0.0)
    return np.array_equal(there, np.isfinite(y)) and bool(np.all(np.abs(x - y)[there] <= bound * largest))


def attrs_key(attrs: Attrs) -> str:
    """Attributes as something to compare."""
    return repr(sorted(attrs.items()))


def data(function: Function, seed: int, dims: dict[str, int] | None = None) -> list[Array]:
    """Seeded operands: floats of both signs, lengths of at least one token, indices in and just out of range."""
    rng, dims = np.random.default_rng(seed), dims or DIMS
    return [_random(rng, p.tensor, dims) for p in function.params]


def _random(rng: np.random.Generator, type_: TensorType, dims: dict[str, int]) -> Array:
    shape, dtype = shape_of(type_, dims), DTYPES[type_.dtype]
    if type_.dtype == "bool":
        return rng.random(shape) < 0.7
    if type_.dtype.startswith("i"):
        low = 1 if len(shape) == 1 else -1
        return rng.integers(low, 4, shape).astype(dtype)
    wide = rng.standard_normal(shape) * min(2.0, 8 / max(1, prod(shape[-1:])) ** 0.5)
    return wide.astype(np.float32).astype(dtype)


def execute(function: Function, operands: Sequence[Array], dims: dict[str, int] | None = None) -> list[Array]:
    """The results through the interpreter."""
    module = Module("m", {function.name: function}, function.name)
    with np.errstate(all="ignore"):
        return list(run(module, function.name, operands, dims or DIMS))


def same_bits(left: Sequence[Array], right: Sequence[Array]) -> bool:
    """Whether all results are equal bit for bit; one NaN is like another."""
    return all(
        a.dtype == b.dtype and a.shape == b.shape and np.array_equal(_bits(a), _bits(b))
        for a, b in zip(left, right, strict=True)
    )


def _bits(x: Array) -> Array:
    if x.dtype.kind in "iub":
        return x
    quiet = np.where(np.isnan(x), np.array(np.nan, x.dtype), x)
    out: Array = quiet.view(f"u{x.dtype.itemsize}")
    return out


def producer_names(function: Function) -> list[str]:
    """Names of the ops that compute something."""
    return [op.name for op in function.ops if op.operands]


def named(function: Function, name: str) -> list[Op]:
    """All ops of a name."""
    return [op for op in function.ops if op.name == name]
