"""How the time of each pass grows: one function of 5,000, 20,000 and 80,000 ops, and Sinkhorn of 20 to 2,000 steps.

    python benchmarks/passes.py [OPS ...]

Prints seconds and microseconds an op. Where the latter stay level, the pass is linear.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from random import Random
from time import process_time

from dsv4c.ir.builder import Builder, linear, maximum, reshape
from dsv4c.ir.core import IRError, Module, Value
from dsv4c.ir.dims import symbol
from dsv4c.ir.kernel_ops.activation import swiglu
from dsv4c.ir.kernel_ops.hyper import sinkhorn
from dsv4c.ir.kernel_ops.norm import layer_norm, rms_norm
from dsv4c.ir.kernel_ops.positions import append_cache
from dsv4c.ir.kernel_ops.rope import rope, rope_angles
from dsv4c.ir.kernel_ops.routing import route_topk
from dsv4c.ir.types import TensorType
from dsv4c.passes.base import Log
from dsv4c.passes.registry import PASSES

SIZES, STEPS = (5_000, 20_000, 80_000), (20, 200, 2_000)
B, S = symbol("B"), symbol("S")
WIDTH, EXPERTS, HALF = 64, 16, 8


def many_idioms(count: int, seed: int = 0) -> Module:
    """A function ``step`` of ``count`` ops or a few more: idioms of every kind on one stream, and other ops between."""
    module, rng = Module("synthetic"), Random(seed)
    types = {
        "x": TensorType((B, S, WIDTH), "bf16"), "w": TensorType((WIDTH,), "f32"), "bias": TensorType((WIDTH,), "f32"),
        "m": TensorType((WIDTH, WIDTH), "bf16"), "router": TensorType((EXPERTS, WIDTH), "bf16"),
        "choice": TensorType((EXPERTS,), "f32"), "past": TensorType((B,), "i32"), "new": TensorType((B,), "i32"),
        "cache": TensorType((B, symbol("T"), WIDTH), "bf16", state=True),
    }  # fmt: skip
    with Builder(module, "step", **types) as b:
        x, w, bias, m, router, choice, past, new, cache = b.params
        positions = reshape(past, B, 1)
        chosen: list[Value] = []
        while len(b.ops) < count:
            with b.scope(f"at{len(b.ops)}"):
                kind = rng.randrange(7)
                if kind == 0:
                    x = x + rms_norm(x, w, eps=1e-6)
                elif kind == 1:
                    x = layer_norm(x, w, bias, eps=1e-6)
                elif kind == 2:
                    x = swiglu(linear(x, m), linear(x, m), limit=10.0)
                elif kind == 3:
                    cos, sin = rope_angles(positions + rng.randrange(9), frequencies=(1.0,) * HALF, factor=1.0)
                    x = rope(x, cos, sin, layout="pairs", start=WIDTH - 2 * HALF, inverse=False)
                elif kind == 4:
                    logits = linear(reshape(x, B * S, WIDTH), router, out="f32")
                    chosen += route_topk(
                        logits, choice, scoring="sigmoid", per_token=2, groups=1, groups_kept=1, normalise=True,
                        scale=1.5,
                    )[:1]  # fmt: skip
                elif kind == 5:
                    cache = append_cache(cache, x, past, new)
                else:
                    x = maximum(x * rng.choice((0.5, 0.25)) + x, -1.0)
        b.done(x, cache, *chosen)
    return module


def many_steps(steps: int) -> Module:
    """A function ``step`` that is one Sinkhorn normalisation."""
    module = Module("sinkhorn")
    with Builder(module, "step", x=TensorType((B, S, 4, 4), "f32")) as b:
        b.done(sinkhorn(*b.params, iterations=steps, eps=1e-6))
    return module


def measure(module: Module) -> dict[str, float]:
    """Seconds of each pass, one after the other."""
    out = {}
    for kind in PASSES:
        start = process_time()
        with suppress(IRError):  # a pass that finds nothing to do here, such as experts to place
            module = kind().run(module, Log())
            out[kind.name] = process_time() - start
    return out


def main() -> None:
    """Print both tables."""
    sizes = tuple(map(int, sys.argv[1:])) or SIZES
    measure(many_idioms(500))  # pictures are drawn once a process
    for title, modules in (
        ("ops", {n: many_idioms(n) for n in sizes}), ("Sinkhorn steps", {n: many_steps(n) for n in STEPS}),
    ):  # fmt: skip
        print(f"\n{title + ': seconds (us an op)':32}" + "".join(f"{n:>20,}" for n in modules))
        columns = [measure(module) for module in modules.values()]
        for name in columns[0]:
            cells = [
                f"{column[name]:.2f} ({1e6 * column[name] / len(module.functions['step'].ops):.0f})"
                for column, module in zip(columns, modules.values(), strict=True)
            ]
            print(f"{name:32}" + "".join(f"{cell:>20}" for cell in cells))


if __name__ == "__main__":
    main()
