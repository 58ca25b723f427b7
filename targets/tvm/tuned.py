"""Tuning files: tiles by product, as ``dsv4c tune`` writes them and ``compile --tuned`` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from dsv4c.errors import UserError

from .products.tuning import Tile, Tuning

SCHEMA = 1
LIMITS = {"rows": 12, "chains": 8, "ahead": 1024, "block": 4096}  # more than 12 rows do not fit the registers


def written(tiles: Mapping[str, Tile]) -> dict[str, Any]:
    """The content of a file."""
    return {"schema": SCHEMA, "target": "cpu", "tiles": {name: asdict(tiles[name]) for name in sorted(tiles)}}


def read(content: Mapping[str, Any], where: str) -> Tuning:
    """The tiles of a file's content; UserError names the place that cannot be."""
    if content.get("schema") != SCHEMA or content.get("target") != "cpu":
        raise UserError(f"is no tuning file of schema {SCHEMA} for cpu", where=where, fix="write one with dsv4c tune")
    tiles = content.get("tiles")
    if not isinstance(tiles, dict):
        raise UserError("lacks the object 'tiles'", where=where, fix="write one with dsv4c tune")
    return Tuning({name: _tile(entry, f"{where}: tiles[{name!r}]") for name, entry in tiles.items()})


def _tile(entry: Any, where: str) -> Tile:
    names = [field.name for field in fields(Tile)]
    if not isinstance(entry, dict) or sorted(entry) != sorted(names):
        raise UserError("is no tile", where=where, fix=f"it has the numbers {', '.join(names)}")
    for name in names:
        value, least = entry[name], 0 if name == "ahead" else 1
        if type(value) is not int or not least <= value <= LIMITS[name]:
            raise UserError(f"{name} is {value!r}", where=where, fix=f"use a number from {least} to {LIMITS[name]}")
    if entry["rows"] % 2:
        raise UserError(f"rows is {entry['rows']}", where=where, fix="use an even number: two products share the rows")
    return Tile(**entry)
