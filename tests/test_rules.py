"""Every rule of the tiers fires on its own equation, refuses near misses, keeps the numbers, survives in any graph."""

from __future__ import annotations

import re

import pytest
from growing import grown
from mutants import count, near_misses
from planting import (
    RULES,
    Case,
    attrs_key,
    canonical_text,
    cases,
    check,
    data,
    equation,
    every_case,
    execute,
    like_bits,
    needed,
    rewritten,
)

from dsv4c.ir.builder import Builder, mean, unary
from dsv4c.ir.core import Module
from dsv4c.ir.printer import function_text
from dsv4c.ir.types import TensorType
from dsv4c.passes.canonicalize import canonical
from dsv4c.passes.graph import cheap
from dsv4c.passes.rules import KernelRule

IDS = [f"{number}-{rule.name}" for number, rule in enumerate(RULES)]
SILENT = 0.05  # of the near misses differ at their very end, where nothing is left that looks like the idiom


@pytest.mark.parametrize(("number", "case"), every_case())
def test_fires_on_its_own_equation_and_keeps_every_bit(number: int, case: Case) -> None:
    rule = RULES[number]
    for seed, example in enumerate(case):
        before = equation(rule, example)
        after, _ = rewritten(before, needed(number))
        (op,) = [op for op in after.ops if op.name == rule.name]
        if isinstance(rule, KernelRule) and rule.spelling is not None:
            assert all(cheap(other) for other in after.ops if other is not op)  # what turns operands
        else:
            assert attrs_key(op.attrs) == attrs_key(example.attrs)
            assert op.operands == after.params and after.results == op.results
        operands = data(before, seed)
        assert like_bits(before, execute(before, operands), execute(after, operands), [rule])


NEAR_MISSES = 240  # of a rule, over all its cases; each op of the equation is changed in some of them
REASON = re.compile(r"expected .+, found .+|inside it is needed outside: |in one place is .+ in another|"
                    r"operands do not fit the equation: .+")


@pytest.mark.parametrize("number", range(len(RULES)), ids=IDS)
def test_refuses_near_misses(number: int) -> None:
    """A changed equation is left alone and the log says why, or it is the same op with other attributes or operands."""
    rule, given = RULES[number], cases(RULES[number])
    every = max(1, len(given) * count(equation(rule, given[0][0])) // NEAR_MISSES)
    silent = tried = 0
    for index, case in enumerate(given):
        whole = equation(rule, case[0])
        form, text = canonical_text(whole), function_text(rewritten(whole, needed(number))[0], {})
        for mutant in near_misses(whole, index % every, every):
            if canonical_text(mutant.function) == form:
                continue  # nothing was changed, such as the order of equal operands
            tried += 1
            after, log = rewritten(mutant.function, needed(number))
            assert function_text(after, {}) != text, mutant.what
            if any(op.name == rule.name for op in after.ops):
                operands = data(mutant.function, index)
                want = execute(canonical(Module("m"), mutant.function), operands)
                assert like_bits(after, want, execute(after, operands), needed(number)), mutant.what
                continue
            reasons = [r.why for r in log.refusals if r.rule in {r.name for r in needed(number)}]
            assert all(REASON.search(why) for why in reasons), reasons
            silent += not reasons
    assert silent <= SILENT * tried



REASONS = [
    ("rms_norm", "rsqrt: is sqrt", "expected rsqrt, found sqrt"),
    ("rms_norm", "mul: used", "mul inside it is needed outside: abs uses it too"),
    ("rope_angles", "sin: is cos", "expected sin of mul, found cos"),
    ("swiglu", "const: holds 4.0", "expected the constant 1.0, found the constant 4.0"),
    ("append_cache", "lt: is le", "expected lt, found le"),
    ("route_topk", "topk: returned", "topk inside it is needed outside: the function returns it"),
    ("experts", "cumsum: goes along axis 1", "expected cumsum with axis=0, found axis=1 in cumsum"),
    ("experts", "mul: returned", "expected swiglu, found cast"),
    ("mla_attention", "slice: begins -1 later", "16 in one place is 15 in another"),
    ("hyper_post", "mul: is add", "expected mul, found add"),
    ("sinkhorn", "sum: is max", "expected softmax + eps before 38 divisions by sums, found"),
]


@pytest.mark.parametrize(("name", "what", "why"), REASONS)
def test_reasons_name_what_differs(name: str, what: str, why: str) -> None:
    number = next(n for n, rule in enumerate(RULES) if rule.name == name)
    found = [
        r.why
        for case in cases(RULES[number])
        for mutant in near_misses(equation(RULES[number], case[0]))
        if mutant.what == what
        for r in rewritten(mutant.function, needed(number))[1].refusals
        if r.rule == name
    ]
    assert any(reason.startswith(why) for reason in found), found


def test_reasons_say_where_an_op_stands() -> None:
    with Builder(Module("m"), "f", x=TensorType((2, 8), "f32")) as b, b.scope("attn.norm"):
        (x,) = b.params
        function = b.done(x * unary("sqrt", mean(x * x, keep=True) + 1e-6))
    (refusal,) = [r for r in rewritten(function)[1].refusals if r.rule == "rms_norm" and "rsqrt" in r.why]
    assert (refusal.where, refusal.why) == ("f:attn.norm", "expected rsqrt, found sqrt at attn.norm")


GRAPHS = 200


@pytest.mark.parametrize("number", range(len(RULES)), ids=IDS)
def test_survives_in_generated_graphs(number: int) -> None:
    """As many kernels as were planted, whatever stands around them, and every bit as before."""
    for seed in range(GRAPHS):
        graph = grown(number, seed)
        if seed % 5 == 0:
            check(graph.function)
        after, log = rewritten(graph.function, RULES if seed % 20 == 0 else needed(number))
        found = sum(op.name == RULES[number].name for op in after.ops)
        assert found == graph.planted, (seed, [r.why for r in log.refusals])
        operands = data(graph.function, seed, graph.dims)
        want, have = execute(graph.function, operands, graph.dims), execute(after, operands, graph.dims)
        assert like_bits(after, want, have, [RULES[number]]), seed
