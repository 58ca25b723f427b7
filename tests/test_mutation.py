"""The emulator as a sanitizer: a sample of mutants is caught, and no rule excludes a mutant that is not equivalent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ascend import needs_compiler
from mutants_ascend import drawn, made, scored
from mutation_cases import CASES

from dsv4c.targets.tile.mutation import rules
from dsv4c.targets.tile.mutation.graph import walked
from dsv4c.targets.tile.mutation.mutant import Mutant, mutated, step_of
from dsv4c.targets.tile.mutation.operators import OPERATORS, SYNC, all_mutants
from dsv4c.targets.tile.physical import Barrier, If, Program, walk
from dsv4c.targets.tile.scalar import Scalar

SAMPLED = ("rms_norm", "rope", "linear", "linear_groups", "mla_absorbed", "combine")
PROGRAMS: dict[str, Program] = {}


def program(name: str) -> Program:
    """The physical program of a case."""
    if name not in PROGRAMS:
        PROGRAMS[name] = made(name, CASES[name]).physical
    return PROGRAMS[name]


def mutant(name: str, kind: str, *words: str) -> Mutant:
    """The first mutant of a class whose text has all these words."""
    return next(m for m in OPERATORS[kind](program(name)) if all(word in m.what for word in words))


@needs_compiler
def test_a_sample_is_caught(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory):
    cases = {name: CASES[name] for name in SAMPLED}
    rows, _ = scored(cases, 3, 11, tmp_path, tmp_path_factory.mktemp("machine"))
    assert [(row.kind, row.mutants) for row in rows] == [(kind, 3) for kind in OPERATORS]
    assert sum(len(row.missed) for row in rows) <= 1, [row.missed for row in rows if row.missed]
    assert not [row.missed for row in rows if row.kind in SYNC and row.missed]


def test_the_same_seed_draws_the_same_mutants():
    kernels = {name: made(name, CASES[name]) for name in ("combine", "linear")}
    one, two = ([(n, m.what) for n, m in drawn(kernels, 2, seed=5)[0]] for _ in range(2))
    assert one == two and one != [(n, m.what) for n, m in drawn(kernels, 2, seed=6)[0]]


@pytest.mark.parametrize("name", ["rms_norm", "linear_experts", "mla_absorbed"])
def test_every_mutant_differs_from_its_program_and_leaves_it_alone(name: str):
    before = str(program(name).parts)
    for m in all_mutants(program(name)):
        changed = mutated(program(name), m)
        assert m.buffer is not None or changed.parts != program(name).parts, m.what
        assert sum(1 for p in changed.parts for _ in walk(p.body)) + len(m.steps) >= sum(
            1 for p in program(name).parts for _ in walk(p.body)
        )
    assert str(program(name).parts) == before


@pytest.mark.parametrize("name", CASES)
def test_every_walk_is_ordered(name: str):
    """Synchronisation as it is derived leaves nothing unordered, on any of the ways through a program."""
    for number in range(rules.WALKS):
        assert walked(program(name), rules._choice(number)).unordered == set()


# --- each rule excludes an equivalent mutant, and refuses one beside it that is not ---


def test_unchanged_graph():
    # The duplicates before the loop are told to MTE2 by the loop's own first Set as well.
    spare = mutant("rms_norm", "sync or flag removed", "signal V to MTE2")
    needed = [
        m for m in OPERATORS["sync or flag removed"](program("rms_norm")) if m.what == "signal V to MTE3"
    ]  # fmt: skip
    found = [m for m in OPERATORS[spare.kind](program("rms_norm")) if rules.unchanged_graph(program("rms_norm"), m)]
    assert found and needed and not any(m in found for m in needed)


def test_unchanged_graph_refuses_half_a_signal():
    halves = [m for m in _removed("rms_norm") if m.what.startswith(("Set", "Wait"))]
    assert halves and not any(rules.unchanged_graph(program("rms_norm"), m) for m in halves)


def test_unchanged_graph_refuses_most_barriers():
    barriers = [
        m for m in _removed("rms_norm") if isinstance(step_of(program("rms_norm"), next(iter(m.steps))), Barrier)
    ]
    kept = [m for m in barriers if not rules.unchanged_graph(program("rms_norm"), m)]
    assert len(kept) >= len(barriers) - 1 and kept


def _removed(name: str) -> list[Mutant]:
    return [m for m in OPERATORS[SYNC[0]](program(name)) if len(m.steps) == 1]


def test_unchanged_graph_of_copies_and_places():
    some = {"stage count": 0, "address overlap": 0}
    for kind in some:
        verdicts = [
            rules.unchanged_graph(program("mla_absorbed"), m)
            for m in OPERATORS[kind](program("mla_absorbed")) if m.buffer
        ]  # fmt: skip
        assert True in verdicts and False in verdicts, kind
    x = next(b for b in program("linear").parts[0].buffers if b.name.startswith("a"))
    far = Mutant("stage count", "too many", {}, x, replace(x, stages=99))
    assert not rules.unchanged_graph(program("linear"), far)


def test_guard_of_fill():
    assert rules.guard_of_fill(program("linear"), mutant("linear", "bound +-1", "if ", " +1"))
    assert not rules.guard_of_fill(program("linear"), mutant("linear", "bound +-1", "if ", " -1"))
    assert not rules.guard_of_fill(program("compress_kv"), mutant("compress_kv", "bound +-1", "< past", " +1"))


def test_between_multiples():
    assert rules.between_multiples(program("linear"), mutant("linear", "bound +-1", "if ", " -1"))
    single = mutant("expert_order", "bound +-1", "if min(512", " -1")  # 511 pairs may be left
    assert not rules.between_multiples(program("expert_order"), single)


def test_same_for_all_values():
    tail = mutant("sparse_attention", "bound +-1", "if min(16, 20 - ", ") < 16 -1")  # 16 or 4 heads
    assert rules.same_for_all_values(program("sparse_attention"), tail)
    ((path, (changed,)),) = tail.steps.items()
    assert isinstance(changed, If) and isinstance(changed.condition, Scalar)
    other = replace(changed, condition=Scalar("<", (changed.condition.args[0], 4)))
    assert not rules.same_for_all_values(program("sparse_attention"), Mutant(tail.kind, "", {path: (other,)}))
    rows = mutant("linear", "tail length", "nd2nz x", "rows", " -1")
    assert not rules.same_for_all_values(program("linear"), rows)
    slots = mutant("mla_absorbed", "stage count", "counts 1 slots")
    assert not rules.same_for_all_values(program("mla_absorbed"), slots)


def test_empty_turn():
    name, kind = "lightning_indexer", "bound +-1"
    assert rules.empty_turn(program(name), mutant(name, kind, "+ 127) // 128 +1"))
    assert not rules.empty_turn(program(name), mutant(name, kind, "+ 127) // 128 -1"))
    assert not rules.empty_turn(program("linear"), mutant("linear", kind, "t0 counts to", "+1"))


def test_one_column():
    assert rules.one_column(program("mla_absorbed"), mutant("mla_absorbed", "stride", "fixpipe: fractal columns"))
    assert not rules.one_column(program("linear"), mutant("linear", "stride", "fixpipe: fractal columns"))
    assert not rules.one_column(program("linear"), mutant("linear", "stride", "fixpipe", "pitch"))


def test_exact_cast():
    def verdicts(name: str, *words: str) -> set[bool]:
        found = [m for m in OPERATORS["cast mode"](program(name)) if all(w in m.what for w in words)]
        return {rules.exact_cast(program(name), m) for m in found}

    assert verdicts("lightning_indexer", "i32 to f32") == {True}
    assert verdicts("lightning_indexer", "f32 to i32", "NONE") == {False}  # a mode that does not exist
    assert verdicts("rms_norm_bf16", "f32 to bf16 by TRUNC") == {False}
    assert verdicts("rope", "f32 to bf16 by TRUNC") == {True, False}  # what does not turn is cast twice


def test_classes_have_sites_everywhere():
    kinds = {m.kind for name in SAMPLED for m in all_mutants(program(name))}
    assert kinds == set(OPERATORS)
