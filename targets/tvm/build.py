"""Kernels to one shared object: a fixed number of object files, compiled by several processes, linked in order.

``python -m dsv4c.targets.tvm.build KERNELS.json FOLDER FIRST STEP`` is what the helper processes run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tvm
from tvm import IRModule
from tvm.support import cc

from .host import host_target
from .kernels.kernel import Kernel

PARTS = 8  # object files; not the number of processes, so that the library is the same wherever it is compiled


class BuildError(Exception):
    """A kernel that TVM or LLVM refuses, or a link that fails."""


def build_library(kernels: Sequence[Kernel], path: Path, jobs: int) -> None:
    """Compile all kernels into the shared object ``path`` with ``jobs`` processes, this one included.

    The bytes depend on the kernels, the versions of TVM and the linker, and the features of this CPU; not on ``jobs``,
    the folder or the order of ``kernels``.

    Raises:
        BuildError: a kernel does not compile; the message names it.
    """
    functions = {k.name: k.after for k in sorted(kernels, key=lambda k: k.name)}
    with TemporaryDirectory() as folder:
        workers = min(jobs, _parts(functions)) if functions else 1
        helpers = _start_helpers(functions, Path(folder), workers)
        try:
            _compile_parts(functions, Path(folder), range(0, _parts(functions), workers))
        finally:
            errors = [_finish(helper) for helper in helpers]
        if any(errors):
            raise BuildError("; ".join(error for error in errors if error))
        _link(Path(folder), _parts(functions), path)


def _parts(functions: Mapping[str, Any]) -> int:
    return max(1, min(PARTS, len(functions)))


def _start_helpers(functions: Mapping[str, Any], folder: Path, workers: int) -> list[subprocess.Popen[str]]:
    """Processes that compile every part whose number is not a multiple of ``workers``."""
    if workers == 1:
        return []
    source = folder / "kernels.json"
    source.write_text(tvm.ir.save_json(IRModule(functions)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
    command = [sys.executable, "-m", __name__, str(source), str(folder)]
    return [
        subprocess.Popen(
            [*command, str(first), str(workers)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first in range(1, workers)
    ]


def _finish(helper: subprocess.Popen[str]) -> str:
    """Wait; the last line of what the process said, if it failed."""
    _, said = helper.communicate()
    lines = [line for line in said.splitlines() if line.strip()]
    return (lines or [f"a helper process ended with status {helper.returncode}"])[-1] if helper.returncode else ""


def _compile_parts(functions: Mapping[str, Any], folder: Path, numbers: range) -> None:
    """Kernel number i, in order of names, goes into part i modulo the number of parts: heavy families spread out."""
    items = sorted(functions.items())
    for number in numbers:
        part = dict(items[number :: _parts(functions)])
        _compile(part).write_to_file(str(folder / f"part{number}.o"))


def _compile(part: Mapping[str, Any]) -> Any:
    # The target's number of cores has no influence on code for LLVM.
    target = host_target(1)
    try:
        return tvm.compile(IRModule(part), target=target).mod
    except Exception as error:
        for name, function in part.items():
            try:
                tvm.compile(IRModule({name: function}), target=target)
            except Exception as single:
                raise BuildError(f"kernel {name} does not compile: {str(single).strip().splitlines()[-1]}") from single
        raise BuildError(f"kernels {', '.join(part)} do not compile together") from error


def _link(folder: Path, parts: int, path: Path) -> None:
    objects = [str(folder / f"part{number}.o") for number in range(parts)]
    try:
        cc.create_shared(str(path), objects, options=["-Wl,--build-id=none", "-Wl,--strip-debug"])
    except RuntimeError as error:
        raise BuildError(f"linking {path.name} failed: {error}") from error


def main(arguments: Sequence[str]) -> int:
    """The helper process: compile parts FIRST, FIRST + STEP, ..."""
    source, folder, first, step = arguments
    module = tvm.ir.load_json(Path(source).read_text())
    functions = {variable.name_hint: function for variable, function in module.functions.items()}
    try:
        _compile_parts(functions, Path(folder), range(int(first), _parts(functions), int(step)))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
