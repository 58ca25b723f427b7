"""Random functions in which the equation of a rule was planted, between random producers and random consumers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from planting import RULES, Example, cases, equation

from dsv4c.ir.builder import Builder, cast, equal, maximum, minimum, reshape, where
from dsv4c.ir.core import Function, Module, Op, Value
from dsv4c.ir.registry import lookup
from dsv4c.ir.types import COMPUTE_FLOATS, TensorType, is_linear, substitute_type
from dsv4c.ir.verify import consumes
from dsv4c.passes.canonicalize import COMMUTATIVE
from dsv4c.passes.graph import cheap, light
from dsv4c.passes.rewriting import ordered
from dsv4c.passes.rules import KernelRule


@dataclass
class Grown:
    """A function, how many kernels it holds, and numbers for the symbols."""

    function: Function
    planted: int
    dims: dict[str, int]


def grown(number: int, seed: int) -> Grown:
    """The function of a rule and a seed."""
    rng = Random(f"{RULES[number].name} {seed}")
    dims = {"B": rng.randint(1, 3), "S": rng.randint(1, 4), "T": 16}
    return _Garden(number, rng, dims).function()


class _Garden:
    def __init__(self, number: int, rng: Random, dims: dict[str, int]) -> None:
        self.rule, self.rng, self.dims = RULES[number], rng, dims
        example = rng.choice(rng.choice(cases(self.rule)))
        if rng.random() < 0.25:  # static shapes, as exporters write them
            types = tuple(substitute_type(t, dims) for t in example.types)
            example = Example(types, example.attrs)  # type: ignore[arg-type]
        self.example = example
        whole = equation(self.rule, example)
        self.large = len(whole.ops) > 60
        self.heavy = not all(light(op) for op in whole.ops)
        self.updated = {
            i for i, p in enumerate(whole.params)
            if any(o is p and consumes(op, k) for op in whole.ops for k, o in enumerate(op.operands))
        }  # fmt: skip
        self.b = Builder(Module("garden"), "garden")

    def function(self) -> Grown:
        """Plants one to three instances, then disturbs what can be disturbed without a change of meaning."""
        with self.b:
            instances = self._instances()
            outs = [r for _, results in instances for r in results]
            returned = [self._consumer(r) for r in outs]
            returned += [self._producer(self._param(self.example.types[0]))] if self.rng.random() < 0.3 else []
        planted = len({tuple(map(id, operands)) for operands, _ in instances})
        ops = self._unshared(self.b.ops)
        ops = [self._commuted(op) for op in ops]
        loose = self._loose(ops)
        returned += [op.results[0] for op in self.rng.sample(loose, min(len(loose), self.rng.randint(0, 2)))]
        self.rng.shuffle(ops)
        function = Function("garden", self.b.params, ordered(ops), tuple(returned), self.b.requires)
        return Grown(function, planted, self.dims)

    def _instances(self) -> list[tuple[list[Value], tuple[Value, ...]]]:
        text = self.rule.text if isinstance(self.rule, KernelRule) else lookup(self.rule.name).decompose
        assert text is not None
        out: list[tuple[list[Value], tuple[Value, ...]]] = []
        for _ in range(self.rng.choice((1, 1, 2) if self.large else (1, 1, 2, 3))):
            operands = self._operands(out)
            results: Any = text(*operands, **self.example.attrs)
            out.append((operands, results if isinstance(results, tuple) else (results,)))
        return out

    def _operands(self, before: Sequence[tuple[list[Value], tuple[Value, ...]]]) -> list[Value]:
        """Fresh, made by something, shared with an earlier instance, or an earlier instance's result."""
        out, shared_floats = [], 0
        for place, type_ in enumerate(self.example.types):
            shared = [operands[place] for operands, _ in before]
            made = [r for _, results in before for r in results if r.type == type_ and not type_.state]
            is_float = type_.dtype in COMPUTE_FLOATS
            # Two kernels that share a product or a top-k are not for a rule to duplicate.
            may_share = place not in self.updated and not (self.heavy and is_float and shared_floats)
            if shared and may_share and self.rng.random() < 0.5:
                out.append(self.rng.choice(shared))
                shared_floats += is_float
            elif made and may_share and self.rng.random() < 0.3:
                shared_floats += is_float
                # Halved, so that views of one instance and of the next do not cancel.
                out.append(self.rng.choice(made) * 0.5 if is_float else self.rng.choice(made))
            else:
                param = self._param(type_)
                out.append(param if type_.state or self.rng.random() < 0.5 else self._producer(param))
        return out

    def _param(self, type_: TensorType) -> Value:
        param = Value(type_, f"p{len(self.b.params)}")
        self.b.params = (*self.b.params, param)
        return param

    def _producer(self, x: Value) -> Value:
        """Some ops that give the type of ``x``; integers stay in their range."""
        if x.dtype == "bool":
            return equal(x, self._param(x.tensor))
        if x.dtype not in COMPUTE_FLOATS:
            return self.rng.choice((lambda: minimum(x, 2), lambda: maximum(minimum(x, 2), 1), lambda: maximum(x, 1)))()
        for _ in range(self.rng.randint(1, 3)):
            x = self.rng.choice((
                lambda x=x: x * 0.5, lambda x=x: x + 0.25, lambda x=x: x * self._param(x.tensor),
                lambda x=x: cast(cast(x, "f32"), x.dtype), lambda x=x: where(x < 0.0, x + 1.0, x),
                lambda x=x: reshape(reshape(x, 1, *x.shape), *x.shape), lambda x=x: x - self._param(x.tensor),
            ))()  # fmt: skip
        return x

    def _consumer(self, x: Value) -> Value:
        if is_linear(x.type) or x.dtype not in COMPUTE_FLOATS or self.rng.random() < 0.5:
            return x
        other = "bf16" if x.dtype == "f32" else "f32"
        return self.rng.choice((
            lambda: x + self._param(x.tensor), lambda: maximum(x, 0.125), lambda: cast(x, other),
            lambda: self.b.emit("abs", (x,), {})[0],
        ))()  # fmt: skip

    def _loose(self, ops: Sequence[Op]) -> list[Op]:
        """Ops that may be used outside without keeping anything alive that costs."""
        costly: set[int] = set()
        out = []
        for op in ops:
            if not cheap(op) or any(id(o) in costly for o in op.operands):
                costly.update(id(r) for r in op.results)
            elif op.operands and not any(is_linear(r.type) for r in op.results):
                out.append(op)
        return out

    def _commuted(self, op: Op) -> Op:
        swap = op.name in COMMUTATIVE and self.rng.random() < 0.5
        return replace(op, operands=op.operands[::-1]) if swap else op

    def _unshared(self, ops: Sequence[Op]) -> list[Op]:
        """Some ops get operands of their own, computed once more; so do constants."""
        producers = {id(r): op for op in ops for r in op.results}
        out: list[Op] = []
        for op in ops:
            operands = list(op.operands)
            for place, operand in enumerate(operands):
                made = producers.get(id(operand))
                pure = made is not None and not any(consumes(made, k) for k in range(len(made.operands)))
                if made is not None and pure and self.rng.random() < 0.15:
                    copy = tuple(Value(r.type) for r in made.results)
                    out.append(replace(made, results=copy))
                    operands[place] = copy[made.results.index(operand)]
            out.append(replace(op, operands=tuple(operands)))
        return out
