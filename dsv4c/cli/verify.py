"""``dsv4c verify``: the kernels of an artefact against the reference interpreter."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import click

from .common import echo, emit_json, json_option, progress_line, show_table, threads_option


@click.command("verify")
@click.argument("artefact", type=click.Path(path_type=Path))
@threads_option
@json_option
@click.pass_context
def verify_command(context: click.Context, artefact: Path, threads: int | None, as_json: bool) -> None:
    """Prove a compiled model, function by function.

    Every function is executed by its kernels and by the reference interpreter; the exit code is 1 if any differs.
    Functions that are too large to be interpreted here are skipped, and the proof is then called partial.
    """
    from dsv4c.driver.verify import verify_artefact

    with progress_line() as progress:
        progress("comparing every function with the interpreter")
        rows = verify_artefact(artefact, threads)
    good = all(row.status != "failed" for row in rows)
    done = sum(row.status != "skipped" for row in rows)
    if as_json:
        functions = [
            {
                "name": row.name, "status": row.status, "error": row.error if isfinite(row.error) else None,
                "detail": row.detail,
            }
            for row in rows
        ]  # fmt: skip
        emit_json({"ok": good, "complete": done == len(rows), "functions": functions})
    else:
        shown = [(row.name, row.status, f"{row.error:.1e}", row.detail) for row in rows]
        show_table(("function", "status", "error", "detail"), shown)
        if done < len(rows):
            echo(f"partly verified: {done} of {len(rows)} functions")
    if not good:
        context.exit(1)
