"""Tile sizes: the first candidate that a chip can hold and synchronise, the best first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from .chip import Chip
from .davinci.legalize import legalize
from .logical import Program
from .memory import CapacityError
from .physical import Program as Physical
from .sync import UnsynchronisableError
from .verify.logical import verify_logical
from .verify.physical import verify_physical

Candidates = Iterable[Mapping[str, int]]


@dataclass(frozen=True)
class Fitted:
    """A logical program with the sizes that were chosen, and what it is on the chip."""

    logical: Program
    physical: Physical
    sizes: Mapping[str, int]


def fitted(build: Callable[..., Program], chip: Chip, candidates: Candidates) -> Fitted:
    """The first of the candidates that fits with buffers that take turns; the first without them if none does.

    Raises CapacityError or UnsynchronisableError, of the last candidate, where none does; TileError where what is
    built, or what is made of it, breaks a rule.
    """
    problem: Exception | None = None
    tried = list(candidates)
    for stages in (2, 1):
        for sizes in tried:
            try:
                logical = build(**sizes, stages=stages)
                verify_logical(logical)
                physical = legalize(logical, chip)
            except (CapacityError, UnsynchronisableError) as error:
                problem = error
                continue
            verify_physical(physical, chip)
            return Fitted(logical, physical, {**sizes, "stages": stages})
    assert problem is not None, "there is no candidate"
    raise problem
