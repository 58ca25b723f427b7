"""Copies, gathers, sorts and transpositions of the AscendC emulator against numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ascend import compiled, needs_compiler

from dsv4c.targets.ascend.emulate import Emulator, Library, Unwritten

pytestmark = needs_compiler
Array = np.ndarray[Any, Any]

BODIES = {
    "copy_count": """
    auto x = ub<float>(X, n); DataCopy(x, global<float>(a), n); ORDER(MTE2_MTE3); DataCopy(global<float>(b), x, n);
""",
    # 5 rows of 2 blocks: from a pitch of 4 blocks to a pitch of 3, and back to a pitch of 2
    "copy_blocks": """
    auto x = ub<float>(X, 512);
    DataCopy(x, global<float>(a), DataCopyParams{5, 2, 2, 1});
    ORDER(MTE2_MTE3);
    DataCopy(global<float>(b), x, DataCopyParams{5, 2, 1, 0});
""",
    "copy_local": """
    auto x = ub<float>(X, n), y = ub<float>(Y, n);
    DataCopy(x, global<float>(a), n); ORDER(MTE2_V); DataCopy(y, x, n); ORDER(V_MTE3); DataCopy(global<float>(b), y, n);
""",
    # 3 rows of n halfs out of a pitch of 40, padded on both sides with -1
    "pad_value": """
    auto x = ub<half>(X, 512);
    const uint32_t row = (1 + n + 2 + 15) / 16 * 16;
    DataCopyPad(x, global<half>(a), {3, n * 2, (40 - n) * 2, 1, 0}, {true, 1, 2, (half)(-1.0f)});
    ORDER(MTE2_MTE3);
    for (int r = 0; r < 3; r++) DataCopyPad(global<half>(b)[r * row], x[r * (row + 16)], {1, row * 2, 0, 0, 0});
""",
    "pad_dummy": """
    auto x = ub<float>(X, 64);
    DataCopyPad(x, global<float>(a), {2, n * 4, 0, 0, 0}, {false, 0, 0, 0});
    ORDER(MTE2_MTE3);
    DataCopy(global<float>(b), x, 2 * ((n + 7) / 8 * 8));
""",
    # rows of n in UB, each in blocks of its own, to a pitch of 50 in GM
    "pad_out": """
    auto x = ub<int8_t>(X, 512);
    DataCopyPad(x, global<int8_t>(a), {4, n, 0, 0, 0}, {false, 0, 0, 0});
    ORDER(MTE2_MTE3);
    DataCopyPad(global<int8_t>(b), x, {4, n, 0, 50 - n, 0});
""",
    "pad_old_form": """
    auto x = ub<half>(X, 512);
    DataCopyPad(x, global<half>(a), DataCopyParams{2, n * 2, 0, 0}, DataCopyPadParams{true, 0, 1, 0});
    ORDER(MTE2_MTE3);
    DataCopyPad(global<half>(b), x, DataCopyParams{2, n * 2, 0, 0});
""",
    "atomic": """
    auto x = ub<float>(X, n); in(x, a, n); ORDER(MTE2_MTE3);
    SetAtomicAdd<float>(); out(b, x, n); out(b, x, n); SetAtomicNone();
""",
    "atomic_max": """
    auto x = ub<float>(X, n); in(x, a, n); ORDER(MTE2_MTE3);
    SetAtomicMax<float>(); out(b, x, n); SetAtomicNone();
""",
    "queues": """
    TPipe pipe; TQueBind<QuePosition::VECIN, QuePosition::VECOUT, 1> q; pipe.InitBuffer(q, 2, 256);
    for (int i = 0; i < n / 64; i++) {
        auto t = q.AllocTensor<float>(); DataCopy(t, global<float>(a)[i * 64], 64); q.EnQue(t);
        t = q.DeQue<float>(); DataCopy(global<float>(b)[i * 64], t, 64); q.FreeTensor(t);
    }
""",
    "tbuf": """
    TPipe pipe; TBuf<TPosition::VECCALC> buf; pipe.InitBuffer(buf, 1024);
    auto x = buf.GetWithOffset<float>(64, 256); auto y = buf.Get<uint8_t>()[512].ReinterpretCast<float>();
    const int id = pipe.AllocEventID<HardEvent::MTE2_V>();
    DataCopy(x, global<float>(a), 64); SetFlag<HardEvent::MTE2_V>(id); WaitFlag<HardEvent::MTE2_V>(id);
    pipe.ReleaseEventID<HardEvent::MTE2_V>(id);
    Adds(y, x, 1.0f, 64); ORDER(V_MTE3); DataCopy(global<float>(b), y, 64);
""",
    "pools": """
    TPipe pipe; TBufPool<TPosition::VECCALC> first, second; TBuf<TPosition::VECCALC> x, y;
    TQue<QuePosition::VECIN, 0> q;
    pipe.InitBufPool(first, 2048); pipe.InitBufPool(second, 2048, first);
    first.InitBuffer(q, 1, 256); second.InitBuffer(x, 256); second.InitBuffer(y, 256);
    LocalTensor<float> t;
    q.AllocTensor(t); DataCopy(t, global<float>(a), 64); q.EnQue(t); q.DeQue(t);
    Adds(y.Get<float>(), x.Get<float>(), 1.0f, 64); q.FreeTensor(t);  // x lies where t does
    ORDER(V_MTE3); DataCopy(global<float>(b), y.Get<float>(64), 64);
""",
    "scalars": """
    auto x = ub<float>(X, n); in(x, a, n); ORDER(MTE2_S);
    float sum = 0; for (int i = 0; i < n; i++) sum += x.GetValue(i);
    x.SetValue(0, sum); ORDER(S_MTE3); out(b, x, n);
""",
    "scalar_gm": """
    auto g = global<int32_t>(a); auto o = global<int32_t>(b);
    for (int i = 0; i < n; i++) o.SetValue(i, g.GetValue(i) * 2);
    for (int i = 0; i < n; i += 16)
        DataCacheCleanAndInvalid<int32_t, CacheLine::SINGLE_CACHE_LINE, DcciDst::CACHELINE_OUT>(o[i]);
""",
    "gather": """
    auto x = ub<float>(X, 256), z = ub<float>(Z, n); auto o = ub<uint32_t>(Y, n);
    in(x, a, 256); in(o, b, n); ORDER(MTE2_V); Gather(z, x, o, 0, n); ORDER(V_MTE3); out(c, z, n);
""",
    "gatherb": """
    auto x = ub<float>(X, 256), z = ub<float>(Z, 128); auto o = ub<uint32_t>(Y, 16);
    in(x, a, 256); in(o, b, 16); ORDER(MTE2_V); Gatherb(z, x, o, 2, {1, 8}); ORDER(V_MTE3); out(c, z, 128);
""",
    **{
        f"keep_{p}": f"""
    auto x = ub<float>(X, 256), z = ub<float>(Z, 256); uint64_t kept = 0;
    in(x, a, 256); ORDER(MTE2_V); GatherMask(z, x, (uint8_t){p}, false, 0, {{1, 4, 8, 0}}, kept); ORDER(V_MTE3);
    out(c, z, kept);
"""
        for p in range(1, 8)
    },
    "keep_pattern": """
    auto x = ub<float>(X, 256), z = ub<float>(Z, 256); auto m = ub<uint32_t>(Y, 64); uint64_t kept = 0;
    in(x, a, 256); in(m, b, 64); ORDER(MTE2_V); GatherMask(z, x, m, true, n, {1, 1, 8, 8}, kept); ORDER(V_MTE3);
    out(c, z, kept);
""",
    "sort32": """
    auto x = ub<float>(X, 64), z = ub<float>(Z, 128); auto i = ub<uint32_t>(Y, 64);
    in(x, a, 64); in(i, b, 64); ORDER(MTE2_V); Sort32(z, x, i, 2); ORDER(V_MTE3); out(c, z, 128);
""",
    "sort32_half": """
    auto x = ub<half>(X, 32), z = ub<half>(Z, 128); auto i = ub<uint32_t>(Y, 32);
    in(x, a, 32); in(i, b, 32); ORDER(MTE2_V); Sort32(z, x, i, 1); ORDER(V_MTE3); out(c, z, 128);
""",
    "top": """
    auto x = ub<float>(X, 128), s = ub<float>(Z, 256), m = ub<float>(W, 256), v = ub<float>(W + 4096, 128);
    auto i = ub<uint32_t>(Y, 128), o = ub<uint32_t>(W + 8192, 128);
    in(x, a, 128); in(i, b, 128); ORDER(MTE2_V);
    Sort32(s, x, i, 4); PipeBarrier<PIPE_V>();
    const uint16_t lengths[4] = {32, 32, 32, 32};
    MrgSort(m, MrgSortSrcList<float>(s, s[64], s[128], s[192]), MrgSort4Info(lengths, false, 15, 1));
    PipeBarrier<PIPE_V>();
    Extract(v, o, m, 4); ORDER(V_MTE3); out(c, v, 128); out(b, o, 128);
""",
    "merge_two": """
    auto x = ub<float>(X, 64), m = ub<float>(W, 128); in(x, a, 32); in(x[32], b, 32); ORDER(MTE2_V);
    const uint16_t lengths[4] = {16, 16, 0, 0}; uint16_t n1, n2, n3, n4;
    MrgSort(m, MrgSortSrcList<float>(x, x[32], x, x), MrgSort4Info(lengths, true, 3, 1));
    GetMrgSortResult(n1, n2, n3, n4);
    ORDER(V_MTE3); out(c, m, (n1 + n2) * 2);
""",
    "sort_full": """
    auto x = ub<float>(X, 128), s = ub<float>(Z, 256), t = ub<float>(W, 256), v = ub<float>(W + 4096, 128);
    LocalTensor<float> k;
    auto i = ub<uint32_t>(Y, 128), o = ub<uint32_t>(W + 8192, 128);
    in(x, a, 128); in(i, b, 128); ORDER(MTE2_V);
    Concat(k, x, t, 8); Sort<float, true>(s, k, i, t, 4); PipeBarrier<PIPE_V>();
    Extract(v, o, s, 4); ORDER(V_MTE3); out(c, v, 128); out(b, o, 128);
""",
    "transpose": """
    auto x = ub<half>(X, 256), z = ub<half>(Z, 256); in(x, a, 256); ORDER(MTE2_V);
    Transpose(z, x); ORDER(V_MTE3); out(b, z, 256);
""",
    "transpose_image": """
    auto x = ub<float>(X, 192), z = ub<float>(Z, 192); auto t = ub<uint8_t>(W, 1024); in(x, a, 192); ORDER(MTE2_V);
    Transpose(z, x, t, {2, 3, 4, 8, TransposeType::TRANSPOSE_NCHW2NHWC}); ORDER(V_MTE3); out(b, z, 192);
""",
    # rows of 32 halfs, two repeats: [16, 32] -> [32, 16]
    "to_5hd": """
    auto x = ub<half>(X, 512), z = ub<half>(Z, 512); in(x, a, 512); ORDER(MTE2_V);
    LocalTensor<half> to[16], from[16];
    for (int i = 0; i < 16; i++) { from[i] = x[i * 32]; to[i] = z[i * 16]; }
    TransDataTo5HD(to, from, {false, false, 2, 16, 1}); ORDER(V_MTE3); out(b, z, 512);
""",
    "to_5hd_float": """
    auto x = ub<float>(X, 128), z = ub<float>(Z, 128); in(x, a, 128); ORDER(MTE2_V);
    uint64_t to[16], from[16];
    for (int i = 0; i < 16; i++) { from[i] = x[i * 8].GetPhyAddr(); to[i] = z[i * 8].GetPhyAddr(); }
    TransDataTo5HD<float>(to, from, {false, false, 1, 0, 0}); ORDER(V_MTE3); out(b, z, 128);
""",
    "broadcast": """
    auto x = ub<float>(X, 16), z = ub<float>(Z, 128); auto t = ub<uint8_t>(W, 1024); in(x, a, 16); ORDER(MTE2_V);
    const uint32_t to[2] = {16, 8}, from[2] = {16, 1};
    Broadcast<float, 2, 1>(z, x, to, from, t); ORDER(V_MTE3); out(b, z, 128);
""",
}
SEEDS = [("clocks", 0), *(("witness", s) for s in range(4))]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> Library:
    return compiled(BODIES, tmp_path_factory.mktemp("moves"), machine_folder)


def launch(library: Library, name: str, *arguments: Any, mode: tuple[str, int] = ("clocks", 0)) -> None:
    with Emulator(library, "2201-manual", *mode) as emulator:
        emulator.launch(name, 1, *arguments)


def floats(n: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(n).astype(np.float32)


@pytest.mark.parametrize("mode", SEEDS)
def test_copies(library: Library, mode: tuple[str, int]) -> None:
    x, y = floats(512), np.zeros(64, np.float32)
    launch(library, "copy_count", x, Unwritten(y), None, 64, 0.0, mode=mode)
    np.testing.assert_array_equal(y, x[:64])
    y = np.zeros(80, np.float32)
    launch(library, "copy_blocks", x, Unwritten(y), None, 0, 0.0, mode=mode)
    np.testing.assert_array_equal(y.reshape(5, 16), x[:160].reshape(5, 32)[:, :16])
    y = np.zeros(64, np.float32)
    launch(library, "copy_local", x, Unwritten(y), None, 64, 0.0, mode=mode)
    np.testing.assert_array_equal(y, x[:64])
    y = np.zeros(256, np.float32)
    launch(library, "queues", x, Unwritten(y), None, 256, 0.0, mode=mode)
    np.testing.assert_array_equal(y, x[:256])
    y = np.zeros(64, np.float32)
    launch(library, "pools", x, Unwritten(y), None, 64, 0.0, mode=mode)
    np.testing.assert_array_equal(y, x[:64] + 1)
    y = np.zeros(64, np.float32)
    launch(library, "tbuf", x, Unwritten(y), None, 64, 0.0, mode=mode)
    np.testing.assert_array_equal(y, x[:64] + 1)


@pytest.mark.parametrize("n", [5, 13, 30])
def test_padding(library: Library, n: int) -> None:
    x = floats(120).astype(np.float16)
    row = (n + 3 + 15) // 16 * 16
    y = np.zeros((3, row), np.float16)
    launch(library, "pad_value", x, Unwritten(y), None, n, 0.0)
    want = np.full((3, row), -1, np.float16)
    want[:, 1 : 1 + n] = x.reshape(3, 40)[:, :n]
    np.testing.assert_array_equal(y, want)
    f = floats(2 * n)
    room = (n + 7) // 8 * 8
    z = np.zeros((2, room), np.float32)
    launch(library, "pad_dummy", f, Unwritten(z), None, n, 0.0)
    np.testing.assert_array_equal(z[:, :n], f.reshape(2, n))
    np.testing.assert_array_equal(z[:, n:], np.repeat(f.reshape(2, n)[:, :1], room - n, 1))
    b = np.arange(4 * n, dtype=np.int8)
    o = np.full(200, 99, np.int8)
    launch(library, "pad_out", b, o, None, n, 0.0)
    want_bytes = np.full((4, 50), 99, np.int8)
    want_bytes[:, :n] = b.reshape(4, n)
    np.testing.assert_array_equal(o.reshape(4, 50), want_bytes)
    h = floats(2 * n).astype(np.float16)
    back = np.zeros_like(h)
    launch(library, "pad_old_form", h, Unwritten(back), None, n, 0.0)
    np.testing.assert_array_equal(back, h)


@pytest.mark.parametrize("mode", SEEDS)
def test_scalars_and_atomics(library: Library, mode: tuple[str, int]) -> None:
    x, y = floats(20), np.zeros(20, np.float32)
    launch(library, "scalars", x, Unwritten(y), None, 20, 0.0, mode=mode)
    np.testing.assert_allclose(y, [x.sum(), *x[1:]], rtol=1e-5, atol=1e-6)
    i = np.arange(40, dtype=np.int32)
    o = np.zeros_like(i)
    launch(library, "scalar_gm", i, o, None, 40, 0.0, mode=mode)
    np.testing.assert_array_equal(o, i * 2)
    y = np.ones(20, np.float32)
    launch(library, "atomic", x, y, None, 20, 0.0, mode=mode)
    np.testing.assert_allclose(y, 1 + 2 * x, rtol=1e-5, atol=1e-6)
    y = np.zeros(20, np.float32)
    launch(library, "atomic_max", x, y, None, 20, 0.0, mode=mode)
    np.testing.assert_array_equal(y, np.maximum(x, 0))


def test_gather(library: Library) -> None:
    x = floats(256)
    for n in (1, 64, 200):
        index = np.random.default_rng(n).integers(0, 256, n)
        z = np.zeros(n, np.float32)
        launch(library, "gather", x, (index * 4).astype(np.uint32), Unwritten(z), n, 0.0)
        np.testing.assert_array_equal(z, x[index])
    blocks = np.random.default_rng(0).integers(0, 32, 16)
    z = np.zeros(128, np.float32)
    launch(library, "gatherb", x, (blocks * 32).astype(np.uint32), Unwritten(z), 0, 0.0)
    np.testing.assert_array_equal(z.reshape(16, 8), x.reshape(32, 8)[blocks])


@pytest.mark.parametrize("mode", SEEDS)
def test_gather_mask(library: Library, mode: tuple[str, int]) -> None:
    x = floats(256)
    wanted = {1: x[::2], 2: x[1::2], 3: x[::4], 4: x[1::4], 5: x[2::4], 6: x[3::4], 7: x}
    for pattern, want in wanted.items():
        z = np.zeros(want.size, np.float32)
        launch(library, f"keep_{pattern}", x, None, Unwritten(z), 0, 0.0, mode=mode)
        np.testing.assert_array_equal(z, want)
    n = 100
    keep = np.random.default_rng(1).integers(0, 2, n).astype(bool)
    bits = np.zeros(256, np.uint8)
    bits[:13] = np.packbits(keep, bitorder="little")
    z = np.zeros(keep.sum(), np.float32)
    launch(library, "keep_pattern", x, bits.view(np.uint32), Unwritten(z), n, 0.0, mode=mode)
    np.testing.assert_array_equal(z, x[:n][keep])


def test_sort32(library: Library) -> None:
    x = np.round(floats(64) * 2).astype(np.float32)  # with ties, which are stable
    index = np.arange(64, dtype=np.uint32)
    z = np.zeros(128, np.float32)
    launch(library, "sort32", x, index, Unwritten(z), 0, 0.0)
    for part in range(2):
        order = np.argsort(-x[part * 32 : part * 32 + 32], kind="stable") + part * 32
        records = z[part * 64 : part * 64 + 64].reshape(32, 2)
        np.testing.assert_array_equal(records[:, 0], x[order])
        np.testing.assert_array_equal(records[:, 1].copy().view(np.uint32), order)
    h = floats(32).astype(np.float16)
    z16 = np.zeros(128, np.float16)
    launch(library, "sort32_half", h, index[:32], Unwritten(z16), 0, 0.0)
    order = np.argsort(-h, kind="stable")
    np.testing.assert_array_equal(z16.reshape(32, 4)[:, 0], h[order])
    np.testing.assert_array_equal(z16.view(np.uint32).reshape(32, 2)[:, 1], order)


@pytest.mark.parametrize("name", ["top", "sort_full"])
@pytest.mark.parametrize("mode", SEEDS)
def test_full_sort(library: Library, name: str, mode: tuple[str, int]) -> None:
    x = floats(128)
    index = np.arange(128, dtype=np.uint32)
    z = np.zeros(128, np.float32)
    launch(library, name, x, index, Unwritten(z), 0, 0.0, mode=mode)
    order = np.argsort(-x)
    np.testing.assert_array_equal(z, x[order])
    np.testing.assert_array_equal(index, order)


def test_suspended_merge(library: Library) -> None:
    def records(values: Array) -> Array:
        out = np.zeros((16, 2), np.float32)
        out[:, 0] = values
        return out.reshape(-1)

    first, second = np.arange(16, 0, -1), np.arange(40, 8, -2)  # the second list runs dry after 8 of the first
    z = np.zeros(64, np.float32)
    launch(library, "merge_two", records(first), records(second), z, 0, 0.0)
    taken = z.reshape(-1, 2)[:, 0]
    count = int((taken != 0).sum())
    want = np.sort(np.concatenate([first, second]))[::-1]
    np.testing.assert_array_equal(taken[:count], want[:count])
    assert (want[:count] >= 10).all() and count >= 16


def test_transposition(library: Library) -> None:
    x = floats(512).astype(np.float16)
    z = np.zeros(256, np.float16)
    launch(library, "transpose", x, Unwritten(z), None, 0, 0.0)
    np.testing.assert_array_equal(z.reshape(16, 16), x[:256].reshape(16, 16).T)
    z = np.zeros(512, np.float16)
    launch(library, "to_5hd", x, Unwritten(z), None, 0, 0.0)
    np.testing.assert_array_equal(z.reshape(32, 16), x.reshape(16, 32).T)
    f = floats(192)
    g = np.zeros(192, np.float32)
    launch(library, "transpose_image", f, Unwritten(g), None, 0, 0.0)
    np.testing.assert_array_equal(g.reshape(2, 4, 8, 3), f.reshape(2, 3, 4, 8).transpose(0, 2, 3, 1))
    g = np.zeros(128, np.float32)
    launch(library, "to_5hd_float", f, Unwritten(g), None, 0, 0.0)
    np.testing.assert_array_equal(g.reshape(8, 16), f[:128].reshape(16, 8).T)
    launch(library, "broadcast", f, Unwritten(g), None, 0, 0.0)
    np.testing.assert_array_equal(g.reshape(16, 8), np.repeat(f[:16, None], 8, 1))
