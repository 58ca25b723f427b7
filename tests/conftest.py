"""What several test files share: one compiled artefact, one compiled emulator."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from dsv4c.cli import main

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "examples" / "tiny-v4"
TINY_CONTEXT = 200  # of the artefact; the model takes 256


@pytest.fixture(scope="session")
def tiny_artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """examples/tiny-v4 compiled for the CPU, once a session; copy it before changing anything in it."""
    folder = tmp_path_factory.mktemp("tiny") / "out"
    words = ["compile", str(TINY), "--target", "cpu", "-o", str(folder), "--max-context", str(TINY_CONTEXT)]
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = main([*words, "--explain", "--json"])
    assert code == 0
    (folder.parent / "compile.json").write_text(out.getvalue())
    return folder


@pytest.fixture(scope="session")
def machine_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the AscendC emulator's machine is kept, compiled once a session and chip."""
    return tmp_path_factory.mktemp("machine")
