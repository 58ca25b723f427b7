"""The operator project of an artefact: one package of custom operators for all of its kernels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...tile.chip import Chip, chip_names, load_chip
from ...tile.logical import Tensor
from ...tile.physical import Program
from ..spell import Entry, Spelled, kernel_text, tiling_header
from .host_text import UNITS, host_source
from .signature import Operator, attribute_name

VENDOR = "dsv4c"
NEEDS = {"2201": "8.1", "3510": "9.1"}  # CANN, from ascend.md 5
MSOPGEN = {
    "f32": "float", "bf16": "bf16", "f16": "float16", "i32": "int32", "i64": "int64", "bool": "bool", "i8": "int8",
    "f8e4m3": "float8_e4m3fn",
}  # fmt: skip
FIXED = ("build.sh", "CMakeLists.txt", "op_host/CMakeLists.txt", "op_kernel/CMakeLists.txt")


def write_operators(folder: Path, kernels: Sequence[tuple[Program, Spelled]], chip: Chip) -> None:
    """Everything of ``operators/``, from the kernels as they stand in ``kernels/``."""
    operators = [Operator(program) for program, _ in kernels]
    root = folder / "operators"
    host, device = root / "op_host", root / "op_kernel"
    for each in (host, device):
        each.mkdir(parents=True)
    for op, (_, text) in zip(operators, kernels, strict=True):
        op.check()
        entry = Entry(op.pointers, operator=True)
        (device / f"{op.name}.cpp").write_text(kernel_text(op.renamed, text.body, entry))
        (device / f"{op.name}_tiling.h").write_text(tiling_header(op.renamed))
        (host / f"{op.name}.cpp").write_text(host_source(op))
    ours = files("dsv4c.targets.ascend.operators")
    (host / "dsv4c_shapes.h").write_text((ours / "dsv4c_shapes.h").read_text())
    values = {
        "socs": ", ".join(_like(chip)),
        "soc": chip.facts["soc"], "unit": chip.facts["unit"], "units": " ".join(UNITS[chip.arch]), "vendor": VENDOR,
        "cann": NEEDS[chip.arch], "first": operators[0].type, "arch": chip.arch,
    }  # fmt: skip
    for name in FIXED:
        (root / name).write_text(_filled((ours / "project" / name).read_text(), values))
    readme = _filled((ours / "project" / "README.md").read_text(), values)
    (root / "README.md").write_text(readme + "\n".join(_table(operators)) + "\n")
    (root / "WORKSPACE.md").write_text("\n".join(_workspaces(operators, chip)) + "\n")
    (root / "CMakePresets.json").write_text(json.dumps(_presets(values), indent=2) + "\n")
    described = ",\n".join(json.dumps(_described(op)) for op in operators)
    (root / "operators.json").write_text(f"[\n{described}\n]\n")
    calls = ",\n".join(f'"{op.program.name}": {json.dumps(_call(op))}' for op in operators)
    (root / "calls.json").write_text(f"{{\n{calls}\n}}\n")


def _like(chip: Chip) -> list[str]:
    """Chips that run the same kernels, by the name that a build is given."""
    package = "dsv4c.targets.ascend"
    chips = [load_chip(package, name) for name in chip_names(package)]
    return sorted({str(one.facts["soc"]) for one in chips if one.arch == chip.arch})


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    return text


def _described(op: Operator) -> dict[str, Any]:
    """As msopgen reads it."""
    described = {
        "op": op.type,
        "input_desc": [_parameter(t) for t in op.inputs],
        "output_desc": [_parameter(t) for t in op.outputs],
    }
    if op.attributes:
        described["attr"] = [
            {"name": attribute_name(size), "param_type": "required", "type": "int"} for size in op.attributes
        ]
    return described


def _parameter(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "param_type": "required", "format": ["ND"], "type": [MSOPGEN[tensor.dtype]]}


def _call(op: Operator) -> dict[str, Any]:
    """How a launch of plan.json is a call of the operator: its tensors and scalars, in the plan's order, by name."""
    sizes = [attribute_name(size) if size in op.attributes else "" for size in op.program.sizes]
    return {"op": op.type, "tensors": [t.name for t in op.program.tensors], "scalars": sizes}


def _presets(values: Mapping[str, str]) -> dict[str, Any]:
    cache = {
        "CMAKE_BUILD_TYPE": "Release", "ENABLE_SOURCE_PACKAGE": "True", "ENABLE_BINARY_PACKAGE": "True",
        "ASCEND_COMPUTE_UNIT": values["unit"], "vendor_name": values["vendor"],
        "ASCEND_CANN_PACKAGE_PATH": "$env{ASCEND_HOME_PATH}",
    }  # fmt: skip
    preset = {"name": "default", "binaryDir": "${sourceDir}/build_out", "cacheVariables": cache}
    return {"version": 3, "cmakeMinimumRequired": {"major": 3, "minor": 21, "patch": 0}, "configurePresets": [preset]}


def _table(operators: Sequence[Operator]) -> list[str]:
    rows = (f"| {op.type} | {op.program.name} | {', '.join(op.arguments)} |" for op in operators)
    return ["| operator | kernel | arguments |", "|---|---|---|", *rows]


def _workspaces(operators: Sequence[Operator], chip: Chip) -> list[str]:
    """A table of what kernels need of global memory beside their tensors."""
    groups = int(chip.facts["cores"]["AIC"])
    rows = [(op, op.program.workspace) for op in operators if op.program.workspace]
    most = max((size for _, size in rows), default=0) * groups
    return [
        f"Bytes of workspace, on the {groups} cube cores of {chip.facts['soc']}. Other kernels need none.",
        "An operator asks for the system's part beside it (`GetLibApiWorkSpaceSize`).",
        f"Launches run one after the other: {most} bytes, those of the largest, serve all.",
        "",
        "| kernel | a group of cores | all groups |",
        "|---|---|---|",
        *(f"| {op.program.name} | {size} | {size * groups} |" for op, size in rows),
    ]
