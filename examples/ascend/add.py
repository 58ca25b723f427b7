"""Vector addition with double-buffered queues, under the emulator. Needs g++."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dsv4c.targets.ascend.emulate import Emulator, Unwritten, build

KERNEL = Path(__file__).parent / "kernels" / "add_custom.cpp"


def main() -> None:
    """Add 100,000 numbers on 8 vector cores and print the error and the cycle estimate."""
    x, y = np.random.default_rng(0).standard_normal((2, 100_000)).astype(np.float32)
    z = np.zeros_like(x)
    with TemporaryDirectory() as folder, Emulator(build([KERNEL], Path(folder)), "2201-auto") as emulator:
        emulator.launch("add_custom", 8, x, y, Unwritten(z), np.array([x.size, 4096], np.uint32))
        print(f"largest error {np.abs(z - (x + y)).max()}, estimate {emulator.cycles()[0]['cycles']} cycles")


if __name__ == "__main__":
    main()
