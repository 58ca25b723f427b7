"""``dsv4c export``: a model in core ops as standard ONNX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsv4c.errors import UserError
from dsv4c.files import destination

from .common import check_writable, dtype_option, emit_json, json_option, progress_line, show_table

if TYPE_CHECKING:
    from dsv4c.driver.compile import Model
    from dsv4c.ir.core import Module
    from dsv4c.ir.registry import Array
    from dsv4c.onnx import Exported

ENTRY = "step_all"
RESULTS = ("logits", "new_state")


@click.command("export")
@click.argument("spec")
@click.argument("path", type=click.Path(path_type=Path), metavar="FILE.onnx")
@click.option("--no-weights", is_flag=True, help="Make the weights inputs; needed for a released config.")
@dtype_option
@click.option("--force", is_flag=True, help="Replace a file that is there already.")
@json_option
def export_command(spec: str, path: Path, no_weights: bool, dtype: str | None, force: bool, as_json: bool) -> None:
    """Write a model as standard ONNX.

    It is one step, with logits of every position and explicit state. Large weights go into FILE.onnx.data.

    SPEC is a Hugging Face folder or, with --no-weights, a released model by name.
    """
    from dsv4c.driver.compile import open_model

    _check_free(path, force)
    model = open_model(spec, not no_weights)
    if model.checkpoint is None and not no_weights:
        raise UserError(
            "a released config has no weights", where=spec, fix="use --no-weights, or give a checkpoint folder"
        )
    kind = dtype or model.dtype
    exported = _export(model, kind, path, not no_weights)
    made: dict[str, object] = {
        "files": [str(file) for file in exported.files],
        "model": model.name,
        "dtype": kind,
        "opset": exported.opset,
        "nodes": exported.nodes,
        "inputs": list(exported.inputs),
        "outputs": list(exported.outputs),
    }
    if as_json:
        emit_json(made)
    else:
        show_table(("", ""), [(key, _shown(value)) for key, value in made.items()])


def _check_free(path: Path, force: bool) -> None:
    check_writable(path)
    real = destination(path)  # the weights lie beside the file itself, not beside a link to it
    for file in (path, real.with_name(f"{real.name}.data")):
        if destination(file).exists() and not force:
            raise UserError("exists already", where=str(file), fix="use --force to replace it")


def _export(model: Model, dtype: str, path: Path, weights: bool) -> Exported:
    from dsv4c.ir.verify import verify
    from dsv4c.models.build import build_module
    from dsv4c.onnx import export

    with progress_line() as progress:
        progress("building the module")
        module = build_module(model.config, dtype)
        verify(module)
        progress("writing ONNX")
        return export(module, ENTRY, path, _loader(model, module, dtype) if weights else None, RESULTS)


def _loader(model: Model, module: Module, dtype: str) -> Callable[[str], Array]:
    """Weights by path, each read when it is asked for."""
    from dsv4c.frontend.loading import add_load_functions, load_leaf

    assert model.checkpoint is not None and model.sources is not None
    checkpoint = model.checkpoint
    calls = add_load_functions(module, model.config, model.sources, dtype)
    return lambda path: load_leaf(module, checkpoint, model.config, calls[path])


def _shown(value: Any) -> str:
    """Few names in full, many as their number."""
    if isinstance(value, list):
        return ", ".join(value) if len(value) <= 4 else f"{', '.join(value[:3])} and {len(value) - 3} more"
    return f"{value:,}" if isinstance(value, int) else str(value)
