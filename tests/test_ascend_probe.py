"""The programs that a new board runs first, under the emulator: they hold, and they say what does not."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ascend import needs_compiler

from dsv4c.driver.compile import compile_model

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "examples/tiny-v4"
PROBE = ROOT / "targets/ascend/probe"
NAME = re.compile(r"\b([A-Z]\w+)(?=[<(])")
# What emitted kernels call and the probe does not, with the reason.
NOT_PROBED = {
    "Least": "a function of the kernel's own", "Most": "a function of the kernel's own",
    "DSV4C_TASK": "prints in debug builds", "DSV4C_STORED": "prints in debug builds",
}  # fmt: skip
# Faults of the emulated machine, and the fact that must be found wrong.
FAULTS = {
    "convert.h": ("bits[k / 8] |= uint8_t(1u << (k % 8))", "bits[k / 8] |= uint8_t(128u >> (k % 8))", "Compare"),
    "number.h": ("default: return std::nearbyint(x);", "default: return std::trunc(x);", "f32 to bf16, RINT"),
    "load.h": ("*from, size_of(type), p.transpose)", "*from, size_of(type), false)", "B [k, n]"),
}  # fmt: skip


CHIPS = ("910b3", "950pr")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An artefact a chip, with its probes built."""
    base = tmp_path_factory.mktemp("probe")
    for chip in CHIPS:
        compile_model(str(TINY), base / chip, target=f"ascend:{chip}", dtype="bf16", weights=False)
        subprocess.run(["make", "-j2", "probe"], cwd=base / chip, check=True, capture_output=True)
    return {chip: base / chip for chip in CHIPS}


def run(folder: Path, program: str) -> tuple[int, str]:
    done = subprocess.run([f"./{program}"], cwd=folder, capture_output=True, text=True, env={"PATH": ""})
    return done.returncode, done.stdout + done.stderr


def test_every_emitted_instruction_is_probed(tmp_path: Path):
    probed = {name for path in (*PROBE.glob("*.cpp"), PROBE / "parts.h") for name in NAME.findall(path.read_text())}
    for chip, dtype in (("910b3", "f32"), ("910b3", "bf16"), ("950pr", "bf16")):
        out = tmp_path / f"{chip}-{dtype}"
        compile_model(str(TINY), out, target=f"ascend:{chip}", dtype=dtype, weights=False)
        emitted = {name for path in (out / "kernels").glob("*.cpp") for name in NAME.findall(path.read_text())}
        assert emitted > {"Gather", "Mmad", "Fixpipe", "Cast"}
        assert emitted - probed - set(NOT_PROBED) == set()


@needs_compiler
@pytest.mark.parametrize("chip", CHIPS)
def test_smoke_kernels_pass(chip: str, folders: dict[str, Path]):
    code, text = run(folders[chip], "smoke_emulated")
    assert code == 0 and [line.split()[:2] for line in text.splitlines()[1:]] == [
        ["PASS", "vector"],
        ["PASS", "cube"],
        ["PASS", "mixed"],
    ]


@needs_compiler
@pytest.mark.parametrize("chip", CHIPS)
def test_all_facts_hold(chip: str, folders: dict[str, Path]):
    code, text = run(folders[chip], "probe_emulated")
    assert code == 0 and re.search(r"\n(\d+) of \1 facts hold on Ascend9", text) and "WRONG" not in text
    kernels = (PROBE / "probe_vector.cpp").read_text() + (PROBE / "cube_facts.cpp").read_text()
    assert text.count("\nok ") == len(re.findall(r"(?m)fact == \d+|^        \{\d+, ", kernels))


@needs_compiler
def test_a_machine_of_other_facts_is_found_out(folders: dict[str, Path], tmp_path: Path):
    broken = shutil.copytree(folders["910b3"], tmp_path / "out")
    for name, (text, by, _) in FAULTS.items():
        path = broken / "emulator/ascend/emulator/machine" / name
        assert text in path.read_text()
        path.write_text(path.read_text().replace(text, by))
    (broken / "build/machine.o").unlink()
    subprocess.run(["make", "probe"], cwd=broken, check=True, capture_output=True)
    code, text = run(broken, "probe_emulated")
    wrong = [line for line in text.splitlines() if line.startswith("WRONG")]
    assert code == 1 and all(any(fact in line for line in wrong) for *_, fact in FAULTS.values())
    assert "facts hold" in text and "Brcb" not in "".join(wrong)


@needs_compiler
def test_smoke_says_what_wrong_numbers_mean(folders: dict[str, Path], tmp_path: Path):
    broken = shutil.copytree(folders["910b3"], tmp_path / "out")
    kernel = broken / "probe/smoke_vector.cpp"
    kernel.write_text(kernel.read_text().replace("static_cast<float>(GetBlockIdx())", "0.0f"))
    subprocess.run(["make", "smoke_emulated"], cwd=broken, check=True, capture_output=True)
    code, text = run(broken, "smoke_emulated")
    assert code == 1 and "FAIL  vector" in text and "core 1, element 0: expected" in text and "all cores" in text
