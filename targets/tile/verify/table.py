"""The form of the tables of legality: a row an instruction, with the section of the spec that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Dtypes = frozenset[tuple[str, ...]]  # of the results, then of the operands
GM = "GM"


@dataclass(frozen=True)
class Row:
    """One instruction: its pipe, where its operands lie, which dtypes they may have together, and its arguments.

    ``shape`` names the rule for the operands' shapes (``shapes.py``); an argument is ``int`` (known), ``integer``,
    ``number`` or one of several words. ``aligns`` are bytes where an operand need not obey its memory's.
    """

    shape: str
    pipe: str
    places: tuple[str, ...]
    outs: int
    dtypes: Dtypes
    section: str
    args: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    aligns: Mapping[int, int] = field(default_factory=dict)


def row(
    shape: str, pipe: str, places: str, dtypes: Dtypes, section: str,
    args: Mapping[str, str | tuple[str, ...]] | None = None, aligns: Mapping[int, int] | None = None,
) -> Row:  # fmt: skip
    """A row; ``places`` reads as ``UB <- UB UB``."""
    out, _, into = places.partition("<-")
    outs = tuple(out.split())
    return Row(shape, pipe, (*outs, *into.split()), len(outs), dtypes, section, args or {}, aligns or {})


def same(operands: int, *dtypes: str) -> Dtypes:
    """So many operands, all of one of these dtypes."""
    return frozenset((dtype,) * operands for dtype in dtypes)


def sets(*texts: str) -> Dtypes:
    """Dtypes of all operands, as words."""
    return frozenset(tuple(text.split()) for text in texts)


@dataclass(frozen=True)
class Arch:
    """What all chips of an architecture can execute."""

    name: str
    rows: Mapping[str, Row]
    casts: Mapping[tuple[str, str], tuple[str, ...]]  # from, to: rounding modes
    align: Mapping[str, int]  # bytes by memory
    homes: Mapping[str, str]  # the core that has a memory
    pipes: Mapping[str, tuple[str, ...]]  # by core, the scalar unit first
    events: frozenset[str]  # from pipe, to pipe
    event_ids: int
    cross: Mapping[int, int]  # by mode, how many flags between cores there are
    cross_pending: int  # sets that one flag counts
    left: str  # the layout of L0A
    integers_compared: tuple[str, ...]  # how i32 may be
    fields: Mapping[str, int]  # the largest values of narrow fields
