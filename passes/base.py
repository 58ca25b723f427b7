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
class Pass(ABC):
    """One rewriting of a module. Options are the fields of the subclass."""

    name: ClassVar[str]
    doc: ClassVar[str]  # before -> after, one line
    reads: ClassVar[str] = "core"  # the tier of ops it looks for: core | kernel
    writes: ClassVar[str] = "core"
    exact: ClassVar[bool] = True  # whether every number stays the same, bit for bit

    @abstractmethod
    def run(self, module: Module, log: Log) -> Module:
        """A new module; the given one is not changed."""


def map_functions(module: Module, change: Callable[[Function], Function]) -> Module:
    """A module whose block functions are changed one by one; weights functions stay."""
    functions = {n: f if f.kind == "weights" else change(f) for n, f in module.functions.items()}
    return replace(module, functions=functions)
