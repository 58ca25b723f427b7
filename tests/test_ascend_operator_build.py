"""Building the operator project, with stand-ins for CANN that write down what they are asked to do."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from dsv4c.driver.compile import compile_model

TINY = Path(__file__).resolve().parent / "data/tiny-v32"
needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake not found: apt-get install cmake")

# The frame that msopgen makes for one operator; its build.sh configures, so that op_kernel/CMakeLists.txt is executed.
MSOPGEN = """#!/usr/bin/env bash
set -eu
echo "$@" > "$RECORD/msopgen"
while [ $# -gt 0 ]; do
    case $1 in -out) out=$2 ;; -op) op=$2 ;; -i) test -f "$2" ;; esac
    shift
done
mkdir -p "$out/op_host" "$out/op_kernel"
touch "$out/op_host/skeleton.cpp" "$out/op_kernel/skeleton.cpp" "$out/op_host/skeleton_tiling.h"
echo '{"vendor_name": {"type": "STRING", "value": "customize"}}' > "$out/CMakePresets.json"
cat > "$out/CMakeLists.txt" <<'LIST'
cmake_minimum_required(VERSION 3.16)
project(frame NONE)
@FUNCTIONS@
add_subdirectory(op_kernel)
LIST
echo '@SOURCES@' > "$out/op_kernel/CMakeLists.txt"
echo 'cmake -S . -B build_out > /dev/null && touch build_out/custom_opp_x86_64.run' > "$out/build.sh"
"""
FUNCTION = """function({name})
    file(APPEND $ENV{{RECORD}}/calls "{name};${{ARGN}}\\n")
endfunction()
"""
OLD = {"functions": ("add_ops_compile_options", "add_kernels_compile"), "sources": "add_kernels_compile()"}
NEW = {
    "functions": ("npu_op_kernel_options", "npu_op_kernel_sources"),
    "sources": "npu_op_kernel_sources(ascendc_kernels KERNEL_DIR ./)",
}
ASC = ("package", "code_gen", "library", "package_add", "kernel_options", "kernel_sources", "kernel_library")


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("build") / "out"
    return compile_model(str(TINY), out, target="ascend:910b3", weights=False)


def recording(names: tuple[str, ...]) -> str:
    return "".join(FUNCTION.format(name=name) for name in names)


def run(command: list[str], folder: Path, more: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env={**os.environ, **more}, capture_output=True, text=True, check=False)


def calls(folder: Path) -> list[list[str]]:
    return [line.split(";") for line in (folder / "calls").read_text().splitlines()]


@needs_cmake
@pytest.mark.parametrize("cann", [OLD, NEW], ids=["8", "9"])
def test_build_fills_the_frame_of_the_cann_that_is_there(cann: dict[str, object], artefact: Path, tmp_path: Path):
    project = tmp_path / "operators"
    shutil.copytree(artefact / "operators", project)
    names, sources = cann["functions"], cann["sources"]
    assert isinstance(names, tuple) and isinstance(sources, str)
    tool = tmp_path / "bin/msopgen"
    tool.parent.mkdir()
    tool.write_text(MSOPGEN.replace("@FUNCTIONS@", recording(names)).replace("@SOURCES@", sources))
    tool.chmod(0o755)
    path = f"{tool.parent}:{os.environ['PATH']}"
    known = {"RECORD": str(tmp_path), "PATH": path, "ASCEND_HOME_PATH": "/nowhere"}
    for soc in ("Ascend910B3", "Ascend910B1"):
        done = run(["bash", "build.sh", *([soc] if soc != "Ascend910B3" else [])], project, known)
        assert done.returncode == 0, done.stderr
        assert f"-c ai_core-{soc} -lan cpp -op Append" in (tmp_path / "msopgen").read_text()
        frame = project / "build" / soc
        for part in ("op_host", "op_kernel"):
            ours = {p.name: p.read_bytes() for p in (project / part).iterdir() if p.suffix in (".cpp", ".h")}
            assert {p.name: p.read_bytes() for p in (frame / part).iterdir() if p.suffix in (".cpp", ".h")} == ours
        assert '"value": "dsv4c"' in (frame / "CMakePresets.json").read_text()
    options, kernels = calls(tmp_path)[-2:]
    assert options[0] == names[0] and options[-3:] == ["ALL", "OPTIONS", "--cce-auto-sync=off"]
    assert kernels[0] == names[1]  # options come before what they are for
    assert [p.name for p in (project / "build_out").iterdir()] == ["custom_opp_x86_64.run"]


def test_build_says_what_it_needs(artefact: Path):
    done = run(["bash", "build.sh"], artefact / "operators", {"ASCEND_HOME_PATH": ""})
    assert done.returncode != 0 and "source set_env.sh of CANN first" in done.stderr


@needs_cmake
def test_cmake_project_configures(artefact: Path, tmp_path: Path):
    project = tmp_path / "operators"
    shutil.copytree(artefact / "operators", project)
    (tmp_path / "ASCConfig.cmake").write_text(recording(tuple(f"npu_op_{name}" for name in ASC)))
    known = {"RECORD": str(tmp_path), "ASCEND_HOME_PATH": "/nowhere"}
    done = run(["cmake", "--preset", "default", f"-DASC_DIR={tmp_path}"], project, known)
    assert done.returncode == 0, done.stderr
    made = {(name, *rest[:2]): rest for name, *rest in calls(tmp_path)}
    hosts = {str(p) for p in (project / "op_host").glob("*.cpp")}
    assert made["npu_op_package", "dsv4c", "TYPE"][2:6] == ["RUN", "CONFIG", "ENABLE_SOURCE_PACKAGE", "True"]
    assert hosts <= set(made["npu_op_library", "cust_optiling", "TILING"])
    assert hosts <= set(made["npu_op_library", "cust_op_proto", "GRAPH"])
    assert made["npu_op_kernel_options", "ascendc_kernels", "ALL"][2:] == ["OPTIONS", "--cce-auto-sync=off"]
    assert made["npu_op_kernel_library", "ascendc_kernels", "SRC_BASE"][2] == f"{project / 'op_kernel'}/"
    packed = [one[3:] for one in calls(tmp_path) if one[:3] == ["npu_op_package_add", "dsv4c", "LIBRARY"]]
    assert packed == [["cust_opapi", "cust_op_proto", "cust_optiling"], ["ascendc_kernels"]]
