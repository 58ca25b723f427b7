"""Chips: what they have on board, from spec files, every number with its source."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from dsv4c.errors import UserError


@dataclass(frozen=True)
class Chip:
    """``scopes`` are usable bytes a core by name; ``facts`` the whole spec file."""

    name: str
    arch: str
    scopes: Mapping[str, int]
    facts: Mapping[str, Any]

    def __hash__(self) -> int:
        return hash(self.name)


def chip_names(package: str) -> list[str]:
    """Names of the spec files of a target's package, sorted."""
    return sorted(f.name.removesuffix(".json") for f in files(package).joinpath("chips").iterdir() if f.name[0] != "_")


@lru_cache
def load_chip(package: str, name: str) -> Chip:
    """The chip of that name; UserError naming those known if there is none."""
    if name not in chip_names(package):
        known = ", ".join(chip_names(package))
        raise UserError(f"there is no chip {name!r}", where="--target", fix=f"use one of {known}")
    facts = json.loads(files(package).joinpath("chips", f"{name}.json").read_text())
    scopes = {scope: int(entry["bytes"]) for scope, entry in facts["memory"].items()}
    return Chip(name, facts["arch"], scopes, facts)
