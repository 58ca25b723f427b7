"""``dsv4c compile``: a checkpoint or a released config in, an artefact out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from .common import dtype_option, emit_json, json_option, progress_line, show_table
from .passes import explain_option, no_verify_option, show_outcome

if TYPE_CHECKING:
    from dsv4c.driver.explain import Outcome
    from dsv4c.plan import Plan


@click.command("compile")
@click.argument("spec")
@click.option("--target", required=True, metavar="NAME", help="Kind of machine; dsv4c targets lists them.")
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="What to make.")
@click.option("--no-weights", is_flag=True, help="Leave the weights out; needed for a released config.")
@dtype_option
@click.option("--max-context", type=int, metavar="N", help="Longest sequence in tokens; the model's limit by default.")
@click.option("--force", is_flag=True, help="Replace an artefact that is there already.")
@click.option("--tuned", type=click.Path(path_type=Path), metavar="FILE", help="Schedules that dsv4c tune found.")
@click.option("--library", default="", metavar="OP,OP", help="Ops that the vendor's library computes, where it can.")
@explain_option
@no_verify_option
@json_option
def compile_command(
    spec: str, target: str, out: Path, no_weights: bool, dtype: str | None, max_context: int | None, force: bool,
    tuned: Path | None, library: str, explain: bool, no_verify: bool, as_json: bool,
) -> None:  # fmt: skip
    """Compile a model into a folder that can be run.

    SPEC is a Hugging Face folder (config.json and safetensors) or, with --no-weights, a released model by name.

    With --explain, each pass is proven: functions are executed before and after it. --no-verify leaves that out.
    """
    from dsv4c.driver.compile import compile_model

    start, outcomes = perf_counter(), list["Outcome"]()
    with progress_line() as progress:
        compile_model(
            spec, out, target=target, dtype=dtype, max_context=max_context, weights=not no_weights, force=force,
            prove=explain and not no_verify, tuned=tuned, library=[op for op in library.split(",") if op],
            progress=progress, report=outcomes.append,
        )  # fmt: skip
    made = {**_summary(out), "seconds": round(perf_counter() - start, 3)}
    if as_json:
        passes = {"passes": [ran.to_json() for ran in outcomes[0].ran]} if explain else {}
        emit_json({**made, **passes})
    else:
        if explain:
            show_outcome(outcomes[0])
        shown = {key: f"{value:,}" if isinstance(value, int) else value for key, value in made.items()}
        show_table(("", ""), [(key.replace("_", " "), value) for key, value in shown.items()])


def _summary(out: Path) -> dict[str, object]:
    from dsv4c.artefact import MANIFEST, PLAN, WEIGHTS
    from dsv4c.plan_json import plan_from_json

    manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    plan = plan_from_json(json.loads((out / PLAN).read_text(encoding="utf-8")))
    weights = out / WEIGHTS
    facts = manifest["target"]["facts"]
    stored = facts["quantised"].values()
    packed = {f"weights_{what}": sum(row[what] for row in stored) for what in ("packed", "converted")} if stored else {}
    return {
        "artefact": str(out),
        "model": manifest["model"]["name"],
        "target": manifest["target"]["name"],
        "dtype": manifest["model"]["dtype"],
        "max_context": manifest["model"]["max_context"],
        "kernels": _kernels(plan),
        "launches_per_step": launches(plan, "decode" if "decode" in plan.entries else "step"),
        "weights_bytes": weights.stat().st_size if weights.exists() else 0,
        **({"workspace_bytes": facts["workspace_bytes"]} if "workspace_bytes" in facts else {}),
        **packed,
        **_library(facts),
    }


def _library(facts: Mapping[str, Any]) -> dict[str, object]:
    """Which kernels library operators stand in for, and why others of the ops that were asked for stay."""
    if "library" not in facts:
        return {}
    kept = Counter(facts["not_library"].values())
    why = "".join(f"; {number} stay: {reason}" for reason, number in sorted(kept.items()))
    return {"from_the_library": f"{len(facts['library'])} kernels{why}"}


def _kernels(plan: Plan) -> int:
    from dsv4c.plan import Launch

    steps = [step for function in plan.functions.values() for step in function.steps]
    return len({step.kernel for step in steps if isinstance(step, Launch)})


def launches(plan: Plan, entry: str) -> int:
    """Kernels that one step through ``entry`` launches."""
    from dsv4c.plan import Launch

    @cache
    def count(name: str) -> int:
        return sum(1 if isinstance(step, Launch) else count(step.callee) for step in plan.functions[name].steps)

    return count(entry)
