"""The cube path and the synchronisation of cores in the AscendC emulator, on both chips, against numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from ascend import compiled, needs_compiler

from dsv4c.targets.ascend.emulate import Emulator, Library, Unwritten

pytestmark = needs_compiler
Array = np.ndarray[Any, Any]

# A [M,K] and B [N,K] or [K,N] by static addresses; sizes come in c's place as constants of the kernel.
CUBE = """
    constexpr uint32_t M = {M}, N = {N}, K = {K}, C0 = 32 / sizeof({t});
    constexpr uint32_t m16 = (M + 15) / 16, n16 = (N + 15) / 16, k0 = (K + C0 - 1) / C0;
    LocalTensor<{t}> a1(TPosition::A1, 0, m16 * 16 * k0 * C0), b1(TPosition::B1, 131072, {b1});
    LocalTensor<{t}> a2(TPosition::A2, 0, m16 * 16 * k0 * C0), b2(TPosition::B2, 0, {b1});
    LocalTensor<{acc}> c1(TPosition::CO1, 0, m16 * n16 * 256);
    Nd2NzParams p; p.ndNum = 1; p.dstNzNStride = 1;
    p.nValue = M; p.dValue = K; p.srcDValue = K; p.dstNzC0Stride = m16 * 16;
    DataCopy(a1, global<{t}>(a), p);
    {load_b1}
    ORDER(MTE2_MTE1);
    {load_a2}
    {load_b2}
    ORDER(MTE1_M);
    MmadParams q; q.m = M; q.n = N; q.k = K;
    {mmad}
    ORDER(M_FIX);
    {fix}
"""
B1_NK = "p.nValue = N; p.srcDValue = K; p.dstNzC0Stride = n16 * 16; DataCopy(b1, global<{t}>(b), p);"
B1_KN = """p.nValue = K; p.dValue = N; p.srcDValue = N; p.dstNzC0Stride = (K + 15) / 16 * 16;
    DataCopy(b1, global<{t}>(b), p);"""
A2_2201 = """LoadData2DParams l; l.repeatTimes = k0; l.srcStride = m16;
    for (uint32_t i = 0; i < m16; i++) LoadData(a2[i * k0 * 16 * C0], a1[i * 16 * C0], l);"""
B2_NK = "LoadData2DParams r; r.repeatTimes = n16 * k0; r.srcStride = 1; LoadData(b2, b1, r);"
B2_KN = """LoadData2DParams r; r.repeatTimes = n16; r.srcStride = k0; r.ifTranspose = true;
    for (uint32_t i = 0; i < k0; i++) LoadData(b2[i * n16 * 256], b1[i * 256], r);"""
B2_KN_BYTES = """for (uint32_t i = 0; i < k0; i++) {
        LoadData2dTransposeParams r; r.repeatTimes = N / 32; r.srcStride = K / 32; r.startIndex = i;
        LoadDataWithTranspose(b2[i * n16 * 512], b1, r);
    }"""
A2_3510 = (
    "LoadData2DParamsV2 l; l.mStep = m16; l.kStep = k0; l.srcStride = m16; l.dstStride = m16; LoadData(a2, a1, l);"
)
B2_KN_3510 = """LoadData2DParamsV2 r; r.mStep = (K + 15) / 16; r.kStep = (N + C0 - 1) / C0; r.srcStride = (K + 15) / 16;
    r.dstStride = n16; r.ifTranspose = true; LoadData(b2, b1, r);"""
FIX = """FixpipeParamsV220 f220; f220.nSize = N; f220.mSize = M; f220.srcStride = m16 * 16; f220.dstStride = N;
    f220.quantPre = QuantMode_t::{quant}; {more} Fixpipe(global<{out}>(c), c1, f220);"""


def cube(
    t: str,
    shape: tuple[int, int, int],
    load_b1: str = B1_NK,
    load_b2: str = B2_NK,
    load_a2: str = A2_2201,
    mmad: str = "Mmad(c1, a2, b2, q);",
    quant: str = "NoQuant",
    out: str = "",
    more: str = "",
    fix: str = FIX,
) -> str:
    M, N, K = shape
    acc = "int32_t" if t == "int8_t" else "float"
    size = 1 if t.endswith("8_t") or "fp8" in t else 4 if t == "float" else 2
    c0 = 32 // size
    b1 = ((N + 31) // 32 * 32) * ((K + c0 - 1) // c0 * c0 + 32)
    text = CUBE.replace("{load_b1}", load_b1).replace("{load_b2}", load_b2).replace("{load_a2}", load_a2)
    text = text.replace("{mmad}", mmad).replace("{fix}", fix).replace("{quant}", quant).replace("{more}", more)
    for key, value in {"M": M, "N": N, "K": K, "t": t, "acc": acc, "b1": b1, "out": out or acc}.items():
        text = text.replace("{" + key + "}", str(value))
    return text


SHAPES = {"small": (16, 16, 16), "ragged": (20, 37, 50), "large": (64, 80, 96)}
BIAS = """LocalTensor<float> bias1(TPosition::C1, 262144, 64), bias(TPosition::C2, 0, 64);
    SetFlag<HardEvent::MTE2_MTE1>(1); WaitFlag<HardEvent::MTE2_MTE1>(1);
    q.cmatrixInitVal = false; Mmad(c1, a2, b2, bias, q);"""
TWICE = "Mmad(c1, a2, b2, q); q.cmatrixInitVal = false; PipeBarrier<PIPE_M>(); Mmad(c1, a2, b2, q);"
HALVES = """q.k = K / 2; Mmad(c1, a2, b2, q); q.cmatrixInitVal = false;
    Mmad(c1, a2[m16 * k0 / 2 * 256], b2[k0 / 2 * n16 * 256], q);"""
BODIES = {
    **{f"nk_{t}_{s}": cube(t, shape) for t in ("half", "bfloat16_t", "float", "int8_t") for s, shape in SHAPES.items()},
    **{f"kn_half_{s}": cube("half", shape, B1_KN, B2_KN) for s, shape in SHAPES.items()},
    "kn_bytes": cube("int8_t", (32, 64, 64), B1_KN, B2_KN_BYTES),
    "twice": cube("half", SHAPES["ragged"], mmad=TWICE),
    "to_half": cube("half", SHAPES["ragged"], quant="F322F16", out="half"),
    "to_bf16": cube("bfloat16_t", SHAPES["ragged"], quant="F322BF16", out="bfloat16_t", more="f220.reluEn = true;"),
    "dequant": cube("int8_t", SHAPES["ragged"], quant="DEQF16", out="half", more="f220.deqScalar = 0x3C000000;"),
    "requant": cube("int8_t", SHAPES["ragged"], quant="REQ8", out="int8_t", more="f220.deqScalar = 0x3A800000;"),
    "atomic": cube("half", SHAPES["ragged"], fix="SetAtomicAdd<float>(); " + FIX + " SetAtomicNone();"),
    "fractals": cube(
        "half",
        SHAPES["large"],
        fix="""FixpipeParamsV220 nz; nz.nSize = N; nz.mSize = M; nz.srcStride = M; nz.dstStride = M;
    nz.quantPre = QuantMode_t::F322F16; Fixpipe<half, float, CFG_NZ>(global<half>(c), c1, nz);""",
    ),
}
KINDS = dict.fromkeys(BODIES, "AIC_ONLY")

# Cores in step: an AIC multiplies, its two AIVs each take half of the rows and add one, the AIC reads that back.
GROUP = """
    if ASCEND_IS_AIC {
        {cube}
        CrossCoreSetFlag<2, PIPE_FIX>(3);
        CrossCoreWaitFlag(4);
    }
    if ASCEND_IS_AIV {
        auto x = ub<float>(X, 320);
        CrossCoreWaitFlag(3);
        in(x, c + GetSubBlockIdx() * 8 * 20 * 4, 160);
        ORDER(MTE2_V); Adds(x, x, 1.0f, 160); ORDER(V_MTE3);
        out(c + GetSubBlockIdx() * 8 * 20 * 4, x, 160);
        CrossCoreSetFlag<2, PIPE_MTE3>(4);
    }
"""
BODIES["group"] = GROUP.replace("{cube}", cube("half", (16, 20, 32)))
KINDS["group"] = "MIX_AIC_1_2"
# Every vector core writes a row, all wait, every core sums all rows.
ALL = """
    auto x = ub<float>(X, 64), s = ub<float>(Y, 64); const int me = GetBlockIdx(), all = GetBlockNum();
    Duplicate(x, (float)(me + 1), 64); ORDER(V_MTE3); out(a + me * 256, x, 64);
    {sync}
    Duplicate(s, 0.0f, 64); ORDER(V_MTE2);
    for (int i = 0; i < all; i++) {
        in(x, a + i * 256, 64); ORDER(MTE2_V); Add(s, s, x, 64); PipeBarrier<PIPE_V>(); ORDER(V_MTE2);
    }
    ORDER(V_MTE3); out(b + me * 256, s, 64);
"""
BODIES["sync_hard"] = ALL.replace("{sync}", "SyncAll();").replace(
    "ORDER(V_MTE2);\n    for", "ORDER(V_MTE2); ORDER(MTE3_MTE2);\n    for"
)
KINDS["sync_hard"] = "MIX_AIV_1_0"
BODIES["sync_soft"] = ALL.replace("{sync}", "SyncAll(global<int32_t>(c), ub<int32_t>(W, 8 * all));")
BODIES["mode_0"] = ALL.replace("{sync}", "CrossCoreSetFlag<0, PIPE_MTE3>(1); CrossCoreWaitFlag(1);")
KINDS["mode_0"] = "MIX_AIV_1_0"
# A 3x3 convolution of a 4 x 5 image with 32 channels and padding 1, to 16 channels, as a product by im2col.
BODIES["convolution"] = """
    constexpr uint32_t K = 9 * 32, k0 = K / 16;
    LocalTensor<half> a1(TPosition::A1, 0, 640), b1(TPosition::B1, 65536, 16 * K);
    LocalTensor<half> a2(TPosition::A2, 0, 32 * K), b2(TPosition::B2, 0, 16 * K);
    LocalTensor<float> c1(TPosition::CO1, 0, 512);
    DataCopy(a1, global<half>(a), 640);
    Nd2NzParams p; p.nValue = 16; p.dValue = K; p.srcDValue = K; p.dstNzC0Stride = 16; p.dstNzNStride = 1;
    DataCopy(b1, global<half>(b), p);
    ORDER(MTE2_MTE1);
    LoadData3DParamsV2<half> l; for (auto& each : l.padList) each = 1;
    l.l1H = 4; l.l1W = 5; l.channelSize = 32; l.kExtension = K; l.mExtension = 32; l.filterW = l.filterH = 3;
    LoadData(a2, a1, l);
    LoadData2DParams r; r.repeatTimes = k0; r.srcStride = 1; LoadData(b2, b1, r);
    ORDER(MTE1_M); MmadParams q; q.m = 20; q.n = 16; q.k = K; Mmad(c1, a2, b2, q); ORDER(M_FIX);
    FixpipeParamsV220 o; o.mSize = 20; o.nSize = 16; o.srcStride = 32; o.dstStride = 16;
    Fixpipe(global<float>(c), c1, o);
"""
KINDS["convolution"] = "AIC_ONLY"
# Six products through a ring of two slots in a GM workspace: full flags 0 and 1, free flags 2 and 3.
RING = """
    if ASCEND_IS_AIC {
        LocalTensor<half> a1(TPosition::A1, 0, 256), b1(TPosition::B1, 512, 256);
        LocalTensor<half> a2(TPosition::A2, 0, 256), b2(TPosition::B2, 0, 256);
        LocalTensor<float> c1(TPosition::CO1, 0, 256);
        LoadData2DParams l; l.repeatTimes = 1; MmadParams q; q.m = q.n = q.k = 16;
        FixpipeParamsV220 p; p.mSize = p.nSize = p.srcStride = p.dstStride = 16;
        DataCopy(b1, global<half>(b), 256);
        for (int t = 0; t < 6; t++) {
            DataCopy(a1, global<half>(a)[t * 256], 256); ORDER(MTE2_MTE1);
            LoadData(a2, a1, l); LoadData(b2, b1, l); ORDER(MTE1_M); Mmad(c1, a2, b2, q); ORDER(M_FIX);
            if (t >= 2) { WAIT_FREE }
            Fixpipe(global<float>(c)[1536 + t % 2 * 256], c1, p);
            CrossCoreSetFlag<2, PIPE_FIX>(t % 2);
            ORDER(FIX_M); ORDER(M_MTE1); ORDER(MTE1_MTE2);
        }
        DRAIN
    }
    if ASCEND_IS_AIV {
        auto x = ub<float>(X, 128); const int half_of = GetSubBlockIdx() * 128;
        for (int t = 0; t < 6; t++) {
            CrossCoreWaitFlag<2, PIPE_MTE2>(t % 2);
            DataCopy(x, global<float>(c)[1536 + t % 2 * 256 + half_of], 128);
            CrossCoreSetFlag<2, PIPE_MTE2>(2 + t % 2);
            ORDER(MTE2_V); Adds(x, x, (float)t, 128); ORDER(V_MTE3);
            DataCopy(global<float>(c)[t * 256 + half_of], x, 128); ORDER(MTE3_MTE2);
        }
    }
"""
WAIT_FREE, DRAIN = "CrossCoreWaitFlag<2, PIPE_FIX>(2 + t % 2);", "CrossCoreWaitFlag(2); CrossCoreWaitFlag(3);"
BODIES["ring"] = RING.replace("WAIT_FREE", WAIT_FREE).replace("DRAIN", DRAIN)
BODIES["ring_greedy"] = RING.replace("WAIT_FREE", "").replace("DRAIN", DRAIN * 3)
BODIES["ring_left"] = RING.replace("WAIT_FREE", WAIT_FREE).replace("DRAIN", "")
KINDS |= dict.fromkeys(["ring", "ring_greedy", "ring_left"], "MIX_AIC_1_2")
BODIES["sync_mixed"] = """
    if ASCEND_IS_AIV { auto x = ub<half>(X, 64); const int me = GetBlockIdx();
        Duplicate(x, (half)(float)(me + 1), 64); ORDER(V_MTE3); out(a + me * 128, x, 64); SyncAll<false>(); }
    if ASCEND_IS_AIC { SyncAll<false>(); LocalTensor<half> l(TPosition::A1, 0, 256); const int me = GetBlockIdx();
        DataCopy(l, global<half>(a), 256); ORDER(MTE2_MTE3); DataCopy(global<half>(b)[me * 256], l, 256); }
"""
KINDS["sync_mixed"] = "MIX_AIC_1_2"
# The wait stands in a pipe's queue; the scalar unit goes on.
BODIES["pipe_wait"] = """
    if ASCEND_IS_AIC { CrossCoreWaitFlag<2, PIPE_MTE2>(2); LocalTensor<half> l(TPosition::A1, 0, 256);
        DataCopy(l, global<half>(a), 256); CrossCoreSetFlag<2, PIPE_MTE2>(5); }
    if ASCEND_IS_AIV {
        auto x = ub<half>(X, 128); Duplicate(x, (half)3.0f, 128); ORDER(V_MTE3);
        out(a + GetSubBlockIdx() * 256, x, 128);
        CrossCoreSetFlag<2, PIPE_MTE3>(2); CrossCoreWaitFlag(5);
    }
"""
KINDS["pipe_wait"] = "MIX_AIC_1_2"

LATE = {
    **{
        f"late_{t}_{s}": cube(t, shape, load_a2=A2_3510)
        for t in ("half", "fp8_e4m3fn_t")
        for s, shape in SHAPES.items()
    },
    "late_kn_half": cube("half", SHAPES["ragged"], B1_KN, B2_KN_3510, A2_3510),
    "late_bf16_vector": """
    auto x = ub<bfloat16_t>(X, n), z = ub<bfloat16_t>(Z, n); in(x, a, n); ORDER(MTE2_V);
    Adds(z, x, (bfloat16_t)1.0f, n);
    Muls(z, z, (bfloat16_t)2.0f, n); ORDER(V_MTE3); out(c, z, n);
""",
    "late_scatter": """
    auto x = ub<float>(X, n), z = ub<float>(Z, n); auto o = ub<uint32_t>(Y, n); in(x, a, n); in(o, b, n); ORDER(MTE2_V);
    Scatter(z, x, o, 0, n); ORDER(V_MTE3); out(c, z, n);
""",
    "late_fp8": """
    auto x = ub<float>(X, n), z = ub<float>(Z, n); auto e = ub<fp8_e4m3fn_t>(Y, n); in(x, a, n); ORDER(MTE2_V);
    Cast(e, x, RoundMode::CAST_RINT, n); Cast(z, e, RoundMode::CAST_NONE, n); ORDER(V_MTE3); out(c, z, n);
""",
}
LATE_KINDS = {name: "AIC_ONLY" for name in LATE if "half" in name or "fp8_e4" in name}
# L0C to the UB of both vector cores, rows halved; each adds one and writes its half; UB to L1 on the way back.
LATE["late_ub"] = """
    if ASCEND_IS_AIC { {cube} CrossCoreSetFlag<2, PIPE_FIX>(3); }
    if ASCEND_IS_AIV {
        auto x = ub<float>(X, 192);
        CrossCoreWaitFlag<2, PIPE_V>(3); Adds(x, x, 1.0f, 160); ORDER(V_MTE3);
        out(c + GetSubBlockIdx() * 8 * 20 * 4, x, 160);
    }
""".replace(
    "{cube}",
    cube(
        "half",
        (16, 20, 32),
        load_a2=A2_3510,
        fix="""FixpipeParamsArch3510<CO2Layout::ROW_MAJOR> f3; f3.nSize = N; f3.mSize = M; f3.srcStride = M;
        f3.dstStride = N; f3.dualDstCtl = 1; LocalTensor<float> u(TPosition::VECIN, 0, 192);
        Fixpipe<float, float, CFG_ROW_MAJOR_UB>(u, c1, f3);""",
    ),
)
LATE_KINDS["late_ub"] = "MIX_AIC_1_2"
LATE["late_nz"] = cube(
    "half",
    (16, 32, 32),
    load_a2=A2_3510,
    fix="""FixpipeParamsArch3510<CO2Layout::NZ> f3; f3.nSize = N; f3.mSize = M; f3.srcStride = M; f3.dstStride = M * 16;
    f3.quantPre = QuantMode_t::F322F16; Fixpipe<half, float, CFG_NZ>(global<half>(c), c1, f3);""",
)
LATE_KINDS["late_nz"] = "AIC_ONLY"
# Each vector core puts one operand into L1; the cube core waits for both, each by a flag of its own.
LATE["late_l1"] = """
    LocalTensor<half> a1(TPosition::A1, 0, 256), b1(TPosition::B1, 512, 256);
    if ASCEND_IS_AIV {
        auto x = ub<half>(X, 256); const bool second = GetSubBlockIdx() == 1;
        in(x, second ? b : a, 256); ORDER(MTE2_MTE3); DataCopy(second ? b1 : a1, x, 256);
        CrossCoreSetFlag<4, PIPE_MTE3>(2);
    }
    if ASCEND_IS_AIC {
        LocalTensor<half> a2(TPosition::A2, 0, 256), b2(TPosition::B2, 0, 256);
        LocalTensor<float> c1(TPosition::CO1, 0, 256);
        CrossCoreWaitFlag<4, PIPE_MTE1>(2); CrossCoreWaitFlag<4, PIPE_MTE1>(18);
        LoadData2DParamsV2 l; l.mStep = l.kStep = l.srcStride = l.dstStride = 1;
        LoadData(a2, a1, l); LoadData(b2, b1, l);
        ORDER(MTE1_M); MmadParams q; q.m = q.n = q.k = 16; Mmad(c1, a2, b2, q); ORDER(M_FIX);
        FixpipeParamsV220 p; p.mSize = p.nSize = p.srcStride = p.dstStride = 16; Fixpipe(global<float>(c), c1, p);
    }
"""
LATE_KINDS["late_l1"] = "MIX_AIC_1_2"

SEEDS = [("clocks", 0), *(("witness", s) for s in range(4))]
DTYPES: dict[str, Any] = {"half": np.float16, "bfloat16_t": ml_dtypes.bfloat16, "float": np.float32, "int8_t": np.int8}
DTYPES["fp8_e4m3fn_t"] = ml_dtypes.float8_e4m3fn


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> Library:
    return compiled(BODIES, tmp_path_factory.mktemp("cube"), machine_folder, kinds=KINDS)


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> Library:
    return compiled(LATE, tmp_path_factory.mktemp("late"), machine_folder, 3510, LATE_KINDS)


def matrix(t: str, shape: tuple[int, int], seed: int) -> Array:
    rng = np.random.default_rng(seed)
    if t == "int8_t":
        return rng.integers(-128, 128, shape).astype(np.int8)
    return rng.standard_normal(shape).astype(np.float32).astype(DTYPES[t])


def product(a: Array, b: Array) -> Array:
    return a.astype(np.float64) @ b.astype(np.float64)  # type: ignore[no-any-return]


def launch(
    library: Library, name: str, *arguments: Any, mode: tuple[str, int] = ("clocks", 0), blocks: int = 1
) -> None:
    profile = "2201-manual" if library.arch == 2201 else "3510"
    with Emulator(library, profile, *mode) as emulator:
        emulator.launch(name, blocks, *arguments, 0, 0.0)


@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize("t", ["half", "bfloat16_t", "float", "int8_t"])
def test_products(library: Library, t: str, size: str) -> None:
    M, N, K = SHAPES[size]
    a, b = matrix(t, (M, K), 1), matrix(t, (N, K), 2)
    c = np.zeros((M, N), np.int32 if t == "int8_t" else np.float32)
    launch(library, f"nk_{t}_{size}", a, b, Unwritten(c))
    np.testing.assert_allclose(c, product(a, b.T), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("mode", SEEDS)
@pytest.mark.parametrize("size", SHAPES)
def test_transposed_loads(library: Library, size: str, mode: tuple[str, int]) -> None:
    M, N, K = SHAPES[size]
    a, b, c = matrix("half", (M, K), 1), matrix("half", (K, N), 2), np.zeros((M, N), np.float32)
    launch(library, f"kn_half_{size}", a, b, Unwritten(c), mode=mode)
    np.testing.assert_allclose(c, product(a, b), atol=1e-4)


def test_transposed_bytes(library: Library) -> None:
    a, b, c = matrix("int8_t", (32, 64), 1), matrix("int8_t", (64, 64), 2), np.zeros((32, 64), np.int32)
    launch(library, "kn_bytes", a, b, Unwritten(c))
    np.testing.assert_array_equal(c, product(a, b))


def test_late_vectors(late: Library) -> None:
    n = 200
    x = np.random.default_rng(0).standard_normal(n).astype(np.float32)
    z, h = np.zeros(n, np.float32), np.zeros(n, ml_dtypes.bfloat16)
    with Emulator(late, "3510") as emulator:
        b = x.astype(ml_dtypes.bfloat16)
        emulator.launch("late_bf16_vector", 1, b, None, Unwritten(h), n, 0.0)
        want = (b.astype(np.float32) + 1).astype(ml_dtypes.bfloat16).astype(np.float32) * 2
        np.testing.assert_array_equal(h.astype(np.float32), want)
        order = np.random.default_rng(1).permutation(n)
        emulator.launch("late_scatter", 1, x, (order * 4).astype(np.uint32), Unwritten(z), n, 0.0)
        np.testing.assert_array_equal(z[order], x)
        emulator.launch("late_fp8", 1, x, None, Unwritten(z), n, 0.0)
        np.testing.assert_array_equal(z, x.astype(ml_dtypes.float8_e4m3fn).astype(np.float32))


def test_results(library: Library) -> None:
    M, N, K = SHAPES["ragged"]
    a, b = matrix("half", (M, K), 1), matrix("half", (N, K), 2)
    want = product(a, b.T)
    c = np.zeros((M, N), np.float32)
    launch(library, "twice", a, b, Unwritten(c))
    np.testing.assert_allclose(c, 2 * want, atol=1e-4)
    c = np.full((M, N), 5, np.float32)
    launch(library, "atomic", a, b, c)
    np.testing.assert_allclose(c, want + 5, atol=1e-4)
    h = np.zeros((M, N), np.float16)
    launch(library, "to_half", a, b, Unwritten(h))
    np.testing.assert_allclose(h, want, rtol=1e-3, atol=1e-3)
    a, b = matrix("bfloat16_t", (M, K), 1), matrix("bfloat16_t", (N, K), 2)
    f = np.zeros((M, N), ml_dtypes.bfloat16)
    launch(library, "to_bf16", a, b, Unwritten(f))
    np.testing.assert_allclose(f.astype(np.float32), np.maximum(product(a, b.T), 0), rtol=1e-2, atol=1e-3)
    a, b = matrix("int8_t", (M, K), 1) // 8, matrix("int8_t", (N, K), 2) // 8
    launch(library, "dequant", a, b, Unwritten(h))
    np.testing.assert_array_equal(h, (product(a, b.T) * 2.0**-7).astype(np.float16))
    i = np.zeros((M, N), np.int8)
    launch(library, "requant", a, b, Unwritten(i))
    np.testing.assert_array_equal(i, np.clip(np.rint(product(a, b.T) * 2.0**-10), -128, 127))
    M, N, K = SHAPES["large"]
    a, b, h = matrix("half", (M, K), 1), matrix("half", (N, K), 2), np.zeros((N // 16, M, 16), np.float16)
    launch(library, "fractals", a, b, Unwritten(h))
    np.testing.assert_allclose(h.transpose(1, 0, 2).reshape(M, N), product(a, b.T), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("mode", SEEDS)
def test_cores_in_step(library: Library, mode: tuple[str, int]) -> None:
    a, b, c = matrix("half", (16, 32), 1), matrix("half", (20, 32), 2), np.zeros((16, 20), np.float32)
    launch(library, "group", a, b, Unwritten(c), mode=mode)
    np.testing.assert_allclose(c, product(a, b.T) + 1, atol=1e-4)
    for name in ("sync_hard", "sync_soft", "mode_0"):
        rows, sums = np.zeros((6, 64), np.float32), np.zeros((6, 64), np.float32)
        workspace = np.zeros(48, np.int32)
        launch(library, name, Unwritten(rows), Unwritten(sums), workspace, mode=mode, blocks=6)
        np.testing.assert_array_equal(sums, np.full((6, 64), 21))
    rows16, all16 = np.zeros((4, 64), np.float16), np.zeros((2, 4, 64), np.float16)
    launch(library, "sync_mixed", Unwritten(rows16), Unwritten(all16), None, mode=mode, blocks=2)
    np.testing.assert_array_equal(all16, np.broadcast_to(np.arange(1, 5)[:, None], (2, 4, 64)))
    launch(library, "pipe_wait", Unwritten(np.zeros(256, np.float16)), None, None, mode=mode)


@pytest.mark.parametrize("mode", SEEDS)
def test_late_chip(late: Library, mode: tuple[str, int]) -> None:
    for t in ("half", "fp8_e4m3fn_t"):
        for size, (M, N, K) in SHAPES.items():
            a, b, c = matrix(t, (M, K), 1), matrix(t, (N, K), 2), np.zeros((M, N), np.float32)
            launch(late, f"late_{t}_{size}", a, b, Unwritten(c), mode=mode)
            np.testing.assert_allclose(c, product(a, b.T), atol=1e-4)
    M, N, K = SHAPES["ragged"]
    a, b, c = matrix("half", (M, K), 1), matrix("half", (K, N), 2), np.zeros((M, N), np.float32)
    launch(late, "late_kn_half", a, b, Unwritten(c), mode=mode)
    np.testing.assert_allclose(c, product(a, b), atol=1e-4)
    a, b, c = matrix("half", (16, 32), 1), matrix("half", (20, 32), 2), np.zeros((16, 20), np.float32)
    launch(late, "late_ub", a, b, Unwritten(c), mode=mode)
    np.testing.assert_allclose(c, product(a, b.T) + 1, atol=1e-4)
    a, b, c = matrix("half", (16, 16), 1), matrix("half", (16, 16), 2), np.zeros((16, 16), np.float32)
    launch(late, "late_l1", a, b, Unwritten(c), mode=mode)
    np.testing.assert_allclose(c, product(a, b.T), atol=1e-4)
    a, b, h = matrix("half", (16, 32), 1), matrix("half", (32, 32), 2), np.zeros((2, 16, 16), np.float16)
    launch(late, "late_nz", a, b, Unwritten(h), mode=mode)
    np.testing.assert_allclose(h.transpose(1, 0, 2).reshape(16, 32), product(a, b.T), rtol=1e-3, atol=1e-2)


def test_convolution(library: Library) -> None:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((2, 4, 5, 16)).astype(np.float16)  # [C1, H, W, C0]
    weight = rng.standard_normal((16, 2, 3, 3, 16)).astype(np.float16)  # [N, C1, FH, FW, C0]
    out = np.zeros((4, 5, 16), np.float32)
    launch(library, "convolution", image, weight.reshape(16, -1), Unwritten(out))
    padded = np.pad(image.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    for y in range(4):
        for x in range(5):
            want = np.einsum("chwk,nchwk->n", padded[:, y : y + 3, x : x + 3], weight.astype(np.float64))
            np.testing.assert_allclose(out[y, x], want, atol=1e-3)


def run_ring(library: Library, name: str, mode: tuple[str, int]) -> tuple[set[str], bool]:
    a, b, c = matrix("half", (96, 16), 1), matrix("half", (16, 16), 2), np.zeros((8, 16, 16), np.float32)
    with Emulator(library, "2201-manual", *mode) as emulator:
        found = emulator.launch(name, 1, a, b, Unwritten(c), 0, 0.0, check=False)
    fractals = a.reshape(6, 16, 16).astype(np.float64)
    want = fractals @ b.astype(np.float64).T + np.arange(6)[:, None, None]
    return {f.kind for f in found}, np.allclose(c[:6], want, atol=1e-3)


def test_ring(library: Library) -> None:
    for mode in [("clocks", 0), *(("witness", s) for s in range(12))]:
        assert run_ring(library, "ring", mode) == (set(), True)
    assert run_ring(library, "ring_left", ("clocks", 0)) == ({"flag"}, True)
    assert "race" in run_ring(library, "ring_greedy", ("clocks", 0))[0]
    assert not all(run_ring(library, "ring_greedy", ("witness", s))[1] for s in range(12))
