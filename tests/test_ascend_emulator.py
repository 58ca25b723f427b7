"""The AscendC emulator: examples run, results are right in every mode, and the same twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ascend import machine_folder, needs_compiler

from dsv4c.targets.ascend.emulate import Emulator, Library, Unwritten, build

__all__ = ["machine_folder"]
pytestmark = needs_compiler
KERNELS = Path(__file__).resolve().parents[1] / "examples" / "ascend" / "kernels"
RUNS = [("2201-manual", "clocks", 0), ("2201-auto", "clocks", 0), *(("2201-auto", "witness", s) for s in range(4))]


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> Library:
    return build(KERNELS, tmp_path_factory.mktemp("examples"), machine=machine_folder)


@pytest.mark.parametrize(("profile", "mode", "seed"), RUNS)
@pytest.mark.parametrize("n", [8, 1000, 10007])
def test_add(examples: Library, profile: str, mode: str, seed: int, n: int) -> None:
    rng = np.random.default_rng(n)
    x, y = rng.standard_normal((2, n)).astype(np.float32)
    z = np.zeros(n, np.float32)
    with Emulator(examples, profile, mode, seed) as emulator:
        emulator.launch("add_custom", 8, x, y, Unwritten(z), np.array([n, 512], np.uint32))
    np.testing.assert_array_equal(z, x + y)
