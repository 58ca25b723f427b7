"""``dsv4c print`` and ``dsv4c parse``: the IR as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import echo, emit_json, json_option

TILE = ".tile"

if TYPE_CHECKING:
    from dsv4c.ir.core import Module


@click.command("print")
@click.argument("path", type=click.Path(path_type=Path), metavar="ARTEFACT|FILE.dsir|FILE.tile")
@json_option
def print_command(path: Path, as_json: bool) -> None:
    """Print a module, or the program behind a kernel."""
    from dsv4c.artefact import MODULE, Artefact
    from dsv4c.driver.reading import read_module

    if path.suffix == TILE:
        _show_tile(path, as_json)
        return
    _show(read_module(Artefact.open(path).folder / MODULE if path.is_dir() else path), as_json)


def _show_tile(path: Path, as_json: bool) -> None:
    """What the compiler wrote beside a kernel."""
    from dsv4c.driver.reading import read_text

    text = read_text(path, "give a .tile file, as artefacts for Ascend have beside each kernel")
    if as_json:
        emit_json({"kernel": path.stem, "text": text})
    else:
        echo(text, nl=False)


@click.command("parse")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE.dsir|FILE.tile")
@json_option
def parse_command(path: Path, as_json: bool) -> None:
    """Read a module or a kernel in text form, and print it again."""
    from dsv4c.driver.reading import read_module
    from dsv4c.driver.tiles import read_kernel, text_of

    if path.suffix == TILE:
        text = text_of(read_kernel(path))
        if as_json:
            emit_json({"kernel": path.stem, "text": text})
        else:
            echo(text, nl=False)
        return
    _show(read_module(path), as_json)


def _show(module: Module, as_json: bool) -> None:
    from dsv4c.ir.printer import to_text

    text = to_text(module)
    if not as_json:
        echo(text, nl=False)
        return
    functions = [{"name": f.name, "kind": f.kind, "ops": len(f.ops)} for f in module.functions.values()]
    emit_json({"module": module.name, "entry": module.entry, "functions": functions, "text": text})
