"""``dsv4c models``, ``dsv4c targets`` and ``dsv4c ops``: what this installation knows."""

from __future__ import annotations

import click

from .common import emit_json, json_option, show_table


@click.command("models")
@json_option
def models_command(as_json: bool) -> None:
    """Released models that are known by name."""
    from dsv4c.driver.inspect import inspect
    from dsv4c.frontend.presets import load_preset, preset_names

    configs = {name: load_preset(name) for name in preset_names()}
    reports = {name: inspect(config, config.max_positions) for name, config in configs.items()}
    if as_json:
        keys = ("family", "layers", "layer_kinds", "parameters", "max_positions")
        data = {name: report.to_json() for name, report in reports.items()}
        emit_json({"models": [{"name": name, **{key: d[key] for key in keys}} for name, d in data.items()]})
        return
    rows = [
        (
            name, r.family, ", ".join(f"{k.count} {k.attention}/{k.feed_forward}" for k in r.kinds),
            r.total_parameters, r.active_parameters, r.max_positions,
        )
        for name, r in reports.items()
    ]  # fmt: skip
    show_table(("model", "family", "layers (attention/feed-forward)", "parameters", "active", "context"), rows)


@click.command("targets")
@json_option
def targets_command(as_json: bool) -> None:
    """Kinds of machines that models can be compiled for."""
    from dsv4c.targets.target import find_target, target_names

    targets = [find_target(name) for name in target_names()]
    if as_json:
        emit_json({"targets": [{"name": target.name, "doc": target.doc} for target in targets]})
    else:
        show_table(("target", "what it is"), [(target.name, target.doc) for target in targets])


@click.command("ops")
@json_option
def ops_command(as_json: bool) -> None:
    """Ops of the IR, with their attributes."""
    from dsv4c.ir import ops  # noqa: F401  (fills the registry)
    from dsv4c.ir.registry import REGISTRY

    known = [REGISTRY[name] for name in sorted(REGISTRY)]
    if as_json:
        emit_json(
            {
                "ops": [
                    {"name": op.name, "tier": op.tier, "kind": op.kind, "attributes": dict(op.attrs), "doc": op.doc}
                    for op in known
                ]
            }
        )
    else:
        show_table(("op", "tier", "attributes", "what it computes"), [
            (op.name, op.tier, ", ".join(op.attrs), op.doc) for op in known
        ])  # fmt: skip
