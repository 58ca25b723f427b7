"""What ``opt``, ``bisect`` and ``reduce`` start from: a module as text, an artefact's, or one built from a config."""

from __future__ import annotations

from pathlib import Path

from dsv4c.artefact import MANIFEST, MODULE, Artefact
from dsv4c.models.build import build_module

from .compile import open_model
from .origin import Origin
from .reading import read_module


def open_origin(spec: str, dtype: str | None = None) -> Origin:
    """The module of a text file, an artefact, a checkpoint folder (weights are not read) or a preset.

    Raises UserError when it is none of these.
    """
    path = Path(spec)
    if (path / MANIFEST).exists():
        return Origin(spec, read_module(Artefact.open(path).folder / MODULE))
    if path.is_file():
        return Origin(spec, read_module(path))
    model = open_model(spec, weights=False)
    kind = dtype or model.dtype
    return Origin(spec, build_module(model.config, kind), model.config, kind)
