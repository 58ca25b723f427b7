"""``dsv4c conformance``: what a target's kernels were executed on."""

from __future__ import annotations

import click

from .common import emit_json, json_option, show_table


@click.command("conformance")
@click.argument("target")
@click.option("--op", default="", metavar="NAME", help="Only this kernel op.")
@json_option
def conformance_command(target: str, op: str, as_json: bool) -> None:
    """Execute every kernel op on a target."""
    from dsv4c.driver.conformance import conformance

    rows = list(conformance(target, op))
    if as_json:
        emit_json({"target": target, "rows": [row.__dict__ for row in rows]})
    else:
        table = [(r.op, r.dtype, str(r.shapes), f"{r.error:.1e}", r.status, r.detail) for r in rows]
        show_table(("op", "dtype", "shapes", "max error", "status", ""), table)
    if any(row.status != "ok" for row in rows):
        raise click.exceptions.Exit(1)
