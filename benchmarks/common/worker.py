"""A process that keeps a model loaded and answers questions, one JSON object a line.

Each engine lives in such a process, so that they can take turns without sharing threads or memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


class Worker:
    """The side that asks."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def ask(self, question: str, **arguments: Any) -> float:
        """The answer of the worker's function of that name; the process starts with the first question."""
        if self._process is None:
            pipe = subprocess.PIPE
            self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"question": question, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{' '.join(self._command)}: ended while asked for {question} {arguments}")
        return float(json.loads(answer))

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait()
            self._process = None


def serve(functions: Mapping[str, Callable[..., float]]) -> None:
    """The side that answers, until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    for line in sys.stdin:
        arguments = json.loads(line)
        print(json.dumps(functions[arguments.pop("question")](**arguments)), file=answers, flush=True)
