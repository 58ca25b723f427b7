"""How decode slows down with context: dsv4c at 4,096 and at 262,144 tokens of synthetic context, in turns.

``python benchmarks/long_context.py [--short 4096] [--long 262144] [--rounds 3] [--threads 2]``. The state is filled
with random values and ``past`` is set, so that no prompt of that length has to be fed.
"""

from __future__ import annotations

import argparse
from statistics import median

from common import limits
from common.engines import ours
from common.model import DTYPES
from common.report import bar, heading, table


def main() -> None:
    """One table of both dtypes, then the bar."""
    parser = argparse.ArgumentParser(description="decode at a long context against a short one")
    parser.add_argument("--short", type=int, default=4096)
    parser.add_argument("--long", type=int, default=262144)
    parser.add_argument("--steps", type=int, default=16, help="tokens a turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    rows, ratios, before = [], [], limits.measure(o.threads)
    for dtype in DTYPES:
        engine = ours(dtype, o.threads)
        turns = [[engine.decode(context, o.steps) for context in (o.short, o.long)] for _ in range(o.rounds)]
        engine.close()
        short, long = (median(times) for times in zip(*turns, strict=True))
        ratios.append(long / short)
        rows.append([engine.name, f"{short:.2f}", f"{long:.2f}", f"{ratios[-1]:.2f}x"])
    best = before.best(limits.measure(o.threads))
    heading(f"decode, median of {o.rounds} turns of {o.steps} tokens", best, o.threads)
    table(["engine", f"ms at {o.short}", f"ms at {o.long}", "slower by"], rows)
    bar("long context / short context", max(ratios), best.steady, most=2.0)


if __name__ == "__main__":
    main()
