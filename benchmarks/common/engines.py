"""Who runs the model: dsv4c, and the peers that a user could pick instead, as far as the environment gives them.

DSV4C_LLAMA_BENCH    llama.cpp's ``llama-bench``
DSV4C_LLAMA_MODELS   folder with the files that ``make_gguf.py`` writes
DSV4C_PEER_PYTHON    a Python with torch and transformers
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Protocol

from . import limits
from .model import DTYPES, NAME, artefact, checkpoint
from .worker import Worker

HERE = Path(__file__).resolve().parent
OURS, LLAMA, TRANSFORMERS = "dsv4c", "llama.cpp", "transformers"
EXPERTS = ("eager", "grouped_mm")  # transformers' ways through the experts on a CPU; the better one counts


class Engine(Protocol):
    """Something that runs ``bench-475m`` in one dtype."""

    family: str
    dtype: str

    @property
    def name(self) -> str:
        """As tables print it."""

    def decode(self, context: int, steps: int) -> float:
        """Milliseconds a token after ``context`` tokens, over ``steps`` of them."""

    def prefill(self, length: int) -> float:
        """Seconds for a prompt, with the logits of its last token."""

    def close(self) -> None:
        """Let go of the model."""


@dataclass
class Resident:
    """An engine that keeps its model loaded in a process; ``options`` go with every question."""

    family: str
    dtype: str
    worker: Worker
    options: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As tables print it."""
        return " ".join((self.family, self.dtype, *self.options.values()))

    def decode(self, context: int, steps: int) -> float:
        """See Engine."""
        return self.worker.ask("decode", context=context, steps=steps, **self.options)

    def prefill(self, length: int) -> float:
        """See Engine."""
        return self.worker.ask("prefill", length=length, **self.options)

    def close(self) -> None:
        """See Engine."""
        self.worker.close()


@dataclass
class Llama:
    """llama.cpp's own benchmark, started anew for every figure; it warms up by itself and its tokens vary."""

    dtype: str
    command: tuple[str, ...]
    family: str = LLAMA

    @property
    def name(self) -> str:
        """As tables print it."""
        return f"llama.cpp {self.dtype}"

    def decode(self, context: int, steps: int) -> float:
        """See Engine."""
        return self._seconds("-p", "0", "-n", str(steps), "-d", str(context)) * 1e3 / steps

    def prefill(self, length: int) -> float:
        """See Engine."""
        return self._seconds("-p", str(length), "-n", "0")

    def _seconds(self, *options: str) -> float:
        done = subprocess.run([*self.command, *options], check=True, capture_output=True, text=True)
        return float(json.loads(done.stdout)[0]["avg_ns"]) / 1e9

    def close(self) -> None:
        """See Engine."""


def ours(dtype: str, threads: int) -> Resident:
    """dsv4c in a process of its own, compiled first where that is needed."""
    return Resident(OURS, dtype, Worker([sys.executable, str(HERE / "ours.py"), str(artefact(dtype)), str(threads)]))


def engines(threads: int) -> list[Engine]:
    """dsv4c and every peer that is given; says which are not."""
    found: list[Engine] = [ours(dtype, threads) for dtype in DTYPES]
    bench, models = os.environ.get("DSV4C_LLAMA_BENCH"), os.environ.get("DSV4C_LLAMA_MODELS")
    if bench and models:
        for dtype in DTYPES:
            file = Path(models) / f"{NAME}-{dtype}.gguf"
            found.append(Llama(dtype, (bench, "-m", str(file), "-t", str(threads), "-r", "1", "-o", "json")))
    else:
        print("llama.cpp: not given (DSV4C_LLAMA_BENCH and DSV4C_LLAMA_MODELS)")
    if python := os.environ.get("DSV4C_PEER_PYTHON"):
        for dtype, stored in DTYPES.items():
            worker = Worker([python, str(HERE / "theirs.py"), str(checkpoint(dtype)), stored, str(threads)])
            # those of one dtype share a process
            found += [Resident(TRANSFORMERS, dtype, worker, {"experts": experts}) for experts in EXPERTS]
    else:
        print("transformers: not given (DSV4C_PEER_PYTHON)")
    return found


Measured = dict[str, list[float]]


def take_turns(
    engines: Sequence[Engine], rounds: int, threads: int, measure: Callable[[Engine], float]
) -> tuple[Measured, limits.Limits]:
    """``measure`` of every engine in every round, by name, and the best limits seen between the rounds."""
    best, taken = limits.measure(threads), Measured({engine.name: [] for engine in engines})
    for _ in range(rounds):
        for engine in engines:
            taken[engine.name].append(measure(engine))
        best = best.best(limits.measure(threads))
    return taken, best


def fastest(engines: Sequence[Engine], taken: Measured, family: str, dtype: str | None = None) -> float | None:
    """The smallest median among the engines of a family, of one dtype or of any; None when none was given."""
    fits = [e.name for e in engines if e.family == family and dtype in (None, e.dtype)]
    return min((median(taken[name]) for name in fits), default=None)
