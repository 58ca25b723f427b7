"""Where a step's time goes, for any artefact: ``python benchmarks/kernels.py ARTEFACT [--length 1] [--past 2048]``.

Kernel by kernel, with each one's share of the machine's limits; ``decode.py --profile`` does it for ``bench-475m``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from common import limits
from common.profiling import profile


def main() -> None:
    """One table."""
    parser = argparse.ArgumentParser(description="time of each kernel in a step")
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--length", type=int, default=1, help="new tokens")
    parser.add_argument("--past", type=int, default=2048, help="earlier tokens")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    profile(o.artefact, o.length, o.past, o.threads, o.runs, limits.measure(o.threads))


if __name__ == "__main__":
    main()
