"""What an engineer with a new board runs, executed here under the emulator and without Python."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ascend import needs_compiler

from dsv4c.cli import main
from dsv4c.driver import bringup
from dsv4c.driver.bringup import write_bringup
from dsv4c.driver.compile import compile_model
from dsv4c.driver.vectors import read_vectors
from dsv4c.errors import UserError
from dsv4c.targets.target import find_target

ROOT = Path(__file__).resolve().parents[1]
TINY, V32 = ROOT / "examples/tiny-v4", ROOT / "tests/data/tiny-v32"
CHIP = "ascend:910b3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model with vectors of every kernel, built for the emulator."""
    out = compile_model(str(TINY), tmp_path_factory.mktemp("bringup") / "out", target=CHIP)
    write_bringup(out)
    make(out)
    return out


def make(folder: Path, goal: str = "emulate") -> None:
    subprocess.run(["make", "-j2", goal], cwd=folder, check=True, capture_output=True)


def run(folder: Path, *words: str) -> tuple[int, str]:
    """Exit code and output, with nothing but the program itself to be found."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env={"PATH": ""})
    return done.returncode, done.stdout + done.stderr


def kernel(folder: Path, begin: str) -> Path:
    return min((folder / "kernels").glob(f"{begin}*.cpp"))


def test_every_kernel_has_a_case(tmp_path: Path):
    out = compile_model(str(V32), tmp_path / "out", target=CHIP, dtype="bf16")
    made = write_bringup(out)
    assert [k.kernel for k in made.kernels if not k.cases] == [] and made.launches > 200
    first = {p.relative_to(out): p.read_bytes() for p in (out / "vectors").rglob("*") if p.is_file()}
    assert sum(map(len, first.values())) < 8 << 20
    write_bringup(out)
    assert {p.relative_to(out): p.read_bytes() for p in (out / "vectors").rglob("*") if p.is_file()} == first


def test_a_model_without_weights_has_small_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = compile_model(str(V32), tmp_path / "out", target=CHIP, weights=False)
    assert main(["vectors", str(out), "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["trace"]["launches"] == 0 and sum(k["cases"] > 0 for k in made["kernels"]) > 40
    assert read_vectors(out) is None  # the whole model has none


def test_kernels_of_functions_that_are_too_large_get_drawn_operands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = compile_model(str(V32), tmp_path / "out", target=CHIP, weights=False, dtype="bf16")
    monkeypatch.setattr(bringup, "LARGEST", 0)
    rows = {row.kernel: row for row in write_bringup(out, 1 << 20).kernels}
    assert {row.why for row in rows.values()} == {"", "its functions are too large, and integers cannot be drawn"}
    assert sum(row.cases for row in rows.values()) > 20
    case = min((out / "vectors/kernels").glob("rms_norm*/0"))
    assert json.loads((case / "case.json").read_text())["sizes"] == [["M", 5]]
    after = np.load(case / "y.after.npy")
    assert after.dtype == np.uint16 and after.shape[0] == 5 and after.any()


def test_too_large_a_case_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = compile_model(str(V32), tmp_path / "out", target=CHIP)
    assert write_bringup(out, 3000).kernels[0].why == "its smallest launch has 0 MiB"
    assert main(["vectors", str(out), "--largest", "0"]) == 2
    assert main(["vectors", str(out)]) == 0
    assert "kernels have cases; a trace of" in capsys.readouterr().out


def test_a_target_without_tile_programs_has_no_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    out = compile_model(str(V32), tmp_path / "out", target=CHIP, weights=False)
    monkeypatch.setattr(bringup, "find_target", lambda name: find_target("cpu"))
    with pytest.raises(UserError, match="kernels of cpu have no vectors of their own"):
        write_bringup(out)


@needs_compiler
def test_kernels_agree_with_their_cases(folder: Path):
    code, text = run(folder, "./run_kernel_emulated", "all")
    assert code == 0 and re.search(r"(\d+) of \1 cases pass", text) and "FAIL" not in text
    code, text = run(folder, "./run_kernel_emulated", "rms_norm")
    assert code == 0 and text.count("PASS") == 4
    assert run(folder, "./run_kernel_emulated")[1].count("rms_norm") == 4
    assert run(folder, "./run_kernel_emulated", "nosuch")[0] == 2


@needs_compiler
def test_launches_agree_with_the_trace(folder: Path):
    code, text = run(folder, "./run_emulated", "--check", "first")
    assert code == 0 and "512 launches of 2 steps agree" in text and "logits of 40 of 40 positions" in text


@needs_compiler
def test_the_first_launch_that_differs_is_named_and_stored(folder: Path, tmp_path: Path):
    broken = shutil.copytree(folder, tmp_path / "out")
    faults = {
        "sparse_attention_6": (r"(Muls\(v\d+, v\d+\[.*?\], )0\.17677\w+f", r"\g<1>0.18f"),
        "swiglu": (r"\bExp\(", "Abs("),
    }
    names = []
    for begin, (pattern, by) in faults.items():
        path = kernel(broken, begin)
        text, count = re.subn(pattern, by, path.read_text(), count=1)
        assert count == 1
        path.write_text(text)
        names.append(path.stem)
    make(broken)
    code, text = run(broken, "./run_emulated", "--check", "first")
    assert code == 1 and text.count("differs") == 1
    found = re.search(r"launch (\d+) of (\w+) differs\n  kernel     (\w+) .*\n  place      (\S+)", text)
    assert found and found[3] in names and found[4].startswith("layers.")
    assert re.search(r"element    \[.*\]: expected \S+, found \S+\n  worst      .* of the largest", text)
    got = np.load(next((broken / "mismatch").glob("*.found.npy")))
    assert got.dtype == np.float32 and np.isfinite(got).all()
    code, text = run(broken, "./run_kernel_emulated", "--case", "mismatch")
    assert code == 1 and found[3] in text and "0 of 1 cases pass" in text
    code, text = run(broken, "./run_emulated", "--check", "all")
    assert code == 1 and all(f"kernel     {name}" in text for name in names)


@needs_compiler
def test_a_finding_of_the_emulator_is_a_launch_that_differs(folder: Path, tmp_path: Path):
    broken = shutil.copytree(folder, tmp_path / "out")
    path = kernel(broken, "rms_norm")
    text, count = re.subn(r"(Wait|Set)Flag<HardEvent::MTE2_V>.*\n", "\n", path.read_text())
    assert count >= 2
    path.write_text(text)
    make(broken)
    code, text = run(broken, "./run_emulated", "--check", "first")
    assert code == 1 and f"kernel     {path.stem}" in text and "race" in text


@needs_compiler
def test_cycles_by_kernel_and_pipe(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, text = run(folder, "./run_kernel_emulated", "linear_experts")
    assert code == 0 and re.search(r"\n      \d+ cycles: M \d+ MTE1 \d+ MTE2 \d+ FIX \d+\n", text)
    out = compile_model(str(V32), tmp_path / "out", target=CHIP)
    assert main(["cycles", str(out), "--past", "9", "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert one["clock_mhz"] == 1800 and one["cycles"] == sum(k["cycles"] for k in one["kernels"])
    assert main(["cycles", str(out), "--length", "40"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"kernel +launches +cycles +V +M +MTE1 +MTE2 +MTE3 +FIX", table)
    many = re.search(r"\n([\d,]+) cycles in ([\d,]+) launches, \d+ us at 1,800 MHz", table)
    assert many and int(many[1].replace(",", "")) > one["cycles"]
    assert main(["cycles", str(out), "--past", "100000"]) == 2


@needs_compiler
def test_profile_shows_the_estimate_and_the_command(folder: Path):
    found = subprocess.run(["./profile.sh", "rms_norm", "1"], cwd=folder, capture_output=True, text=True)
    if shutil.which("msprof") is None:
        assert found.returncode == 1 and "msprof not found" in found.stderr
    assert "at 1800 MHz" in found.stdout and " cycles: V " in found.stdout and "aiv_vec_time(us)" in found.stdout
    assert re.search(r"\+ msprof op --output=profile ./run_kernel --case \S+/rms_norm_\w+/1\n", found.stdout)
    found = subprocess.run(["./profile.sh", "--simulator", "swiglu"], cwd=folder, capture_output=True, text=True)
    assert "msprof op simulator --soc-version=Ascend910B3 --output=profile" in found.stdout
    assert subprocess.run(["./profile.sh", "nosuch"], cwd=folder, capture_output=True).returncode == 2
    usage = subprocess.run(["./profile.sh"], cwd=folder, capture_output=True, text=True)
    assert usage.returncode == 2 and usage.stderr.startswith("Profiles one stored case")


@needs_compiler
def test_debug_builds_print_and_compute_the_same(folder: Path, tmp_path: Path):
    debug = shutil.copytree(folder, tmp_path / "out")
    assert [p.name for p in (debug / "kernels").glob("*.cpp") if "DSV4C_TASK(" not in p.read_text()] == []
    name, text = kernel(debug, "rms_norm").stem, (debug / "Makefile").read_text()
    text = re.sub(r"(?m)^AIV := .*$", f"AIV := {name}", re.sub(r"(?m)^AIC := .*$", "AIC :=", text))
    (debug / "Makefile").write_text(text)  # one kernel is enough
    make(debug, "debug")
    code, text = run(debug, "./run_kernel_debug", name)
    assert code == 0 and "2 of 2 cases pass" in text
    assert text.startswith(f"{name}: AIV 0 begins task 0\n    AIV 0 stores 48 x 24 at y[0]\nPASS")
    assert "begins task" not in run(debug, "./run_kernel_emulated", name)[1]
