"""What this machine can do at most, measured: the figures that every share in a table refers to."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from .model import STORE

SOURCE = Path(__file__).with_name("limits.cpp")
STEADY = 1.25  # between measurements in one run; a quiet virtual machine stays within about 1.1
# In a process of its own, because numpy's BLAS takes its threads from the environment when it is loaded.
SGEMM = """
import time, numpy as np
a, b = (np.random.default_rng(0).standard_normal((2048, 2048), np.float32) for _ in range(2))
times = []
for _ in range(6):
    start = time.perf_counter()
    a @ b
    times.append(time.perf_counter() - start)
print(2 * 2048**3 / min(times) / 1e9)
"""


@dataclass(frozen=True)
class Limits:
    """``read`` in GB/s over 1 GiB; ``sgemm`` and ``fma`` in GFLOP/s, of numpy's BLAS and of a loop in registers.

    ``spread`` is the largest ratio between two measurements that went in: 1 on a machine that nobody else uses.
    """

    read: float
    sgemm: float
    fma: float
    spread: float = 1.0

    @property
    def gemm(self) -> float:
        """The GEMM peak: the better of the two."""
        return max(self.sgemm, self.fma)

    def best(self, other: Limits) -> Limits:
        """The better figures of two measurements: what disturbs one only ever makes it smaller."""
        pairs = ((self.read, other.read), (self.sgemm, other.sgemm), (self.fma, other.fma))
        ratios = [max(pair) / min(pair) for pair in pairs]
        return Limits(*map(max, pairs), max(self.spread, other.spread, *ratios))

    @property
    def steady(self) -> bool:
        """Whether the machine was left alone, so that ratios between engines mean something."""
        return self.spread <= STEADY

    def __str__(self) -> str:
        return f"read {self.read:.1f} GB/s, sgemm {self.sgemm:.0f} and FMA {self.fma:.0f} GFLOP/s"


def measure(threads: int) -> Limits:
    """Measure now, on that many threads."""
    binary = STORE / "limits"
    if not binary.exists() or binary.stat().st_mtime < SOURCE.stat().st_mtime:
        STORE.mkdir(exist_ok=True)
        subprocess.run(["g++", "-O3", "-march=native", "-std=c++17", "-pthread", SOURCE, "-o", binary], check=True)
    read, fma = map(float, _said([str(binary), str(threads)], threads).split())
    return Limits(read, float(_said([sys.executable, "-c", SGEMM], threads)), fma)


def _said(command: list[str], threads: int) -> str:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def machine() -> str:
    """The processor's name and number of CPUs, as Linux gives them."""
    names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
             if line.startswith("model name")]  # fmt: skip
    return f"{names[0] if names else 'unknown CPU'}, {os.cpu_count()} CPUs"
