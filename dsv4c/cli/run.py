"""``dsv4c run``: prompts in, new tokens out."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import IO, TYPE_CHECKING

import click

from dsv4c.errors import UserError

from .common import echo, emit_json, json_option, threads_option, whole_file
from .tokens import read_tokens, split_tokens

if TYPE_CHECKING:
    from dsv4c.ir.registry import Array


@click.command("run")
@click.argument("artefact", type=click.Path(path_type=Path))
@click.option("--tokens", metavar="1,2,3", help="The prompt as token ids.")
@click.option(
    "--tokens-file", type=click.Path(path_type=Path), metavar="FILE",
    help="JSON: a list of prompts, such as [[1, 2, 3], [4, 5]].",
)  # fmt: skip
@click.option("--new", type=int, default=16, show_default=True, metavar="N", help="Tokens to generate for each prompt.")
@click.option(
    "--logits", type=click.Path(path_type=Path), metavar="FILE.npy",
    help="Save float32 [batch, positions, vocab] of every position; NaN where a shorter sequence has none.",
)  # fmt: skip
@threads_option
@json_option
def run_command(
    artefact: Path, tokens: str | None, tokens_file: Path | None, new: int, logits: Path | None, threads: int | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Continue prompts with a compiled model, greedily.

    Prints the new tokens, one line a prompt.
    """
    if tokens is not None and tokens_file is None:
        prompts, place = split_tokens(tokens), "--tokens"
    elif tokens_file is not None and tokens is None:
        prompts, place = read_tokens(tokens_file), str(tokens_file)
    else:
        raise click.UsageError("give one of --tokens and --tokens-file")
    done, seconds, used = _generate(artefact, prompts, place, new, logits, threads)
    if as_json:
        emit_json({"tokens": done, "threads": used, "seconds": round(seconds, 6)})
        return
    for row in done:
        echo(",".join(map(str, row)))


def _generate(
    artefact: Path, prompts: list[list[int]], place: str, new: int, logits: Path | None, threads: int | None
) -> tuple[list[list[int]], float, int]:
    """New tokens of each prompt, the seconds that took, and the number of threads."""
    import dsv4c
    from dsv4c.targets.cpu.runner import usable_cpus

    with ExitStack() as stack:
        file = stack.enter_context(whole_file(logits)) if logits else None  # fails before the work, not after
        session = dsv4c.load(artefact, threads)
        start = perf_counter()
        try:
            done = session.generate_batch(prompts, new, logits=file is not None)
        except UserError as error:  # the session calls prompts --tokens
            raise UserError(error.what, where=error.where.replace("--tokens", place, 1), fix=error.fix) from None
        seconds = perf_counter() - start
        if file is not None and done.logits is not None:
            _save(file, done.logits, logits)
    return done.tokens, seconds, threads or usable_cpus()


def _save(file: IO[bytes], logits: Array, path: Path | None) -> None:
    import numpy as np

    try:
        np.save(file, logits.astype(np.float32, copy=False))
        file.flush()
    except OSError as error:  # numpy raises one without a reason when the disk is full
        raise UserError(f"cannot write all of it: {error.strerror or error}", where=str(path)) from None
