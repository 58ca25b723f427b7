"""dsv4c in a worker: ``ours.py ARTEFACT THREADS``. Also the programs over filled state that the profile runs."""

from __future__ import annotations

import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import dsv4c
from dsv4c.artefact import WEIGHTS
from dsv4c.runtime.session import CHUNK, Session

WARM, ROOM = 3, 256  # steps before time is taken; steps that one decode may have
Array = np.ndarray[Any, Any]


class Model:
    """An opened artefact, and the programs that were bound for it."""

    def __init__(self, artefact: str, threads: int) -> None:
        self.session: Session = dsv4c.load(artefact, threads)
        self.rng = np.random.default_rng(0)
        self._decoders: dict[int, Any] = {}

    def decode(self, context: int, steps: int) -> float:
        """Milliseconds a token when ``context`` tokens came before; tokens vary, and with them the experts."""
        if context not in self._decoders:
            self._decoders[context] = self.bound(1, context, context + ROOM)
        bound, times = self._decoders[context], []
        for number in range(WARM + steps):
            self.feed(bound, context + number)
            start = perf_counter()
            bound.program.run()
            times.append(perf_counter() - start)
        return 1e3 * float(np.mean(times[WARM:]))

    def prefill(self, length: int) -> float:
        """Seconds for a prompt from nothing, in chunks as a session feeds it, with the logits of its last token."""
        state, programs, seconds = self.session.state(1, length), {}, 0.0
        for begin in range(0, length, CHUNK):
            count = min(CHUNK, length - begin)
            if count not in programs:
                programs[count] = self.session.bind(self.session.entry(count), 1, count, length, state)
            self.feed(programs[count], begin)
            start = perf_counter()
            programs[count].program.run()
            seconds += perf_counter() - start
        return seconds

    def memory(self, length: int) -> float:
        """Bytes at the peak of a prefill, above the weights: everything that the process holds, Python included."""
        folder = self.session.artefact.folder
        for array in self.session.artefact.weights().values():  # all of them resident, or too much is subtracted
            array.reshape(-1).view(np.uint8)[::4096].max(initial=0)
        self.prefill(length)
        return _peak() - (folder / WEIGHTS).stat().st_size

    def bound(self, length: int, past: int, capacity: int) -> Any:
        """A program for ``length`` new tokens over state that holds random numbers."""
        state = self.session.state(1, capacity)
        for array in state.values():
            array[...] = self.rng.standard_normal(array.shape, np.float32).astype(array.dtype)
        bound = self.session.bind(self.session.entry(length), 1, length, capacity, state)
        self.feed(bound, past)
        return bound

    def feed(self, bound: Any, past: int) -> None:
        """Random tokens for the next run, after ``past`` earlier ones."""
        tokens: Array = bound.inputs["tokens"]
        tokens[...] = self.rng.integers(0, self.session.vocab, tokens.shape)
        bound.inputs["past"][...], bound.inputs["new"][...] = past, tokens.shape[1]


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    from worker import serve

    model = Model(sys.argv[1], int(sys.argv[2]))
    serve({"decode": model.decode, "prefill": model.prefill, "memory": model.memory})
