"""Same input, same bytes: two processes with different hash seeds, working folders and names of the input."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from checks import environment

ROOT = Path(__file__).resolve().parent.parent


def test_two_compiles_give_identical_folders(tmp_path: Path) -> None:
    for seed in ("1", "2"):
        where = tmp_path / f"cwd{seed}"
        where.mkdir()
        shutil.copytree(ROOT / "examples/tiny-v4", where / f"model{seed}")
        command = [sys.executable, "-m", "dsv4c", "compile", f"model{seed}", "--target", "cpu"]
        variables = environment(PYTHONHASHSEED=seed)
        subprocess.run([*command, "-o", "out"], cwd=where, env=variables, check=True, stdout=subprocess.DEVNULL)
    left, right = (sorted(p for p in (tmp_path / f"cwd{s}/out").rglob("*") if p.is_file()) for s in ("1", "2"))
    assert [p.relative_to(tmp_path / "cwd1") for p in left] == [p.relative_to(tmp_path / "cwd2") for p in right]
    assert left
    for a, b in zip(left, right, strict=True):
        assert a.read_bytes() == b.read_bytes(), a.name
