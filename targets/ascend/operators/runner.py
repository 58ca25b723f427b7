"""Runs linked plans through the operators of an artefact instead of its kernels, and holds both to the plan."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dsv4c.plan import Plan
from dsv4c.runtime.link import BindError, Step, link

from ..runner import GROUPS, EmulatedProgram, EmulatorRunner, Spaces, kept
from .emulated import OperatorHost, build_host
from .signature import snake_case

SYSTEM = 16 << 20  # bytes in front of an operator's workspace, as in tiling/platform/platform_ascendc.h


def compiled_host(folder: Path) -> Path:
    """The library of ``op_host``."""
    sources = sorted(folder.glob("*")), sorted(folder.parent.glob("op_kernel/*.h"))
    return kept("operators", chain(*sources), partial(build_host, folder))


class OperatorRunner(EmulatorRunner):
    """The operators of one artefact: tiling on the host, kernels on emulated cores."""

    def __init__(self, folder: Path, facts: Mapping[str, Any], groups: int = GROUPS, clock_mhz: int = 0) -> None:
        root = folder.parent / "operators"
        super().__init__(root / "op_kernel", facts, groups, clock_mhz)
        self.host = OperatorHost(compiled_host(root / "op_host"), (groups, 2 * groups))
        self.calls: Mapping[str, Mapping[str, Any]] = json.loads((root / "calls.json").read_text())
        self.workspace = self.emulator.operator_workspace(groups * max([0, *facts["workspace"].values()]))

    def bind(
        self, plan: Plan, entry: str, dims: Mapping[str, int], params: Mapping[str, str], spaces: Spaces
    ) -> EmulatedProgram:
        """Link an entry for these dimensions over these arrays; raises BindError where an operator disagrees."""
        steps, size = link(plan, entry, dims, params)
        return OperatorProgram(self, steps, size, spaces)


class OperatorProgram(EmulatedProgram):
    """A bound entry, each launch of which is a call of an operator."""

    runner: OperatorRunner

    def _call(self, step: Step) -> Callable[[], object]:
        runner, call = self.runner, self.runner.calls[step.kernel]
        definition = runner.host.definitions[call["op"]]
        tensors = dict(zip(call["tensors"], step.tensors, strict=True))
        scalars = dict(zip(call["scalars"], step.scalars, strict=True))
        attributes = [scalars[attribute["name"]] for attribute in definition["attrs"]]
        ins, outs = ([tensors[p["name"]] for p in definition[side]] for side in ("inputs", "outputs"))
        shapes, results = [s.shape for s in ins], [s.shape for s in outs]
        if (inferred := runner.host.infer(call["op"], shapes, attributes)).shapes != tuple(results):
            raise BindError(f"{call['op']} infers {inferred.shapes}, the plan has {tuple(results)}")
        tiled = runner.host.tiling(call["op"], shapes, results, attributes)
        if tiled.data != np.array(step.scalars or (0,), np.int64).tobytes():
            raise BindError(f"{call['op']} tiles {np.frombuffer(tiled.data, np.int64)}, the plan has {step.scalars}")
        blocks = runner.blocks(step.kernel)
        if (tiled.blocks, tiled.schedule_mode) != (blocks, 0):
            raise BindError(f"{call['op']} asks for {tiled.blocks} blocks in mode {tiled.schedule_mode}")
        if tiled.workspace != SYSTEM + blocks * runner.facts["workspace"].get(step.kernel, 0):
            raise BindError(f"{call['op']} asks for a workspace of {tiled.workspace} bytes")
        tiling = runner.emulator.resident(np.frombuffer(tiled.data, np.uint8))
        pointers = [self._address(s) for s in (*ins, *outs)]
        return partial(runner.emulator.launch, snake_case(call["op"]), blocks, *pointers, runner.workspace, tiling)
