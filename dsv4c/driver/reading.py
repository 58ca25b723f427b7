"""A module from a text file, with what can be wrong with it said in one line."""

from __future__ import annotations

from pathlib import Path

from dsv4c.errors import UserError
from dsv4c.ir.core import IRError, Module
from dsv4c.ir.parser import ParseError, parse


def read_module(path: Path) -> Module:
    """The verified module in a file; UserError with the place when it is none."""
    text = read_text(path, "give a module as text, such as module.dsir of an artefact")
    try:
        return parse(text, str(path))
    except (ParseError, IRError) as error:
        raise UserError(str(error)) from None
    except RecursionError:
        raise UserError("nested too deeply", where=str(path)) from None


def read_text(path: Path, fix: str) -> str:
    """A text file; UserError, with what would work, when it is none."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"not a text file: byte {error.start} is not UTF-8", where=str(path)) from None
    except OSError as error:
        raise UserError(f"cannot read the file: {error.strerror}", where=str(path), fix=fix) from None
