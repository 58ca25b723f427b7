"""Whole models on emitted AscendC kernels: every function against the reference, and the tokens of transformers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ascend import needs_compiler

import dsv4c
from dsv4c.driver.compile import compile_model
from dsv4c.driver.verify import verify_artefact
from dsv4c.targets.ascend.target import PACKAGE
from dsv4c.targets.tile.chip import chip_names, load_chip

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "examples/tiny-v4"
CHIP, LATE = "ascend:910b3", "ascend:950pr"
COMPILED = {
    "v4": (TINY, CHIP),
    "v32": (ROOT / "tests/data/tiny-v32", CHIP),
    "odd": (ROOT / "tests/data/tiny-v4-odd", CHIP),
    "v4 on 950": (TINY, LATE),
}


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One artefact a model and chip."""
    out = tmp_path_factory.mktemp("ascend")
    return {name: compile_model(str(path), out / name, target=chip) for name, (path, chip) in COMPILED.items()}


@needs_compiler
@pytest.mark.parametrize("name", ["v4", "v32", "odd"])
def test_every_function_agrees_with_the_reference(name: str, artefacts: dict[str, Path]):
    rows = verify_artefact(artefacts[name])
    assert [f"{row.name}: {row.error}" for row in rows if row.status != "ok"] == []
    assert rows[-1].name == "test vectors"


@needs_compiler
@pytest.mark.parametrize("name", ["v4", "v4 on 950"])
def test_tokens_are_those_of_transformers(name: str, artefacts: dict[str, Path]):
    peer = json.loads((TINY / "tokens.json").read_text())
    assert dsv4c.load(artefacts[name]).generate(peer["prompt"], 16) == peer["new"][:16]


def test_same_bytes_twice(artefacts: dict[str, Path], tmp_path: Path):
    again = compile_model(str(TINY), tmp_path / "again", target=CHIP)
    first = {p.relative_to(artefacts["v4"]): p.read_bytes() for p in sorted(artefacts["v4"].rglob("*")) if p.is_file()}
    assert {p.relative_to(again): p.read_bytes() for p in sorted(again.rglob("*")) if p.is_file()} == first


@pytest.mark.parametrize(
    ("preset", "chip"),
    [*((f"deepseek-{name}", CHIP) for name in ("v4-pro", "v4-flash", "v3.2", "v3")), ("deepseek-v4-pro", LATE)],
)
def test_released_models_fit_the_chip(preset: str, chip: str, tmp_path: Path):
    out = compile_model(preset, tmp_path / "out", target=chip, weights=False)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["target"]["facts"]["expanded"] == []
    assert len(list((out / "kernels").glob("*.cpp"))) == manifest["target"]["facts"]["kernels"]


@pytest.mark.parametrize("name", chip_names(PACKAGE))
def test_chips_have_sources(name: str):
    chip = load_chip(PACKAGE, name)
    assert chip.facts["cores"]["AIV"] == 2 * chip.facts["cores"]["AIC"]
    others = {key: entry for key, entry in chip.facts.items() if isinstance(entry, dict) and key != "memory"}
    entries = [*chip.facts["memory"].values(), *others.values()]
    assert [e for e in entries if not e.get("source")] == []
