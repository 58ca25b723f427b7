"""Prompts as a user gives them: ``1,2,3`` or a JSON file."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dsv4c.errors import UserError

_NUMBER = re.compile(r"\s*-?[0-9]{1,18}\s*")
SHAPE = "write a list of prompts, each a list of token ids, such as [[1, 2, 3], [4, 5]]"


def split_tokens(text: str) -> list[list[int]]:
    """One prompt from ``1,2,3``. UserError at what is not a whole number."""
    parts = text.split(",") if text.strip() else []
    for position, part in enumerate(parts):
        if not _NUMBER.fullmatch(part):
            what = f"{_short(part)} at position {position} is not a token id"
            raise UserError(what, where="--tokens", fix="write whole numbers with commas between them, such as 1,2,3")
    return [[int(part) for part in parts]]


def read_tokens(path: Path) -> list[list[int]]:
    """Prompts from a JSON file. UserError when it cannot be read or is no list of lists of integers."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read the file: {error.strerror}", where=str(path), fix=SHAPE) from None
    except RecursionError:
        raise UserError("nested too deeply", where=str(path), fix=SHAPE) from None
    except ValueError as error:  # also text that is not UTF-8 and numbers of thousands of digits
        raise UserError(f"not valid JSON: {error}", where=str(path), fix=SHAPE) from None
    if not isinstance(data, list):
        raise UserError(f"{_short(data)} is not a list", where=str(path), fix=SHAPE)
    for number, prompt in enumerate(data, 1):
        if not isinstance(prompt, list):
            raise UserError(f"{_short(prompt)} is not a list", where=f"{path}: sequence {number}", fix=SHAPE)
        for position, token in enumerate(prompt):
            if type(token) is not int:  # JSON's true is an int for isinstance
                what = f"{_short(token)} at position {position} is not a token id"
                raise UserError(what, where=f"{path}: sequence {number}", fix=SHAPE)
    return data


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
