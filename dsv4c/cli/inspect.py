"""``dsv4c inspect``: what a model costs, from its config alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from dsv4c.errors import UserError

from .common import echo, emit_json, json_option, show_table

if TYPE_CHECKING:
    from dsv4c.driver.inspect import Report
    from dsv4c.models.config import Config


@click.command("inspect")
@click.argument("spec")
@click.option(
    "--context", type=int, metavar="N",
    help="Tokens that the decoded one can see; as many as the model takes by default.",
)  # fmt: skip
@json_option
def inspect_command(spec: str, context: int | None, as_json: bool) -> None:
    """Layers, parameters, FLOPs and KV bytes of a model.

    SPEC is a released model (dsv4c models lists them), a Hugging Face folder or a config.json; weights are not read.
    """
    from dsv4c.driver.inspect import inspect

    config = _config(spec)
    report = inspect(config, config.max_positions if context is None else context)
    if as_json:
        emit_json({"model": spec, **report.to_json()})
        return
    echo(f"{spec} ({report.family}), one decoded token at a context of {report.context:,} tokens")
    show_table(
        ("attention", "feed-forward", "layers", "parameters each"),
        [(k.attention, k.feed_forward, k.count, k.parameters) for k in report.kinds],
    )
    show_table(
        ("cache entry", "bytes", "every tokens", "layers", "content"),
        [(c.entry.name, c.entry.size, c.entry.tokens, c.layers, c.entry.content) for c in report.cached],
    )
    show_table(("", "", ""), _figures(report))


def _config(spec: str) -> Config:
    from dsv4c.frontend.config import read_config
    from dsv4c.frontend.presets import load_preset, preset_names

    path = Path(spec)
    if path.is_dir():
        return read_config(path / "config.json")
    if path.exists():
        return read_config(path)
    if spec in preset_names():
        return load_preset(spec)
    raise UserError("there is no such folder or preset", where=spec, fix=f"presets are {', '.join(preset_names())}")


def _figures(report: Report) -> list[tuple[str, str, str]]:
    parts = {"linear": report.linear, "attention core": report.core, "indexer": report.indexer}
    return [
        ("parameters", f"{report.total_parameters:,}", ""),
        ("active parameters", f"{report.active_parameters:,}", "without the embedding table"),
        *((f"FLOPs, {name}", f"{part.flops:,}", part.precision) for name, part in parts.items() if part),
        ("FLOPs, weighted", f"{report.weighted_flops:,.0f}", "in units of a bf16 operation"),
        ("KV bytes per token", f"{report.kv_bytes_per_token:,.1f}", ""),
        ("KV bytes at this context", f"{report.kv_bytes:,}", ""),
        ("window bytes", f"{report.window_bytes:,}", "on top, the same at any length beyond the window"),
    ]
