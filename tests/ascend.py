"""What the tests of the AscendC emulator share: kernels from short bodies, compiled once a session."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from dsv4c.targets.ascend.emulate import Library, build

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ not found: apt-get install g++")

HEAD = """#include "kernel_operator.h"
using namespace AscendC;
template <typename T> GlobalTensor<T> global(GM_ADDR p) {
    GlobalTensor<T> g;
    g.SetGlobalBuffer((__gm__ T*)p);
    return g;
}
template <typename T> LocalTensor<T> ub(uint32_t addr, uint32_t n) {
    return LocalTensor<T>(TPosition::VECCALC, addr, n);
}
template <typename T> void in(const LocalTensor<T>& to, GM_ADDR from, uint32_t n) {
    DataCopyPad(to, global<T>(from), {1, static_cast<uint32_t>(n * sizeof(T)), 0, 0, 0}, DataCopyPadExtParams<T>());
}
template <typename T> void out(GM_ADDR to, const LocalTensor<T>& from, uint32_t n) {
    DataCopyPad(global<T>(to), from, {1, static_cast<uint32_t>(n * sizeof(T)), 0, 0, 0});
}
#define X 0
#define Y 16384
#define Z 32768
#define W 65536
#define ORDER_BY(event, id) SetFlag<HardEvent::event>(id); WaitFlag<HardEvent::event>(id)
#define ORDER(event) ORDER_BY(event, __COUNTER__ % 8)  // an id used again would need its last wait to be known
"""


def kernel(name: str, body: str, kind: str = "AIV_ONLY") -> str:
    """A kernel of three pointers and two numbers."""
    start = "" if "TPipe" in body or "InitSocState" in body else "InitSocState();"
    return f"""
extern "C" __global__ __aicore__ void {name}(GM_ADDR a, GM_ADDR b, GM_ADDR c, int32_t n, float f) {{
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_{kind});
    {start}
{body}
}}
"""


def compiled(
    bodies: Mapping[str, str], folder: Path, machine: Path, arch: int = 2201, kinds: Mapping[str, str] | None = None
) -> Library:
    """All bodies in two files (two processes compile them): vector kernels, and the others."""
    kinds = kinds or {}
    folder.mkdir(parents=True, exist_ok=True)
    vector = "".join(kernel(n, b) for n, b in bodies.items() if n not in kinds)
    others = "".join(kernel(n, b, kinds[n]) for n, b in bodies.items() if n in kinds)
    sources = []
    for file, text in (("vector.cpp", vector), ("others.cpp", others)):
        if text:
            (folder / file).write_text(HEAD + text)
            sources.append(folder / file)
    return build(sources, folder, arch, machine)
