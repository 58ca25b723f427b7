"""``dsv4c bisect`` and ``dsv4c reduce``: which pass breaks the numbers, and the smallest module on which it does."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import check_writable, dtype_option, emit_json, json_option, progress_line, show_table, whole_file
from .passes import SOURCE, again, passes_option, set_option, split_names

if TYPE_CHECKING:
    from dsv4c.driver.bisect import Bisection


@click.command("bisect")
@click.argument("spec", metavar=SOURCE)
@click.option("--target", metavar="NAME", help="Use its passes, and compare its kernels with the last stage too.")
@passes_option
@set_option
@click.option("--tol", type=float, default=1e-4, show_default=True, help="Limit, relative to the largest element.")
@dtype_option
@json_option
@click.pass_context
def bisect_command(
    context: click.Context, spec: str, target: str | None, names: str, settings: tuple[str, ...], tol: float,
    dtype: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Name the first pass that moves the numbers too far.

    Every stage is compared with the original module, not with the one before. With --target, the last stage is also
    executed by kernels: is the error in the passes or in lowering? Without -p the passes are those of the target, or
    all. The exit code is 1 when anything is over the limit.
    """
    from dsv4c.driver.bisect import bisect
    from dsv4c.driver.modules import open_origin
    from dsv4c.driver.options import make_passes
    from dsv4c.driver.origin import twin_of
    from dsv4c.passes.registry import PASSES
    from dsv4c.targets.target import find_target

    chosen = find_target(target) if target else None
    if names or not chosen:
        steps = make_passes(split_names(names) or [step.name for step in PASSES], settings)
    else:
        steps = chosen.pipeline
    with progress_line() as progress:
        progress("reading the module")
        origin = open_origin(spec, dtype)
        progress("executing every stage")
        result = bisect(twin_of(origin, steps) or origin.module, steps, tol, chosen)
    if as_json:
        rows = [
            {"name": r.name, "status": r.status, "error": r.error if isfinite(r.error) else None, "detail": r.detail}
            for r in result.kernels
        ]
        culprit = result.culprit.to_json() if result.culprit else None
        stages = [stage.to_json() for stage in result.stages]
        emit_json({"culprit": culprit, "tolerance": tol, "passes": stages, "kernels": rows})
    else:
        _show(result)
    if result.culprit:
        context.exit(1)


def _show(result: Bisection) -> None:
    rows = [(s.name, f"{s.error:.1e}", s.function, s.detail) for s in result.stages]
    show_table(("after", "error", "in function", "first difference from the original"), rows)
    if result.kernels:
        shown = [(row.name, row.status, f"{row.error:.1e}", row.detail) for row in result.kernels]
        show_table(("kernels of", "status", "error", "against the last stage"), shown)
    found = result.culprit
    if found is None:
        click.echo(f"nothing is over {result.tolerance:.1e}")
    else:
        click.echo(f"{found.name} is the first over {result.tolerance:.1e}: {found.error:.1e} in {found.function}")


@click.command("reduce")
@click.argument("spec", metavar=SOURCE)
@click.option("--pass", "name", required=True, metavar="NAME", help="The pass that fails.")
@click.option("-p", "--passes", "names", metavar="A,B", default="", help="Passes that run before it.")
@set_option
@click.option("--tol", type=float, help="Limit, relative to the largest element; by default what the pass declares.")
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the module here.")
@dtype_option
@json_option
def reduce_command(
    spec: str, name: str, names: str, settings: tuple[str, ...], tol: float | None, out: Path | None,
    dtype: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Print the smallest module on which a pass still fails.

    The text parses, and begins with a comment that says how it fails.
    """
    from dsv4c.driver.modules import open_origin
    from dsv4c.driver.options import make_passes
    from dsv4c.driver.origin import twin_of
    from dsv4c.driver.passes import count_ops, run_passes
    from dsv4c.driver.reduce import reduce_module
    from dsv4c.ir.printer import to_text

    if out is not None:
        check_writable(out)
    *earlier, step = make_passes([*split_names(names), name], settings)
    with progress_line() as progress:
        progress("reading the module")
        origin = open_origin(spec, dtype)
        module = twin_of(origin, [*earlier, step]) or origin.module
        stages = run_passes(module, earlier, again=again("opt", spec, dtype))
        module = stages[-1].after if stages else module
        progress("cutting")
        small, broken = reduce_module(module, step, tol)
    says = [f"{step.name}: {broken.kind}", *broken.what.splitlines()]
    text = "".join(f"# {line}\n" for line in says) + to_text(small)
    if out is not None:
        with whole_file(out) as file:
            file.write(text.encode())
    if as_json:
        emit_json({
            "pass": step.name, "kind": broken.kind, "what": broken.what, "ops": [count_ops(module), count_ops(small)],
            "text": text,
        })  # fmt: skip
    elif out is None:
        click.echo(text, nl=False)
