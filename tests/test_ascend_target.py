"""Whole models on emitted AscendC kernels: every function against the reference, and the tokens of transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ascend import needs_compiler

import dsv4c
from dsv4c.driver.compile import compile_model
from dsv4c.driver.verify import verify_artefact

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINTS = {
    "v4": ROOT / "examples/tiny-v4",
    "v32": ROOT / "tests/data/tiny-v32",
    "odd": ROOT / "tests/data/tiny-v4-odd",
}
CHIP = "ascend:910b3"


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One artefact a model."""
    out = tmp_path_factory.mktemp("ascend")
    return {name: compile_model(str(path), out / name, target=CHIP) for name, path in CHECKPOINTS.items()}


@needs_compiler
@pytest.mark.parametrize("name", list(CHECKPOINTS))
def test_every_function_agrees_with_the_reference(name: str, artefacts: dict[str, Path]):
    rows = verify_artefact(artefacts[name])
    assert [f"{row.name}: {row.error}" for row in rows if row.status != "ok"] == []
    assert rows[-1].name == "test vectors"


@needs_compiler
def test_tokens_are_those_of_transformers(artefacts: dict[str, Path]):
    peer = json.loads((CHECKPOINTS["v4"] / "tokens.json").read_text())
    assert dsv4c.load(artefacts["v4"]).generate(peer["prompt"], 16) == peer["new"][:16]


def test_same_bytes_twice(artefacts: dict[str, Path], tmp_path: Path):
    again = compile_model(str(CHECKPOINTS["v4"]), tmp_path / "again", target=CHIP)
    first = {p.relative_to(artefacts["v4"]): p.read_bytes() for p in sorted(artefacts["v4"].rglob("*")) if p.is_file()}
    assert {p.relative_to(again): p.read_bytes() for p in sorted(again.rglob("*")) if p.is_file()} == first


@pytest.mark.parametrize("preset", ["deepseek-v4-pro", "deepseek-v4-flash", "deepseek-v3.2", "deepseek-v3"])
def test_released_models_fit_the_chip(preset: str, tmp_path: Path):
    out = compile_model(preset, tmp_path / "out", target=CHIP, weights=False)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["target"]["facts"]["expanded"] == []
    assert len(list((out / "kernels").glob("*.cpp"))) == manifest["target"]["facts"]["kernels"]
