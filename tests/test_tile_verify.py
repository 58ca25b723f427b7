"""The verifier of physical programs: it accepts what the compiler makes, and refuses mutants without executing them."""

from __future__ import annotations

import pytest
from mutation_cases import CASES
from tiling import CHIP

from dsv4c.targets.tile.chip import load_chip
from dsv4c.targets.tile.mutation.mutant import mutated
from dsv4c.targets.tile.mutation.operators import OPERATORS
from dsv4c.targets.tile.physical import Program
from dsv4c.targets.tile.search import fitted
from dsv4c.targets.tile.verify.error import TileError
from dsv4c.targets.tile.verify.physical import verify_physical

CHIPS = {name: load_chip("dsv4c.targets.ascend", name) for name in ("910b3", "950pr")}
SAMPLED = ("rms_norm", "linear", "mla_absorbed", "expert_order")
# Of the first mutants of a class, this share is refused at least: the others differ in numbers or in time only.
REFUSED = {
    "sync or flag removed": 0.3, "wrong flag": 0.3, "bound +-1": 0.2, "stage count": 0.05, "accumulate bit": 0.6,
    "mask dropped": 0.6, "stride": 0.7, "cast mode": 0.1, "address overlap": 0.4, "tail length": 0.4,
}  # fmt: skip


def made(name: str, chip: str = CHIP.name) -> Program:
    case = CASES[name]
    return fitted(lambda **sizes: case.build(**case.options, **sizes), CHIPS[chip], case.tiles).physical


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", CASES)
def test_what_the_compiler_makes_is_legal(name: str, chip: str):
    verify_physical(made(name, chip), CHIPS[chip])


def test_mutants_are_refused():
    programs = {name: made(name) for name in SAMPLED}
    for kind, operator in OPERATORS.items():
        mutants = [(name, m) for name, p in programs.items() for m in list(operator(p))[:20]]
        refused = sum(_refused(mutated(programs[name], m)) for name, m in mutants)
        assert refused >= REFUSED[kind] * len(mutants), (kind, refused, len(mutants))


def _refused(program: Program) -> bool:
    try:
        verify_physical(program, CHIP)
    except TileError as error:
        assert error.kernel == program.name and error.what and error.fix
        return True
    return False
