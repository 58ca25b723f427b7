"""The CPU this process runs on: compile target, features that compiled code needs, number of threads."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import tvm
from tvm.target import Target, codegen

# x86-64 micro-architecture levels of the psABI, as /proc/cpuinfo names their last additions
_LEVELS = (
    ("x86-64-v4", ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")),
    ("x86-64-v3", ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe")),
    ("x86-64-v2", ("cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3")),
)
# Beyond the levels: /proc/cpuinfo name -> LLVM name
_EXTRA = {"avx512_bf16": "avx512bf16", "avx512_fp16": "avx512fp16", "avx512_vnni": "avx512vnni"}


def _flags() -> frozenset[str]:
    """CPU flags of the first processor; empty where Linux does not list them."""
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("flags"):
            return frozenset(line.partition(":")[2].split())
    return frozenset()


def _level(flags: frozenset[str]) -> int:
    """Index of the best level whose flags, and those of all lower levels, are present; -1 if none."""
    for i in range(len(_LEVELS)):
        if all(flags.issuperset(need) for _, need in _LEVELS[i:]):
            return i
    return -1


def cpu_features() -> list[str]:
    """Sorted features that code compiled for `host_target` may use; a machine without one of them must refuse it."""
    flags = _flags()
    level = _level(flags)
    if level < 0:
        return []
    needed = {name for _, names in _LEVELS[level:] for name in names}
    return sorted(needed | (flags & _EXTRA.keys()))


def missing_features(needed: list[str]) -> list[str]:
    """Those of `needed` that this machine lacks."""
    return sorted(set(needed) - _flags())


def host_target(num_threads: int) -> Target:
    """LLVM target of this machine; the same text on every machine with the same `cpu_features`."""
    kind: dict[str, object] = {"kind": "llvm", "num-cores": num_threads}
    level = _level(_flags())
    if platform.machine() == "x86_64" and level >= 0:
        kind["mcpu"] = _LEVELS[level][0]
        extra = ["+" + _EXTRA[name] for name in cpu_features() if name in _EXTRA]
        # The level's tuning halves the vectors that LLVM chooses by itself; ours are 512 bits already.
        kind["mattr"] = extra + (["-prefer-256-bit"] if level == 0 else [])
    else:
        kind["mcpu"] = codegen.llvm_get_system_cpu()
    return Target(kind)


def set_threads(n: int) -> None:
    """Run parallel loops that this Python thread starts on n threads (TVM's default is half the CPUs).

    TVM reads the upper limit once, from the environment, when a thread first starts a parallel loop.
    """
    os.environ.setdefault("TVM_NUM_THREADS", str(max(n, os.cpu_count() or 1)))
    # TVM would pin its workers but not this thread, which then may be put on the CPU of one of them.
    os.environ.setdefault("TVM_BIND_THREADS", "0")
    big_cores_first = 1
    tvm.get_global_func("runtime.config_threadpool")(big_cores_first, n)
    actual = tvm.get_global_func("runtime.NumThreads")()
    if actual != n:
        raise RuntimeError(f"TVM runs {actual} threads, not {n}; call set_threads before any kernel runs")
