"""The AscendC emulator: examples run, results are right in every mode, and the same twice."""

from __future__ import annotations

import runpy
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ascend import needs_compiler

from dsv4c.targets.ascend import emulate
from dsv4c.targets.ascend.emulate import Emulator, Library, Unwritten, build

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


@pytest.mark.parametrize(("profile", "mode", "seed"), RUNS)
@pytest.mark.parametrize("shape", [(1, 8), (5, 100), (33, 1000)])
def test_softmax(examples: Library, profile: str, mode: str, seed: int, shape: tuple[int, int]) -> None:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    y = np.zeros_like(x)
    with Emulator(examples, profile, mode, seed) as emulator:
        found = emulator.launch("softmax_custom", 4, x, Unwritten(y), np.array(shape, np.uint32), check=False)
    # It relies on the compiler's synchronisation, as the guide's code does.
    assert {f.kind for f in found} == ({"race"} if profile == "2201-manual" else set())
    if profile == "2201-auto":
        e = np.exp(x - x.max(1, keepdims=True))
        np.testing.assert_allclose(y, e / e.sum(1, keepdims=True), rtol=1e-6)


@pytest.mark.parametrize(("profile", "mode", "seed"), RUNS)
@pytest.mark.parametrize("shape", [(16, 16, 16), (64, 128, 64), (70, 100, 90), (130, 33, 200)])
def test_matmul(examples: Library, profile: str, mode: str, seed: int, shape: tuple[int, int, int]) -> None:
    M, N, K = shape
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((M, K)).astype(np.float16), rng.standard_normal((K, N)).astype(np.float16)
    c = np.zeros((M, N), np.float32)
    with Emulator(examples, profile, mode, seed) as emulator:
        emulator.launch("matmul_custom", 3, a, b, Unwritten(c), np.array([M, N, K, 64, 64, 48], np.uint32))
        assert emulator.cycles()[0]["M"] > 0
    np.testing.assert_allclose(c, a.astype(np.float64) @ b.astype(np.float64), atol=1e-4)


@pytest.mark.parametrize("name", ["add", "softmax", "matmul"])
def test_runners(
    name: str, machine_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(emulate, "build", partial(build, machine=machine_folder))
    runpy.run_path(str(KERNELS.parent / f"{name}.py"), run_name="__main__")
    assert "largest error" in capsys.readouterr().out


@pytest.mark.parametrize("arch", [2201, 3510])
@pytest.mark.parametrize("core", [[], ["-DDSV4C_CORE_AIC"]])
def test_headers_give_no_warnings(arch: int, core: list[str]) -> None:
    command = [
        emulate.compiler(),
        *emulate.flags_of(arch),
        *core,
        "-Wall",
        "-Wextra",
        "-Wshadow",
        "-Werror",
        "-fsyntax-only",
    ]
    for kernel in sorted(KERNELS.glob("*.cpp")):
        done = subprocess.run([*command, str(kernel)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
