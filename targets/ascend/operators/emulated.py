"""The host's side of operators on this machine: ``op_host`` compiled unchanged against the emulator's headers."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..emulate import compiler, flags_of, headers, run_compiler

CAPACITY = 2048  # bytes of tiling data, as in operators.cpp
Shape = tuple[int, ...]


class RefusedError(Exception):
    """An operator returned GRAPH_FAILED; what it says stands on stderr."""


@dataclass(frozen=True)
class Inferred:
    """Shapes and numbers of element types of an operator's outputs."""

    shapes: tuple[Shape, ...]
    types: tuple[int, ...]


@dataclass(frozen=True)
class Tiled:
    """What a tiling function leaves for a launch."""

    blocks: int
    workspace: int
    schedule_mode: int
    data: bytes


def build_host(folder: Path, out: Path) -> Path:
    """Compile the files of ``op_host`` into a library in ``out``.

    Raises UserError with the compiler's words where one does not compile.
    """
    out.mkdir(parents=True, exist_ok=True)
    sources = [headers() / "operators.cpp", *sorted(folder.glob("*.cpp"))]
    objects = [out / f"{source.stem}.host.o" for source in sources]
    flags = [*flags_of(2201), "-Wall", "-Wextra", "-Werror"]  # the chip does not matter on the host

    def compile_one(source: Path, target: Path) -> None:
        run_compiler([compiler(), *flags, "-c", str(source), "-o", str(target)], source)

    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(compile_one, sources, objects))
    library = out / "operators.so"
    run_compiler([compiler(), "-shared", *map(str, objects), "-o", str(library)], library)
    return library


class OperatorHost:
    """Calls the definitions, shape inference and tiling functions of a library; ``cores`` are cube and vector cores."""

    def __init__(self, library: Path, cores: tuple[int, int]) -> None:
        self._lib, self.cores = ctypes.CDLL(str(library)), cores
        pointer, text = ctypes.c_void_p, ctypes.c_char_p
        self._lib.dsv4c_op_definitions.restype = text
        for name, arguments in (("infer", [text, pointer, pointer]), ("tiling", [text, pointer, pointer, pointer])):
            function = getattr(self._lib, f"dsv4c_op_{name}")
            function.argtypes, function.restype = arguments, ctypes.c_uint32
        self.definitions: dict[str, dict[str, Any]] = {
            op["type"]: op for op in json.loads(self._lib.dsv4c_op_definitions())
        }

    def infer(self, op_type: str, inputs: Sequence[Shape], attributes: Sequence[int] = ()) -> Inferred:
        """Shapes and types of the outputs. Raises RefusedError where the operator does."""
        out = (ctypes.c_int64 * 256)()
        if self._lib.dsv4c_op_infer(op_type.encode(), _call(inputs, (), attributes), out):
            raise RefusedError(op_type)
        values = iter(out)
        shapes = []
        for _ in self.definitions[op_type]["outputs"]:
            rank = next(values)
            shapes.append(tuple(next(values) for _ in range(rank)))
        return Inferred(tuple(shapes), tuple(next(values) for _ in shapes))

    def tiling(
        self, op_type: str, inputs: Sequence[Shape], outputs: Sequence[Shape], attributes: Sequence[int] = ()
    ) -> Tiled:
        """What a launch on these shapes needs. Raises RefusedError where the operator does."""
        self._lib.dsv4c_op_cores(*self.cores)
        out, data = (ctypes.c_int64 * 4)(), (ctypes.c_uint8 * CAPACITY)()
        if self._lib.dsv4c_op_tiling(op_type.encode(), _call(inputs, outputs, attributes), out, data):
            raise RefusedError(op_type)
        return Tiled(out[0], out[1], out[2], bytes(data[: out[3]]))


def _call(inputs: Sequence[Shape], outputs: Sequence[Shape], attributes: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    numbers: list[int] = []
    for shapes in (inputs, outputs):
        numbers.append(len(shapes))
        for shape in shapes:
            numbers += [len(shape), *shape]
    numbers += [len(attributes), *attributes]
    return (ctypes.c_int64 * len(numbers))(*numbers)
