"""Plan, memory, linking and the CPU runner's refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsv4c.errors import UserError
from dsv4c.frontend.presets import load_preset
from dsv4c.ir.dims import evaluate, symbol
from dsv4c.models.build import build_module
from dsv4c.plan import CallSite, Launch, Plan, PlanFunction, Ref, View
from dsv4c.plan_json import plan_from_json, plan_to_json
from dsv4c.runtime.link import ALIGN, RequireError, link
from dsv4c.targets.cpu.runner import Runner, aligned
from dsv4c.targets.cpu.target import open_runner
from dsv4c.targets.slots import assign_slots
from dsv4c.targets.target import find_target
from dsv4c.targets.tvm.lower import lower
from dsv4c.targets.tvm.table import KernelTable
from dsv4c.targets.tvm.templates import LOWER

S = symbol("S")


def launch(kernel: str, *names: str) -> Launch:
    return Launch(kernel, tuple(View(Ref("temp", n), (S,), "f32") for n in names), (), "")


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), min_size=1, max_size=20))
def test_buffers_that_live_together_have_slots_of_their_own(uses: list[list[int]]) -> None:
    steps = [launch("k", *(f"t{n}" for n in names)) for names in uses]
    temps = {f"t{n}": (4 * (n + 1) * S, (n + 1) * S, "f32") for n in range(10)}
    buffers, slots = assign_slots(steps, temps)
    spans = {n: [i for i, names in enumerate(uses) if int(n[1:]) in names] for n in buffers}
    for a, left in spans.items():
        assert str(temps[a][0]) in map(str, slots[buffers[a].slot])
        for b, right in spans.items():
            if a < b and left[0] <= right[-1] and right[0] <= left[-1]:
                assert buffers[a].slot != buffers[b].slot, (a, b)


def two_functions() -> Plan:
    """``outer`` keeps t0 alive across a call of ``inner``, which has a temporary of its own."""
    inner_steps = (launch("a", "t0"), Launch("b", (View(Ref("param", "x"), (S,), "f32"),), (S,), "in"))
    buffers, slots = assign_slots(inner_steps, {"t0": (4 * S, S, "f32")})
    inner = PlanFunction("inner", ("S",), inner_steps, buffers, slots, ())
    outer_steps = (launch("c", "t0"), CallSite("inner", {"x": Ref("temp", "t0")}, (), {"S": 2 * S}, "layers.0"))
    buffers, slots = assign_slots(outer_steps, {"t0": (8 * S, 2 * S, "f32")})
    return Plan({"inner": inner, "outer": PlanFunction("outer", ("S",), outer_steps, buffers, slots, ())}, ("outer",))


def test_frames_are_stacked_and_parameters_resolved() -> None:
    steps, arena = link(two_functions(), "outer", {"S": 20}, {})
    assert [(s.kernel, s.tensors[0].offset, s.scalars, s.loc) for s in steps] == [
        ("c", 0, (), ""),
        ("a", 192, (), "layers.0"),  # 160 bytes of the caller, rounded up to lines of 64
        ("b", 0, (40,), "layers.0.in"),
    ]
    assert arena == 192 + 192
    assert all(s.tensors[0].offset % ALIGN == 0 for s in steps)


def test_unproven_equalities_are_checked_when_dimensions_are_bound() -> None:
    function = PlanFunction("f", ("N", "S"), (), {}, (), (), ((S, symbol("N")),))
    plan = Plan({"f": function}, ("f",))
    assert link(plan, "f", {"S": 3, "N": 3}, {}) == ([], 0)
    with pytest.raises(RequireError, match="S == N"):
        link(plan, "f", {"S": 3, "N": 4}, {})


def test_plan_json_is_the_same_plan() -> None:
    module = build_module(load_preset("deepseek-v4-flash"), "bf16")
    plan = lower(module, ("step", "step_all"), KernelTable(), LOWER)
    again = plan_from_json(json.loads(json.dumps(plan_to_json(plan))))
    assert plan_to_json(again) == plan_to_json(plan)
    assert again.weights("step") == plan.weights("step")
    dims = {"B": 1, "S": 1, "T": 4096}
    spaces = {name: name for name in ("tokens", "past", "new", "weights", "state")}
    assert link(again, "step", dims, spaces) == link(plan, "step", dims, spaces)


def test_sizes_are_expressions() -> None:
    function = two_functions().functions["outer"]
    assert evaluate(function.slots[0][0], {"S": 7}) == 56


def test_a_machine_without_the_instructions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="needs a CPU with avx9000"):
        open_runner(tmp_path, {"features": ["avx9000"]}, None)


def test_a_view_larger_than_its_array_is_refused(tiny_artefact: Path) -> None:
    facts = json.loads((tiny_artefact / "manifest.json").read_text())["target"]["facts"]
    runner = find_target("cpu").open(tiny_artefact, facts, 1)
    assert isinstance(runner, Runner)
    kernel = next(iter(sorted((tiny_artefact / "kernels").glob("*.trace.py")))).name.removesuffix(".trace.py")
    step = Launch(kernel, (View(Ref("param", "x"), (100,), "f32"),), (), "")
    plan = Plan({"f": PlanFunction("f", (), (step,), {}, (), ())}, ("f",))
    with pytest.raises(ValueError, match="needs 400 bytes, the array has 396"):
        runner.bind(plan, "f", {}, {"x": "x"}, {"x": {"": aligned((99,), "f32")}})


def test_aligned_memory_begins_on_a_line_and_is_zero() -> None:
    for size in (0, 1, 7, 1000):
        array = aligned((size,), "bf16")
        assert array.ctypes.data % ALIGN == 0 and array.shape == (size,)
        assert not np.any(array.astype(np.float32))
