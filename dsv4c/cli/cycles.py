"""``dsv4c cycles``: an estimate by documented rates, as a table."""

from __future__ import annotations

from pathlib import Path

import click

from .common import echo, emit_json, json_option, progress_line, show_table


@click.command("cycles")
@click.argument("artefact", type=click.Path(path_type=Path))
@click.option("--length", type=click.IntRange(min=1), default=1, show_default=True, metavar="N", help="Tokens fed.")
@click.option("--past", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Tokens before.")
@json_option
def cycles_command(artefact: Path, length: int, past: int, as_json: bool) -> None:
    """Estimate the cycles of a step by kernel and pipe.

    One step runs under the emulator; each kernel's row adds up its launches. From the chip's documented rates: use it
    to compare, not to predict time.
    """
    from dsv4c.driver.cycles import estimate_cycles

    with progress_line() as progress:
        progress("running one step under the emulator")
        found = estimate_cycles(artefact, length, past)
    total = sum(row.cycles for row in found.rows)
    if as_json:
        kernels = [
            {"name": r.kernel, "launches": r.launches, "cycles": r.cycles, "pipes": dict(r.pipes)} for r in found.rows
        ]
        emit_json({"cycles": total, "clock_mhz": found.clock_mhz, "kernels": kernels})
        return
    shown = [(r.kernel, r.launches, r.cycles, *(r.pipes[pipe] for pipe in found.pipes)) for r in found.rows]
    show_table(("kernel", "launches", "cycles", *found.pipes), shown)
    launches = sum(row.launches for row in found.rows)
    at = f"{total / found.clock_mhz:,.0f} us at {found.clock_mhz:,} MHz"
    echo(f"{total:,} cycles in {launches:,} launches, {at}; without launch overhead, scalar work and contention")
