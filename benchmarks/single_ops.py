"""Single kernel ops against onnxruntime on the same graph of core ops, in f32, in turns.

``python benchmarks/single_ops.py [--rounds 15] [--threads 2]``. Weights are constants for both: each packs them ahead.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Any

import numpy as np
import onnxruntime
from common import limits
from common.report import heading, table

from dsv4c.ir.builder import Builder, linear
from dsv4c.ir.core import Module, Value
from dsv4c.ir.expand import expand
from dsv4c.ir.interp import run_tensors
from dsv4c.ir.kernel_ops.activation import mlp, softmax, swiglu
from dsv4c.ir.kernel_ops.norm import layer_norm, rms_norm
from dsv4c.ir.types import Bundle, TensorType
from dsv4c.onnx import export
from dsv4c.targets.cpu.runner import Runner, aligned
from dsv4c.targets.tvm.build import build_library
from dsv4c.targets.tvm.host import set_threads
from dsv4c.targets.tvm.lower import lower
from dsv4c.targets.tvm.packing import pack_function
from dsv4c.targets.tvm.table import KernelTable
from dsv4c.targets.tvm.templates import LOWER, has_template

Array = np.ndarray[Any, Any]
Equation = Callable[[Value, Value], Value]
SHAPES: dict[str, tuple[int, ...]] = {"norm": (2048,), "bias": (2048,), "up": (1024, 2048), "gate": (1024, 2048),
                                      "down": (2048, 1024)}  # fmt: skip
OPS: dict[str, Equation] = {
    "rms_norm": lambda x, w: rms_norm(x, w["norm"], eps=1e-6),
    "layer_norm": lambda x, w: layer_norm(x, w["norm"], w["bias"], eps=1e-6),
    "swiglu": lambda x, w: swiglu(x, x, limit=10.0),
    "softmax": lambda x, w: softmax(x),
    "linear 2048 to 1024": lambda x, w: linear(x, w["up"]),
    "mlp 2048, 1024": lambda x, w: mlp(x, w["gate"], w["up"], w["down"], limit=10.0),
}
ROWS = (1, 512)
REST = 0.1  # seconds until the threads of the other engine, which wait for more work in a loop, have given up


def measured(equation: Equation, rows: int, rounds: int, threads: int) -> tuple[float, float, float]:
    """Median seconds of dsv4c and onnxruntime, and the largest difference over the largest result."""
    module = Module("one", entry="f")
    weights = Bundle("weights", tuple((name, TensorType(shape, "f32")) for name, shape in SHAPES.items()))
    with Builder(module, "f", x=TensorType((rows, 2048), "f32"), weights=weights) as b:
        b.done(equation(*b.params))
    rng = np.random.default_rng(0)
    x = aligned((rows, 2048), "f32")
    x[...] = rng.standard_normal(x.shape)
    held = {name: rng.standard_normal(shape).astype(np.float32) * np.float32(0.02) for name, shape in SHAPES.items()}
    with TemporaryDirectory(prefix="dsv4c-") as folder:
        ours, out = _ours(module, x, held, Path(folder), threads)
        theirs = _theirs(module, x, held, Path(folder), threads)
        times = [[_seconds(ours), _seconds(theirs)] for _ in range(1 + rounds)][1:]
        (want,) = theirs()
    mine, other = (median(column) for column in zip(*times, strict=True))
    return mine, other, float(np.abs(out - want).max() / np.abs(want).max())


def _ours(
    module: Module, x: Array, held: dict[str, Array], folder: Path, threads: int
) -> tuple[Callable[[], Any], Array]:
    kernels = KernelTable()
    lowered, _ = expand(module, has_template)
    plan = lower(lowered, ("f",), kernels, LOWER)
    build_library(list(kernels.kernels.values()), folder / "one.so", jobs=threads)
    set_threads(threads)
    types = dict(module.functions["f"].params[1].type.fields)  # type: ignore[union-attr]
    space = {}
    for path, form in plan.weights("f", "weights"):
        stored = held[path]
        packed = run_tensors(lowered, pack_function(lowered, types[path], form).name, [stored])[0] if form else stored
        space[f"{path}@{form}" if form else path] = _copied(packed)
    result = module.functions["f"].results[0].tensor
    out = aligned(tuple(int(str(extent)) for extent in result.shape), "f32")
    spaces = {"x": {"": x}, "weights": space, "result": {"0": out}}
    program = Runner(folder / "one.so").bind(plan, "f", {}, {"x": "x", "weights": "weights"}, spaces)
    program.run()
    return program.run, out


def _copied(array: Array) -> Array:
    out = aligned(array.shape, "f32")
    out[...] = array
    return out


def _theirs(
    module: Module, x: Array, held: dict[str, Array], folder: Path, threads: int
) -> Callable[[], Sequence[Any]]:
    core, _ = expand(module, lambda op: False)
    export(core, "f", folder / "one.onnx", held, ("out",))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(folder / "one.onnx"), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


def _seconds(call: Callable[[], Any]) -> float:
    sleep(REST)
    call()
    start = perf_counter()
    for _ in range(5):
        call()
    return (perf_counter() - start) / 5


def rows_of(rounds: int, threads: int) -> Iterator[list[str]]:
    """Lines of the table."""
    for name, equation in OPS.items():
        for rows in ROWS:
            mine, other, error = measured(equation, rows, rounds, threads)
            cells = (f"{mine * 1e6:.1f}", f"{other * 1e6:.1f}", f"{other / mine:.2f}x", f"{error:.1e}")
            yield [f"{name}, {rows} rows", *cells]


def main() -> None:
    """One table."""
    parser = argparse.ArgumentParser(description="single ops against onnxruntime")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    o = parser.parse_args()
    lines = list(rows_of(o.rounds, o.threads))
    heading("single ops in f32, x [rows, 2048]", limits.measure(o.threads), o.threads)
    table(["op", "dsv4c us", "onnxruntime us", "dsv4c is faster by", "difference"], lines)


if __name__ == "__main__":
    main()
