"""Tile programs at four levels: as logical statements, as instructions of a chip, and as AscendC text under the
emulator, which looks for races and, in another run, executes in a random order that the synchronisation allows.

Cases are built and compiled together: one shared object a test module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dsv4c.ir.core import Module
from dsv4c.ir.interp import run as run_ir
from dsv4c.ir.kernel_ops.define import trace
from dsv4c.ir.registry import lookup
from dsv4c.ir.types import DTYPES, TensorType
from dsv4c.targets.ascend.emulate import Emulator, Unwritten, build
from dsv4c.targets.ascend.spell import HELPERS, spell
from dsv4c.targets.tile import execute, interpret
from dsv4c.targets.tile.chip import Chip, load_chip
from dsv4c.targets.tile.logical import Program
from dsv4c.targets.tile.search import Fitted, fitted

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
Sizes = Mapping[str, int]
PROFILES = {"2201": "2201-manual", "3510": "3510"}
CHIP = load_chip("dsv4c.targets.ascend", "910b3")
CORES, BLOCKS = (3, 6), 3  # of the emulator: a first core, a last one and one between
EPS = {"f32": 2.0**-23, "bf16": 2.0**-7, "f16": 2.0**-10}  # one unit in the last place, relative
NAMES = {kind: name for name, kind in DTYPES.items()}


@dataclass(frozen=True)
class Case:
    """A kernel with its options, the sizes to run it with, its inputs and what it should write.

    ``units`` are of the last place of an f32 at the magnitude of its row: sums are in another order than the
    reference's, and exp differs by an ulp between libraries. ``absolute`` is added to that. ``counts`` takes from
    a result what is defined.
    """

    build: Callable[..., Program]
    options: Mapping[str, object]
    tiles: Sequence[Mapping[str, int]]
    sizes: tuple[Sizes, ...]
    inputs: Callable[[np.random.Generator, Sizes], Arrays]
    want: Callable[[Arrays, Sizes], Arrays]
    units: float = 16
    absolute: float = 0.0
    counts: Callable[[Array, Sizes], Array] = lambda result, sizes: result


Cases = Iterator[tuple[str, Case]]
FLOATS = ("f32", "bf16")


def reference(op: str, *arrays: Array, **attrs: Any) -> tuple[Array, ...]:
    """The op's decomposition, by the interpreter of the IR."""
    types = tuple(TensorType(a.shape, NAMES[a.dtype]) for a in arrays)
    function = trace(op, types, tuple(sorted(attrs.items())))
    return tuple(run_ir(Module("reference", {function.name: function}, function.name), function.name, arrays, {}))


def core(op: str, *arrays: Array, **attrs: Any) -> Array:
    """The result of a core op's reference."""
    out = lookup(op).reference(*arrays, **attrs)
    return np.ascontiguousarray(out[0] if isinstance(out, tuple) else out)


def normal(rng: np.random.Generator, dtype: str, *shape: int) -> Array:
    """Random numbers of a dtype."""
    return rng.standard_normal(shape).astype(np.float32).astype(DTYPES[dtype])


def agree(got: Array, want: Array, units: float, absolute: float) -> None:
    """Equal integers; f32 within so many units of a row's largest; bf16 one unit more: such an f32 may round to the
    neighbour.
    """
    assert got.shape == want.shape and got.dtype == want.dtype
    if want.dtype.kind in "iub":
        assert (got == want).all(), f"{np.argwhere(got != want)[:5]}: {got[got != want][:5]}, {want[got != want][:5]}"
        return
    wide = want.astype(np.float64)
    size = np.abs(wide).max(axis=-1, keepdims=True) if want.size else 1
    narrow = NAMES[want.dtype] if want.dtype != np.float32 else ""
    bound = absolute + units * EPS["f32"] * size + (EPS[narrow] * np.maximum(np.abs(wide), 2.0**-14) if narrow else 0)
    with np.errstate(invalid="ignore"):
        difference = np.where(got == want, 0, np.abs(got.astype(np.float64) - wide))
    wrong = ~(difference <= bound)
    assert not wrong.any(), f"at {np.argwhere(wrong)[:4].tolist()}: {got[wrong][:4]}, not {want[wrong][:4]}"


@dataclass
class Bench:
    """Cases as kernels of a chip, in one library."""

    cases: Mapping[str, Case]
    folder: Path
    machine: Path
    chip: Chip = CHIP
    kernels: dict[str, Fitted] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, case in self.cases.items():
            made = fitted(lambda c=case, **sizes: c.build(**c.options, **sizes), self.chip, case.tiles)
            self.kernels[name] = replace(
                made, logical=replace(made.logical, name=name), physical=replace(made.physical, name=name)
            )
        self.library = build(self._sources(), self.folder, int(self.chip.arch), self.machine)

    def _sources(self) -> list[Path]:
        """A few files of many kernels: the emulator's headers take longer than a kernel."""
        files: list[list[str]] = [[], []]
        for name, kernel in sorted(self.kernels.items(), key=lambda item: item[0]):
            text = spell(kernel.physical)
            (self.folder / f"{name}_tiling.h").write_text(text.tiling)
            own = "".join(helper for helper in HELPERS.values() if helper in text.kernel)
            body = text.kernel.replace(f"namespace {{\n{own}}}\n", "")
            min(files, key=lambda texts: sum(map(len, texts))).append(body)
        paths = []
        for number, texts in enumerate(files):
            path = self.folder / f"kernels{number}.cpp"
            helpers = "namespace {\n" + "".join(HELPERS.values()) + "}\n"
            path.write_text(f'#include "kernel_operator.h"\nusing namespace AscendC;\n{helpers}' + "\n".join(texts))
            paths += [path] if texts else []
        return paths

    def prove(self, name: str, seed: int = 1) -> None:
        """All levels, all sizes."""
        case, kernel = self.cases[name], self.kernels[name]
        for number, sizes in enumerate(case.sizes):
            inputs = case.inputs(np.random.default_rng(number), sizes)
            want = case.want(inputs, sizes)
            for level, execute_level in LEVELS.items():
                arrays = {t.name: self._array(t, inputs, want) for t in kernel.logical.tensors}
                execute_level(self, name, kernel, arrays, sizes, seed + number)
                for key, value in want.items():
                    try:
                        got, true = (case.counts(x.reshape(value.shape), sizes) for x in (arrays[key], value))
                        agree(got, true, case.units, case.absolute)
                    except AssertionError as error:
                        raise AssertionError(f"{name} {dict(sizes)}, {level}, {key}: {error}") from None

    @staticmethod
    def _array(tensor: Any, inputs: Arrays, want: Arrays) -> Array:
        if tensor.name in inputs:
            return np.ascontiguousarray(inputs[tensor.name]).copy()
        return np.zeros_like(want[tensor.name])

    def emulate(self, mode: str, name: str, kernel: Fitted, arrays: Arrays, sizes: Sizes, seed: int) -> None:
        """One launch; the emulator's findings are errors."""
        with Emulator(self.library, PROFILES[self.chip.arch], mode, seed, CORES) as emulator:
            tiling = np.array([sizes[s] for s in kernel.physical.sizes] or [0], np.int64).view(np.uint8)
            tensors = kernel.logical.tensors
            args = [Unwritten(arrays[t.name]) if t.role == "out" else arrays[t.name] for t in tensors]
            workspace = np.zeros(BLOCKS * kernel.physical.workspace, np.uint8) if kernel.physical.workspace else None
            emulator.launch(name, BLOCKS, *args, workspace, tiling)


Level = Callable[[Bench, str, Fitted, Arrays, Sizes, int], None]
LEVELS: Mapping[str, Level] = {
    "logical": lambda b, n, k, arrays, sizes, seed: interpret.run(k.logical, arrays, sizes),
    "physical": lambda b, n, k, arrays, sizes, seed: execute.run(k.physical, b.chip.scopes, arrays, sizes, BLOCKS),
    "clocks": lambda b, n, k, arrays, sizes, seed: b.emulate("clocks", n, k, arrays, sizes, 0),
    "witness": lambda b, n, k, arrays, sizes, seed: b.emulate("witness", n, k, arrays, sizes, seed),
}


def counts(name: str, *values: int) -> tuple[Sizes, ...]:
    """Sizes of one name."""
    return tuple({name: n} for n in values)
