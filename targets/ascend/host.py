"""The host program of an artefact: fixed sources that walk the plan through ACL, and the table of this artefact's
kernels; a Makefile for the emulator, and a build script for a machine with CANN.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from ..tile.chip import Chip
from ..tile.physical import Program
from .emulate import emulator_files, headers
from .library.calls import Library, library_source

SOURCES = (
    "main.cpp", "run_kernel.cpp", "check.h", "case.h", "tensors.h", "device.h", "plan.h", "extent.h", "json.h",
    "launch.h", "library.h", "CMakeLists.txt",
)  # fmt: skip
PROBES = (
    "smoke.cpp", "smoke.h", "smoke_launch.cpp", "smoke_vector.cpp", "smoke_cube.cpp", "smoke_mixed.cpp", "probe.cpp",
    "probe_launch.cpp", "probe_vector.cpp", "probe_cube.cpp", "facts.h", "vector_facts.h", "vector_facts.cpp",
    "data_facts.cpp", "cube_facts.cpp", "launcher.h", "parts.h", "probe_tiling.h",
)  # fmt: skip
CORES = {("AIV",): "Vector", ("AIC",): "Cube", ("AIC", "AIV"): "Mixed"}

MAKEFILE = """\
# make emulate: this model on the host's CPU, its kernels unchanged, without Python. Needs g++ (or clang++) with C++17.
CXX ?= g++
HEADERS := emulator/ascend/emulator
BUILD := build
END := _emulated
FLAGS := -std=c++17 -O1 -D__NPU_ARCH__={arch} -I$(HEADERS) -Ihost -Ikernels $(DEBUG)
AIV := {aiv}
AIC := {aic}
KERNELS := $(AIV:%=$(BUILD)/%.aiv.o) $(AIC:%=$(BUILD)/%.aic.o) $(BUILD)/launch.o $(BUILD)/library.o $(BUILD)/machine.o

.PHONY: emulate debug probe clean
emulate: run$(END) run_kernel$(END)

# run_debug and run_kernel_debug, whose kernels print what they do.
debug:
\t$(MAKE) BUILD=build_debug END=_debug DEBUG=-DDSV4C_DEBUG emulate

run$(END): $(BUILD)/main.o $(KERNELS)
\t$(CXX) $^ -o $@

run_kernel$(END): $(BUILD)/run_kernel.o $(KERNELS)
\t$(CXX) $^ -o $@

$(BUILD)/%.aiv.o: kernels/%.cpp
\t@mkdir -p $(BUILD)
\t$(CXX) $(FLAGS) -D$*=$*_aiv -c $< -o $@

$(BUILD)/%.aic.o: kernels/%.cpp
\t@mkdir -p $(BUILD)
\t$(CXX) $(FLAGS) -D$*=$*_aic -DDSV4C_CORE_AIC -c $< -o $@

$(BUILD)/machine.o: $(HEADERS)/ascend_emulator.cpp
\t@mkdir -p $(BUILD)
\t$(CXX) $(FLAGS) -O2 -DDSV4C_CUBE_CORES={cores} -c $< -o $@

$(BUILD)/%.o: host/%.cpp
\t@mkdir -p $(BUILD)
\t$(CXX) $(FLAGS) -DDSV4C_EMULATOR -c $< -o $@

# The first programs to run on a board, and here: they need no kernel of the model.
PROBE := -Iprobe
probe: smoke_emulated probe_emulated

SMOKE := smoke smoke_launch smoke_vector.aiv smoke_cube.aic smoke_mixed.aiv smoke_mixed.aic machine
FACTS := probe probe_launch vector_facts data_facts cube_facts probe_vector.aiv probe_cube.aic machine

smoke_emulated: $(SMOKE:%=$(BUILD)/%.o)
\t$(CXX) $^ -o $@

probe_emulated: $(FACTS:%=$(BUILD)/%.o)
\t$(CXX) $^ -o $@

$(BUILD)/%.aiv.o: probe/%.cpp
\t@mkdir -p $(BUILD)
\t$(CXX) $(FLAGS) $(PROBE) -D$*=$*_aiv -c $< -o $@

$(BUILD)/%.aic.o: probe/%.cpp
\t@mkdir -p $(BUILD)
\t$(CXX) $(FLAGS) $(PROBE) -D$*=$*_aic -DDSV4C_CORE_AIC -c $< -o $@

$(BUILD)/%.o: probe/%.cpp
\t@mkdir -p $(BUILD)
\t$(CXX) $(FLAGS) $(PROBE) -DDSV4C_EMULATOR -c $< -o $@

clean:
\trm -rf build build_debug *_emulated run_debug run_kernel_debug
"""

BUILD = """\
#!/usr/bin/env bash
# Builds ./smoke, ./run_probe, ./run_kernel and ./run on a machine with CANN and an Ascend device. Source CANN's
# set_env.sh first.
set -euo pipefail
cd "$(dirname "$0")"
: "${{ASCEND_HOME_PATH:?source set_env.sh of CANN first}}"
cp emulator/ascend/emulator/dsv4c_launch.h emulator/ascend/emulator/dsv4c_debug.h host/
if [ "${{1:-}}" = --debug ]; then  # run_debug and run_kernel_debug, whose kernels print what they do
    cmake -S host -B build_npu_debug -DNPU_ARCH=dav-{arch} -DCMAKE_BUILD_TYPE=Release -DDSV4C_DEBUG=ON
    cmake --build build_npu_debug -j --target run_kernel run
    cp build_npu_debug/run_kernel run_kernel_debug
    cp build_npu_debug/run run_debug
    exit
fi
cmake -S host -B build_npu -DNPU_ARCH=dav-{arch} -DCMAKE_BUILD_TYPE=Release
cmake --build build_npu -j --target smoke run_probe  # first: they tell whether the rest can work
cmake --build build_npu -j
cp build_npu/smoke build_npu/run_probe build_npu/run_kernel build_npu/run .
echo "built ./smoke, ./run_probe, ./run_kernel and ./run; in this order on a new board"
"""


def write_host(folder: Path, programs: Mapping[str, Program], chip: Chip, library: Library) -> None:
    """Everything beside the kernels that makes the folder a program."""
    host, ours = folder / "host", files("dsv4c.targets.ascend")
    for part, names in (("host", SOURCES), ("probe", PROBES)):
        (folder / part).mkdir()
        for name in names:
            (folder / part / name).write_text((ours / part / name).read_text())
    (host / "launch.cpp").write_text(_launches(programs, library))
    (host / "library.cpp").write_text(library_source(library, {name: p.sizes for name, p in programs.items()}))
    for path in emulator_files():
        to = folder / "emulator" / path
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes((headers().parents[1] / path).read_bytes())
    on = {core: [n for n, p in sorted(programs.items()) if core in _cores(p)] for core in ("AIV", "AIC")}
    lists = {core.lower(): " ".join(kernels) for core, kernels in on.items()}
    text = MAKEFILE.format(arch=chip.arch, cores=chip.facts["cores"]["AIC"], **lists)
    (folder / "Makefile").write_text(text)
    (folder / "build.sh").write_text(BUILD.format(arch=chip.arch))
    profile, clock = (ours / "host/profile.sh").read_text(), str(chip.facts["clock_mhz"]["value"])
    (folder / "profile.sh").write_text(profile.replace("@SOC@", chip.facts["soc"]).replace("@MHZ@", clock))
    for script in ("build.sh", "profile.sh"):
        (folder / script).chmod(0o755)


def _cores(program: Program) -> tuple[str, ...]:
    return tuple(part.core for part in program.parts)


def _launches(programs: Mapping[str, Program], library: Library) -> str:
    """Declarations, one launching function a kernel, and the table of them; a library operator stands in for some."""
    lines = ['#include "launch.h"', "", '#include "device.h"', '#include "dsv4c_launch.h"', ""]
    rows = []
    for name, program in sorted(programs.items()):
        count = len(program.tensors) + 2  # workspace and tiling
        parameters = ", ".join(["GM_ADDR"] * count)
        arguments = ", ".join(f"a[{i}]" for i in range(count))
        if name in library.calls:
            lines += [
                f'extern "C" aclError library_{name}(aclrtStream stream, uint8_t** a, const int64_t* s);',
                f"static void launch_{name}(uint32_t, aclrtStream stream, uint8_t** a, const int64_t* s) {{",
                f'    check(library_{name}(stream, a, s), "{library.calls[name].name}");',
                "}",
            ]
        else:
            lines += [
                f'extern "C" __global__ __aicore__ void {name}({parameters});',
                f"static void launch_{name}(uint32_t blocks, aclrtStream stream, uint8_t** a, const int64_t*) {{",
                f"    DSV4C_LAUNCH({name}, blocks, stream, {arguments});",
                "}",
            ]
        core = CORES[_cores(program)]
        rows.append(
            f'    {{"{name}", Core::{core}, {len(program.tensors)}, {program.workspace}, launch_{name}}},'
        )
    table = ["", "const Kernel kKernels[] = {", *rows, "};", f"const int kKernelCount = {len(rows)};", ""]
    return "\n".join(lines + table)
