"""``dsv4c print`` and ``dsv4c parse``: the IR as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsv4c.errors import UserError

from .common import emit_json, json_option

if TYPE_CHECKING:
    from dsv4c.ir.core import Module


@click.command("print")
@click.argument("path", type=click.Path(path_type=Path), metavar="ARTEFACT|FILE.dsir")
@json_option
def print_command(path: Path, as_json: bool) -> None:
    """Print the module of an artefact or file as text."""
    from dsv4c.artefact import MODULE, Artefact

    _show(_read(Artefact.open(path).folder / MODULE if path.is_dir() else path), as_json)


@click.command("parse")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE.dsir")
@json_option
def parse_command(path: Path, as_json: bool) -> None:
    """Check a module in text form, and print it again."""
    _show(_read(path), as_json)


def _read(path: Path) -> Module:
    """The module in a file; UserError with the place when it is none."""
    from dsv4c.ir.core import IRError
    from dsv4c.ir.parser import ParseError, parse

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


def _show(module: Module, as_json: bool) -> None:
    from dsv4c.ir.printer import to_text

    text = to_text(module)
    if not as_json:
        click.echo(text, nl=False)
        return
    functions = [{"name": f.name, "kind": f.kind, "ops": len(f.ops)} for f in module.functions.values()]
    emit_json({"module": module.name, "entry": module.entry, "functions": functions, "text": text})
