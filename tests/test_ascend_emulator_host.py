"""Around kernels: host programs over ACL, core types, waves of blocks, cycle estimates, and what a user gets wrong."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from ascend import HEAD, compiled, needs_compiler

from dsv4c.errors import UserError
from dsv4c.targets.ascend.emulate import Emulator, Library, Unwritten, build, compiler, flags_of, machine_object

pytestmark = needs_compiler
Array = np.ndarray[Any, Any]

HOST = """
#include <cstdio>
#include <vector>
#include "acl/acl.h"
#include "dsv4c_launch.h"
#include "tiling/platform/platform_ascendc.h"

extern "C" __global__ __aicore__ void double_all(GM_ADDR x, GM_ADDR y, int32_t n);

int main() {
    aclInit(nullptr);
    aclrtSetDevice(0);
    aclrtStream stream = nullptr;
    aclrtCreateStream(&stream);
    platform_ascendc::PlatformAscendC platform;
    uint64_t ub = 0;
    platform.GetCoreMemSize(platform_ascendc::CoreMemType::UB, ub);
    int64_t cores = 0;
    aclrtGetDeviceInfo(0, ACL_DEV_ATTR_VECTOR_CORE_NUM, &cores);
    if (platform.GetCoreNumAiv() != cores || ub < 188000) return 1;
    const int n = 64 * 10;
    std::vector<float> x(n), y(n);
    for (int i = 0; i < n; i++) x[i] = float(i);
    void *dx = nullptr, *dy = nullptr;
    aclrtMalloc(&dx, n * 4, ACL_MEM_MALLOC_HUGE_FIRST);
    aclrtMalloc(&dy, n * 4, ACL_MEM_MALLOC_HUGE_FIRST);
    if (aclrtMemcpy(dx, n * 4, x.data(), n * 4 + 4, ACL_MEMCPY_HOST_TO_DEVICE) == ACL_SUCCESS) return 2;
    aclrtMemcpyAsync(dx, n * 4, x.data(), n * 4, ACL_MEMCPY_HOST_TO_DEVICE, stream);
    DSV4C_LAUNCH(double_all, 10, stream, static_cast<GM_ADDR>(dx), static_cast<GM_ADDR>(dy), 64);
    DSV4C_LAUNCH(double_all, 10, stream, static_cast<GM_ADDR>(dy), static_cast<GM_ADDR>(dx), 64);
    aclrtSynchronizeStream(stream);
    aclrtMemcpy(y.data(), n * 4, dx, n * 4, ACL_MEMCPY_DEVICE_TO_HOST);
    for (int i = 0; i < n; i++) if (y[i] != 4.0f * i) return 3;
    aclrtFree(dx);
    aclrtFree(dy);
    if (const char* message = aclGetRecentErrMsg()) std::printf("%s", message);
    return aclGetRecentErrMsg() != nullptr;  // given once
}
"""
DOUBLE = (
    HEAD
    + """
extern "C" __global__ __aicore__ void double_all(GM_ADDR x, GM_ADDR y, int32_t n) {
    InitSocState();
    auto t = ub<float>(X, n);
    in(t, x + GetBlockIdx() * n * 4, n); ORDER(MTE2_V); Muls(t, t, 2.0f, n); ORDER(V_MTE3);
    out(y + GetBlockIdx() * n * 4, t, n);
}
"""
)
BODIES = {
    "indices": """
    if ASCEND_IS_AIV {
        auto t = ub<int32_t>(X, 8); const int at = GetBlockIdx();
        Duplicate(t, (int32_t)(at * 1000 + GetBlockNum() * 100 + GetSubBlockIdx() * 10 + GetSubBlockNum()), 8);
        ORDER(V_MTE3); out(a + at * 32, t, 8);
    }
""",
    "arguments": """
    auto t = ub<float>(X, 8); Duplicate(t, f * n, 8); ORDER(V_MTE3); if (b == nullptr) out(a, t, 8);
""",
    "tiled": """
    struct Tiling { int32_t n; float f; }; REGISTER_TILING_DEFAULT(Tiling); GET_TILING_DATA(data, b);
    auto t = ub<float>(X, 8); Duplicate(t, data.f * data.n, 8); ORDER(V_MTE3);
    if (TILING_KEY_IS(7)) { out(a, t, 8); }
""",
    "allocator": """
    LocalMemAllocator<Hardware::UB> memory;
    auto x = memory.Alloc<TPosition::VECIN, float, 64>(); auto y = memory.Alloc<float>(64);
    in(x, a, 64); ORDER(MTE2_V); Adds(y, x, 1.0f, 64); ORDER(V_MTE3); out(b, y, 64);
    if (memory.GetCurAddr() != 512) out(c, y, 999999);
""",
    "soft_flags": """
    auto t = ub<float>(X, 64); auto w = ub<int32_t>(Y, 64); const int me = GetBlockIdx();
    if (me > 0) { IBWait(global<int32_t>(c), w, me - 1, 0); in(t, a, 64); ORDER(MTE2_V); Adds(t, t, 1.0f, 64); }
    else { Duplicate(t, 1.0f, 64); }
    ORDER(V_MTE3); out(a, t, 64); IBSet(global<int32_t>(c), w, me, 0);
""",
    "cycles": """
    auto x = ub<float>(X, 640); in(x, a, 640); ORDER(MTE2_V); Adds(x, x, 1.0f, 640); PipeBarrier<PIPE_V>();
    Exp(x, x, 640); ORDER(V_MTE3); out(b, x, 640);
""",
    "bf16": """
    auto h = ub<bfloat16_t>(X, 64); auto x = ub<float>(Y, 64); in(h, a, 64); ORDER(MTE2_V);
    Cast(x, h, RoundMode::CAST_NONE, 64); PipeBarrier<PIPE_V>(); Muls(x, x, ToFloat(bfloat16_t(3.0f)), 64);
    PipeBarrier<PIPE_V>(); Cast(h, x, RoundMode::CAST_RINT, 64); ORDER(V_MTE3); out(b, h, 64);
""",
}
KINDS = {"indices_12": "MIX_AIC_1_2", "indices_11": "MIX_AIC_1_1", "indices_01": "MIX_AIV_1_0"}
SIGNED = """
extern "C" __global__ __vector__ void signed_vector(GM_ADDR a) {
    InitSocState();
    auto t = ub<int32_t>(X, 8); Duplicate(t, (int32_t)(GetBlockIdx() + 1), 8); ORDER(V_MTE3);
    out(a + GetBlockIdx() * 32, t, 8);
}
extern "C" __global__ __mix__(1, 2) void signed_mix(GM_ADDR a) {
    InitSocState();
    if ASCEND_IS_AIV {
        auto t = ub<int32_t>(X, 8); Duplicate(t, (int32_t)(GetBlockIdx() + 1), 8); ORDER(V_MTE3);
        out(a + GetBlockIdx() * 32, t, 8);
    }
}
extern "C" __global__ __cube__ void signed_cube(GM_ADDR a) {
    InitSocState();
    LocalTensor<int16_t> l(TPosition::A1, 0, 16); DataCopy(l, global<int16_t>(a), 16);
    SetFlag<HardEvent::MTE2_MTE3>(0); WaitFlag<HardEvent::MTE2_MTE3>(0); DataCopy(global<int16_t>(a)[16], l, 16);
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> Library:
    bodies = BODIES | dict.fromkeys(KINDS, BODIES["indices"])
    return compiled(bodies, tmp_path_factory.mktemp("host"), machine_folder, kinds=KINDS)


def test_host_program(tmp_path: Path, machine_folder: Path) -> None:
    (tmp_path / "host.cpp").write_text(HOST)
    (tmp_path / "kernel.cpp").write_text(DOUBLE)
    base = [compiler(), *flags_of(2201)]
    for command in (
        [*base, "-Ddouble_all=double_all_aiv", "-c", "kernel.cpp", "-o", "kernel.o"],
        [*base, "host.cpp", "kernel.o", str(machine_object(2201, machine_folder)), "-o", "program"],
        ["./program"],
    ):
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_launch_text_for_the_device(tmp_path: Path, machine_folder: Path) -> None:
    (tmp_path / "host.cpp").write_text('#include "dsv4c_launch.h"\nDSV4C_LAUNCH(add, n, s, x, y);\n')
    command = [compiler(), *flags_of(2201), "-E", "-P", "host.cpp"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["add<<<(n),", "nullptr,", "(s)>>>(x,", "y);"]


def test_indices(library: Library) -> None:
    def run(name: str, blocks: int, rows: int) -> list[int]:
        out = np.zeros((rows, 8), np.int32)
        with Emulator(library) as emulator:
            emulator.launch(name, blocks, Unwritten(out), None, None, 0, 0.0)
        return [int(v) for v in out[:, 0]]

    assert run("indices", 3, 3) == [301, 1301, 2301]
    assert run("indices_01", 2, 2) == [201, 1201]
    assert run("indices_11", 2, 2) == [201, 1201]
    assert run("indices_12", 2, 4) == [202, 1212, 2202, 3212]


def test_arguments(library: Library) -> None:
    out = np.zeros(8, np.float32)
    with Emulator(library) as emulator:
        emulator.launch("arguments", 1, Unwritten(out), None, None, 6, 1.5)
        np.testing.assert_array_equal(out, np.full(8, 9))
        tiling = np.array([(5, 0.5)], np.dtype([("n", np.int32), ("f", np.float32)]))
        emulator.tiling_key(7)
        emulator.launch("tiled", 1, Unwritten(out), tiling, None, 0, 0.0)
        np.testing.assert_array_equal(out, np.full(8, 2.5))
        x, y = np.arange(64, dtype=np.float32), np.zeros(64, np.float32)
        emulator.launch("allocator", 1, x, Unwritten(y), None, 0, 0.0)
        np.testing.assert_array_equal(y, x + 1)
        h = np.zeros(64, ml_dtypes.bfloat16)
        emulator.launch("bf16", 1, x.astype(ml_dtypes.bfloat16), Unwritten(h), None, 0, 0.0)
        np.testing.assert_array_equal(h.astype(np.float32), (x * 3).astype(ml_dtypes.bfloat16).astype(np.float32))


@pytest.mark.parametrize("mode", [("clocks", 0), ("witness", 1), ("witness", 2)])
def test_waves_and_soft_flags(library: Library, mode: tuple[str, int]) -> None:
    with Emulator(library, "2201-manual", *mode, cores=(1, 3)) as emulator:
        out = np.zeros((50, 8), np.int32)
        emulator.launch("indices", 50, Unwritten(out), None, None, 0, 0.0)
        np.testing.assert_array_equal(out[:, 0], np.arange(50) * 1000 + 5001)
        x = np.zeros(64, np.float32)
        emulator.launch("soft_flags", 3, x, None, np.zeros(64, np.int32), 0, 0.0)
        np.testing.assert_array_equal(x, np.full(64, 3))


def test_cycles(library: Library) -> None:
    x, y = np.zeros(640, np.float32), np.zeros(640, np.float32)
    with Emulator(library) as emulator:
        emulator.launch("cycles", 2, x, y, None, 0, 0.0, check=False)
        row = emulator.cycles()[0]
    # 2560 bytes at 64 a cycle each way; 640 elements at 64 and then at 32 a cycle
    assert (row["MTE2"], row["V"], row["MTE3"], row["cycles"]) == (40, 30, 40, 110)
    assert row["V_sum"] == 2 * row["V"]


def test_core_types_in_the_signature(tmp_path: Path, machine_folder: Path) -> None:
    (tmp_path / "kernels.cpp").write_text(HEAD + SIGNED)
    library = build(tmp_path, tmp_path / "out", machine=machine_folder)
    assert library.entries == ("signed_vector", "signed_mix", "signed_cube")
    out = np.zeros((6, 8), np.int32)
    with Emulator(library) as emulator:
        emulator.launch("signed_vector", 6, Unwritten(out))
        np.testing.assert_array_equal(out[:, 0], np.arange(1, 7))
        out[:] = 0
        emulator.launch("signed_mix", 3, Unwritten(out))
        np.testing.assert_array_equal(out[:, 0], np.arange(1, 7))
        x = np.arange(32, dtype=np.int16)
        emulator.launch("signed_cube", 1, x)
        np.testing.assert_array_equal(x, np.tile(np.arange(16), 2))


def test_user_errors(library: Library, machine_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"no kernel 'absent'.*it has indices"):
        Emulator(library).launch("absent", 1)
    with pytest.raises(UserError, match=r"no profile '2202'; use one of 2201-manual"):
        Emulator(library, "2202")
    with pytest.raises(UserError, match="no mode 'fast'"):
        Emulator(library, mode="fast")
    with pytest.raises(UserError, match="compiled for 2201"):
        Emulator(library, "3510")
    with pytest.raises(UserError, match="argument 0: an array must be contiguous"):
        Emulator(library).launch("arguments", 1, np.zeros((4, 4), np.float32)[:, 1])
    with pytest.raises(UserError, match="no kernel"):
        build(tmp_path, tmp_path)
    (tmp_path / "bad.cpp").write_text(HEAD + 'extern "C" __global__ __aicore__ void bad(GM_ADDR a) { Nonsense(a); }')
    with pytest.raises(UserError, match=r"(?s)bad\.cpp.*Nonsense"):
        build(tmp_path, tmp_path / "out", machine=machine_folder)
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UserError, match=r"g\+\+ not found; apt-get install g\+\+"):
        build(tmp_path, tmp_path / "out")
