"""What exporters write becomes the same kernel ops, with numbers within the stated bound."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from exported import IDIOMS
from planting import check, data, execute, rewritten

from dsv4c.ir.core import Module
from dsv4c.ir.printer import function_text
from dsv4c.ir.registry import lookup
from dsv4c.passes.canonicalize import canonical


@pytest.mark.parametrize("name", IDIOMS)
def test_idioms_of_exporters_are_met(name: str) -> None:
    idiom = IDIOMS[name]
    check(idiom.function)
    after, log = rewritten(idiom.function)
    kernels = Counter(op.name for op in after.ops if op.name != "get" and lookup(op.name).decompose is not None)
    assert kernels == idiom.kernels, [(r.rule, r.why) for r in log.refusals]
    for seed in range(3):
        operands = data(idiom.function, seed)
        want, have = execute(idiom.function, operands), execute(after, operands)
        for a, b in zip(want, have, strict=True):
            x, y = a.astype(np.float64), b.astype(np.float64)
            assert np.abs(x - y).max() <= idiom.bound * np.abs(x).max()


@pytest.mark.parametrize("name", IDIOMS)
def test_canonical_form_is_its_own(name: str) -> None:
    once = canonical(Module("m"), IDIOMS[name].function)
    assert function_text(canonical(Module("m"), once), {}) == function_text(once, {})


def test_what_is_not_met_says_why() -> None:
    _, log = rewritten(IDIOMS["rotary_with_tables_passed_in_whole"].function)
    assert any(r.rule == "rope" and "expected concat, found the parameter" in r.why for r in log.refusals)
    _, log = rewritten(IDIOMS["attention_mask_passed_in"].function)
    assert any(r.rule == "mla_attention" and "expected where, found add" in r.why for r in log.refusals)
