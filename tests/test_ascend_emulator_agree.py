"""The emulator's two mechanisms agree: where clocks see no race, no order of execution changes a number.

One compiled kernel interprets random programs of copies, vector and scalar instructions with random synchronisation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ascend import compiled, needs_compiler

from dsv4c.targets.ascend.emulate import Emulator, Library

pytestmark = needs_compiler
Array = np.ndarray[Any, Any]

EVENTS = [
    "MTE2_V",
    "V_MTE2",
    "MTE3_V",
    "V_MTE3",
    "MTE3_MTE2",
    "MTE2_MTE3",
    "S_V",
    "V_S",
    "S_MTE2",
    "MTE2_S",
    "S_MTE3",
    "MTE3_S",
]
BARRIERS = ["PIPE_V", "PIPE_MTE2", "PIPE_MTE3", "PIPE_ALL"]
ROWS, WIDTH = 4, 64
INTERPRETER = """
    const int32_t* program = (const int32_t*)b + GetBlockIdx() * n * 4;
    LocalTensor<float> row[4];
    for (int i = 0; i < 4; i++) { row[i] = ub<float>(i * 256, 64); in(row[i], a + i * 256, 64); }
    PipeBarrier<PIPE_ALL>();
    for (int i = 0; i < n; i++, program += 4) {
        const int d = program[1], s = program[2], t = program[3];
        switch (program[0]) {
            case 0: in(row[d], a + s * 256, 64); break;
            case 1: Adds(row[d], row[s], (float)t, 64); break;
            case 2: Add(row[d], row[s], row[t], 64); break;
            case 3: out(c + s * 256, row[d], 64); break;
            case 4: in(row[d], c + s * 256, 64); break;
            case 5: row[d].SetValue(s, (float)(100 + t)); break;
            case 6: Adds(row[d], row[d], row[s].GetValue(t), 64); break;
            case 40: CrossCoreSetFlag<0, PIPE_MTE3>(1); CrossCoreWaitFlag(1); break;
            case 41: CrossCoreSetFlag<0, PIPE_MTE2>(1); CrossCoreWaitFlag(1); break;
            case 42: CrossCoreSetFlag<0, PIPE_V>(1); CrossCoreWaitFlag<0, PIPE_MTE2>(1); break;
            case 43: SyncAll(); break;
            EVENTS
        }
    }
""".replace(
    "EVENTS",
    "".join(f"case {10 + i}: ORDER({e}); break;\n" for i, e in enumerate(EVENTS))
    + "".join(f"case {30 + i}: PipeBarrier<{e}>(); break;\n" for i, e in enumerate(BARRIERS)),
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> Library:
    kinds = {"interpret": "MIX_AIV_1_0"}
    return compiled({"interpret": INTERPRETER}, tmp_path_factory.mktemp("agree"), machine_folder, kinds=kinds)


def program(seed: int) -> Array:
    """3 to 12 instructions, each followed by up to ``seed % 7`` random synchronisations."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(rng.integers(3, 13)):
        lines.append([rng.integers(0, 7), *rng.integers(0, ROWS, 3)])
        for _ in range(rng.integers(0, seed % 7 + 1)):
            orders = [*range(10, 10 + len(EVENTS)), *range(30, 30 + len(BARRIERS))]
            lines.append([rng.choice(orders), 0, 0, 0])
    return np.array(lines, np.int32)


def programs(seed: int) -> Array:
    """For two cores: instructions inside a core are mostly in order, and the cores synchronise in the same places."""
    rng = np.random.default_rng(seed)
    cores: list[list[list[int]]] = [[], []]
    for _ in range(rng.integers(1, 4)):
        for core in cores:
            for _ in range(2):
                core.append([int(rng.choice([0, 1, 3, 4])), *map(int, rng.integers(0, ROWS, 3))])
                core.append([33 if rng.integers(0, 8) else 99, 0, 0, 0])
        order = int(rng.choice([40, 40, 41, 42, 43, 99]))
        for core in cores:
            core.append([order, 0, 0, 0])
    return np.array(cores, np.int32)


def run(library: Library, text: Array, profile: str, mode: str, seed: int, blocks: int = 1) -> tuple[bool, Array]:
    """Whether there was a race, and the result; a flag may be set again too early, which the emulator only reports."""
    rng = np.random.default_rng(1)
    a, c = rng.standard_normal((2, ROWS, WIDTH)).astype(np.float32)
    with Emulator(library, profile, mode, seed) as emulator:
        found = emulator.launch("interpret", blocks, a, text, c, text.size // 4 // blocks, 0.0, check=False)
    assert {f.kind for f in found} <= {"race", "again"}
    return any(f.kind == "race" for f in found), c


@pytest.mark.parametrize("profile", ["2201-manual", "2201-auto"])
def test_silence_means_one_result(library: Library, profile: str) -> None:
    silent = caught = 0
    for seed in range(280):
        text = program(seed)
        raced, want = run(library, text, profile, "clocks", 0)
        results = [run(library, text, profile, "witness", s)[1] for s in range(8)]
        differs = any(not np.array_equal(r, want) for r in results)
        assert raced or not differs, f"seed {seed}: numbers change and no race is reported"
        silent += not raced
        caught += differs
    assert silent > 10
    assert caught > 40


def test_silence_means_one_result_between_cores(library: Library) -> None:
    silent = caught = 0
    for seed in range(200):
        text = programs(seed)
        raced, want = run(library, text, "2201-manual", "clocks", 0, 2)
        results = [run(library, text, "2201-manual", "witness", s, 2)[1] for s in range(8)]
        differs = any(not np.array_equal(r, want) for r in results)
        assert raced or not differs, f"seed {seed}: numbers change and no race is reported"
        silent += not raced
        caught += differs
    assert silent > 10
    assert caught > 20
