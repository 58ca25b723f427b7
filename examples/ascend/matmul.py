"""A tiled matrix product on the cube cores, under the emulator. Needs g++."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from dsv4c.targets.ascend.emulate import Emulator, Unwritten, build

KERNEL = Path(__file__).parent / "kernels" / "matmul_custom.cpp"


def main() -> None:
    """Multiply 200 x 300 by 300 x 250 on 4 cube cores; print the error and the cycle estimate."""
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((200, 300)).astype(np.float16), rng.standard_normal((300, 250)).astype(np.float16)
    c = np.zeros((200, 250), np.float32)
    tiling = np.array([200, 250, 300, 64, 128, 64], np.uint32)
    with TemporaryDirectory() as folder, Emulator(build([KERNEL], Path(folder)), "2201-auto") as emulator:
        emulator.launch("matmul_custom", 4, a, b, Unwritten(c), tiling)
        error = np.abs(c - a.astype(np.float64) @ b.astype(np.float64)).max()
        print(f"largest error {error:.1e}, estimate {emulator.cycles()[0]['cycles']} cycles")


if __name__ == "__main__":
    main()
