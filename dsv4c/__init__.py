"""dsv4c: lower DeepSeek V3, V3.2 and V4 checkpoints to code for CPUs, GPUs and NPUs, proven step by step."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from .errors import UserError

if TYPE_CHECKING:
    from .runtime.session import Session

__all__ = ["UserError", "compile", "load"]


def load(artefact: str | Path, threads: int | None = None) -> Session:
    """Open a compiled artefact for running; ``threads`` defaults to every usable CPU. Raises UserError."""
    from .artefact import Artefact
    from .runtime.session import Session

    return Session(Artefact.open(artefact), threads)


def compile(
    model: str | Path,
    target: str = "cpu",
    *,
    out: str | Path | None = None,
    dtype: str | None = None,
    max_context: int | None = None,
    force: bool = False,
    threads: int | None = None,
) -> Session:
    """Compile a checkpoint folder and open the result.

    Args:
        model: a Hugging Face folder with config.json and safetensors.
        target: a name that ``dsv4c targets`` lists.
        out: where the artefact goes; a temporary folder that lives as long as the session if None.
        dtype: compute dtype, ``f32`` or ``bf16``; the checkpoint's own if None.
        max_context: longest sequence in tokens; the model's limit if None.
        force: replace an artefact at ``out``.
        threads: CPU threads, every usable one if None.

    Raises:
        UserError: the input cannot work; the message says what would.
    """
    from .driver.compile import compile_model

    keep = TemporaryDirectory(prefix="dsv4c-") if out is None else None
    folder = Path(keep.name) / "artefact" if keep else Path(str(out))
    compile_model(str(model), folder, target=target, dtype=dtype, max_context=max_context, force=force)
    session = load(folder, threads)
    session.keep = keep
    return session
