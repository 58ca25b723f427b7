"""Passes by name and their options: what -p and --set accept, and what they say of anything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest

from dsv4c.driver.options import find_pass, make_passes, settings_of, spell
from dsv4c.errors import UserError
from dsv4c.ir.core import Module
from dsv4c.passes import registry
from dsv4c.passes.base import Log, Pass


@dataclass(frozen=True)
class Place(Pass):
    """Has one option of each kind."""

    name: ClassVar[str] = "place-things"
    doc: ClassVar[str] = "a -> b"
    ranks: int = 2
    share: float = 0.5
    copies: bool = False
    load: tuple[float, ...] = ()
    split: Literal["heads", "rows"] = "heads"
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.ranks < 1:
            raise ValueError(f"{self.ranks} ranks; use 1 or more")

    def run(self, module: Module, log: Log) -> Module:
        return module


@dataclass(frozen=True)
class Other(Pass):
    """Shares an option's name, and has one without a default."""

    name: ClassVar[str] = "other"
    doc: ClassVar[str] = "a -> b"
    width: int
    ranks: int = 1

    def run(self, module: Module, log: Log) -> Module:
        return module


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PASSES", (Place, Other))


def test_options_are_read_by_the_type_of_their_field() -> None:
    words = ["ranks=8", "place-things.share=1e-3", "copies=yes", "load=1,2.5", "split=rows", "limit=none"]
    (step,) = make_passes(["place-things"], words)
    assert step == Place(ranks=8, share=1e-3, copies=True, load=(1.0, 2.5), split="rows")
    assert settings_of(step)["load"] == (1.0, 2.5)


def test_what_was_spelled_reads_back() -> None:
    steps = (Place(ranks=8, copies=True, load=(1.0, 2.0)), Other(width=3))
    first, *rest = spell(steps).split(" --set ")
    assert first == "-p place-things,other" and rest[0] == "place-things.ranks=8"
    assert make_passes(first[3:].split(","), rest) == steps


@pytest.mark.parametrize(
    ("names", "settings", "message"),
    [
        (["place-thing"], [], "there is no pass 'place-thing'; did you mean place-things?"),
        (["place-things"], ["ranks"], "write for instance --set ranks=8"),
        (["place-things"], ["rank=8"], "there is no option 'rank'; options are place-things.ranks"),
        (["place-things"], ["ranks=many"], "'many' does not fit; place-things.ranks is a whole number"),
        (["place-things"], ["split=x"], "'x' does not fit; place-things.split is heads or rows"),
        (["place-things"], ["limit=x"], "is a whole number or none"),
        (["place-things"], ["copies=2"], "is true or false"),
        (["place-things"], ["load=a"], "is a list such as 1,2 where each is a number"),
        (["place-things"], ["other.width=2"], "the pass 'other' does not run here; add it with -p other"),
        (["place-things"], ["ranks=0"], "place-things: 0 ranks; use 1 or more"),
        (["place-things", "other"], ["ranks=8"], "write place-things.ranks or other.ranks"),
        (["other"], [], "other: needs the option width; add --set other.width=..."),
    ],
)
def test_what_does_not_fit_is_said_with_what_would(names: list[str], settings: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        make_passes(names, settings)
    assert message in str(error.value)


def test_an_empty_registry_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "PASSES", ())
    with pytest.raises(UserError, match="this build has no passes"):
        find_pass("x")
