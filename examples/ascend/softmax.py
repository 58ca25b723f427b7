"""Softmax of rows, under the emulator. Needs g++."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dsv4c.targets.ascend.emulate import Emulator, Unwritten, build

KERNEL = Path(__file__).parent / "kernels" / "softmax_custom.cpp"


def main() -> None:
    """Softmax of 64 rows of 1000 on 16 vector cores; print the error and the cycle estimate."""
    x = np.random.default_rng(0).standard_normal((64, 1000)).astype(np.float32)
    y = np.zeros_like(x)
    with TemporaryDirectory() as folder, Emulator(build([KERNEL], Path(folder)), "2201-auto") as emulator:
        emulator.launch("softmax_custom", 16, x, Unwritten(y), np.array(x.shape, np.uint32))
        e = np.exp(x - x.max(1, keepdims=True))
        error = np.abs(y - e / e.sum(1, keepdims=True)).max()
        print(f"largest error {error:.1e}, estimate {emulator.cycles()[0]['cycles']} cycles")


if __name__ == "__main__":
    main()
