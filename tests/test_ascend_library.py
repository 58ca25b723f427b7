"""Operators of the vendor's library instead of emitted kernels: asked for by op, refused where they do not fit."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from ascend import needs_compiler

import dsv4c
from dsv4c.artefact import seal
from dsv4c.driver.compile import compile_model
from dsv4c.driver.verify import verify_artefact
from dsv4c.errors import UserError

pytestmark = needs_compiler
CHECKPOINT = Path(__file__).parents[1] / "examples" / "tiny-v4"
OPS = ("gather_rows", "linear", "rms_norm")


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("library") / "out"
    return compile_model(str(CHECKPOINT), out, target="ascend:910b3", library=OPS)


def test_every_function_agrees_with_the_reference(artefact: Path) -> None:
    facts = json.loads((artefact / "manifest.json").read_text())["target"]["facts"]
    assert {name.rsplit("_", 1)[0] for name in facts["library"]} == set(OPS)
    assert [row.name for row in verify_artefact(artefact) if row.status != "ok"] == []


def test_the_program_calls_them_too(artefact: Path) -> None:
    subprocess.run(["make", "-s", "-j2", "run_emulated"], cwd=artefact, check=True, capture_output=True)
    command = ["./run_emulated", "--tokens", "1,2,3", "--new", "4"]
    text = subprocess.run(command, cwd=artefact, check=True, capture_output=True, text=True).stdout
    assert [int(token) for token in text.split(",")] == dsv4c.load(artefact).generate([1, 2, 3], 4)


def test_a_wrong_call_is_found(artefact: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    subprocess.run(["cp", "-r", str(artefact), str(broken)], check=True)
    source = broken / "host/library.cpp"
    source.write_text(source.read_text().replace("{1, 64}", "{64, 1}"))  # a weight that is not turned
    manifest = json.loads((broken / "manifest.json").read_text())
    (broken / "manifest.json").unlink()
    made = {key: value for key, value in manifest.items() if key not in ("sha256", "files", "schema")}
    seal(broken, made)  # as if it had been compiled so
    with pytest.raises(UserError, match=r"bounds|touches"):
        dsv4c.load(broken).generate([1, 2, 3], 2)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"target": "ascend:910b3", "library": ["softmax"]}, r"no library operator stands in for 'softmax'"),
        ({"target": "cpu", "library": ["linear"]}, r"cpu calls no library"),
        (
            {"target": "ascend:910b3", "library": ["rms_norm"], "dtype": "bf16"},
            r"aclnnRmsNorm takes a weight in the dtype of its rows, bf16; this one has f32",
        ),
    ],
)
def test_refused(options: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        compile_model(str(CHECKPOINT), tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
