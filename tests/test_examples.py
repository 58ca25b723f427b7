"""Everything under ``examples/`` runs as its user would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NEEDS_TORCH = {"make_tiny.py"}  # tests/parity runs it
SCRIPTS = sorted(p.name for p in EXAMPLES.glob("*.py") if p.name not in NEEDS_TORCH)


@pytest.mark.parametrize("script", SCRIPTS)
def test_example_runs(script: str) -> None:
    done = subprocess.run([sys.executable, str(EXAMPLES / script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    if script == "demo.py":
        assert done.stdout.rstrip().endswith("proved")
