"""What the AscendC emulator finds of planted faults: ``python benchmarks/mutation.py [--count 40] [--seed 1]``.

Mutants of the tile programs of ``tests/mutation_cases.py``, so many of each class, and a table of what was caught.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))


def main() -> None:
    """One table, and what was missed."""
    from mutants_ascend import scored
    from mutation_cases import CASES

    parser = argparse.ArgumentParser(description="mutants that the emulator catches")
    parser.add_argument("--count", type=int, default=40, help="mutants of each class")
    parser.add_argument("--seed", type=int, default=1)
    o = parser.parse_args()
    start = time.time()
    with tempfile.TemporaryDirectory() as folder:
        rows, _ = scored(CASES, o.count, o.seed, Path(folder), Path(folder) / "machine")
    print("| class | sites | excluded | mutants | caught | share |\n|---|---|---|---|---|---|")
    for row in rows:
        rules = ", ".join(f"{n} {rule}" for rule, n in sorted(row.excluded.items())) or "none"
        share = row.caught / max(row.mutants, 1)
        print(f"| {row.kind} | {row.sites} | {rules} | {row.mutants} | {row.caught} | {share:.1%} |")
    caught, mutants = sum(r.caught for r in rows), sum(r.mutants for r in rows)
    print(f"| all | {sum(r.sites for r in rows)} | | {mutants} | {caught} | {caught / mutants:.1%} |\n")
    for row in rows:
        for missed in row.missed:
            print(f"missed: {row.kind}: {missed}")
    print(f"{len(CASES)} kernels, seed {o.seed}, {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
