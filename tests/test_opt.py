"""dsv4c opt and passes: what they print, what stays off stdout, and a diff that a reader can follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import planted
import pytest

from dsv4c.cli import main
from dsv4c.driver.explain import run_pipeline
from dsv4c.driver.inputs import Inputs
from dsv4c.driver.origin import Origin, twin_of
from dsv4c.driver.recording import record, sizes_of
from dsv4c.driver.textdiff import module_diff
from dsv4c.frontend.presets import load_preset, preset_names
from dsv4c.ir.core import Module
from dsv4c.ir.parser import parse
from dsv4c.ir.printer import to_text
from dsv4c.ir.verify import verify
from dsv4c.models.build import build_module
from dsv4c.models.config import V4Config
from dsv4c.models.twin import small_twin
from dsv4c.passes import registry
from dsv4c.passes.base import Log
from dsv4c.passes.canonicalize import Canonicalize

ROOT = Path(__file__).resolve().parents[1]
Run = Callable[..., tuple[str, str]]
TEXT = """module m entry f

func g(%x: f32[S, 8]) {
  %0: f32[S, 8] = exp(%x)
  return %0
}

func f(%x: f32[S, 8], %y: f32[S, 8]) {
  %0: f32[S, 8] = sub(%x, 1.0:f32) @first
  %1: f32[S, 8] = mul(%0, %y) @second
  %2: f32[S, 8] = mul(%0, %y) @second
  %3: f32[S, 8] = add(%1, %2) @third
  %4: f32[S, 8] = call g(%3)
  %5: f32[S, 8] = neg(%4) @last
  return %5
}
"""
DIFF = """--- f
+++ f (canonicalize: 7 -> 6 ops)
@@ -1,7 +1,6 @@
 func f(%x: f32[S, 8], %y: f32[S, 8]) {
-  %0: f32[S, 8] = sub(%x, 1.0:f32) @first
-  %1: f32[S, 8] = mul(%0, %y) @second
-  %2: f32[S, 8] = mul(%0, %y) @second
-  %3: f32[S, 8] = add(%1, %2) @third
+  %6: f32[S, 8] = add(%x, -1.0:f32) @first
+  %1: f32[S, 8] = mul(%6, %y) @second
+  %3: f32[S, 8] = add(%1, %1) @third
   %4: f32[S, 8] = call g(%3)
   %5: f32[S, 8] = neg(%4) @last
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; its stdout and stderr."""

    def run(*words: object, code: int = 0) -> tuple[str, str]:
        assert main(list(map(str, words))) == code
        captured = capsys.readouterr()
        return captured.out, captured.err

    return run


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "m.dsir"
    path.write_text(TEXT)
    return path


def test_the_result_is_all_that_is_printed(run: Run, file: Path, tmp_path: Path) -> None:
    out, err = run("opt", file, "-p", "canonicalize")
    assert err == "" and out == to_text(Canonicalize().run(parse(TEXT, ""), Log()))
    assert run("opt", file) == (TEXT, "")
    made = tmp_path / "out.dsir"
    assert run("opt", file, "-p", "canonicalize", "-o", made) == ("", "") and made.read_text() == out


def test_diff_is_readable(run: Run, file: Path) -> None:
    out, err = run("opt", file, "-p", "canonicalize,canonicalize", "--diff")
    assert (out, err) == (DIFF, "")  # once: the second run changes nothing


def test_diff_of_new_and_removed_functions() -> None:
    before, after = parse(TEXT, ""), parse(TEXT.replace("func g", "func h").replace("call g", "call h"), "")
    heads = [line for line in module_diff(before, after, "rename").splitlines() if line.startswith(("---", "+++"))]
    assert heads[1::2] == ["+++ h (rename: new, 1 ops)", "+++ f (rename: 7 -> 7 ops)", "+++ g (rename: removed)"]


def test_values_that_a_pass_did_not_touch_keep_their_names() -> None:
    module = build_module(small_twin(load_preset("deepseek-v4-flash")), "f32")
    after = planted.SinkIgnored().run(module, Log())
    changed = [line for line in module_diff(module, after, "x").splitlines() if line[:2] in ("- ", "+ ")]
    assert len(changed) <= 12 * 3  # of three functions of 180 to 500 ops


def test_print_after_all_parses(run: Run, file: Path) -> None:
    out, _ = run("opt", file, "-p", "canonicalize,fuse-kernels", "--print-after-all")
    first, second = out.split("# after fuse-kernels\n")
    assert first.startswith("# after canonicalize\n")
    assert [to_text(parse(text, "")) for text in (first, second)] == [first.partition("\n")[2], second]


def test_why(run: Run, file: Path) -> None:
    names = "canonicalize,fuse-kernels,rewrite-sparse-attention,absorb-mla"
    out, _ = run("opt", ROOT / "tests/data/tiny-v32", "-p", names, "--why", "absorb-mla", "--no-verify")
    assert "absorb-mla: attention:core: the number of new tokens is not known; specialize comes first\n" in out
    out, _ = run("opt", file, "-p", "canonicalize", "--why", "nothing")
    assert out.startswith("no pass here looked at a place for nothing; rules that did: ")


def test_explain_is_on_stderr(run: Run, file: Path) -> None:
    out, err = run("opt", file, "-p", "canonicalize", "--explain")
    assert out.startswith("module m") and "canonicalize" in err and "8 -> 7" in err and "1 equal, 1 unchanged" in err
    _, err = run("opt", file, "-p", "canonicalize", "--explain", "--no-verify")
    assert "not executed" in err


def test_opt_json(run: Run, file: Path) -> None:
    out, _ = run("opt", file, "-p", "canonicalize", "--json")
    data: Any = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    (step,) = data["passes"]
    assert step["ops"] == [8, 7] and step["error"] == {"absolute": 0.0, "ulps": 0.0} and step["options"] == {}
    assert [(f["before"], f["status"]) for f in step["functions"]] == [("g", "unchanged"), ("f", "equal")]


def test_a_failed_proof_is_exit_code_1(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PASSES", (planted.SwapSub, planted.OrderOfSums))
    out, err = run("opt", file, "-p", "order-of-sums,swap-sub", code=1)
    assert out == "" and err.startswith("dsv4c: pass swap-sub changes the numbers of f\n  first difference: result 0[")
    assert err.endswith(f"to see it again: dsv4c opt {file} -p order-of-sums,swap-sub\n")
    assert run("opt", file, "-p", "swap-sub", "--no-verify")[1] == ""
    _, err = run("opt", file, "-p", "swap-subs", code=2)
    assert err == "dsv4c: -p: there is no pass 'swap-subs'; did you mean swap-sub? (dsv4c passes lists them)\n"


def test_passes(run: Run) -> None:
    out, err = run("passes")
    assert err == "" and all(step.name in out and step.doc in out for step in registry.PASSES)
    listed = json.loads(run("passes", "--json")[0])["passes"]
    assert [p["name"] for p in listed] == [step.name for step in registry.PASSES]
    assert set(listed[0]) == {"name", "doc", "reads", "writes", "exact", "options"}


def test_compile_explains_and_lists_its_passes(tiny_artefact: Path) -> None:
    ran = json.loads((tiny_artefact.parent / "compile.json").read_text())["passes"]
    stored = json.loads((tiny_artefact / "manifest.json").read_text())["passes"]
    assert [(p["name"], p["options"]) for p in ran] == [(p["name"], p["options"]) for p in stored]
    functions = [f for p in ran for f in p["functions"]]
    assert {f["status"] for f in functions} <= {"equal", "close", "unchanged"} and functions


# What a proof executes


@pytest.mark.parametrize("name", preset_names())
def test_the_twin_has_the_functions_of_the_model(name: str) -> None:
    config = load_preset(name)
    large, small = build_module(config, "f32"), build_module(small_twin(config), "f32")
    verify(small)
    assert list(small.functions) == list(large.functions)
    for function in large.functions.values():
        ops = [op.name for op in small.functions[function.name].ops]
        if function.name != "backbone":  # which has one call for each layer
            assert set(ops) == {op.name for op in function.ops}
    assert twin_of(Origin(name, large, config), ()) is not None
    assert twin_of(Origin(name, small, small_twin(config)), ()) is None  # small enough itself


def test_a_life_takes_every_branch() -> None:
    config = load_preset("deepseek-v4-flash")
    module = build_module(small_twin(config), "f32")
    assert isinstance(config, V4Config)
    small = small_twin(config)
    assert isinstance(small, V4Config)
    steps = record(module, "attention_csa", sizes_of(module))
    past = [int(p) for s in steps for p in s.operands["past"]]
    new = [int(n) for s in steps for n in s.operands["new"]]
    assert {s.dims["S"] for s in steps} >= {1, 3, 4} and max(new) > small.window + small.hca_rate - 8
    assert min(past) == 0 and max(past) > small.window + max(new)  # not full, full, and wrapped
    assert any(0 < p // small.csa_rate < small.indexer.top_k for p in past)  # fewer entries than k
    assert any(p // small.csa_rate > small.indexer.top_k for p in past)
    assert any(len(set(s.operands["new"].tolist())) > 1 for s in steps)  # ragged, so that padding follows
    kept = steps[1].operands["s" if "s" in steps[1].operands else "state"]
    assert kept is steps[0].results[1]  # the state of a real earlier step


def test_experts_without_tokens_and_equal_scores() -> None:
    module = build_module(small_twin(load_preset("deepseek-v3.2")), "f32")
    steps = record(module, "experts", sizes_of(module))
    assert any(len(set(s.operands["chosen"].ravel().tolist())) < 16 for s in steps)
    weights = Inputs(module.functions["ffn_moe"]).weights("ties")["w"]
    assert (weights["router"][0] == weights["router"][1]).all() and weights["bias"][0] == weights["bias"][1]


def test_rules_that_the_twin_does_not_show_are_said() -> None:
    class Large(Canonicalize):
        def run(self, module: Module, log: Log) -> Module:
            if module.functions["attention"].params[0].shape[2] == 7168:
                log.applied["only-large"] += 1
            return module

    config = load_preset("deepseek-v3")
    outcome = run_pipeline(Origin("deepseek-v3", build_module(config, "f32"), config), (Large(),))
    assert outcome.twin and outcome.ran[0].notes == ["not proven: only-large does not apply to the small twin"]
