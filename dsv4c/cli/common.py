"""What commands share: one JSON object or tables on stdout, progress on stderr, files that are whole or absent."""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from dsv4c.errors import UserError
from dsv4c.files import destination

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout and nothing else.")
dtype_option = click.option(
    "--dtype", type=click.Choice(["f32", "bf16"]), help="Compute dtype instead of the checkpoint's own."
)
threads_option = click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="CPU threads; every usable CPU by default."
)


def echo(text: str, nl: bool = True) -> None:
    """Text on stdout. UserError when stdout cannot take it, such as on a full disk; not when the reader went away."""
    try:
        click.echo(text, nl=nl)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UserError(error.strerror or str(error), where="standard output") from None


def emit_json(data: Mapping[str, object]) -> None:
    """One line of strict JSON."""
    echo(json.dumps(data, allow_nan=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], err: bool = False) -> None:
    """A table on stdout (or stderr), as wide as the terminal or, in a pipe, as it needs. Numbers stand to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, pad_edge=False, show_header=any(columns))
    body = [list(row) for row in rows]
    for position, name in enumerate(columns):
        numbers = all(isinstance(row[position], int | float) for row in body)
        table.add_column(name, justify="right" if body and numbers else "left", overflow="fold")
    for row in body:
        table.add_row(*(Text(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in row))
    shown, text = (sys.stderr if err else sys.stdout).isatty(), io.StringIO()  # rich's capture writes to stdout too
    Console(file=text, width=None if shown else 300, force_terminal=shown).print(table)
    whole = "\n".join(line.rstrip() for line in text.getvalue().splitlines() if line.rstrip())
    if err:
        click.echo(whole, err=True)
    else:
        echo(whole)


@contextmanager
def progress_line() -> Iterator[Callable[[str], None]]:
    """Gives a function that shows a message in one line of stderr, over the last one; silent without a terminal."""
    shown = sys.stderr.isatty()

    def show(message: str) -> None:
        if shown:
            click.echo(f"\r\x1b[K{message}", nl=False, err=True)

    try:
        yield show
    finally:
        show("")


def check_writable(path: Path) -> None:
    """Raise a UserError unless a file of this name can be written, before the work that fills it."""
    handle, draft = _draft(destination(path), path)
    os.close(handle)
    os.unlink(draft)


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file that becomes ``path``, or what a link there leads to, when the block ends well.

    Raises:
        UserError: it cannot be written, or is there and is no regular file.
    """
    real = destination(path)
    handle, draft = _draft(real, path)
    try:
        with open(handle, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(draft, 0o666 & ~umask)  # mkstemp makes private files
        os.replace(draft, real)
    finally:
        Path(draft).unlink(missing_ok=True)


def _draft(real: Path, named: Path) -> tuple[int, str]:
    """A temporary file beside ``real``; an error speaks of the file as the user named it."""
    try:
        return tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
    except OSError as error:
        what = f"cannot write here: {error.strerror}"
        raise UserError(what, where=str(named.parent), fix="choose an existing folder") from None
