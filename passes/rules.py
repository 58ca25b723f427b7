"""Rules that put a kernel op in place of a graph of smaller ops, and how a list of them is applied.

A rule finds a place loosely, by its picture, which gives operands and attributes. Then it proves the place: the op's
equation is written anew over those very operands, made canonical, and must be the graph that stands there, to the
last attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations, islice
from typing import Any, Protocol

from dsv4c.ir.core import ACTIVE, Attr, Attrs, Function, IRError, Module, Op, Value
from dsv4c.ir.kernel_ops.define import trace_function
from dsv4c.ir.registry import ShapeError, lookup
from dsv4c.ir.types import TensorType

from .base import Log
from .canonicalize import canonical
from .graph import Graph
from .match import Binding, Matcher
from .misses import Miss, beheaded, hopeless, near_miss
from .overlap import Found, settled
from .picture import Picture, draw, strict
from .rewriting import Splice


class Rule(Protocol):
    """One rewriting."""

    @property
    def name(self) -> str:
        """The kernel op it makes, or what else it does."""

    def find(self, graph: Graph, tier: tuple[Rule, ...], log: Log) -> Iterator[Found]:
        """Places in a function; ``tier`` are the rules that were applied before."""


READINGS = 16  # of one place that are tried, where operands of commutative ops could change their roles


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
Adapt = Callable[[Sequence[Value], Attrs], tuple[Sequence[Value], Attrs]]


@dataclass(frozen=True, eq=False)
class KernelRule:
    """Find what kernel op ``name`` computes, written as ``spelling`` writes it; its own decomposition if None.

    Each case is two examples, equal in dtypes and in all that changes the graph, different in sizes and numbers.
    ``missing`` gives attributes that no constant of the graph shows, from (operands, roots, attributes found).
    ``adapt`` writes what turns operands and attributes of the spelling into those of the kernel op; ``bound`` is how
    far the spelling's numbers may be from the kernel op's, relative to the largest.
    """

    name: str
    cases: tuple[tuple[Example, Example], ...]
    spelling: Spelling | None = None
    missing: Callable[[Sequence[Value], Sequence[Value], Mapping[str, Any]], Attrs] = lambda operands, roots, found: {}
    adapt: Adapt = lambda operands, attrs: (operands, attrs)
    bound: float = 0.0

    @property
    def text(self) -> Spelling:
        """The function of core ops whose graph is looked for."""
        out = self.spelling or lookup(self.name).decompose
        assert out is not None
        return out

    def find(self, graph: Graph, tier: tuple[Rule, ...], log: Log) -> Iterator[Found]:
        """Places where the whole picture stands and nothing inside is needed outside."""
        places: dict[int, Found] = {}
        tried: list[tuple[Matcher, list[Op]]] = []
        misses: dict[int, tuple[Op, Miss]] = {}
        # The largest first: RMSNorm with its casts and weight holds one without.
        cases = [(case, _picture(self, case, tier)) for case in self.cases if case[0].dtypes <= graph.dtypes]
        cases = [(case, picture) for case, picture in cases if not hopeless(picture, graph)]
        for case, picture in sorted(cases, key=lambda both: -both[1].size):
            matcher = Matcher(picture, graph)
            tried.append((matcher, []))
            for at in matcher.candidates():
                if id(at) not in places:
                    found = self._at(graph, tier, case, matcher, at)
                    if isinstance(found, Found):
                        places[id(at)] = found
                    elif found is not None:
                        _keep(misses, at, found)
                    else:
                        tried[-1][1].append(at)
        chosen = settled(graph, self.name, list(places.values()), log)
        done = {id(op) for found in chosen for op in found.inside} | set(places)
        for matcher, loose in tried:  # only now: a place that became a kernel is not asked why it is no other one
            near = [(at, near_miss(matcher, at)) for at in loose if id(at) not in done]
            for at, miss in (*near, *beheaded(matcher)):
                if id(at) not in done:
                    _keep(misses, at, miss)
        for at, (_, why) in misses.values():
            if id(at) not in done:
                log.refuse(self.name, f"{graph.function.name}:{at.loc}", why)
        yield from chosen

    def _at(
        self, graph: Graph, tier: tuple[Rule, ...], case: tuple[Example, Example], matcher: Matcher, at: Op
    ) -> Found | Miss | None:
        """What stands at an op; how many ops of the picture do, and why that is no proof; or None, if it is not it."""
        bound = matcher.match(at)
        if bound is None:
            return None
        found = self._prove(graph, tier, case, at, bound)
        size = len(bound.ops)
        for flipped in _subsets(list(matcher.choices)) if isinstance(found, str) else ():
            bound = matcher.match(at, flipped=flipped)
            again = self._prove(graph, tier, case, at, bound) if bound else found
            if isinstance(again, Found):
                return again
        return (size, found) if isinstance(found, str) else found

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
        return prove(self.name, self.text, graph, tier, at, operands, attrs, self.adapt)


def prove(
    name: str, spelling: Spelling, graph: Graph, tier: tuple[Rule, ...], at: Op, operands: Sequence[Value],
    attrs: Attrs, adapt: Adapt = lambda operands, attrs: (operands, attrs),
) -> Found | str:  # fmt: skip
    """The place if ``spelling``, written over these operands, is the graph that ends at ``at``; else why it is not."""
    ordered = dict(sorted(attrs.items()))
    try:
        picture = _written(spelling, tuple(o.tensor for o in operands), tuple(ordered.items()), tier)
    except (ShapeError, IRError, AssertionError) as error:
        return f"operands do not fit the equation: {str(error) or _types(operands)}"
    exact = Matcher(picture, graph)
    bound = exact.match(at, operands)
    if bound is None:
        return near_miss(exact, at)[1] or "shapes or attributes differ"

    def build() -> Sequence[Value]:
        given, found = adapt(operands, ordered)
        return ACTIVE[-1].emit(name, tuple(given), found)

    return Found(at, _roots(picture, bound), tuple(bound.ops.values()), build)


@lru_cache(maxsize=4096)
def _written(
    spelling: Spelling, operands: tuple[TensorType, ...], attrs: tuple[tuple[str, Attr], ...], tier: tuple[Rule, ...]
) -> Picture:
    """A spelling over operands of these types; layers are alike, so that most places ask for one of a few."""
    return strict(_prepare(trace_function(spelling, operands, dict(attrs)), tier))


def _types(operands: Sequence[Value]) -> str:
    return ", ".join(str(o.type) for o in operands)


def _subsets(choices: Sequence[int]) -> Iterator[frozenset[int]]:
    """Which commutative ops to turn round where a place could be read in several ways: one, two, ..., few in all."""
    several = (frozenset(some) for size in range(1, 1 + len(choices)) for some in combinations(choices, size))
    return islice(several, READINGS)


def _keep(misses: dict[int, tuple[Op, Miss]], at: Op, miss: Miss) -> None:
    """Note the miss that came nearest."""
    if miss[0] > (misses[id(at)][1][0] if id(at) in misses else 0):
        misses[id(at)] = (at, miss)


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
    graph = Graph(function)
    for number, rule in enumerate(rules):
        found = list(rule.find(graph, before + rules[:number], log))
        if found:
            splice = Splice(module, graph.function)
            for place in found:
                splice.replace(place.at, place.roots, place.build)
                log.applied[rule.name] += 1
            graph = Graph(splice.done())
    return graph.function
