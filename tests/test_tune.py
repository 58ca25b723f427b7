"""``tune`` and ``compile --tuned``: schedules as data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dsv4c.artefact import MANIFEST
from dsv4c.cli import main
from dsv4c.driver.compile import TUNED, compile_model
from dsv4c.driver.verify import verify_artefact
from dsv4c.targets.cpu import tune
from dsv4c.targets.tvm.products.tuning import TILES, Tile
from dsv4c.targets.tvm.tuned import read

TINY = str(Path(__file__).resolve().parents[1] / "examples" / "tiny-v4")
OTHER = Tile(rows=4, chains=1, ahead=16, block=64)


def test_what_tune_finds_compiles_and_computes_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tune, "grid", lambda form: [TILES[form], OTHER])
    monkeypatch.setattr(tune, "COLD", 1 << 20)
    # Every candidate runs on all its calls; the other one is taken, whichever is faster here.
    monkeypatch.setattr(tune, "_fastest", lambda kernels, calls: [k(*c) for k in kernels for c in calls] and 1)
    file = tmp_path / "tuned.json"
    assert main(["tune", TINY, "--target", "cpu", "-o", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert "linear 1x8x64 f32" in shown["tiles"] and "gated_experts 8x32x64 f32" in shown["tiles"]
    assert all(Tile(**tile) == OTHER for tile in shown["tiles"].values())

    plain = compile_model(TINY, tmp_path / "plain")
    out = compile_model(TINY, tmp_path / "out", tuned=file)
    assert (out / TUNED).read_bytes() == file.read_bytes() and not (plain / TUNED).exists()
    one, two = (json.loads((folder / MANIFEST).read_text()) for folder in (plain, out))
    assert TUNED in two["files"] and one["sha256"] != two["sha256"]
    names = [{path.name for path in (folder / "kernels").glob("linear_*")} for folder in (plain, out)]
    assert names[0] and names[1] and not names[0] & names[1]
    assert {row.status for row in verify_artefact(out)} == {"ok"}


def test_the_grid_has_every_pair_once() -> None:
    _, *tiles = tune.grid("f32")
    assert len({(t.chains, t.ahead) for t in tiles}) == len(tune.CHAINS) * len(tune.AHEAD) == len(tiles)
    assert len({(t.rows, t.block) for t in tiles}) == len(tune.ROWS) * len(tune.BLOCK)


GOOD = {"rows": 4, "chains": 1, "ahead": 0, "block": 64}


def test_a_file_is_read() -> None:
    content = {"schema": 1, "target": "cpu", "tiles": {"linear 1x8x64 f32": GOOD}}
    assert read(content, "here").tiles == {"linear 1x8x64 f32": Tile(**GOOD)}


BAD: list[tuple[Any, str]] = [
    ({}, "is no tuning file of schema 1 for cpu"),
    ({"schema": 1, "target": "ascend:910b"}, "is no tuning file of schema 1 for cpu"),
    ({"schema": 1, "target": "cpu"}, "lacks the object 'tiles'"),
    ({"schema": 1, "target": "cpu", "tiles": {"a": 3}}, "tiles['a']: is no tile"),
    ({"schema": 1, "target": "cpu", "tiles": {"a": {**GOOD, "more": 1}}}, "tiles['a']: is no tile"),
    ({"schema": 1, "target": "cpu", "tiles": {"a": {**GOOD, "rows": 14}}}, "rows is 14; use a number from 1 to 12"),
    ({"schema": 1, "target": "cpu", "tiles": {"a": {**GOOD, "rows": 3}}}, "rows is 3; use an even number"),
    ({"schema": 1, "target": "cpu", "tiles": {"a": {**GOOD, "block": True}}}, "block is True; use a number"),
]


@pytest.mark.parametrize(("content", "said"), BAD)
def test_bad_files_are_one_line(
    content: Any, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tuned.json"
    file.write_text(json.dumps(content))
    out = tmp_path / "out"
    assert main(["compile", TINY, "--target", "cpu", "-o", str(out), "--tuned", str(file)]) == 2
    printed = capsys.readouterr()
    assert said in printed.err and printed.err.count("\n") == 1 and str(file) in printed.err and not out.exists()
