"""Prompt tokens a second with the logits of the last: dsv4c against llama.cpp, transformers and the GEMM peak.

``python benchmarks/prefill.py [--lengths 512,2048] [--rounds 3] [--threads 2] [--long | --profile]``. All engines take
turns in one run. The share of the peak counts every operation of the model, attention and indexers included; the peak
is that of f32, which bf16 can exceed where the CPU multiplies pairs. Peers are given by environment variables, see
``common/engines.py``. ``--long`` measures dsv4c alone: how time grows from 4,096 to 16,384 tokens, and the memory above
the weights. ``--profile`` prints the time of dsv4c's kernels instead.
"""

from __future__ import annotations

import argparse
from math import log
from statistics import median

from common import limits
from common.engines import LLAMA, OURS, TRANSFORMERS, Engine, engines, fastest, ours, take_turns
from common.model import DTYPES
from common.profiling import profile_model
from common.report import bar, heading, table
from common.work import prefill_flops

WARM = 128  # tokens of a prompt before time is taken: it maps the weights and starts the threads
SHORT, LONG = 4096, 16384


def main() -> None:
    """One table, then the bars."""
    parser = argparse.ArgumentParser(description="prompt tokens a second")
    parser.add_argument("--lengths", default="512,2048")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--long", action="store_true", help="growth and memory of dsv4c on long prompts")
    parser.add_argument("--profile", action="store_true", help="where dsv4c's time goes, kernel by kernel")
    o = parser.parse_args()
    lengths = [int(length) for length in o.lengths.split(",")]
    if o.profile:
        for length in lengths:
            profile_model(length=min(length, 512), past=max(0, length - 512), threads=o.threads, runs=3)
    elif o.long:
        measure_long(o.threads)
    else:
        found = engines(o.threads)
        for engine in found:
            engine.prefill(WARM)
        for length in lengths:
            compare(found, length, o.rounds, o.threads)
        for engine in found:
            engine.close()


def compare(found: list[Engine], length: int, rounds: int, threads: int) -> None:
    """All engines on prompts of one length."""
    taken, best = take_turns(found, rounds, threads, lambda engine: engine.prefill(length))
    heading(f"prefill of {length} tokens, median of {rounds} turns", best, threads)
    flops, rows = prefill_flops(length), []
    for engine in found:
        times, own = taken[engine.name], fastest(found, taken, OURS, engine.dtype)
        middle = median(times)
        spread = f"{length / max(times):.0f}-{length / min(times):.0f}"
        ratio = f"{middle / own:.2f}x" if own else ""
        rows.append([engine.name, f"{length / middle:.0f}", spread, f"{flops / middle / best.gemm / 1e9:.2f}", ratio])
    table(["engine", "tokens/s", "from - to", "of the GEMM peak", "dsv4c is faster by"], rows)
    print(f"{flops / 1e9:.0f} GFLOP: at the peak {length * best.gemm * 1e9 / flops:.0f} tokens/s")
    peers = [fastest(found, taken, family) for family in (LLAMA, TRANSFORMERS)]
    peer = min((time for time in peers if time), default=None)
    for dtype in DTYPES:
        own = fastest(found, taken, OURS, dtype)
        assert own is not None
        bar(f"{dtype}: the fastest peer of all / dsv4c", peer / own if peer else None, best.steady, least=2.0)
        bar(f"{dtype}: share of the f32 GEMM peak", flops / own / best.gemm / 1e9, best.steady, least=0.4)


def measure_long(threads: int) -> None:
    """dsv4c alone: one table of both dtypes."""
    rows, growths, peaks, before = [], [], [], limits.measure(threads)
    for dtype in DTYPES:
        engine = ours(dtype, threads)
        short = min(engine.prefill(SHORT) for _ in range(2))
        long = engine.prefill(LONG)
        engine.close()  # memory is measured in a fresh process
        above = engine.worker.ask("memory", length=LONG) / 1e9
        engine.close()
        growths.append(log(long / short) / log(LONG / SHORT))
        peaks.append(above)
        rows.append([f"dsv4c {dtype}", f"{short:.1f}", f"{long:.1f}", f"S^{growths[-1]:.2f}", f"{above:.2f}"])
    best = before.best(limits.measure(threads))
    heading("long prompts", best, threads)
    table(["engine", f"s for {SHORT}", f"s for {LONG}", "growth", "GB above the weights"], rows)
    bar("growth exponent", max(growths), best.steady, most=1.25)
    bar("GB above the weights", max(peaks), True, most=3.0)


if __name__ == "__main__":
    main()
