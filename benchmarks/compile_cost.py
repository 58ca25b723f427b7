"""What a compile costs: ``python benchmarks/compile_cost.py [PRESET ...]``.

For each released config at its full size: seconds for frontend, IR and printing; lines of the printed module; seconds
of the whole ``dsv4c compile --no-weights``; and the peak memory summed over the process tree (sampled every 20 ms).
The bars of the project: 3 s, 1,500 lines, 60 s and 2 GB on two cores.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from dsv4c.frontend.presets import load_preset, preset_names
from dsv4c.ir.printer import to_text
from dsv4c.ir.verify import verify
from dsv4c.models.build import build_module


def main() -> None:
    """One row a preset."""
    print(f"{'model':20} {'IR s':>6} {'compile s':>10} {'peak MB':>8} {'lines':>6} {'kernels':>8} {'size MB':>8}")
    for preset in sys.argv[1:] or preset_names():
        print(row(preset), flush=True)


def row(preset: str) -> str:
    """Measure one preset."""
    start = time.perf_counter()
    module = build_module(load_preset(preset), "bf16")
    verify(module)
    to_text(module)
    frontend = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        command = [sys.executable, "-m", "dsv4c", "compile", preset, "--target", "cpu", "--no-weights", "-o", str(out)]
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        peak = watch(process)
        seconds = time.perf_counter() - start
        if process.returncode:
            return f"{preset:20} failed"
        lines = (out / "module.dsir").read_text().count("\n")
        kernels = len(list((out / "kernels").glob("*.trace.py")))
        size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file()) / 1e6
    return f"{preset:20} {frontend:6.2f} {seconds:10.1f} {peak / 1024:8.0f} {lines:6} {kernels:8} {size:8.1f}"


def watch(process: subprocess.Popen[bytes]) -> int:
    """The largest resident memory of a process and all its descendants, in KiB."""
    peak = 0
    while process.poll() is None:
        peak = max(peak, sum(map(resident, tree(process.pid))))
        time.sleep(0.02)
    return peak


def tree(root: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [root]
    for pid in found:
        found += parents.get(pid, [])
    return found


def resident(pid: int) -> int:
    """Resident memory of one process in KiB; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)


if __name__ == "__main__":
    main()
