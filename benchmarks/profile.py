"""Where a step's time goes: ``python benchmarks/profile.py ARTEFACT [--length 1] [--past 2048] [--threads 2]``.

Binds the entry that serves steps of ``--length`` new tokens over a state filled with random numbers, runs it with
tokens that vary, and prints milliseconds a step, then the time of each kernel.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from time import perf_counter

import numpy as np

import dsv4c
from dsv4c.runtime.session import Session


def bound(session: Session, length: int, past: int) -> tuple[object, dict[str, np.ndarray]]:
    """A program over ``past`` earlier tokens whose state holds random numbers."""
    capacity = past + length + 1
    state, rng = session.state(1, capacity), np.random.default_rng(0)
    for array in state.values():
        array[...] = (0.1 * rng.standard_normal(array.shape)).astype(array.dtype)
    entry = session.entry(length)
    found = session.bind(entry, 1, length, capacity, state)
    for name, value in (("past", past), ("new", length)):
        found.inputs[name][...] = value
    return found.program, found.inputs


def main() -> None:
    """Median step, then a table of kernels."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artefact")
    parser.add_argument("--length", type=int, default=1)
    parser.add_argument("--past", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    session = dsv4c.load(options.artefact, options.threads)
    program, inputs = bound(session, options.length, options.past)
    rng, times = np.random.default_rng(1), []
    for _ in range(options.steps):
        inputs["tokens"][...] = rng.integers(0, session.vocab, inputs["tokens"].shape)
        start = perf_counter()
        program.run()
        times.append(perf_counter() - start)
    print(f"{1e3 * np.median(times):.2f} ms a step (fastest {1e3 * min(times):.2f}), {len(program)} launches")
    _table(program, options.steps)


def _table(program: object, steps: int) -> None:
    spent, counts = defaultdict(float), defaultdict(int)
    for _ in range(max(1, steps // 4)):
        for (function, arguments), name in zip(program._calls, program.names, strict=True):
            start = perf_counter()
            function(*arguments)
            spent[name] += perf_counter() - start
            counts[name] += 1
    runs = max(1, steps // 4)
    whole = sum(spent.values())
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1])[:40]:
        print(f"{1e3 * seconds / runs:9.3f} ms {100 * seconds / whole:5.1f} %  {counts[name] // runs:4d} x  {name}")


if __name__ == "__main__":
    main()
