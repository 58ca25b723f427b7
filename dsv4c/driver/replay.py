"""Calls by induction: a function's own ops are executed, what it calls gives what it gave before.

In narrow dtypes one rounding more or less can flip a top-k further down, and then nothing behind it compares
(architectures.md §15.4). So a function there is compared on the results that its callees had before the pass: the
operands of each call must agree, and every callee is compared on its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dsv4c.ir.core import Function, Module
from dsv4c.ir.interp import flatten, run
from dsv4c.ir.types import leaves

from .difference import Difference, difference

Data = Any


@dataclass(frozen=True)
class Call:
    """One call that a function made: the callee, its dimensions, operands by parameter, and results."""

    name: str
    dims: Mapping[str, int]
    operands: Mapping[str, Data]
    results: tuple[Data, ...]


class Watch:
    """Executes callees and notes what they were given and gave."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self.calls: list[Call] = []

    def __call__(self, name: str, operands: Sequence[Data], dims: Mapping[str, int]) -> tuple[Data, ...]:
        """As ``interp.run`` calls it."""
        return self.note(name, operands, dims, run(self._module, name, operands, dims))

    def note(
        self, name: str, operands: Sequence[Data], dims: Mapping[str, int], results: tuple[Data, ...]
    ) -> tuple[Data, ...]:
        """Add a call, and give its results."""
        function = self._module.functions[name]
        own = {symbol: dims[symbol] for symbol in function.symbols}
        given = {p.name: data for p, data in zip(function.params, operands, strict=True)}
        self.calls.append(Call(name, own, given, results))
        return results


class Replay(Watch):
    """The same for a rewritten function: callees give what they gave before, in the order of the calls.

    ``names`` gives the old function of each new one. A call that was not made before is executed. ``found`` has the
    differences between the operands of the calls, by a name such as ``call 3 of experts, x``.
    """

    def __init__(self, module: Module, calls: Sequence[Call], names: Mapping[str, str]) -> None:
        super().__init__(module)
        self._left, self._names = list(calls), names
        self.found: dict[str, Difference] = {}

    def __call__(self, name: str, operands: Sequence[Data], dims: Mapping[str, int]) -> tuple[Data, ...]:
        """The results of the call that stands for this one, once its operands were compared."""
        function = self._module.functions[name]
        before = next((c for c in self._left if c.name == self._names.get(name) and _alike(c, function, dims)), None)
        if before is None:
            return super().__call__(name, operands, dims)
        self._left.remove(before)
        for param, data in zip(function.params, operands, strict=True):
            want, have = flatten(param.type, before.operands[param.name]), flatten(param.type, data)
            for path, _ in leaves(param.type):
                place = f"call {len(self.calls)} of {name}, {param.name}" + (f".{path}" if path else "")
                self.found[place] = difference(have[path], want[path])
        return self.note(name, operands, dims, before.results)


def _alike(call: Call, function: Function, dims: Mapping[str, int]) -> bool:
    """Whether a call had the dimensions of another, and all of its parameters."""
    same = all(call.dims.get(symbol) == dims[symbol] for symbol in function.symbols)
    return same and all(p.name in call.operands for p in function.params)
