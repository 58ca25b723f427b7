"""Where a step's time goes: every launch of a bound program timed, and what its kernel could do at best.

The limit of a launch is the larger of two times: its bytes at the machine's read bandwidth, and its operations at the
GEMM peak. Both come from the linked plan: bytes are those of its tensors, but of weights of experts only what the rows
can hit, and of tables from which rows are gathered nothing; operations are those of products with weights, and of
attention by the cost model. Small tensors stay in caches, so that a share can exceed 1.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from dsv4c.ir.types import DTYPES as ELEMENTS
from dsv4c.runtime.link import Slice, Step

from . import limits
from .model import DTYPES, artefact
from .ours import Model
from .report import heading, table
from .work import core_flops, index_flops

SHOWN = 30


@dataclass
class Total:
    """What the launches of one kernel came to in one step."""

    step: Step  # the first of them
    launches: int = 0
    seconds: float = 0.0
    least: float = 0.0  # seconds at the limits
    bytes: float = 0.0
    flops: float = 0.0


def profile_model(length: int, past: int, threads: int, runs: int) -> None:
    """Profile ``bench-475m`` in every dtype."""
    best = limits.measure(threads)
    for dtype in DTYPES:
        profile(artefact(dtype), length, past, threads, runs, best)


def profile(folder: Path, length: int, past: int, threads: int, runs: int, best: limits.Limits) -> None:
    """Print one row a kernel, those that take most of the time first."""
    model = Model(str(folder), threads)
    bound = model.bound(length, past, past + length + 1)
    samples = []
    for _ in range(runs + 1):
        model.feed(bound, past)
        samples.append(bound.program.timed())
    middle = [sorted(times)[runs // 2] for times in zip(*samples[1:], strict=True)]
    totals = by_kernel(bound.program.steps, middle, length, past, best)
    whole = sum(middle)
    heading(f"{folder.name}: {length} tokens after {past}, {1e3 * whole:.2f} ms, {len(middle)} launches", best, threads)
    rows = []
    for total in sorted(totals, key=lambda t: -t.seconds)[:SHOWN]:
        place = ".".join(part for part in total.step.loc.split(".") if part != "layers" and not part.isdigit())
        rows.append([
            total.step.kernel, place, str(total.launches), f"{1e3 * total.seconds:.3f}",
            f"{total.seconds / whole:.1%}", f"{total.bytes / 1e6:.2f}", f"{total.flops / 1e6:.1f}",
            f"{total.least / total.seconds:.2f}",
        ])  # fmt: skip
    table(["kernel", "first in", "launches", "ms", "of the step", "MB", "MFLOP", "of its limit"], rows)
    least = sum(total.least for total in totals)
    print(f"all launches at their limits: {1e3 * least:.2f} ms, {least / whole:.2f} of the step")


def by_kernel(
    steps: Sequence[Step], seconds: Sequence[float], length: int, past: int, best: limits.Limits
) -> list[Total]:
    """The launches of one step, added up."""
    totals: dict[str, Total] = {}
    for step, time in zip(steps, seconds, strict=True):
        total = totals.setdefault(step.kernel, Total(step))
        moved, computed = moved_bytes(step), operations(step, length, past)
        total.launches += 1
        total.seconds += time
        total.bytes += moved
        total.flops += computed
        total.least += max(moved / best.read, computed / best.gemm) / 1e9
    return list(totals.values())


def moved_bytes(step: Step) -> float:
    """Bytes that a launch reads and writes."""
    spans: dict[tuple[str, str, int], float] = defaultdict(float)
    for s in step.tensors:
        gathered = s.key == "embed" or s.key.endswith((".table", ".entries"))
        if not gathered and not (s.space == "state" and step.kernel.startswith("scatter")):
            span = (s.space, s.key, s.offset)  # one tensor may be passed under several shapes
            spans[span] = max(spans[span], prod(s.shape) * ELEMENTS[s.dtype].itemsize * _hit(step, s))
    return sum(spans.values())


def _hit(step: Step, s: Slice) -> float:
    """The part of a weight that a launch needs: of stacked experts at most one for each row of its result."""
    return min(1.0, step.tensors[-1].shape[0] / _sizes(s)[0]) if "experts" in s.key and "@" in s.key else 1.0


def operations(step: Step, length: int, past: int) -> float:
    """Floating-point operations of a launch, two to a multiply-add."""
    out, rows = step.tensors[-1], step.tensors[0].shape[-2:][0]
    layer = next((int(part) for part in step.loc.split(".") if part.isdigit()), 0)
    if "attention" in step.kernel:
        return core_flops(layer, past, length)
    if step.kernel.startswith("index"):
        return index_flops(layer, past, length)
    if step.kernel.startswith("gemm") and not any("@" in s.key for s in step.tensors):
        return 2.0 * prod(out.shape) * step.tensors[0].shape[-1]
    total = 0.0
    for s in step.tensors:
        if "@" in s.key:
            groups, n, k = _sizes(s)
            total += 2.0 * n * k * (out.shape[0] if "experts" in s.key else rows * groups)
    return total


def _sizes(s: Slice) -> tuple[int, int, int]:
    """Groups, outputs and inputs of a packed weight, from the name of its form: ``pairs.32x512x1024.bf16``."""
    groups, n, k = s.key.rpartition("@")[2].split(".")[1].split("x")
    return int(groups), int(n), int(k)
