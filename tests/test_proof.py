"""The driver against planted mistakes: it names each of them, and blames no pass that is right."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import ClassVar

import planted
import pytest

from dsv4c.driver.passes import PassError, run_passes
from dsv4c.driver.proof import Prover
from dsv4c.frontend.presets import load_preset
from dsv4c.ir.core import Function, Module
from dsv4c.ir.parser import parse
from dsv4c.models.build import build_module
from dsv4c.models.twin import small_twin
from dsv4c.passes.base import Log, Pair, Pass, map_functions
from dsv4c.passes.canonicalize import Canonicalize
from dsv4c.passes.partition_experts import PartitionExperts
from dsv4c.passes.rewriting import Splice

SQUARE = """module m entry f
func f(%x: f32[S, 4, 4]) {
  %0: f32[S, 4] = sum(%x, axis=2, keep=false)
  return %0
}
"""


@cache
def twin(name: str, dtype: str = "f32") -> Module:
    return build_module(small_twin(load_preset(name)), dtype)


def block(module: Module, name: str) -> Module:
    """One function of a module with those that it calls."""
    names, todo = set[str](), [name]
    while todo:
        names.add(todo[-1])
        todo += module.functions[todo.pop()].callees()
    return Module(module.name, {n: f for n, f in module.functions.items() if n in names}, name)


def only(name: str, function: str, dtype: str = "f32") -> Module:
    return block(twin(name, dtype), function)


V4, V32 = "deepseek-v4-flash", "deepseek-v3.2"
PLANTED = [
    (planted.SwapSub(), only(V4, "attention_window")),
    (planted.DropMask(), only(V4, "attention_window")),
    (planted.DropMask(), only(V32, "attention")),
    (planted.WrongAxis(), parse(SQUARE, "square")),
    (planted.WrongAxis(), only(V4, "hyper_pre")),
    (planted.EpsLost(), only(V4, "attention_hca")),
    (planted.EpsLost(), only(V4, "hyper_pre")),
    (planted.ConstantRounded(), only(V4, "attention_window")),
    (planted.OffByOne(), only(V32, "attention")),
    (planted.CastDropped(), only(V4, "attention_csa", "bf16")),
    (planted.SinkIgnored(), only(V4, "attention_window")),
    (planted.TiesToTheLast(), only(V4, "moe_learned")),
    (planted.TiesToTheLast(), only(V32, "ffn_moe")),
    (planted.StaleCache(), only(V32, "attention")),
    (planted.EarlyWrite(), only(V4, "attention_window")),
    (planted.EarlyWrite(), only(V4, "attention_csa")),
    (planted.ScaledTwice(), only(V32, "attention")),
    (planted.MixTransposed(), only(V4, "hyper_pre")),
    (planted.PaddingVisible(), only(V32, "attention")),
    (planted.PaddingVisible(), only(V4, "attention_hca")),
]


@pytest.mark.parametrize(("wrong", "module"), PLANTED, ids=[f"{p.name}-{m.entry}" for p, m in PLANTED])
def test_each_wrong_rewrite_is_named(wrong: Pass, module: Module) -> None:
    right = (Canonicalize(), planted.OrderOfSums())
    steps = (wrong, *right) if wrong.exact else (planted.OrderOfSums(), wrong, planted.Halves())
    with pytest.raises(PassError) as error:
        run_passes(module, steps, Prover(), "dsv4c opt m.dsir")
    assert error.value.step is wrong and error.value.broken.kind == "numbers"
    assert error.value.broken.function in module.functions
    assert f"pass {wrong.name} changes the numbers of" in str(error.value)


@pytest.mark.parametrize("name", [V4, V32])
def test_right_passes_are_not_blamed(name: str) -> None:
    steps = (planted.OrderOfSums(), Canonicalize(), planted.OrderOfSums())
    stages = run_passes(twin(name), steps, Prover())
    status = {row.status for stage in stages for row in stage.compared}
    assert status <= {"equal", "close", "unchanged"} and "equal" in status


def test_a_mistake_in_a_block_is_reported_there_and_not_in_its_callers() -> None:
    with pytest.raises(PassError) as error:
        run_passes(twin(V4), (planted.MixTransposed(),), Prover())
    assert error.value.broken.function == "hyper_pre"


def test_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PassError) as error:
        run_passes(parse(SQUARE, ""), (planted.OrderOfSums(), planted.WrongAxis()), Prover(), "dsv4c opt m.dsir")
    first, second, *rest = str(error.value).splitlines()
    assert first == "pass wrong-axis changes the numbers of f"
    assert second.startswith("  first difference: result 0[0, 0]: ") and second.endswith(" at S=9")
    assert "units in the last place, over 8 steps" in rest[0]
    assert rest[1:] == [
        "  passes before it: order-of-sums",
        "  to see it again: dsv4c opt m.dsir -p order-of-sums,wrong-axis",
    ]


# Narrow dtypes are compared call by call

CALLS = """module m entry f

func g(%x: bf16[S, 8]) {
  %0: bf16[S, 8] = exp(%x)
  return %0
}

func f(%x: bf16[S, 8], %y: bf16[S, 8]) {
  %0: bf16[S, 8] = sub(%x, %y)
  %1: bf16[S, 8] = call g(%0)
  %2: bf16[S, 8] = call g(%x)
  %3: bf16[S, 8] = add(%1, %2)
  return %3
}
"""


class Becomes(planted.Planted):
    """The module that a text has."""

    text: ClassVar[str] = ""

    def run(self, module: Module, log: Log) -> Module:
        return parse(self.text, "")


@pytest.mark.parametrize(
    ("old", "new", "function", "detail"),
    [
        ("sub(%x, %y)", "add(%x, %y)", "f", "call 0 of g, x[0, 0]"),
        ("exp", "neg", "g", "result 0[0, 0]"),
        ("add(%1, %2)", "mul(%1, %2)", "f", "result 0[0, 0]"),
        ("call g(%x)", "call g(%y)", "f", "call 1 of g, x[0, 0]"),
        ("call g(%x)", "exp(%x)", "", ""),
        ("%2: bf16[S, 8] = call g(%x)", "%9: bf16[S, 8] = call g(%x)\n  %2: bf16[S, 8] = call g(%x)", "", ""),
    ],
)
def test_calls_give_what_they_gave(old: str, new: str, function: str, detail: str) -> None:
    step = type("Step", (Becomes,), {"text": CALLS.replace(old, new)})()
    if not function:
        (stage,) = run_passes(parse(CALLS, ""), (step,), Prover())
        assert [row.status for row in stage.compared] == ["unchanged", "equal"]
        return
    with pytest.raises(PassError) as error:
        run_passes(parse(CALLS, ""), (step,), Prover())
    assert error.value.broken.function == function and f"first difference: {detail}: " in error.value.broken.what


# Contracts


@dataclass(frozen=True)
class Doing(Pass):
    """Does what ``act`` does."""

    name: ClassVar[str] = "doing"
    doc: ClassVar[str] = "a -> b"

    def run(self, module: Module, log: Log) -> Module:
        return module


class Raises(Doing):
    def run(self, module: Module, log: Log) -> Module:
        raise KeyError("gone")


class Disorder(Doing):
    def run(self, module: Module, log: Log) -> Module:
        return map_functions(module, lambda f: replace(f, ops=f.ops[::-1]))


class ChangesInput(Doing):
    def run(self, module: Module, log: Log) -> Module:
        function = module.functions["hyper_post"]
        function.ops = tuple(replace(op, loc="elsewhere") for op in function.ops)
        return module


class WritesKernels(Doing):
    def run(self, module: Module, log: Log) -> Module:
        return map_functions(module, lambda f: _normed(module, f))


def _normed(module: Module, function: Function) -> Function:
    op = next(op for op in function.ops if op.results[0].type == function.results[0].type)
    splice = Splice(module, function)
    with_norm = {"eps": 0.0}

    def build() -> tuple[object, ...]:
        from dsv4c.ir.core import ACTIVE

        out = ACTIVE[-1].emit(op.name, op.operands, op.attrs)
        return ACTIVE[-1].emit("rms_norm", out, with_norm)

    splice.replace(op, op.results, build)  # type: ignore[arg-type]
    return splice.done()


class LosesTheEntry(Doing):
    def run(self, module: Module, log: Log) -> Module:
        return Module(module.name, {n: f for n, f in module.functions.items() if n != "step"}, "step_all")


@pytest.mark.parametrize(
    ("step", "kind", "says"),
    [
        (Raises(), "raises", "KeyError: 'gone'"),
        (Disorder(), "verify", "uses a value before its definition"),
        (WritesKernels(), "tier", "rms_norm is a kernel op; the pass declares that it writes core ops"),
        (LosesTheEntry(), "pairs", "step is gone or has another signature"),
    ],
)
def test_contracts(step: Pass, kind: str, says: str) -> None:
    with pytest.raises(PassError) as error:
        run_passes(twin(V4), (Doing(), step), None)  # these need no proof
    assert error.value.broken.kind == kind and says in str(error.value)


def test_a_pass_leaves_its_input_alone() -> None:
    with pytest.raises(PassError, match="changes the module that it was given"):
        run_passes(build_module(small_twin(load_preset(V4)), "f32"), (ChangesInput(),), Prover())


def test_reading_a_tier_that_is_not_there_is_said() -> None:
    class Reader(Doing):
        reads: ClassVar[str] = "kernel"

    (stage,) = run_passes(twin(V32), (Reader(),))
    assert stage.log.notes == ["nothing to do: the module has no kernel ops"]


# Pairs


class Decode(Doing):
    """f(S) -> g, for S = 1"""

    def run(self, module: Module, log: Log) -> Module:
        from dsv4c.passes.specialize import specialised

        return Module(module.name, {"g": specialised(module.functions["f"], {"S": 1}, {"f": "g"})}, "g")

    def pairs(self, before: Module, after: Module) -> tuple[Pair, ...]:
        return (Pair("f", "g", dims=(("S", 1),)),)


class FirstChunk(Doing):
    """f -> f for sequences without a past"""

    def pairs(self, before: Module, after: Module) -> tuple[Pair, ...]:
        one = (("S", 1),)
        return (Pair("f", "f", one, (("past", 0),)), Pair("f", "f", one, (("past", 7),)))


PAST = """module m entry f
func f(%x: f32[B, S], %past: i32[B]) {
  %0: i32[B, 1] = reshape(%past, shape=[B, 1])
  %1: f32[B, 1] = cast(%0, dtype="f32")
  %2: f32[B, S] = add(%x, %1)
  return %2
}
"""


def test_functions_with_fixed_dimensions_are_compared_where_they_fit() -> None:
    (stage,) = run_passes(parse(PAST, ""), (Decode(),), Prover())
    (row,) = stage.compared
    assert (row.before, row.after, row.status, row.steps) == ("f", "g", "equal", 4)


def test_operands_that_are_taken_for_granted() -> None:
    (stage,) = run_passes(parse(PAST, ""), (FirstChunk(),), Prover())
    first, second = stage.compared
    assert (first.status, first.steps) == ("equal", 1)
    assert (second.status, second.detail) == ("skipped", "no step has S = 1, past = 7")


def test_what_is_too_large_is_skipped_with_the_reason() -> None:
    text = "module m entry f\nfunc f(%x: f32[99999, 99999]) {\n  %0: f32[99999, 99999] = exp(%x)\n  return %0\n}\n"
    changed = parse(text.replace("exp", "sqrt"), "")

    class Change(Doing):
        def run(self, module: Module, log: Log) -> Module:
            return changed

    (stage,) = run_passes(parse(text, ""), (Change(),), Prover())
    assert stage.compared[0].status == "skipped"
    assert stage.compared[0].detail == "operands of 37.3 GiB are more than 128 MiB"


# All ranks of a partitioned module


class ScaledRanks(PartitionExperts):
    """Partitions, and scales twice."""

    def run(self, module: Module, log: Log) -> Module:
        return planted.ScaledTwice().run(super().run(module, log), log)


def test_ranks_together_are_compared_with_the_whole() -> None:
    (stage,) = run_passes(twin(V32), (PartitionExperts(ranks=4, copies=3, waves=2),), Prover())
    status = {row.after: row.status for row in stage.compared}
    assert status["experts"] == "skipped" and {status[n] for n in ("ffn_moe", "layer_moe", "step")} == {"close"}
    with pytest.raises(PassError, match="changes the numbers of attention"):
        run_passes(twin(V32), (ScaledRanks(ranks=2),), Prover())


def test_in_16_bits_layers_are_compared_and_not_what_is_behind_them() -> None:
    (stage,) = run_passes(twin(V32, "bf16"), (PartitionExperts(ranks=2),), Prover())
    rows = {row.after: row for row in stage.compared}
    assert rows["layer_moe"].status in ("equal", "close") and rows["step"].status == "skipped"
    assert "its layers are compared" in rows["step"].detail


def test_what_follows_a_partitioned_module_is_not_executed() -> None:
    steps = (PartitionExperts(ranks=2), planted.OrderOfSums())
    _, last = run_passes(twin(V32), steps, Prover())
    assert {row.status for row in last.compared} <= {"unchanged", "skipped"}
    assert any("partition-experts comes last" in row.detail for row in last.compared)


def test_an_execution_that_breaks_is_a_failure() -> None:
    text = "module m entry f\nfunc f(%x: f32[B, S]) {\n  require B == B\n  %0: f32[B, S] = exp(%x)\n  return %0\n}\n"
    broken = text.replace("require B == B", "require B == S")
    step = type("Step", (Becomes,), {"text": broken})()
    with pytest.raises(PassError, match=r"first difference: it raises IRError: f: requires B == S, which fails"):
        run_passes(parse(text, ""), (step,), Prover())
