"""Milliseconds a decoded token at a context of 2,048: dsv4c against llama.cpp, transformers and the machine's limit.

``python benchmarks/decode.py [--context 2048] [--rounds 3] [--threads 2] [--profile]``. All engines take turns in one
run; tokens vary, so that experts vary. The limit is the time that reading the active weights takes. Peers are given
by environment variables, see ``common/engines.py``. ``--profile`` prints the time of dsv4c's kernels instead.
"""

from __future__ import annotations

import argparse
from statistics import median

from common.engines import LLAMA, OURS, TRANSFORMERS, engines, fastest, take_turns
from common.model import DTYPES
from common.profiling import profile_model
from common.report import bar, heading, table
from common.work import active_bytes


def main() -> None:
    """One table, then the bars."""
    parser = argparse.ArgumentParser(description="ms a decoded token")
    parser.add_argument("--context", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=32, help="tokens a turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--profile", action="store_true", help="where dsv4c's time goes, kernel by kernel")
    o = parser.parse_args()
    if o.profile:
        return profile_model(length=1, past=o.context, threads=o.threads, runs=o.steps)
    found = engines(o.threads)
    taken, limits = take_turns(found, o.rounds, o.threads, lambda engine: engine.decode(o.context, o.steps))
    floors = {dtype: active_bytes(dtype) / limits.read / 1e6 for dtype in DTYPES}
    heading(f"decode at {o.context} tokens of context, median of {o.rounds} turns of {o.steps}", limits, o.threads)
    rows = []
    for engine in found:
        times, own = taken[engine.name], fastest(found, taken, OURS, engine.dtype)
        middle = median(times)
        spread = f"{min(times):.2f}-{max(times):.2f}"
        ratio = f"{middle / own:.2f}x" if own else ""
        rows.append([engine.name, f"{middle:.2f}", spread, f"{floors[engine.dtype] / middle:.2f}", ratio])
        engine.close()
    table(["engine", "ms a token", "from - to", "of the limit", "dsv4c is faster by"], rows)
    for dtype in DTYPES:
        print(f"limit {dtype}: {active_bytes(dtype) / 1e6:.0f} MB of active weights, {floors[dtype]:.2f} ms")
    bf16, f32 = (fastest(found, taken, OURS, dtype) for dtype in ("bf16", "f32"))
    bar("bf16: llama.cpp bf16 / dsv4c", over(fastest(found, taken, LLAMA, "bf16"), bf16), limits.steady, least=1.25)
    bar(
        "bf16: transformers' best of all / dsv4c",
        over(fastest(found, taken, TRANSFORMERS), bf16),
        limits.steady,
        least=3.5,
    )
    bar("bf16: limit / dsv4c", over(floors["bf16"], bf16), limits.steady, least=0.6)
    bar("f32: llama.cpp f32 / dsv4c", over(fastest(found, taken, LLAMA, "f32"), f32), limits.steady, least=1.1)


def over(left: float | None, right: float | None) -> float | None:
    """The ratio, where both are known."""
    return left / right if left and right else None


if __name__ == "__main__":
    main()
