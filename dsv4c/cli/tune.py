"""``dsv4c tune``: the schedules that run best on this machine, as a file for ``compile --tuned``."""

from __future__ import annotations

from pathlib import Path

import click

from dsv4c.errors import UserError

from .common import check_writable, dtype_option, emit_json, json_option, progress_line, show_table, whole_file


@click.command("tune")
@click.argument("spec")
@click.option("--target", required=True, metavar="NAME", help="Kind of machine; dsv4c targets lists them.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), metavar="FILE", help="What to write.")
@dtype_option
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@json_option
def tune_command(spec: str, target: str, out: Path, dtype: str | None, force: bool, as_json: bool) -> None:
    """Find the fastest schedules for this machine.

    Measures parameters of the model's products, kernel by kernel.

    SPEC is a Hugging Face folder or a released model by name; weights are not read. The file lists the products for
    which other parameters than the built-in ones were faster; compile --tuned uses it.
    """
    from dsv4c.artefact import json_text
    from dsv4c.driver.compile import tune_model

    check_writable(out)
    if out.exists() and not force:
        raise UserError("exists already", where=str(out), fix="use --force to replace it")
    with progress_line() as progress:
        content = tune_model(spec, target=target, dtype=dtype, progress=progress)
    with whole_file(out) as file:
        file.write(json_text(content).encode())
    tiles = content["tiles"]
    if as_json:
        emit_json({"file": str(out), **content})
    else:
        rows = [(name, " ".join(f"{key}={value}" for key, value in tile.items())) for name, tile in tiles.items()]
        show_table(("product", "parameters"), rows)
