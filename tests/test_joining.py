"""Row kernels in one launch: which may go together, and how many launches are left."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsv4c.frontend.presets import load_preset
from dsv4c.ir.expand import expand
from dsv4c.models.build import build_module
from dsv4c.passes.base import Log
from dsv4c.plan import CallSite, Launch, Plan, Ref, View
from dsv4c.targets.cpu.target import TARGET
from dsv4c.targets.tvm.joining import Marked, groups, key
from dsv4c.targets.tvm.lower import lower
from dsv4c.targets.tvm.rows.norm import rms_norm
from dsv4c.targets.tvm.table import KernelTable
from dsv4c.targets.tvm.templates import LOWER, has_template

MOST = 25  # launches of a decode layer
TABLE = KernelTable({"rms_norm_0": rms_norm("rms_norm_0", rows=None, width=4, dtype="f32", weight="", eps=1e-6)})
ROWS, PRODUCT = "rms_norm_0", "linear_0"


def step(kernel: str, reads: str, writes: str, dtype: str = "f32") -> Marked:
    """A launch over one-letter temporaries; ``writes`` it may also read, as what updates in place does."""
    refs = [Ref("temp", name) for name in reads + writes]
    launch = Launch(kernel, tuple(View(ref, (4,), dtype) for ref in refs), (), "")
    return Marked(launch, frozenset(key(Ref("temp", name)) for name in writes))


def order(*steps: Marked) -> list[list[int]]:
    """Numbers of the steps in their groups."""
    numbers = {id(one): i for i, one in enumerate(steps)}
    return [[numbers[id(one)] for one in members] for members in groups(steps, TABLE)]


def test_row_kernels_go_on_where_nothing_between_forbids() -> None:
    assert order(step(ROWS, "a", "b"), step(ROWS, "b", "c")) == [[0, 1]]
    assert order(step(ROWS, "a", "b"), step(PRODUCT, "b", "c"), step(ROWS, "a", "d")) == [[0, 2], [1]]


def test_row_kernels_that_can_wait_do() -> None:
    assert order(step(ROWS, "a", "b"), step(PRODUCT, "a", "c"), step(ROWS, "bc", "d")) == [[1], [0, 2]]


def test_what_a_product_reads_is_written_before_and_not_changed_early() -> None:
    assert order(step(ROWS, "a", "b"), step(PRODUCT, "b", "c"), step(ROWS, "c", "d")) == [[0], [1], [2]]
    assert order(step(ROWS, "a", "b"), step(PRODUCT, "bx", "c"), step(ROWS, "b", "x")) == [[0], [1], [2]]


def test_arguments_of_two_dtypes_are_never_the_same_memory() -> None:
    assert order(step(ROWS, "a", "b"), step(ROWS, "b", "c", dtype="i32")) == [[0], [1]]


def test_a_bundle_holds_its_parts() -> None:
    state = Ref("param", "s", "layers.0")
    call = Marked(CallSite("f", {"s": state}, (state,), {}, ""), frozenset({key(state)}))
    part = View(state.part("window"), (4,), "f32")
    reads, again = (Marked(Launch(ROWS, (part,), (), ""), frozenset()) for _ in range(2))
    other = Marked(Launch(ROWS, (View(Ref("param", "s", "layers.01"), (4,), "f32"),), (), ""), frozenset())
    assert order(reads, call, again) == [[0], [1], [2]]
    assert order(reads, call, other) == [[0, 2], [1]]


LETTERS = st.text("abcdef", max_size=3)
STEPS = st.lists(st.builds(step, st.sampled_from([ROWS, ROWS, PRODUCT]), LETTERS, LETTERS), max_size=14)


@given(STEPS)
def test_no_order_that_matters_changes(steps: list[Marked]) -> None:
    placed = [number for members in order(*steps) for number in members]
    assert sorted(placed) == list(range(len(steps)))
    at = {number: position for position, number in enumerate(placed)}
    for (i, a), (j, b) in combinations(enumerate(steps), 2):
        if a.writes & b.touches or b.writes & a.touches:
            assert at[i] < at[j]


def launches(plan: Plan, name: str) -> int:
    """Launches of a plan function, calls included."""
    return sum(launches(plan, s.callee) if isinstance(s, CallSite) else 1 for s in plan.functions[name].steps)


@pytest.mark.parametrize("name", ["deepseek-v4-pro", "deepseek-v4-flash", "deepseek-v3.2"])
def test_launches_of_a_decode_layer(name: str) -> None:
    """Of released sizes in bf16; views are no launches."""
    module = build_module(load_preset(name), "bf16")
    for one in TARGET.pipeline:
        module = one.run(module, Log())
    plan = lower(expand(module, has_template)[0], ("decode",), KernelTable(), LOWER)
    layers = {n: launches(plan, n) for n in plan.functions if n.startswith("layer")}
    assert layers and max(layers.values()) <= MOST, layers
