"""``dsv4c vectors``: test vectors of every kernel and every launch, for a machine without this compiler."""

from __future__ import annotations

from pathlib import Path

import click

from .common import echo, emit_json, json_option, progress_line, show_table


@click.command("vectors")
@click.argument("artefact", type=click.Path(path_type=Path))
@click.option(
    "--largest", type=click.IntRange(min=1), default=16, show_default=True, metavar="MIB", help="Largest case stored."
)
@json_option
def vectors_command(artefact: Path, largest: int, as_json: bool) -> None:
    """Write what each kernel should compute.

    A device is checked with it where neither Python nor this compiler is.

    vectors/kernels has launches of every kernel for run_kernel, vectors/trace what every launch of the model writes for
    run --check. A model that is too large, or has no weights, gets what its smaller functions launch and no trace.
    """
    from dsv4c.driver.bringup import write_bringup

    with progress_line() as progress:
        progress("executing every launch with numpy")
        made = write_bringup(artefact, largest << 20)
    if as_json:
        kernels = [{"name": k.kernel, "cases": k.cases, "bytes": k.nbytes, "detail": k.why} for k in made.kernels]
        emit_json({"kernels": kernels, "trace": {"launches": made.launches, "bytes": made.trace_bytes}})
        return
    show_table(("kernel", "cases", "bytes", "detail"), [(k.kernel, k.cases, k.nbytes, k.why) for k in made.kernels])
    with_cases = sum(k.cases > 0 for k in made.kernels)
    trace = f"a trace of {made.launches} launches, {made.trace_bytes:,} bytes" if made.launches else "no trace"
    echo(f"{with_cases} of {len(made.kernels)} kernels have cases; {trace}")
