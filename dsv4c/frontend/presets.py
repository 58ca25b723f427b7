"""The released models by name: their config files at full size ship with the package (architectures.md §10)."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from dsv4c.errors import UserError
from dsv4c.models.config import Config

from .config import parse_config

_FOLDER = files("dsv4c.models") / "presets"


def preset_names() -> list[str]:
    """The names that ``load_preset`` knows, sorted."""
    return sorted(entry.name.removesuffix(".json") for entry in _FOLDER.iterdir() if entry.name.endswith(".json"))


def load_preset(name: str) -> Config:
    """The config of a released model, such as ``deepseek-v4-pro``.

    Raises:
        UserError: no preset has this name.
    """
    return parse_config(preset_json(name), f"{name}.json")


def preset_json(name: str) -> dict[str, Any]:
    """The file of a released model's config; UserError if no preset has this name."""
    if name not in preset_names():
        raise UserError(f"no preset is called {name!r}", fix=f"known: {', '.join(preset_names())}")
    out: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return out
