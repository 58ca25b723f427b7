"""``dsv4c opt`` and ``dsv4c passes``: run passes over a module and look at what each did."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import check_writable, dtype_option, emit_json, json_option, progress_line, show_table, whole_file

if TYPE_CHECKING:
    from dsv4c.driver.explain import Outcome

SOURCE = "FILE.dsir|ARTEFACT|MODEL"
passes_option = click.option("-p", "--passes", "names", metavar="A,B", default="", help="Passes in their order.")
set_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of a pass: ranks=8, or PASS.ranks=8."
)
no_verify_option = click.option("--no-verify", is_flag=True, help="Do not execute; the rules of the IR are checked.")
explain_option = click.option("--explain", is_flag=True, help="A line for each pass: ops, rewrites, error, time.")


@click.command("opt")
@click.argument("spec", metavar=SOURCE)
@passes_option
@set_option
@click.option("--diff", is_flag=True, help="Print what each pass changed instead of the result.")
@click.option("--print-after-all", is_flag=True, help="Print the module after each pass.")
@click.option("--why", metavar="RULE", help="Print the places where a rule did not apply, and the reason.")
@explain_option
@no_verify_option
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="FILE", help="Write the result here.")
@dtype_option
@json_option
def opt_command(
    spec: str, names: str, settings: tuple[str, ...], diff: bool, print_after_all: bool, why: str | None,
    explain: bool, no_verify: bool, out: Path | None, dtype: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Run passes over a module and print the result as text.

    Each pass is proven: its functions are executed before and after, on the same operands. A model that is too large
    for that is proven on a small twin. The exit code is 1 when a pass fails.
    """
    from dsv4c.driver.explain import run_pipeline
    from dsv4c.driver.modules import open_origin
    from dsv4c.driver.options import make_passes
    from dsv4c.ir.printer import to_text

    if out is not None:
        check_writable(out)
    steps = make_passes(split_names(names), settings)
    with progress_line() as progress:
        progress("reading the module")
        origin = open_origin(spec, dtype)
        progress("running passes")
        outcome = run_pipeline(origin, steps, not no_verify, again("opt", spec, dtype))
    text = to_text(outcome.module)
    if out is not None:
        with whole_file(out) as file:
            file.write(text.encode())
    if explain:
        show_outcome(outcome, err=True)
    if as_json:
        emit_json({"twin": outcome.twin, "passes": [ran.to_json() for ran in outcome.ran], "text": text})
    elif diff or print_after_all or why is not None:
        click.echo(_views(outcome, diff, print_after_all, why), nl=False)
    elif out is None:
        click.echo(text, nl=False)


def split_names(names: str) -> list[str]:
    """The names in ``a,b``."""
    return [name.strip() for name in names.split(",") if name.strip()]


def again(command: str, spec: str, dtype: str | None) -> str:
    """The beginning of a command line that starts from the same module."""
    return f"dsv4c {command} {shlex.quote(spec)}" + (f" --dtype {dtype}" if dtype else "")


def show_outcome(outcome: Outcome, err: bool = False) -> None:
    """The table of passes, and what they and the proof had to say."""
    from dsv4c.driver.explain import COLUMNS, table

    show_table(COLUMNS, table(outcome), err=err)
    lines = [f"{ran.stage.step.name}: {note}" for ran in outcome.ran for note in ran.notes]
    if outcome.twin:
        lines.append("proven on a small twin of the model: the same kinds of layers, every size reduced")
    for line in lines:
        click.echo(line, err=err)


def _views(outcome: Outcome, diff: bool, print_after_all: bool, why: str | None) -> str:
    """What the options ask to see of each pass, one below the other."""
    from dsv4c.driver.textdiff import module_diff
    from dsv4c.ir.printer import to_text

    parts = []
    for ran in outcome.ran:
        stage = ran.stage
        if diff:
            parts.append(module_diff(stage.before, stage.after, stage.step.name))
        if print_after_all:
            parts.append(f"# after {stage.step.name}\n{to_text(stage.after)}")
        if why is not None:
            refusals = [r for r in stage.log.refusals if r.rule == why]
            parts += [f"{stage.step.name}: {r.where}: {r.why}\n" for r in refusals]
    if why is not None and not any(r.rule == why for ran in outcome.ran for r in ran.stage.log.refusals):
        parts.append(_no_refusal(outcome, why))
    return "".join(parts)


def _no_refusal(outcome: Outcome, rule: str) -> str:
    count = sum(ran.stage.log.applied[rule] for ran in outcome.ran)
    if count:
        return f"{rule} applied {count} times and was refused nowhere\n"
    known = {r.rule for ran in outcome.ran for r in ran.stage.log.refusals}
    known |= {rule for ran in outcome.ran for rule in ran.stage.log.applied}
    return f"no pass here looked at a place for {rule}; rules that did: {', '.join(sorted(known)) or 'none'}\n"


@click.command("passes")
@json_option
def passes_command(as_json: bool) -> None:
    """Passes: what each one rewrites, and its options."""
    from dsv4c.driver.options import defaults
    from dsv4c.passes.registry import PASSES

    if as_json:
        emit_json({"passes": [
            {
                "name": step.name, "doc": step.doc, "reads": step.reads, "writes": step.writes, "exact": step.exact,
                "options": defaults(step),
            }
            for step in PASSES
        ]})  # fmt: skip
        return
    rows = [
        (
            step.name, step.doc, f"{step.reads} -> {step.writes}", "exact" if step.exact else "rounds differently",
            ", ".join(f"{key}={value}" for key, value in defaults(step).items()),
        )
        for step in PASSES
    ]  # fmt: skip
    show_table(("pass", "before -> after", "ops", "numbers", "options"), rows)
