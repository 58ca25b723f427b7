"""``config.json`` of the DeepSeek family to a ``Config``: every spelling in, one record out.

Field names and defaults are those of transformers 5.23 (``models/deepseek_v3``, ``deepseek_v32``, ``deepseek_v4``)
and of the released files (architectures.md §10). The sizes that shape the weights must be in the file; other fields
that are absent take transformers' defaults.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from dsv4c.errors import UserError
from dsv4c.models.config import Config

from .config_mla import read_mla
from .config_v4 import read_v4
from .fields import Fields

READERS: dict[str, Callable[[Fields], Config]] = {
    "deepseek_v3": read_mla,
    "deepseek_v32": read_mla,
    "deepseek_v4": read_v4,
}


def read_config(path: Path | str) -> Config:
    """The model that a ``config.json`` describes.

    Raises:
        UserError: the file cannot be read, or describes a model that this version cannot build; ``where`` is
            ``<path>:<field>``.
    """
    return parse_config(read_json(path), str(path))


def parse_config(data: Mapping[str, object], where: str) -> Config:
    """The same for a parsed file; ``where`` is its name in errors.

    Raises:
        UserError: as for ``read_config``.
    """
    fields = Fields(data, f"{where}:")
    return READERS[fields.choice("model_type", READERS)](fields)


def read_json(path: Path | str) -> dict[str, object]:
    """The object in a JSON file.

    Raises:
        UserError: there is no such file, it is not JSON (with line and column), or it is not an object.
    """
    try:
        value = json.loads(Path(path).read_bytes())
    except json.JSONDecodeError as err:
        cut = not err.doc[err.pos :].strip() or err.msg.startswith("Unterminated string")
        end = " (the file is cut off?)" if cut else ""
        raise UserError(f"not valid JSON: {err.msg}{end}", where=f"{path}:{err.lineno}:{err.colno}") from None
    except UnicodeDecodeError as err:
        raise UserError(f"not a text file: byte {err.start} is not UTF-8", where=str(path)) from None
    except ValueError as err:  # Python refuses integers of thousands of digits
        raise UserError(f"not usable JSON: {err}", where=str(path)) from None
    except RecursionError:
        raise UserError("nested too deeply to be a config", where=str(path)) from None
    except OSError as err:
        raise UserError(f"cannot read the file: {err.strerror}", where=str(path)) from None
    if not isinstance(value, dict):
        raise UserError("not a JSON object", where=str(path), fix="the file must hold {...}")
    return value
