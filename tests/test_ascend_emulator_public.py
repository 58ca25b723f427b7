"""Names and forms that public AscendC kernels use and ours do not: they run, and their misuse is a finding."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ascend import HEAD, compiled, needs_compiler

from dsv4c.targets.ascend.emulate import Emulator, Finding, Library, Unwritten, build

pytestmark = needs_compiler
Array = np.ndarray[Any, Any]

# dst[:] = f(x); the inputs are 0.5 apart, so that roundings are seen at ties.
FUNCTIONS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "Floor": ("Floor(z, x, 128)", np.floor),
    "Ceil": ("Ceil(z, x, ub<uint8_t>(W, 512), 128)", np.ceil),
    "Round": ("Round(z, x, 128)", np.rint),
    "Trunc": ("Trunc(z, x, 128)", np.trunc),
    "Sign": ("Sign(z, x, 128)", np.sign),
    "Sigmoid": ("Sigmoid(z, x, 128)", lambda x: 1 / (1 + np.exp(-x))),
    "Silu": ("Silu(z, x, 128)", lambda x: x / (1 + np.exp(-x))),
    "Swish": ("Swish(z, x, 128, 2.0f)", lambda x: x / (1 + np.exp(-2 * x))),
    "Tanh": ("Tanh(z, x)", np.tanh),
    "Erf": ("Erf(z, x, 128)", np.vectorize(math.erf)),
    "Sin": ("Sin(z, x)", np.sin),
    "Cos": ("Cos(z, x, ub<uint8_t>(W, 512))", np.cos),
    "Atan": ("Atan(z, x, 128)", np.arctan),
    "ClampMax": ("ClampMax(z, x, 1.0f, 128)", lambda x: np.minimum(x, 1)),
    "ClampMin": ("ClampMin(z, x, 1.0f, 128)", lambda x: np.maximum(x, 1)),
}
IN = "auto x = ub<float>(X, 128), z = ub<float>(Z, 128); in(x, a, 128); ORDER(MTE2_V);"
OUT = "ORDER(V_MTE3); out(c, z, 128);"
# Two repeats of 64 onto one: z = op(x[64:], op(x[:64], z)).
ONTO = "auto x = ub<float>(X, 128), z = ub<float>(Z, 64); in(x, a, 128); in(z, b, 64); ORDER(MTE2_V);"
ONTO += "{op}; ORDER(V_MTE3); out(c, z, 64);"
SUM = "ReduceSum<float>({dst}, x, {scratch}, 128); PipeBarrier<PIPE_V>(); Copy(z, x, 64, 2, {{1, 1, 8, 8}});"
CUBE = """
    LocalTensor<half> a1(TPosition::A1, 0, 256), a2, b2(TPosition::B2, 0, 256);
    LocalTensor<float> c1;
    a2.InitBuffer(0, 256); a2.address_.logicPos = static_cast<uint8_t>(TPosition::A2);
    DataCopy(a1, global<half>(a), 256); ORDER(MTE2_MTE1);
    LoadData2dParams l(0, 1, 0, 0, 0, false, 0);
    LoadData(a2, a1, l); LoadData(b2, a1, l);
    set_flag(PIPE_MTE1, PIPE_M, EVENT_ID0); wait_flag(PIPE_MTE1, PIPE_M, EVENT_ID0);
    Mmad(c1, a2, b2, MmadParams(16, 16, 16, 0, false, true));
    ORDER(M_FIX);
    Fixpipe(global<float>(c), c1, FixpipeParamsV220(16, 16, 16, 16, false));
"""
BODIES = {name.lower(): f"{IN} {call}; {OUT}" for name, (call, _) in FUNCTIONS.items()} | {
    "onto": ONTO.format(op="Add(z, x, z, 64, 2, {1, 1, 1, 0, 8, 0})"),
    "onto_max": ONTO.format(op="Max(z, x, z, 64, 2, {1, 1, 1, 0, 8, 0})"),
    "onto_first": ONTO.format(op="Add(z, z, x, 64, 2, {1, 1, 1, 0, 0, 8})"),
    "onto_div": ONTO.format(op="Div(z, x, z, 64, 2, {1, 1, 1, 0, 8, 0})"),
    "sum_in_place": f"{IN} ReduceSum<float>(x, x, x, 128); PipeBarrier<PIPE_V>(); Adds(z, x, 0.0f, 1); {OUT}",
    "sum_over_scratch": f"{IN} ReduceSum<float>(z, x, x[8], 128); {OUT}",
    "by_pipe": f"{IN} Adds(z, x, 1.0f, 128); set_flag(PIPE_V, PIPE_MTE3, 3); wait_flag(PIPE_V, PIPE_MTE3, 3);"
    "out(c, z, 128); pipe_barrier(PIPE_ALL);",
    "no_such_flag": "TPipe pipe; set_flag(PIPE_V, PIPE_ALL, 0);",
    "asserts": 'TPipe pipe; ASSERT(n == 4 && "n is 4");',
    "cells": "TPipe pipe; auto g = global<int32_t>(a), h = global<int32_t>(c); h(0) = g(0); h(1) = 5; h(1) += g(1);"
    "h(2) = h(1); DataCacheCleanAndInvalid<int32_t, CacheLine::SINGLE_CACHE_LINE>(h);",
    "absent": "DataCopy(ub<half>(X, 16), ub<half>(Y, 16), DataCopyParams(), DataCopyEnhancedParams());",
    "by_hand": CUBE,
    "merges": """
    auto x = ub<float>(X, 64), r = ub<float>(Y, 128), z = ub<float>(Z, 128); auto i = ub<uint32_t>(W, 64);
    in(x, a, 64); in(i, b, 64); ORDER(MTE2_V);
    Sort32<float>(r, x, i, 2); PipeBarrier<PIPE_V>();
    MrgSort4Info p; p.elementLengths[0] = p.elementLengths[1] = n; p.validBit = 3;
    MrgSortSrcList<float> s; s.src1 = r; s.src2 = r[64];
    MrgSort<float>(z, s, p); ORDER(V_MTE3); out(c, z, 128);""",
    "rows": """
    auto x = ub<float>(X, 384), z = ub<float>(Z, 128); in(x, a, 384); ORDER(MTE2_V);
    const uint32_t shape[] = {3, 128};
    ReduceMax<float, Pattern::Reduce::RA>(z, x, ub<uint8_t>(W, 4096), shape, true); ORDER(V_MTE3); out(c, z, 128);
    ORDER(MTE3_V); ReduceSum<float, Pattern::Reduce::AR>(z, x, ub<uint8_t>(W, 4096), shape, true);
    ORDER(V_MTE3); out(b, z, 3);""",
    "rows_ragged": """
    auto x = ub<float>(X, 384), z = ub<float>(Z, 128); in(x, a, 384); ORDER(MTE2_V);
    const uint32_t shape[] = {3, 12};
    ReduceMin<float, Pattern::Reduce::RA>(z, x, ub<uint8_t>(W, 4096), shape, false);""",
    "into_reserve": "TPipe pipe; TBuf<> all; pipe.InitBuffer(all, 192 * 1024); auto z = all.Get<float>(128);"
    "Duplicate(z, 3.0f, 128); ORDER(V_MTE3); out(c, z, 128);",
    "steps": "auto x = ub<int32_t>(X, 100); ArithProgression<int32_t>(x, 5, 3, 100); ORDER(V_MTE3); out(c, x, 100);",
    "deduced": "auto x = ub<half>(X, 16); DataCopyPadExtParams p{true, 0, 6, half(2)};"
    "DataCopyPad(x, global<half>(a), {1, 20, 0, 0, 0}, p); ORDER(MTE2_MTE3); out(c, x, 16);",
    "halves": "LocalTensor<half> x = ub<half>(X, 128); Duplicate<half>(x, 1, 128); PipeBarrier<PIPE_V>();"
    "Muls<half>(x, x, 1 << 8, 128); ORDER(V_MTE3); out(c, x, 128);",
    "own_min": "TPipe pipe; auto g = global<int32_t>(c); g(0) = min(n, 3u) + max(int64_t(n), 5) * 10;"
    "DataCacheCleanAndInvalid<int32_t, CacheLine::SINGLE_CACHE_LINE>(g);",
    "l1": "TPipe pipe; TBuf<TPosition::A1> all; pipe.InitBuffer(all, 512 * 1024);",
    "l1_mixed": "TPipe pipe; TBuf<TPosition::A1> all; if ASCEND_IS_AIC pipe.InitBuffer(all, 512 * 1024);",
}
KINDS = {"by_hand": "AIC_ONLY", "l1": "AIC_ONLY", "l1_mixed": "MIX_AIC_1_2"}
UNDECLARED = """
extern "C" __global__ {attribute} __aicore__ void {name}(GM_ADDR a) {{
    TPipe pipe; global<int32_t>(a).SetValue(GetBlockIdx() * 16, 1);
    DataCacheCleanAndInvalid<int32_t, CacheLine::SINGLE_CACHE_LINE>(global<int32_t>(a)[GetBlockIdx() * 16]);
    SyncAll();
    if (GetBlockIdx() == 0) global<int32_t>(a).SetValue(0, 1 + global<int32_t>(a).GetValue(16));
    DataCacheCleanAndInvalid<int32_t, CacheLine::SINGLE_CACHE_LINE>(global<int32_t>(a));
}}
"""
PER_CORE = """
#include "kernel_operator.h"
template <typename T> __attribute__((noinline)) T core_kind(T other) {
    if ASCEND_IS_AIC return T(1);
    else return other;
}
extern "C" __global__ __aicore__ void per_core(GM_ADDR out) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_2);
    AscendC::TPipe pipe;
    AscendC::GlobalTensor<int32_t> g;
    g.SetGlobalBuffer((__gm__ int32_t*)out);
    uint32_t place = 0;
    if ASCEND_IS_AIV place = 16 * (1 + AscendC::GetSubBlockIdx());
    g.SetValue(place, core_kind<int32_t>(2));
    AscendC::DataCacheCleanAndInvalid<int32_t, AscendC::CacheLine::SINGLE_CACHE_LINE>(g[place]);
}
"""
OLD_TILING = """
#define __aicore__ [aicore]
#include "kernel_operator.h"
#include "lib/matmul_intf.h"
#include "register/tilingdata_base.h"
namespace optiling {
BEGIN_TILING_DATA_DEF(OldTiling)
  TILING_DATA_FIELD_DEF(uint32_t, length);
  TILING_DATA_FIELD_DEF_ARR(uint32_t, 2, pair);
  TILING_DATA_FIELD_DEF(float, factor);
END_TILING_DATA_DEF;
REGISTER_TILING_DATA_CLASS(Old, OldTiling)
}
extern "C" __global__ __aicore__ void old_tiling(GM_ADDR out, GM_ADDR tiling) {
    AscendC::TPipe pipe;
    GET_TILING_DATA_WITH_STRUCT(optiling::OldTiling, t, tiling);
    AscendC::GlobalTensor<float> g;
    g.SetGlobalBuffer((__gm__ float*)out);
    g.SetValue(0, t.get_length() + t.pair[1] * t.factor);
    AscendC::DataCacheCleanAndInvalid<float, AscendC::CacheLine::SINGLE_CACHE_LINE>(g);
}
"""


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("public")
    return compiled(BODIES, folder, folder.parent / "machine", kinds=KINDS)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Library:
    folder = tmp_path_factory.mktemp("public_files")
    undeclared = UNDECLARED.format(attribute="", name="sync_undeclared")
    (folder / "sync.cpp").write_text(HEAD + undeclared + UNDECLARED.format(attribute="__vector__", name="sync_vector"))
    (folder / "old.cpp").write_text(OLD_TILING)
    (folder / "per_core.cpp").write_text(PER_CORE)
    return build(folder, folder, 2201, folder.parent / "machine")


def run(kernels: Library, name: str, *arrays: Array | Unwritten, n: int = 4) -> list[Finding]:
    with Emulator(kernels, "2201-manual") as emulator:
        return emulator.launch(name, 1, *arrays, n, 1.0, check=False)


def kinds(found: list[Finding]) -> set[str]:
    return {f.kind for f in found}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(kernels: Library, name: str) -> None:
    x, z = (np.arange(128, dtype=np.float32) - 64) / 8, np.empty(128, np.float32)
    assert run(kernels, name.lower(), x, np.zeros(1, np.float32), Unwritten(z)) == []
    np.testing.assert_allclose(z, FUNCTIONS[name][1](x.astype(np.float64)), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["onto", "onto_max"])
def test_repeats_accumulate_onto_the_second_source(kernels: Library, name: str) -> None:
    rng = np.random.default_rng(0)
    x, start = (rng.integers(-50, 50, n).astype(np.float32) for n in (128, 64))
    z = np.empty(64, np.float32)
    assert run(kernels, name, x, start, Unwritten(z)) == []
    fold = np.add if name == "onto" else np.maximum
    np.testing.assert_array_equal(z, fold(fold(start, x[:64]), x[64:]))


@pytest.mark.parametrize("name", ["onto_first", "onto_div"])
def test_repeats_accumulate_onto_nothing_else(kernels: Library, name: str) -> None:
    ones = np.ones(128, np.float32)
    found = run(kernels, name, ones, ones[:64].copy(), Unwritten(np.empty(64, np.float32)))
    assert kinds(found) == {"overlap"} and "second source" in found[0].fix


def test_a_sum_may_use_its_source_as_scratch(kernels: Library) -> None:
    x, z = np.arange(128, dtype=np.float32), np.empty(128, np.float32)
    found = run(kernels, "sum_in_place", x, np.zeros(1, np.float32), z)
    assert kinds(found) == {"undefined"} and z[0] == x.sum()  # the rest of z is copied out unwritten
    assert "overlap" in kinds(run(kernels, "sum_over_scratch", x, np.zeros(1, np.float32), z))


def test_flags_by_pipe(kernels: Library) -> None:
    x, z = np.arange(128, dtype=np.float32), np.empty(128, np.float32)
    assert run(kernels, "by_pipe", x, np.zeros(1, np.float32), Unwritten(z)) == []
    np.testing.assert_array_equal(z, x + 1)
    assert kinds(run(kernels, "no_such_flag", x, x, z)) == {"flag"}


def test_assert(kernels: Library) -> None:
    empty = np.zeros(1, np.float32)
    assert run(kernels, "asserts", empty, empty, empty) == []
    assert kinds(run(kernels, "asserts", empty, empty, empty, n=5)) == {"assert"}


def test_elements_by_name(kernels: Library) -> None:
    values, out = np.array([3, 4], np.int32), np.zeros(3, np.int32)
    assert run(kernels, "cells", values, values, out) == []
    assert out.tolist() == [3, 9, 9]


def test_what_older_chips_have(kernels: Library) -> None:
    empty = np.zeros(16, np.float16)
    assert kinds(run(kernels, "absent", empty, empty, empty)) == {"dtype"}


def test_tensors_placed_by_hand(kernels: Library) -> None:
    a, c = np.random.default_rng(1).standard_normal((16, 16)).astype(np.float16), np.empty((16, 16), np.float32)
    found = run(kernels, "by_hand", a, a, Unwritten(c))
    # The accumulator has no memory of its own: the device takes address 0, and so does the product here.
    assert kinds(found) == {"position"} and all("never given a memory" in f.text for f in found)
    np.testing.assert_allclose(c, a.astype(np.float64) @ a.T.astype(np.float64), rtol=1e-5, atol=1e-5)


def test_a_type_that_is_not_written_is_inferred(sources: Library) -> None:
    with Emulator(sources, "2201-manual") as emulator:
        out = np.zeros(32, np.int32)
        assert emulator.launch("sync_undeclared", 2, out, check=False) == []
        assert out[0] == 2
        assert "sync" in kinds(emulator.launch("sync_vector", 2, out, check=False))


def test_both_core_types_have_templates_of_their_own(sources: Library) -> None:
    with Emulator(sources, "2201-manual") as emulator:
        out = np.zeros(48, np.int32)
        assert emulator.launch("per_core", 1, out, check=False) == []
    assert out[[0, 16, 32]].tolist() == [1, 2, 2]


def test_tiling_of_the_older_style(sources: Library) -> None:
    tiling = np.array([7, 1, 3, np.float32(0.5).view(np.uint32)], np.uint32)
    with Emulator(sources, "2201-manual") as emulator:
        out = np.zeros(1, np.float32)
        assert emulator.launch("old_tiling", 1, out, tiling, check=False) == []
    assert out[0] == 8.5


def test_lengths_of_merged_lists(kernels: Library) -> None:
    x, index = np.random.default_rng(2).permutation(64).astype(np.float32), np.arange(64, dtype=np.uint32)
    z = np.empty(128, np.float32)
    assert run(kernels, "merges", x, index, Unwritten(z), n=32) == []
    np.testing.assert_array_equal(z[::2], np.sort(x)[::-1])
    assert "narrow" in kinds(run(kernels, "merges", x, index, z, n=4096))


def test_numbers_become_half(kernels: Library) -> None:
    out = np.empty(128, np.float16)
    assert run(kernels, "halves", out, out, Unwritten(out)) == []
    assert (out == 256).all()


def test_progression_and_padding(kernels: Library) -> None:
    out = np.empty(100, np.int32)
    assert run(kernels, "steps", out, out, Unwritten(out)) == []
    np.testing.assert_array_equal(out, 5 + 3 * np.arange(100))
    padded = np.empty(16, np.float16)
    assert run(kernels, "deduced", np.ones(10, np.float16), padded, Unwritten(padded)) == []
    assert padded.tolist() == [1.0] * 10 + [2.0] * 6


def test_reductions_by_pattern(kernels: Library) -> None:
    x = np.random.default_rng(3).integers(-9, 9, (3, 128)).astype(np.float32)
    sums, largest = np.empty(3, np.float32), np.empty(128, np.float32)
    assert run(kernels, "rows", x, Unwritten(sums), Unwritten(largest)) == []
    np.testing.assert_array_equal(largest, x.max(0))
    np.testing.assert_array_equal(sums, x.sum(1))
    assert "count" in kinds(run(kernels, "rows_ragged", x, sums, largest))


def test_a_buffer_into_what_is_reserved_is_a_finding_and_runs_on(kernels: Library) -> None:
    out = np.empty(128, np.float32)
    assert kinds(run(kernels, "into_reserve", out, out, Unwritten(out))) == {"capacity"}
    assert (out == 3).all()


def test_scalar_helpers(kernels: Library) -> None:
    out = np.zeros(1, np.int32)
    assert run(kernels, "own_min", out, out, out, n=7) == []
    assert out[0] == 73


def test_cube_cores_alone_have_all_of_l1(kernels: Library) -> None:
    empty = np.zeros(1, np.float32)
    assert run(kernels, "l1", empty, empty, empty) == []
    assert kinds(run(kernels, "l1_mixed", empty, empty, empty)) == {"capacity"}
