"""The command line: one file a group of commands, and here what becomes of errors.

Input that cannot work ends in one line on stderr, ``dsv4c: place: what is wrong; what would work``, and exit code 2,
with nothing on stdout. Exit code 1 is a proof that failed; its report may have several lines. Commands import what
they need when they run, so that ``dsv4c --help`` is fast.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

import click

from dsv4c.errors import ProofError, UserError

from .bisect import bisect_command, reduce_command
from .check import check_command
from .common import echo
from .compile import compile_command
from .conformance import conformance_command
from .cycles import cycles_command
from .export import export_command
from .inspect import inspect_command
from .passes import opt_command, passes_command
from .run import run_command
from .tables import models_command, ops_command, targets_command
from .text import parse_command, print_command
from .tune import tune_command
from .vectors import vectors_command
from .verify import verify_command

BROKEN_PIPE = 141  # as a shell reports a process that SIGPIPE ended


@click.group(
    "dsv4c",
    invoke_without_command=True,
    commands=[
        models_command, targets_command, ops_command, inspect_command, compile_command, run_command, verify_command,
        check_command, vectors_command, cycles_command, conformance_command,
        print_command, parse_command, export_command, passes_command, opt_command,
        bisect_command, reduce_command, tune_command,
    ],
)  # fmt: skip
@click.version_option(package_name="dsv4c", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Compile DeepSeek V3, V3.2 and V4 checkpoints, run the result, and prove that it is right."""
    if context.invoked_subcommand is None:
        echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (that of this process by default), and give the exit code."""
    with _signals() as caught:
        try:
            return _guarded(arguments)
        except (KeyboardInterrupt, Exception):
            if not caught:
                raise
            return 128 + caught[0]  # as a shell reports it


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Let SIGINT and SIGTERM end the work in order, so that nothing is left behind, and note which one came.

    The note is needed because TVM turns an interrupt that comes while it compiles into an error of its own.
    """
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        raise KeyboardInterrupt

    here = threading.current_thread() is threading.main_thread()  # elsewhere Python refuses handlers
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM) if here}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _guarded(arguments: Sequence[str] | None) -> int:
    try:
        code = _invoke(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
        return code
    except click.ClickException as error:
        return _refuse(_usage(error))
    except ProofError as error:
        click.echo("\n".join(map(_one_line, f"dsv4c: {error}".splitlines())), err=True)
        return 1
    except (UserError, MemoryError) as error:
        return _refuse(str(error))
    except BrokenPipeError:
        # What is still in the buffer is flushed when Python ends, and must not fail a second time.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        if error.strerror is None:  # not from the operating system
            raise
        return _refuse(str(UserError(error.strerror, where=str(error.filename or ""))))


def _invoke(arguments: Sequence[str]) -> int:
    try:
        with cli.make_context("dsv4c", list(arguments)) as context:
            cli.invoke(context)
    except click.exceptions.Exit as leave:
        return leave.exit_code
    return 0


def _refuse(message: str) -> int:
    click.echo(f"dsv4c: {_one_line(message)}", err=True)
    return 2


def _one_line(message: str) -> str:
    # Names come out of files: a line break or an escape sequence in one must not reach the terminal.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in message)


def _usage(error: click.ClickException) -> str:
    """What click says of wrong arguments, and the command whose help has the right ones."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "dsv4c"
    what = " ".join(error.format_message().split()).rstrip(".")
    return str(UserError(what, where=path.removeprefix("dsv4c").strip(), fix=f"see {path} --help"))
