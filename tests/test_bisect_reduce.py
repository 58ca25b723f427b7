"""bisect names the planted pass among right ones; reduce ends with a small module that still fails and still parses."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import planted
import pytest

from dsv4c.cli import main
from dsv4c.driver.bisect import bisect
from dsv4c.driver.reduce import how_it_fails, reduce_module
from dsv4c.errors import UserError
from dsv4c.frontend.presets import load_preset
from dsv4c.ir.core import Module
from dsv4c.ir.parser import parse
from dsv4c.ir.printer import to_text
from dsv4c.models.build import build_module
from dsv4c.models.twin import small_twin
from dsv4c.passes import registry
from dsv4c.passes.base import Pass
from dsv4c.passes.canonicalize import Canonicalize
from dsv4c.targets.target import find_target

V4, V32 = "deepseek-v4-flash", "deepseek-v3.2"


def twin(name: str) -> Module:
    return build_module(small_twin(load_preset(name)), "f32")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = (planted.OrderOfSums, planted.MixTransposed, planted.StaleCache, planted.Halves, planted.ScaledTwice)
    monkeypatch.setattr(registry, "PASSES", (*registry.PASSES, *extra))


@pytest.mark.parametrize(
    ("name", "wrong", "function"),
    [(V4, planted.MixTransposed(), "hyper_pre"), (V32, planted.StaleCache(), "attention")],
)
def test_bisect_names_the_planted_pass(name: str, wrong: Pass, function: str) -> None:
    steps = (planted.OrderOfSums(), Canonicalize(), wrong, planted.Halves())
    found = bisect(twin(name), steps, 1e-4).culprit
    assert found is not None and (found.name, found.function) == (wrong.name, function)


def test_bisect_of_right_passes_blames_none() -> None:
    result = bisect(twin(V32), (planted.OrderOfSums(), Canonicalize(), planted.Halves()), 1e-4)
    assert result.culprit is None and all(stage.error <= 1e-5 for stage in result.stages)


NORM = """module m entry f
func f(%x: f32[B, S, 16]) {
  %0: f32[B, S, 16] = mul(%x, 2.0:f32)
  %1: f32[B, S, 16] = add(%0, %x)
  return %1
}
"""


def test_bisect_looks_at_kernels_too() -> None:
    result = bisect(parse(NORM, ""), (Canonicalize(),), 1e-4, find_target("cpu"))
    assert result.culprit is None
    assert [(row.name, row.status) for row in result.kernels] == [("f", "ok")]
    strict = bisect(parse(NORM, ""), (Canonicalize(),), -1.0, find_target("cpu"))
    assert strict.culprit is not None


@pytest.mark.parametrize(
    ("name", "wrong", "most"),
    [
        (V4, planted.MixTransposed(), 6),
        (V4, planted.EarlyWrite(), 3),
        (V32, planted.StaleCache(), 3),
        (V4, planted.SinkIgnored(), 8),
        (V32, planted.ScaledTwice(), 5),
        (V32, planted.TiesToTheLast(), 3),
        (V32, planted.PaddingVisible(), 4),
        (V4, planted.DropMask(), 4),
        (V4, planted.EpsLost(), 5),
    ],
    ids=lambda value: value.name if isinstance(value, Pass) else str(value),
)
def test_reduce(name: str, wrong: Pass, most: int) -> None:
    module = twin(name)
    small, broken = reduce_module(module, wrong)
    assert broken.kind == "numbers"
    assert sum(len(f.ops) for f in small.functions.values()) <= most, to_text(small)
    again = parse(to_text(small), "small")
    assert how_it_fails(again, wrong) is not None
    assert to_text(reduce_module(module, wrong)[0]) == to_text(small)


def test_a_pass_that_does_not_fail_cannot_be_reduced() -> None:
    with pytest.raises(UserError, match="order-of-sums: the pass does not fail on this module; nothing to reduce"):
        reduce_module(parse(NORM, ""), planted.OrderOfSums())


# Command line


def test_bisect_command(known: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bisect", V32, "-p", "order-of-sums,stale-cache,halves", "--dtype", "f32"]) == 1
    assert "stale-cache is the first over 1.0e-04: " in capsys.readouterr().out
    words = ["bisect", V32, "-p", "order-of-sums,halves", "--dtype", "f32"]
    assert main(words) == 0
    assert "nothing is over 1.0e-04" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["culprit"] is None


def test_reduce_command(known: None, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file, small = tmp_path / "m.dsir", tmp_path / "small.dsir"
    file.write_text(to_text(twin(V32)))
    words = ["reduce", str(file), "-p", "order-of-sums", "--pass", "scaled-twice", "-o", str(small)]
    assert main([*words, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["text"] == small.read_text() and made["ops"][1] <= 5 < made["ops"][0]
    assert small.read_text().startswith("# scaled-twice: numbers\n# first difference: ")
    assert main(["opt", str(small), "-p", "scaled-twice"]) == 1
    assert "pass scaled-twice changes the numbers of" in capsys.readouterr().err


def test_the_command_of_a_report_shows_the_failure_again(known: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["opt", V32, "-p", "order-of-sums,stale-cache", "--dtype", "f32"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    command = captured.err.partition("to see it again: dsv4c ")[2].strip()
    assert main(shlex.split(command)) == 1
    assert capsys.readouterr().err == captured.err
