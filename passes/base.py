"""What a pass is: a frozen record of options with a name and ``run``, module in, module out.

The driver proves a pass, not the pass itself: it verifies the module, and executes it before and after.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

from dsv4c.ir.core import Function, Module


@dataclass(frozen=True)
class Refusal:
    """A rule that looked at a place and left it: ``where`` is ``function:location``, ``why`` names a value."""

    rule: str
    where: str
    why: str


@dataclass
class Log:
    """What a pass did: rewrites by rule, refusals with their reason, and choices it made, said aloud."""

    applied: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def refuse(self, rule: str, where: str, why: str) -> None:
        """Note that ``rule`` did not apply."""
        self.refusals.append(Refusal(rule, where, why))


@dataclass(frozen=True)
class Pair:
    """A function of the old module and one of the new that compute the same; parameters are paired by name.

    Attributes:
        before: the old function.
        after: the new one; it may take fewer parameters. Results are paired in order.
        dims: symbols of the old function that the new one has fixed, such as ``(("S", 1),)`` for decode.
        given: integer operands that the new function takes for granted, such as ``(("past", 0),)`` for a prefill.
    """

    before: str
    after: str
    dims: tuple[tuple[str, int], ...] = ()
    given: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Pass(ABC):
    """One rewriting of a module. Options are the fields of the subclass."""

    name: ClassVar[str]
    doc: ClassVar[str]  # before -> after, one line
    reads: ClassVar[str] = "core"  # the tier of ops it looks for: core | kernel
    writes: ClassVar[str] = "core"  # the highest tier that it adds: core | kernel | collective
    exact: ClassVar[bool] = True  # whether every number stays the same, bit for bit

    @abstractmethod
    def run(self, module: Module, log: Log) -> Module:
        """A new module; the given one is not changed."""

    def pairs(self, before: Module, after: Module) -> tuple[Pair, ...]:
        """Which functions the driver compares: by default the block functions that kept their name and signature.

        A pass that changes signatures says here what became of each entry; an entry without a pair is an error.
        """
        return tuple(Pair(n, n) for n in before.functions if _same_signature(before, after, n))


def _same_signature(before: Module, after: Module, name: str) -> bool:
    old, new = before.functions[name], after.functions.get(name)
    return new is not None and old.kind == "block" and _signature(old) == _signature(new)


def _signature(function: Function) -> tuple[object, object]:
    return [(p.name, p.type) for p in function.params], [r.type for r in function.results]


def map_functions(module: Module, change: Callable[[Function], Function]) -> Module:
    """A module whose block functions are changed one by one; weights functions stay."""
    functions = {n: f if f.kind == "weights" else change(f) for n, f in module.functions.items()}
    return replace(module, functions=functions)
