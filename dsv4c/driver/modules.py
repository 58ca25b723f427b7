"""What ``opt``, ``bisect`` and ``reduce`` start from: a module as text, an artefact's, or one built from a config."""

from __future__ import annotations

from pathlib import Path

from dsv4c.artefact import MANIFEST, MODULE, Artefact
from dsv4c.errors import UserError
from dsv4c.ir.core import IRError, Module
from dsv4c.ir.parser import ParseError, parse
from dsv4c.models.build import build_module

from .compile import open_model
from .origin import Origin


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


def read_module(path: Path) -> Module:
    """The module in a text file; UserError with the place when it is none."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (ParseError, IRError) as error:
        raise UserError(str(error)) from None
    except UnicodeDecodeError as error:
        raise UserError(f"not a text file: byte {error.start} is not UTF-8", where=str(path)) from None
    except RecursionError:
        raise UserError("nested too deeply", where=str(path)) from None
    except OSError as error:
        fix = "give a module as text, such as module.dsir of an artefact"
        raise UserError(f"cannot read the file: {error.strerror}", where=str(path), fix=fix) from None
