"""The work of matching grows with the function, not faster: counted, not timed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dsv4c.ir.core import Module, Value
from dsv4c.passes.base import Log
from dsv4c.passes.canonicalize import Canonicalize
from dsv4c.passes.deep import Deep
from dsv4c.passes.fuse_hyper_connections import FuseHyperConnections
from dsv4c.passes.fuse_kernels import FuseKernels
from dsv4c.passes.match import Matcher

BENCHMARK = Path(__file__).resolve().parents[1] / "benchmarks" / "passes.py"
SLACK = 1.15  # of the count an op, between one size and the next


@pytest.fixture(scope="module")
def benchmark() -> Any:
    """benchmarks/passes.py, which makes the functions."""
    spec = spec_from_file_location("benchmark_of_passes", BENCHMARK)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How often operands of a pair of ops were compared."""
    count, plain = [0], Matcher._agrees

    def counted(self: Matcher, p: Value, s: Value) -> Deep:
        count[0] += 1
        return plain(self, p, s)

    monkeypatch.setattr(Matcher, "_agrees", counted)
    yield count


def fused(module: Module) -> Module:
    for step in (Canonicalize(), FuseKernels(), FuseHyperConnections()):
        module = step.run(module, Log())
    return module


def test_sinkhorn_is_matched_in_steps_not_in_paths(benchmark: Any, visits: list[int]) -> None:
    fused(benchmark.many_steps(3))  # draws the pictures
    counts = []
    for steps in (11, 22, 44, 88):  # none that a model has: what was proven once is not proven again
        visits[0] = 0
        assert [op.name for op in fused(benchmark.many_steps(steps)).functions["step"].ops] == ["sinkhorn"]
        counts.append(visits[0] / steps)
    assert all(b <= SLACK * a for a, b in pairwise(counts)), counts


def test_many_idioms_are_matched_one_by_one(benchmark: Any, visits: list[int]) -> None:
    fused(benchmark.many_idioms(200))
    counts = []
    for size in (500, 1000, 2000):
        visits[0] = 0
        fused(benchmark.many_idioms(size))
        counts.append(visits[0] / size)
    assert all(b <= SLACK * a for a, b in pairwise(counts)), counts


def test_a_chain_deeper_than_the_stack(benchmark: Any) -> None:
    (op,) = fused(benchmark.many_steps(2000)).functions["step"].ops
    assert op.name == "sinkhorn" and op.attrs["iterations"] == 2000
