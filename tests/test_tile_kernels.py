"""Vector kernels of tile programs against the decompositions of their ops, at four levels (tiling.py)."""

from __future__ import annotations

from pathlib import Path

import pytest
import tile_hyper
import tile_plain
import tile_rows
import tile_state
from ascend import needs_compiler
from tiling import Bench, Case

pytestmark = needs_compiler
FAMILIES = (*tile_rows.FAMILIES, *tile_plain.FAMILIES, *tile_hyper.FAMILIES, *tile_state.FAMILIES)
CASES: dict[str, Case] = {name: case for family in FAMILIES for name, case in family()}


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> Bench:
    return Bench(CASES, tmp_path_factory.mktemp("tile_kernels"), machine_folder)


@pytest.mark.parametrize("name", CASES)
def test_four_levels(bench: Bench, name: str):
    bench.prove(name)
