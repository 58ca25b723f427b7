"""Rules that put a kernel op in place of a graph of smaller ops, and how a list of them is applied.

A rule finds a place loosely, by its picture, which gives operands and attributes. Then it proves the place: the op's
equation is written anew over those very operands, made canonical, and must be the graph that stands there, to the
last attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from dsv4c.ir.core import ACTIVE, Attrs, Function, IRError, Module, Op, Value
from dsv4c.ir.kernel_ops.define import trace_function
from dsv4c.ir.registry import ShapeError, lookup
from dsv4c.ir.types import TensorType

from .base import Log
from .canonicalize import canonical
from .graph import Graph, cheap
from .match import Binding, Matcher
from .picture import Picture, draw, strict
from .rewriting import Splice


@dataclass(frozen=True)
class Found:
    """A place: ``roots`` are replaced by what ``build`` writes before ``at``; ``inside`` are the ops that it is."""

    at: Op
    roots: tuple[Value, ...]
    inside: tuple[Op, ...]
    build: Callable[[], Sequence[Value]]


class Rule(Protocol):
    """One rewriting."""

    @property
    def name(self) -> str:
        """The kernel op it makes, or what else it does."""

    def find(self, graph: Graph, tier: tuple[Rule, ...], log: Log) -> Iterator[Found]:
        """Places in a function; ``tier`` are the rules that were applied before."""


@dataclass(frozen=True, eq=False)
class Example:
    """Operand types and attributes of a kernel op."""

    types: tuple[TensorType, ...]
    attrs: Attrs

    @property
    def dtypes(self) -> frozenset[str]:
        """The dtypes of the operands."""
        return frozenset(t.dtype for t in self.types)


Spelling = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class KernelRule:
    """Find what kernel op ``name`` computes, written as ``spelling`` writes it; its own decomposition if None.

    Each case is two examples, equal in dtypes and in all that changes the graph, different in sizes and numbers.
    ``missing`` gives attributes that no constant of the graph shows, from (operands, roots, attributes found).
    """

    name: str
    cases: tuple[tuple[Example, Example], ...]
    spelling: Spelling | None = None
    missing: Callable[[Sequence[Value], Sequence[Value], Mapping[str, Any]], Attrs] = lambda operands, roots, found: {}

    @property
    def text(self) -> Spelling:
        """The function of core ops whose graph is looked for."""
        out = self.spelling or lookup(self.name).decompose
        assert out is not None
        return out

    def find(self, graph: Graph, tier: tuple[Rule, ...], log: Log) -> Iterator[Found]:
        """Places where the whole picture stands and nothing inside is needed outside."""
        misses: dict[int, tuple[int, str, str]] = {}
        fits: set[int] = set()
        # The largest first: RMSNorm with its casts and weight holds one without.
        cases = [case for case in self.cases if case[0].dtypes <= graph.dtypes]
        for case in sorted(cases, key=lambda case: -_picture(self, case, tier).size()):
            matcher = Matcher(_picture(self, case, tier), graph)
            for at in matcher.candidates():
                if id(at) in fits:
                    continue
                found = self._at(graph, tier, case, matcher, at)
                if isinstance(found, Found):
                    fits.add(id(at))
                    yield found
                elif found[0] > misses.get(id(at), (0, ""))[0]:
                    misses[id(at)] = (*found, f"{graph.function.name}:{at.loc}")
        for at_id, (_, why, where) in misses.items():
            if at_id not in fits:
                log.refuse(self.name, where, why)

    def _at(
        self, graph: Graph, tier: tuple[Rule, ...], case: tuple[Example, Example], matcher: Matcher, at: Op
    ) -> Found | tuple[int, str]:
        """What stands at an op, or how many ops of the picture do, with the reason why that is not enough."""
        bound = matcher.match(at)
        if bound is None:
            return matcher.near_miss(at)
        found = self._prove(graph, tier, case, at, bound)
        return (len(bound.ops), found) if isinstance(found, str) else found

    def _prove(
        self, graph: Graph, tier: tuple[Rule, ...], case: tuple[Example, Example], at: Op, bound: Binding
    ) -> Found | str:
        picture = _picture(self, case, tier)
        params = picture.function.params
        if any(id(p) not in bound.values for p in params):
            return "an operand does not show"
        operands = [bound.values[id(p)] for p in params]
        attrs = {**case[0].attrs, **bound.attrs}
        attrs |= self.missing(operands, _roots(picture, bound), attrs)
        return prove(self.name, self.text, graph, tier, at, operands, attrs)


def prove(
    name: str, spelling: Spelling, graph: Graph, tier: tuple[Rule, ...], at: Op, operands: Sequence[Value], attrs: Attrs
) -> Found | str:
    """The place if ``spelling``, written over these operands, is the graph that ends at ``at``; else why it is not."""
    try:
        picture = strict(_prepare(trace_function(spelling, [o.tensor for o in operands], attrs), tier))
    except (ShapeError, IRError, AssertionError) as error:
        return f"operands do not fit: {error}"
    exact = Matcher(picture, graph)
    bound = exact.match(at, operands)
    if bound is None:
        return exact.near_miss(at)[1] or "shapes or attributes differ"
    roots = _roots(picture, bound)
    why = exact.refusal(bound, roots)
    ordered = dict(sorted(attrs.items()))
    return why or Found(
        at, roots, tuple(bound.ops.values()), lambda: ACTIVE[-1].emit(name, tuple(operands), ordered)
    )


def _roots(picture: Picture, bound: Binding) -> tuple[Value, ...]:
    made = [picture.producers[id(root)] for root in picture.roots]
    return tuple(bound.ops[id(op)].results[number] for op, number in made)


@cache
def _picture(rule: KernelRule, case: tuple[Example, Example], tier: tuple[Rule, ...]) -> Picture:
    first, second = (_prepare(trace_function(rule.text, e.types, e.attrs), tier) for e in case)
    return draw(first, second, (case[0].attrs, case[1].attrs))


def _prepare(function: Function, tier: tuple[Rule, ...]) -> Function:
    """A pattern's body as the function would be by then: canonical, and with the kernel ops of lower tiers."""
    module = Module("pattern")
    return apply_rules(module, canonical(module, function), tier, Log())


def apply_rules(
    module: Module, function: Function, rules: tuple[Rule, ...], log: Log, before: tuple[Rule, ...] = ()
) -> Function:
    """Apply rules one after the other, each wherever it fits; those of ``before`` were applied already."""
    for number, rule in enumerate(rules):
        function = _apply(module, function, rule, before + rules[:number], log)
    return function


def _apply(module: Module, function: Function, rule: Rule, before: tuple[Rule, ...], log: Log) -> Function:
    splice, taken = Splice(module, function), set[int]()
    for found in rule.find(Graph(function), before, log):
        mine = {id(op) for op in found.inside if not cheap(op)}
        if mine & taken:
            continue  # another case of the same rule was here
        taken |= mine or {id(found.at)}
        splice.replace(found.at, found.roots, found.build)
        log.applied[rule.name] += 1
    return splice.done() if taken else function
