"""``dsv4c check``: a kernel's file, edited or not, for a chip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mutation_cases import CASES
from tile_texts import TEXTS
from tiling import CHIP

from dsv4c.cli import main
from dsv4c.targets.ascend.spell import spell
from dsv4c.targets.tile.search import fitted
from dsv4c.targets.tile.text import logical_text, physical_text

CASE = CASES["linear"]
KERNEL = fitted(lambda **sizes: CASE.build(**CASE.options, **sizes), CHIP, CASE.tiles)
LOGICAL = logical_text(KERNEL.logical)
FILE = LOGICAL + "\n" + physical_text(KERNEL.physical)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "kernel.tile"
    path.write_text(FILE)
    return path


def test_what_is_used(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(file)]) == 0
    out = capsys.readouterr().out
    assert "linear: legal on 910b3" in out and "524,032" in out
    assert main(["check", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    l1 = [m for m in shown["memories"] if m["memory"] == "L1"]
    assert l1 == [{"core": "AIC", "memory": "L1", "used": 6144, "capacity": CHIP.scopes["L1"]}]
    assert not shown["made"] and shown["workspace"] == 0


def test_another_chip_of_the_architecture(file: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(file), "--chip", "910b1"]) == 0
    assert "legal on 910b1" in capsys.readouterr().out
    line = FILE.splitlines().index("physical linear on 910b3 (dav-2201)") + 1
    assert main(["check", str(file), "--chip", "950pr"]) == 2
    assert capsys.readouterr().err == f"dsv4c: {file}:{line}: a program for 910b3; 950pr needs its own\n"


def test_what_an_edit_breaks(file: Path, capsys: pytest.CaptureFixture[str]):
    edited = FILE.replace("left=Zz", "left=Nz")
    file.write_text(edited)
    assert main(["check", str(file)]) == 2
    out, err = capsys.readouterr()
    (line,) = [n for n, text in enumerate(edited.splitlines(), 1) if "left=Nz" in text]
    assert out == "" and err.startswith(f"dsv4c: {file}:{line}: M    mmad ") and err.count("\n") == 1
    assert err.endswith("left=Nz; L0A of dav-2201 is Zz\n")
    file.write_text(FILE.replace("first=", "frist=", 1))
    assert main(["check", str(file)]) == 2
    assert "unexpected frist=; write first=" in capsys.readouterr().err
    file.write_text(FILE.replace("on 910b3", "on 910x"))
    assert main(["check", str(file)]) == 2
    assert "there is no chip '910x'; use one of 910b, " in capsys.readouterr().err


@pytest.mark.parametrize("chip", ["910b3", "950pr"])
def test_a_kernel_alone_is_made_physical(file: Path, chip: str, capsys: pytest.CaptureFixture[str]):
    file.write_text(LOGICAL)
    assert main(["check", str(file), "--chip", chip]) == 0
    assert f"linear: made physical, and legal on {chip}" in capsys.readouterr().out
    assert main(["check", str(file)]) == 2
    assert "the file names no chip; give --chip, one of 910b" in capsys.readouterr().err


def test_a_kernel_that_is_too_large(file: Path, capsys: pytest.CaptureFixture[str]):
    text = LOGICAL.replace("mat bf16[16, 32]", "mat bf16[16, 32000]")
    file.write_text(text.replace("mat bf16[32, 32]", "mat bf16[32, 32000]"))
    assert main(["check", str(file), "--chip", "910b3"]) == 2
    err = capsys.readouterr().err
    assert "910b3 cannot run it: " in err and err.endswith("; use smaller tiles\n"), err


def test_a_tile_that_is_read_too_early(file: Path, capsys: pytest.CaptureFixture[str]):
    file.write_text(LOGICAL.replace("first=i2 == 0", "first=0"))
    assert main(["check", str(file), "--chip", "910b3"]) == 2
    line = next(n for n, text in enumerate(LOGICAL.splitlines(), 1) if " mma " in text)
    assert f"{file}:{line}: mma " in capsys.readouterr().err


def test_an_edited_kernel_is_spelled(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(file), "--spell", str(tmp_path)]) == 0
    assert (tmp_path / "linear.cpp").read_text() == spell(KERNEL.physical).kernel
    assert (tmp_path / "linear_tiling.h").read_text() == spell(KERNEL.physical).tiling
    file.write_text(FILE.replace("at 0\n", "at 8192\n", 1))
    assert main(["check", str(file), "--spell", str(tmp_path)]) == 0
    assert (tmp_path / "linear.cpp").read_text() != spell(KERNEL.physical).kernel
    capsys.readouterr()
    assert main(["check", str(file), "--spell", str(tmp_path / "nowhere")]) == 2
    assert "there is no such folder; choose an existing folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_is_printed_again(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / f"{name}.tile"
    path.write_text(TEXTS[name])
    for command in ("print", "parse"):
        assert main([command, str(path)]) == 0
        assert capsys.readouterr().out == TEXTS[name]
    assert main(["parse", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"kernel": name, "text": TEXTS[name]}
    assert main(["check", str(path)]) == 0
    assert f"{name}: legal on " in capsys.readouterr().out


def test_what_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "deep.tile"
    path.write_text(f"kernel k(out x: f32[{'min(M, ' * 5000}1{')' * 5000}]; M)\n    v = vec f32[1, 8]\n")
    assert main(["check", str(path), "--chip", "910b3"]) == 2
    assert f"{path}: nested too deeply" in capsys.readouterr().err
    assert main(["check", str(tmp_path / "none.tile")]) == 2
    assert "cannot read the file" in capsys.readouterr().err
