"""The main job: a checkpoint or a released config in, an artefact out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from shlex import quote
from typing import Any

from dsv4c.artefact import ENTRIES, MODULE, PLAN, WeightsWriter, fresh_folder, seal, write_json
from dsv4c.errors import UserError
from dsv4c.frontend.checkpoint import Checkpoint
from dsv4c.frontend.config import read_config, read_json
from dsv4c.frontend.declared import declared_sources
from dsv4c.frontend.loading import add_load_functions, stream_weights
from dsv4c.frontend.names import Source, compute_dtype, resolve
from dsv4c.frontend.presets import load_preset, preset_json, preset_names
from dsv4c.ir.core import Function, Module
from dsv4c.ir.printer import to_text
from dsv4c.ir.types import TensorType, Type, leaves, select
from dsv4c.ir.verify import verify
from dsv4c.models.build import build_module
from dsv4c.models.config import Config
from dsv4c.passes.base import Pass
from dsv4c.passes.quantize import scales_of
from dsv4c.plan import Plan
from dsv4c.plan_json import plan_to_json
from dsv4c.targets.target import Target, Tuned, find_target

from .explain import Outcome, run_pipeline
from .options import settings_of
from .origin import Origin
from .storage import pipeline_of, quantised
from .vectors import write_vectors

DTYPES = ("f32", "bf16")  # that may be asked for; a checkpoint's own may be f16 as well
CONFIG = "config.json"
TUNED = "tuned.json"
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Model:
    """What is compiled: a config, and the checkpoint with its resolved tensors where there is one; else ``sources``
    are the quantised weights that the config declares.

    ``name`` is the preset's, and for a folder the family: the bytes of an artefact must not depend on where its input
    lay. ``dtype`` is the one that the checkpoint computes in; bf16 for a released config.
    """

    name: str
    config: Config
    dtype: str = "bf16"
    checkpoint: Checkpoint | None = None
    sources: Mapping[str, Source] | None = None


def open_model(spec: str, weights: bool = True) -> Model:
    """A preset by name, or a Hugging Face folder with its tensor names resolved; UserError when it is neither.

    Without ``weights`` a folder needs only its config.json.
    """
    if spec in preset_names() and not Path(spec).exists():
        config, raw = load_preset(spec), preset_json(spec)
        return Model(spec, config, sources=declared_sources(config, raw, f"{spec}.json:"))
    if not Path(spec).exists():
        raise UserError("there is no such folder or preset", where=spec, fix=f"presets are {', '.join(preset_names())}")
    if not weights:
        config, raw = read_config(Path(spec) / CONFIG), read_json(Path(spec) / CONFIG)
        sources = declared_sources(config, raw, f"{Path(spec) / CONFIG}:")
        return Model(config.family, config, _declared_dtype(raw), sources=sources)
    checkpoint = Checkpoint.open(Path(spec))
    sources = resolve(checkpoint.config, checkpoint)
    return Model(checkpoint.config.family, checkpoint.config, compute_dtype(checkpoint, sources), checkpoint, sources)


def _declared_dtype(config: Mapping[str, object]) -> str:
    """What config.json says of the weights' dtype; bf16 where it is silent, as every released model is."""
    declared = str(config.get("dtype", config.get("torch_dtype", "bfloat16")))
    return {"float32": "f32", "float16": "f16"}.get(declared, "bf16")


def compile_model(
    spec: str,
    out: Path,
    *,
    target: str = "cpu",
    dtype: str | None = None,
    max_context: int | None = None,
    weights: bool = True,
    force: bool = False,
    prove: bool = False,
    tuned: Path | None = None,
    library: Sequence[str] = (),
    progress: Progress = lambda message: None,
    report: Callable[[Outcome], None] = lambda outcome: None,
) -> Path:
    """Compile a checkpoint folder or preset for a target into the folder ``out``; returns ``out``.

    With ``prove``, every pass of the target is executed before and after it. ``report`` receives what the passes did.
    ``tuned`` is a file that ``tune_model`` made; a copy of it becomes part of the artefact. ``library`` names ops whose
    kernels an operator of the vendor's library stands in for.

    Raises UserError for every input that cannot work, and PassError for a pass that fails; nothing is left behind.
    """
    chosen = _with_library(find_target(target), library)
    tuning = Tuned(read_json(tuned), str(tuned)) if tuned else None
    model = open_model(spec, weights)
    context, kind = _context(model.config, max_context), _dtype(model, dtype)
    if weights and model.checkpoint is None:
        raise UserError(
            "a released config has no weights", where=spec, fix="use --no-weights, or give a checkpoint folder"
        )
    with fresh_folder(out, force) as folder:
        progress("building the module")
        source = build_module(model.config, kind)
        verify(source)
        progress("running passes")
        again = f"dsv4c opt {quote(spec)} --dtype {kind}"
        pipeline = pipeline_of(chosen, model.sources)
        outcome = run_pipeline(Origin(spec, source, model.config, kind), pipeline, prove, again)
        report(outcome)
        module = outcome.module
        progress("lowering and compiling kernels")
        emitted = chosen.emit(module, entries_of(module), folder, tuning)
        if tuning:
            write_json(folder / TUNED, tuning.content)
        packs = _pack_functions(chosen, module, emitted.plan)
        index = _write_weights(module, model, kind, packs, emitted.plan, folder, progress) if weights else {}
        if weights:
            progress("test vectors")
            _write_vectors(source, model, kind, context, folder)
        (folder / MODULE).write_text(to_text(module))
        write_json(folder / PLAN, plan_to_json(emitted.plan))
        facts = {**emitted.facts, "quantised": quantised(model.sources, _weights_type(module), kind)}
        seal(folder, _manifest(model, kind, context, chosen, pipeline, facts, module, index))
        progress("done")
    return out


def entries_of(module: Module) -> tuple[str, ...]:
    """The functions of a module that a runtime may start at."""
    return tuple(name for name in ENTRIES if name in module.functions)


def _with_library(target: Target, ops: Sequence[str]) -> Target:
    if not ops:
        return target
    if target.library is None:
        raise UserError(f"{target.name} calls no library", where="--library", fix="leave it out")
    return target.library(ops)


def tune_model(
    spec: str, *, target: str = "cpu", dtype: str | None = None, progress: Progress = lambda message: None
) -> Mapping[str, Any]:
    """What ``compile_model`` takes as a tuning file for this model and machine; nothing is read of its weights.

    Raises UserError for every input that cannot work.
    """
    chosen = find_target(target)
    if chosen.tune is None:
        raise UserError(f"{target} has nothing to tune", where="--target")
    model = open_model(spec, weights=False)
    source = build_module(model.config, _dtype(model, dtype))
    progress("running passes")
    module = run_pipeline(Origin(spec, source, model.config, _dtype(model, dtype)), chosen.pipeline, False, "").module
    return chosen.tune(module, entries_of(module), progress)


def _dtype(model: Model, asked: str | None) -> str:
    if asked is not None and asked not in DTYPES:
        raise UserError(f"cannot compute in {asked}", where="--dtype", fix=f"use {' or '.join(DTYPES)}")
    return asked or model.dtype


def _context(config: Config, asked: int | None) -> int:
    context = config.max_positions if asked is None else asked
    if not 1 <= context <= config.max_positions:
        raise UserError(
            f"{context} tokens",
            where="--max-context",
            fix=f"the model takes 1 to {config.max_positions} (max_position_embeddings)",
        )
    return context


def _weights_type(module: Module) -> Type:
    return next(p.type for p in module.functions[module.entry].params if p.name == "weights")


Packs = Mapping[tuple[str, str], Function | None]


def _pack_functions(target: Target, module: Module, plan: Plan) -> Packs:
    """For every weight the plan reads, the function that packs it; None for weights read as they are."""
    weights = _weights_type(module)
    out: dict[tuple[str, str], Function | None] = {}
    wanted = sorted({w for entry in plan.entries for w in plan.weights(entry)})
    for path, form in wanted:
        made = plan.made_of(path)
        stored = module.functions[made[0]].results[0].type if made else select(weights, path)
        assert isinstance(stored, TensorType)
        out[path, form] = target.pack(module, stored, form) if form else None
    return out


def _write_weights(
    module: Module, model: Model, dtype: str, packs: Packs, plan: Plan, folder: Path, progress: Progress
) -> dict[str, Any]:
    """Stream the packed weights into the folder; returns their index."""
    assert model.checkpoint is not None and model.sources is not None
    types = dict(leaves(_weights_type(module)))
    calls = add_load_functions(module, model.config, model.sources, dtype, scales_of(_weights_type(module)))
    writer = WeightsWriter(folder)
    stream = stream_weights(
        module,
        model.checkpoint,
        model.config,
        calls,
        list(packs),
        lambda path, form: packs[path, form],
        plan.made_of,
    )
    for path, form, array in stream:
        packed = packs[path, form]
        kind = packed.results[0].dtype if packed else types[path].dtype
        writer.add(f"{path}@{form}" if form else path, array, kind)
        del array  # before the next one is made
        progress(f"packing weights {len(writer.index)}/{len(packs)}")
    writer.close()
    return writer.index


def _write_vectors(source: Module, model: Model, dtype: str, context: int, folder: Path) -> None:
    """Test vectors by the module as it was before any pass, so that they check the passes too."""
    assert model.checkpoint is not None and model.sources is not None
    calls = add_load_functions(source, model.config, model.sources, dtype)
    write_vectors(source, model.config, model.checkpoint, calls, context, folder)


def _manifest(
    model: Model, dtype: str, context: int, target: Target, pipeline: Sequence[Pass], facts: Mapping[str, Any],
    module: Module, index: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    state = next(p.type for p in module.functions[module.entry].params if p.name == "state")
    return {
        "dsv4c": version("dsv4c"),
        "model": {
            "name": model.name,
            "dtype": dtype,
            "vocab": model.config.vocab,
            "max_context": context,
            "config": asdict(model.config),
        },
        "target": {"name": target.name, "facts": facts},
        "passes": [{"name": step.name, "options": settings_of(step)} for step in pipeline],
        "state": {path: [t.dtype, [x if isinstance(x, int) else str(x) for x in t.shape]] for path, t in leaves(state)},
        "weights": index,
    }
