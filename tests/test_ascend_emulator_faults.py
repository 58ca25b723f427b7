"""Planted faults: every check of the AscendC emulator fires on a minimal wrong kernel, and not on the right one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ascend import HEAD, compiled, kernel, needs_compiler

from dsv4c.targets.ascend.emulate import EmulationError, Emulator, Finding, Library, Unwritten, compiler, flags_of

pytestmark = needs_compiler
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Fault:
    """``body`` with ``wrong`` for @ gives a finding of ``kind`` that matches ``says``; with ``right`` it gives none."""

    kind: str
    says: str
    body: str
    right: str = ""
    wrong: str = ""
    core: str = "AIV_ONLY"
    blocks: int = 1
    also: tuple[str, ...] = ()  # other kinds that follow from the first


LOADED = "auto x = ub<float>(X, 128), y = ub<float>(Y, 128), z = ub<float>(Z, 128); in(x, a, 128); ORDER(MTE2_V);"
DONE = "ORDER(V_MTE3); out(c, z, 128);"
QUEUE = "TPipe pipe; TQue<QuePosition::VECIN, 1> q; TBuf<> buf; pipe.InitBuffer(q, 2, 512);"
QUEUE += "pipe.InitBuffer(buf, 512); auto z = buf.Get<float>();"
VALUES = "auto x = ub<float>(X, 128); Duplicate(x, (float)(GetBlockIdx() + 1), 128); ORDER(V_MTE3);"
CUBE = """
    LocalTensor<half> a1(TPosition::A1, 0, 256), b1(TPosition::B1, 512, 256);
    LocalTensor<half> a2(TPosition::A2, 0, 256), b2(TPosition::B2, 0, 256);
    LocalTensor<float> c1(TPosition::CO1, 0, 256);
    DataCopy(a1, global<half>(a), 256); DataCopy(b1, global<half>(a), 256);
    LoadData2DParams l; l.repeatTimes = 1; MmadParams q; q.m = q.n = q.k = 16;
    FixpipeParamsV220 p; p.mSize = p.nSize = p.srcStride = p.dstStride = 16;
    {load} LoadData(a2, a1, l); LoadData(b2, b1, l);
    {mmad} Mmad(c1, a2, b2, q);
    {more}
    {fix} Fixpipe(global<float>(c), c1, p);
"""


def cube(
    load: str = "ORDER(MTE2_MTE1);", mmad: str = "ORDER(MTE1_M);", fix: str = "ORDER(M_FIX);", more: str = ""
) -> str:
    return CUBE.replace("{load}", load).replace("{mmad}", mmad).replace("{fix}", fix).replace("{more}", more)


AGAIN = "q.cmatrixInitVal = false; @ Mmad(c1, a2, b2, q);"
FAULTS = {
    # order inside a core
    "v_barrier": Fault(
        "race",
        r"PipeBarrier<PIPE_V>",
        f"{LOADED} Adds(y, x, 1.0f, 128); @ Adds(z, y, 1.0f, 128); {DONE}",
        "PipeBarrier<PIPE_V>();",
    ),
    "v_barrier_write": Fault(
        "race",
        r"PipeBarrier<PIPE_V>",
        f"{LOADED} Adds(z, x, 1.0f, 128); @ Duplicate(x, 5.0f, 128); {DONE}",
        "PipeBarrier<PIPE_V>();",
    ),
    "mte2_v": Fault(
        "race", r"HardEvent::MTE2_V", f"{LOADED} in(y, b, 128); @ Add(z, x, y, 128); {DONE}", "ORDER(MTE2_V);"
    ),
    "v_mte3": Fault(
        "race", r"HardEvent::V_MTE3", f"{LOADED} Adds(z, x, 1.0f, 128); @ out(c, z, 128);", "ORDER(V_MTE3);"
    ),
    "mte3_v": Fault(
        "race",
        r"HardEvent::MTE3_V",
        f"{LOADED} Adds(z, x, 1.0f, 128); {DONE} @ Duplicate(z, 0.0f, 128);",
        "ORDER(MTE3_V);",
    ),
    "v_mte2": Fault(
        "race", r"HardEvent::V_MTE2", f"{LOADED} Adds(z, x, 1.0f, 128); @ in(x, b, 128); {DONE}", "ORDER(V_MTE2);"
    ),
    "mte3_mte2": Fault(
        "race",
        r"HardEvent::MTE3_MTE2",
        f"{LOADED} Adds(z, x, 1.0f, 128); {DONE} @ in(y, c, 128); ORDER(MTE2_MTE3); out(c, y, 128);",
        "ORDER(MTE3_MTE2);",
    ),
    "mte2_mte2": Fault(
        "race",
        r"PipeBarrier<PIPE_MTE2>",
        f"{LOADED} in(z, a, 128); @ in(z, b, 128); ORDER(MTE2_MTE3); out(c, z, 128);",
        "PipeBarrier<PIPE_MTE2>();",
    ),
    "v_s": Fault(
        "race",
        r"HardEvent::V_S",
        f"{LOADED} Adds(z, x, 1.0f, 128); @ const float v = z.GetValue(3);"
        f"PipeBarrier<PIPE_V>(); Adds(z, z, v, 128); {DONE}",
        "ORDER(V_S);",
    ),
    "mte2_s": Fault(
        "race",
        r"HardEvent::MTE2_S",
        f"{LOADED} in(y, b, 128); @ Adds(z, x, y.GetValue(5), 128); {DONE}",
        "ORDER(MTE2_S);",
    ),
    "s_v": Fault(
        "race",
        r"HardEvent::S_V",
        f"{LOADED} ORDER(MTE2_S); x.SetValue(7, 99.0f); @ Adds(z, x, 1.0f, 128); {DONE}",
        "ORDER(S_V);",
    ),
    "s_mte3": Fault(
        "race",
        r"HardEvent::S_MTE3",
        f"{LOADED} Adds(z, x, 1.0f, 128); ORDER(V_S); z.SetValue(7, 99.0f); @ {DONE}",
        "ORDER(S_MTE3);",
    ),
    "mte2_mte1": Fault("race", r"HardEvent::MTE2_MTE1", cube(load="@"), "ORDER(MTE2_MTE1);", core="AIC_ONLY"),
    "mte1_m": Fault("race", r"HardEvent::MTE1_M", cube(mmad="@"), "ORDER(MTE1_M);", core="AIC_ONLY"),
    "m_fix": Fault("race", r"HardEvent::M_FIX", cube(fix="@"), "ORDER(M_FIX);", core="AIC_ONLY"),
    "m_barrier": Fault("race", r"PipeBarrier<PIPE_M>", cube(more=AGAIN), "PipeBarrier<PIPE_M>();", core="AIC_ONLY"),
    "m_mte1": Fault(
        "race",
        r"HardEvent::M_MTE1",
        cube(more="@ LoadData(a2, b1, l); SetFlag<HardEvent::MTE1_M>(1); WaitFlag<HardEvent::MTE1_M>(1);"),
        "ORDER(M_MTE1);",
        core="AIC_ONLY",
    ),
    # order between cores
    "core_core": Fault(
        "race",
        r"synchronise the cores",
        f"{VALUES} out(c + @ * 512, x, 128);",
        "GetBlockIdx()",
        "0",
        blocks=2,
    ),
    "aic_aiv": Fault(
        "race",
        r"CrossCoreSetFlag on the first one's PIPE_FIX",
        "if ASCEND_IS_AIC {" + cube() + "CrossCoreSetFlag<2, PIPE_FIX>(1); }"
        "if ASCEND_IS_AIV { auto x = ub<float>(X, 256); @ in(x, c, 256); ORDER(MTE2_MTE3);"
        "if (GetSubBlockIdx() == 0) out(b, x, 256); }",
        "CrossCoreWaitFlag(1);",
        core="MIX_AIC_1_2",
        also=("flag", "undefined"),
    ),
    "wrong_pipe": Fault(
        "race",
        r"synchronise the cores",
        f"{VALUES} out(c + GetBlockIdx() * 512, x, 128); CrossCoreSetFlag<0, @>(1); CrossCoreWaitFlag(1);"
        "in(x, c, 128);",
        "PIPE_MTE3",
        "PIPE_V",
        core="MIX_AIV_1_0",
        blocks=2,
        also=("undefined",),
    ),
    # flags
    "flag_id": Fault(
        "deadlock",
        r"WaitFlag<V_MTE3>\(1\) waits for a flag that nothing has set",
        f"{LOADED} Adds(z, x, 1.0f, 128); SetFlag<HardEvent::V_MTE3>(0);"
        f"WaitFlag<HardEvent::V_MTE3>(@); out(c, z, 128);",
        "0",
        "1",
        also=("flag", "race"),
    ),
    "flag_twice": Fault(
        "flag",
        r"a second time before a WaitFlag",
        "SetFlag<HardEvent::V_MTE3>(2); @ SetFlag<HardEvent::V_MTE3>(2); WaitFlag<HardEvent::V_MTE3>(2);",
        "WaitFlag<HardEvent::V_MTE3>(2); ORDER(MTE3_V);",
        also=("again",),
    ),
    "flag_again": Fault(
        "again",
        r"SetFlag<V_MTE3>\(2\) again, and nothing says that the WaitFlag before it is over.*MTE3_V",
        "SetFlag<HardEvent::V_MTE3>(2); WaitFlag<HardEvent::V_MTE3>(2); @"
        "SetFlag<HardEvent::V_MTE3>(2); WaitFlag<HardEvent::V_MTE3>(2);",
        "ORDER(MTE3_V);",
    ),
    "flag_left": Fault(
        "flag", r"never waited for", "SetFlag<HardEvent::V_MTE3>(2); @", "WaitFlag<HardEvent::V_MTE3>(2);"
    ),
    "flag_range": Fault(
        "flag",
        r"event id 8",
        "const int id = @; SetFlag<HardEvent::V_MTE3>(id); WaitFlag<HardEvent::V_MTE3>(id);",
        "7",
        "8",
    ),
    "flag_core": Fault("flag", r"does not exist on a vector core", "@", "ORDER(V_MTE3);", "ORDER(M_FIX);"),
    "flag_many": Fault(
        "flag",
        r"more than 8 event ids",
        "TPipe pipe; for (int i = 0; i < @; i++) pipe.AllocEventID<HardEvent::MTE2_V>();",
        "8",
        "9",
    ),
    "cross_only": Fault(
        "sync",
        r"type AIV_ONLY",
        "@ { CrossCoreSetFlag<0, PIPE_MTE3>(1); CrossCoreWaitFlag(1); }",
        "if (GetBlockNum() > 1)",
    ),
    "cross_range": Fault(
        "flag",
        r"cross-core flag 16",
        "CrossCoreSetFlag<0, PIPE_MTE3>(@); CrossCoreWaitFlag(@);",
        "9",
        "16",
        core="MIX_AIV_1_0",
    ),
    "cross_owned": Fault(
        "flag",
        r"belongs to SyncAll",
        "SyncAll(); CrossCoreSetFlag<0, PIPE_MTE3>(@); CrossCoreWaitFlag(@);",
        "9",
        "12",
        core="MIX_AIV_1_0",
    ),
    "cross_counter": Fault(
        "flag",
        r"more than 15 sets",
        "for (int i = 0; i < @; i++) CrossCoreSetFlag<0, PIPE_MTE3>(1);"
        "for (int i = 0; i < @; i++) CrossCoreWaitFlag(1);",
        "15",
        "16",
        core="MIX_AIV_1_0",
    ),
    "cross_left": Fault(
        "flag",
        r"more than it is waited for",
        "CrossCoreSetFlag<0, PIPE_MTE3>(1); @",
        "CrossCoreWaitFlag(1);",
        core="MIX_AIV_1_0",
    ),
    "cross_hang": Fault(
        "deadlock",
        r"waits for ever: CrossCoreWaitFlag\(1\)",
        "if (GetBlockIdx() @ 0) CrossCoreSetFlag<0, PIPE_MTE3>(1); CrossCoreWaitFlag(1);",
        ">=",
        ">",
        core="MIX_AIV_1_0",
        blocks=2,
    ),
    "cross_hang_pipe": Fault(
        "deadlock",
        r"pipe MTE2 waits for ever for cross-core flag 1",
        "@ CrossCoreWaitFlag<0, PIPE_MTE2>(1);",
        "CrossCoreSetFlag<0, PIPE_MTE3>(1);",
        core="MIX_AIV_1_0",
    ),
    "sync_only": Fault("sync", r"SyncAll does not work in a kernel of type AIV_ONLY", "@", "", "SyncAll();"),
    "sync_some": Fault(
        "deadlock",
        r"SyncAll at .*of 3 cores have reached",
        "if (GetBlockIdx() @ 1) SyncAll();",
        ">= 0 * ",
        "!=",
        core="MIX_AIV_1_0",
        blocks=3,
    ),
    "sync_waves": Fault(
        "sync",
        r"blocks that have not started",
        "if (GetBlockNum() > 48) { @ }",
        "",
        "SyncAll();",
        core="MIX_AIV_1_0",
        blocks=49,
    ),
    "sync_workspace": Fault(
        "sync",
        r"is not zero",
        "SyncAll(global<int32_t>(@), ub<int32_t>(W, 64));",
        "b",
        "a",
        blocks=2,
    ),
    # queues
    "free_missing": Fault(
        "queue",
        r"AllocTensor finds none .* the core hangs",
        f"{QUEUE} for (int i = 0; i < 3; i++) {{ auto t = q.AllocTensor<float>(); in(t, a, 128); q.EnQue(t);"
        " t = q.DeQue<float>(); @ }",
        "q.FreeTensor(t);",
    ),
    "free_twice": Fault(
        "queue", r"free already", f"{QUEUE} auto t = q.AllocTensor<float>(); q.FreeTensor(t); @", "", "q.FreeTensor(t);"
    ),
    "free_use": Fault(
        "queue",
        r"after FreeTensor",
        f"{QUEUE} auto t = q.AllocTensor<float>(); in(t, a, 128); q.EnQue(t); t = q.DeQue<float>(); q.FreeTensor(t);@",
        "",
        "Adds(z, t, 1.0f, 128);",
    ),
    "deque_empty": Fault("queue", r"DeQue from an empty queue", f"{QUEUE} @", "", "q.DeQue<float>();"),
    "enque_left": Fault(
        "queue",
        r"enqueued and never dequeued",
        f"{QUEUE} auto t = q.AllocTensor<float>(); in(t, a, 128); q.EnQue(t); @",
        "t = q.DeQue<float>(); q.FreeTensor(t);",
    ),
    "enque_twice": Fault(
        "queue",
        r"EnQue of a tensor that is not allocated",
        f"{QUEUE} auto t = q.AllocTensor<float>(); in(t, a, 128); q.EnQue(t); @ t = q.DeQue<float>(); q.FreeTensor(t);",
        "",
        "q.EnQue(t);",
    ),
    "queue_other": Fault(
        "queue",
        r"not of this queue",
        f"{QUEUE} TQue<QuePosition::VECOUT, 1> r; pipe.InitBuffer(r, 1, 512);"
        f"auto t = q.AllocTensor<float>(); @.FreeTensor(t);",
        "q",
        "r",
        also=("queue",),
    ),
    "queue_unopened": Fault(
        "queue",
        r"InitBuffer has not seen",
        "TPipe pipe; TQue<QuePosition::VECIN, 1> q; @ auto t = q.AllocTensor<float>(); q.FreeTensor(t);",
        "pipe.InitBuffer(q, 1, 512);",
    ),
    "queue_many": Fault(
        "queue",
        r"event ids for 8",
        "TPipe pipe; TQue<QuePosition::VECIN, 1> q, r;pipe.InitBuffer(q, 4, 512); pipe.InitBuffer(r, @, 512);",
        "4",
        "5",
    ),
    "pipe_twice": Fault("queue", r"second TPipe", "TPipe pipe; @", "", "TPipe other;"),
    "state": Fault(
        "mode",
        r"neither a TPipe nor InitSocState",
        f"if (false) InitSocState(); @ {VALUES} out(c, x, 128);",
        "InitSocState();",
    ),
    "static_mixed": Fault(
        "queue",
        r"static addresses and a TPipe",
        "TPipe pipe; TBuf<> t; pipe.InitBuffer(t, 64); @",
        "",
        "ub<float>(X, 64);",
    ),
    # memory
    "capacity": Fault("capacity", r"UB overflows", "TPipe pipe; TBuf<> t; pipe.InitBuffer(t, @);", "188160", "188161"),
    "capacity_static": Fault("capacity", r"ends beyond UB", "auto x = ub<float>(@, 64);", "1024", "188032"),
    "capacity_l1": Fault(
        "capacity",
        r"L1 overflows",
        "TPipe pipe; TBuf<TPosition::A1> t; pipe.InitBuffer(t, @);",
        "524288",
        "524320",
        core="AIC_ONLY",
    ),
    "align": Fault(
        "align",
        r"multiple of 32",
        f"{LOADED} Adds(z, x[@], 1.0f, 64); Adds(z[64], x, 1.0f, 64); {DONE}",
        "8",
        "4",
        also=("undefined",),
    ),
    "align_l0": Fault(
        "align", r"multiple of 512", "LocalTensor<half> t(TPosition::A2, @, 256);", "1024", "256", core="AIC_ONLY"
    ),
    "bounds_ub": Fault(
        "bounds",
        r"has 512 bytes",
        f"{LOADED} Adds(z, x, 1.0f, @); ORDER(V_MTE3); out(c, z, 128);",
        "128",
        "200",
        also=("undefined",),
    ),
    "bounds_gm_read": Fault(
        "bounds", r"GM argument 0 of 1024 bytes", "auto x = ub<float>(X, 64); in(x, a + @, 64);", "768", "772"
    ),
    "bounds_gm_write": Fault("bounds", r"GM argument 2", f"{VALUES} out(c + @, x, 128);", "0", "4000"),
    "bounds_gm_wild": Fault(
        "bounds", r"no allocation holds", "auto x = ub<float>(X, 64); in(x, a @, 64);", "+ 0", "+ 1000000000"
    ),
    "bounds_scalar": Fault("bounds", r"GetValue", "auto g = global<float>(a); g.GetValue(@);", "255", "256"),
    "bounds_tiling": Fault(
        "bounds",
        r"GET_TILING_DATA",
        "struct T { int x[@]; }; GET_TILING_DATA_WITH_STRUCT(T, t, a); (void)t;",
        "256",
        "257",
    ),
    "undefined_ub": Fault(
        "undefined", r"Adds reads UB, byte 16384", f"{LOADED} Adds(z, @, 1.0f, 128); {DONE}", "x", "y"
    ),
    "undefined_tail": Fault(
        "undefined",
        r"byte 32",
        "auto x = ub<float>(X, 128), z = ub<float>(Z, 128); in(x, a, 8); ORDER(MTE2_V);"
        "Adds(z, x, 1.0f, @); ORDER(V_MTE3); out(c, z, 8);",
        "8",
        "9",
    ),
    "undefined_gm": Fault(
        "undefined", r"DataCopyPad reads GM argument 2", "auto x = ub<float>(X, 64); in(x, @, 64);", "a", "c"
    ),
    "undefined_queue": Fault(
        "undefined",
        r"Adds reads UB",
        f"{QUEUE} for (int i = 0; i < 4; i++) {{ auto t = q.AllocTensor<float>();"
        " in(t, a, i < 2 ? 128 : @); q.EnQue(t); t = q.DeQue<float>();"
        "PipeBarrier<PIPE_V>(); Adds(z, t, 1.0f, 128); q.FreeTensor(t); }",
        "128",
        "64",
    ),
    "undefined_rows": Fault(
        "undefined",
        r"Mmad reads L0A",
        cube(
            more="PipeBarrier<PIPE_ALL>(); InitConstValue(a1, InitConstValueParams<half>{1, 16, 0, (half)0.0f});"
            "PipeBarrier<PIPE_MTE2>();"
            "Nd2NzParams d; d.nValue = @; d.dValue = 16; d.srcDValue = 16; d.dstNzC0Stride = 16; d.dstNzNStride = 1;"
            "LocalTensor<half> e(TPosition::A1, 4096, 256); DataCopy(e, global<half>(a), d); PipeBarrier<PIPE_ALL>();"
            "LoadData(a2, e, l); PipeBarrier<PIPE_ALL>(); Mmad(c1, a2, b2, q);"
        ),
        "16",
        "12",
        core="AIC_ONLY",
    ),
    "overlap": Fault(
        "overlap",
        r"without being the same elements",
        f"{LOADED} Adds(x[@], x, 1.0f, 64); Adds(z, x, 1.0f, 0 + 64);ORDER(V_MTE3); out(c, z, 64);",
        "64",
        "32",
        also=("race",),
    ),
    "position": Fault(
        "position",
        r"must be in UB",
        "LocalTensor<float> t(TPosition::@, 0, 64); Duplicate(t, 1.0f, 64);",
        "VECCALC",
        "A1",
    ),
    "position_core": Fault(
        "position",
        r"pipe V, which a cube core",
        "auto t = ub<float>(X, 64); @",
        "",
        "Duplicate(t, 1.0f, 64);",
        core="AIC_ONLY",
    ),
    # arguments
    "copy_tail": Fault(
        "count", r"whole blocks of 32 bytes", "auto x = ub<float>(X, 64); DataCopy(x, global<float>(a), @);", "16", "13"
    ),
    "pad_blocks": Fault("narrow", r"blockCount = 4096", "DataCopyExtParams p; p.blockCount = @;", "4095", "4096"),
    "pad_length": Fault("narrow", r"blockLen = 2097152", "DataCopyExtParams p; p.blockLen = @;", "2097151", "2097152"),
    "pad_width": Fault(
        "count",
        r"at most 32 bytes",
        "auto x = ub<float>(X, 64); DataCopyPad(x, global<float>(a), {1, 32, 0, 0, 0}, {true, 0, @, 0.0f});",
        "8",
        "9",
    ),
    "pad_wide_type": Fault(
        "count",
        r"only be padded with 0",
        "auto x = ub<int64_t>(X, 64);DataCopyPad(x, global<int64_t>(a), {1, 24, 0, 0, 0}, {true, 0, 1, @});",
        "0",
        "1",
    ),
    "nd2nz_pitch": Fault(
        "narrow", r"srcDValue = 65536", "Nd2NzParams p; p.srcDValue = @;", "65535", "65536", core="AIC_ONLY"
    ),
    "nd2nz_rows": Fault("narrow", r"nValue = 16385", "Nd2NzParams p; p.nValue = @;", "16384", "16385", core="AIC_ONLY"),
    "mmad_k": Fault("narrow", r"k = 4096", "MmadParams p; p.k = @;", "4095", "4096", core="AIC_ONLY"),
    "repeats": Fault(
        "narrow",
        r"repeatTime = 256",
        f"{LOADED} Adds(z, x, 1.0f, 1, @, {{1, 1, 0, 0}}); PipeBarrier<PIPE_V>(); Adds(z, x, 1.0f, 128); {DONE}",
        "1",
        "256",
        also=("race",),
    ),
    "mask_width": Fault(
        "mask",
        r"1 to 64 elements",
        f"{LOADED} uint64_t m = @; Adds(z, x, 1.0f, m, 1, {{1, 1, 8, 8}});"
        "Adds(z[64], x, 1.0f, 64); ORDER(V_MTE3); out(c, z, 128);",
        "64",
        "65",
        also=("undefined",),
    ),
    "mask_mode": Fault(
        "mask",
        r"call SetMaskCount before",
        "@ SetVectorMask<float, MaskMode::COUNTER>(64); SetMaskNorm(); ResetMask();",
        "SetMaskCount();",
    ),
    "mask_left": Fault("mask", r"ends in counter mode", "SetMaskCount(); @", "SetMaskNorm();"),
    "atomic_left": Fault("mode", r"atomic mode on", "SetAtomicAdd<float>(); @", "SetAtomicNone();"),
    "atomic_type": Fault(
        "dtype",
        r"atomic mode set for",
        f"{VALUES} SetAtomicAdd<@>(); out(b, x, 128); SetAtomicNone();",
        "float",
        "half",
    ),
    "zero_count": Fault(
        "count",
        r"Adds with count 0",
        f"{LOADED} Adds(z, x, 1.0f, 128); PipeBarrier<PIPE_V>(); Adds(z, x, 1.0f, @); {DONE}",
        "128 - n",
        "n",
        also=("race",),
    ),
    "compare_count": Fault(
        "count",
        r"multiple of 256 bytes",
        f"{LOADED} auto m = ub<uint8_t>(W, 32); Compare(m, x, x, CMPMODE::LT, @);",
        "64",
        "100",
    ),
    "compare_int": Fault(
        "dtype",
        r"int32 with a mode other than EQ",
        f"{LOADED} auto m = ub<uint8_t>(W, 32); auto i = x.ReinterpretCast<int32_t>();"
        "Compare(m, i, i, CMPMODE::@, 64);",
        "EQ",
        "LT",
    ),
    "cast_mode": Fault(
        "dtype",
        r"bfloat16 with CAST_NONE",
        f"{LOADED} auto h = ub<bfloat16_t>(W, 64); Cast(h, x, RoundMode::CAST_@, 64);",
        "RINT",
        "NONE",
    ),
    "select_mode": Fault(
        "mode",
        r"VSEL_TENSOR_SCALAR_MODE",
        f"{LOADED} auto m = ub<uint8_t>(W, 32); CompareScalar(m, x, 0.0f, CMPMODE::LT, 64);"
        "PipeBarrier<PIPE_V>(); Select(y, m, x, 1.0f, SELMODE::VSEL_TENSOR_@_MODE, 64);",
        "SCALAR",
        "TENSOR",
    ),
    "reduce_scratch": Fault(
        "bounds", r"ReduceSum", f"{LOADED} auto w = ub<float>(W, 8); ReduceSum(z, x, w, @);", "128", "1000"
    ),
    "gather_offset": Fault(
        "align",
        r"offsets are in bytes",
        f"{LOADED} auto o = ub<uint32_t>(W, 8); Duplicate(o, 64u, 8); PipeBarrier<PIPE_V>();Gather(z, x, o, @, 8);",
        "4",
        "2",
    ),
    "gather_bounds": Fault(
        "bounds",
        r"Gather",
        f"{LOADED} auto o = ub<uint32_t>(W, 8); Duplicate(o, @u, 8); PipeBarrier<PIPE_V>();Gather(z, x, o, 0, 8);",
        "508",
        "512",
    ),
    "merge_order": Fault(
        "number",
        r"not in descending order",
        f"{LOADED} PipeBarrier<PIPE_V>(); Duplicate(x, 1.0f, 64); PipeBarrier<PIPE_V>();"
        "Duplicate(x, @, 2); PipeBarrier<PIPE_V>(); const uint16_t s[4] = {8, 8, 0, 0};"
        "MrgSort(y, MrgSortSrcList<float>(x, x[16], x, x), MrgSort4Info(s, false, 3, 1));",
        "2.0f",
        "0.5f",
    ),
    "merge_lists": Fault(
        "mode",
        r"validBit is 3, 7 or 15",
        f"{LOADED} PipeBarrier<PIPE_V>(); Duplicate(x, 1.0f, 64); PipeBarrier<PIPE_V>();"
        "const uint16_t s[4] = {8, 8, 0, 0};"
        "MrgSort(y, MrgSortSrcList<float>(x, x[16], x, x), MrgSort4Info(s, false, @, 1));",
        "3",
        "5",
    ),
    "mmad_row": Fault(
        "mode",
        r"m = 1",
        cube().replace("q.m = q.n", "q.n = q.k = 16; q.m = @; q.n"),
        "16",
        "1",
        core="AIC_ONLY",
        also=("undefined",),
    ),
    "mmad_bias": Fault(
        "mode",
        r"ignores the bias",
        cube(
            more="LocalTensor<float> f1(TPosition::C1, 4096, 16), f2(TPosition::C2, 0, 16);"
            "DataCopy(f1, global<float>(a), 16);"
            "PipeBarrier<PIPE_ALL>(); DataCopy(f2, f1, 16); PipeBarrier<PIPE_ALL>();"
            "q.cmatrixInitVal = @; Mmad(c1, a2, b2, f2, q);"
        ),
        "false",
        "true",
        core="AIC_ONLY",
    ),
    "fix_type": Fault(
        "dtype",
        r"NoQuant keeps the type",
        cube()
        .replace("global<float>(c)", "global<half>(c)")
        .replace("{", "{")
        .replace("p.mSize", "p.quantPre = QuantMode_t::@; p.mSize"),
        "F322F16",
        "NoQuant",
        core="AIC_ONLY",
    ),
    # the scalar cache over GM
    "cache_lost": Fault(
        "cache",
        r"nobody will see it",
        "auto g = global<int32_t>(b); g.SetValue(0, 5); @",
        "DataCacheCleanAndInvalid<int32_t, CacheLine::SINGLE_CACHE_LINE>(g);",
    ),
    "cache_mte": Fault(
        "cache",
        r"holds modified",
        "auto g = global<int32_t>(b); auto x = ub<int32_t>(X, 64); g.SetValue(0, 5); @ in(x, b, 64);"
        "DataCacheCleanAndInvalid<int32_t, CacheLine::SINGLE_CACHE_LINE>(g);",
        "DataCacheCleanAndInvalid<int32_t, CacheLine::SINGLE_CACHE_LINE>(g); ORDER(S_MTE2);",
        also=("race",),
    ),
    "cache_stale": Fault(
        "cache",
        r"stale line",
        f"auto g = global<float>(b); g.GetValue(0); {VALUES} out(b, x, 64); ORDER(MTE3_S); @ g.GetValue(1);",
        "DataCacheCleanAndInvalid<float, CacheLine::SINGLE_CACHE_LINE>(g);",
    ),
    "cache_sharing": Fault(
        "cache",
        r"two cores hold the same 64-byte line",
        "auto g = global<int32_t>(b); const int at = GetBlockIdx() * @; g.SetValue(at, 5); SyncAll();"
        "DataCacheCleanAndInvalid<int32_t, CacheLine::SINGLE_CACHE_LINE>(g[at]);",
        "16",
        "4",
        core="MIX_AIV_1_0",
        blocks=2,
    ),
}


def texts(name: str) -> tuple[str, str]:
    fault = FAULTS[name]
    return fault.body.replace("@", fault.wrong), fault.body.replace("@", fault.right)


def bodies() -> Iterator[tuple[str, str, str]]:
    for name, fault in FAULTS.items():
        wrong, right = texts(name)
        yield f"wrong_{name}", wrong, fault.core
        yield f"right_{name}", right, fault.core


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> Library:
    kinds = {name: core for name, _, core in bodies() if core != "AIV_ONLY"}
    return compiled({n: b for n, b, _ in bodies()}, tmp_path_factory.mktemp("faults"), machine_folder, kinds=kinds)


def run(
    library: Library, name: str, blocks: int, profile: str, mode: str = "clocks", seed: int = 0
) -> tuple[list[Finding], Array]:
    """Findings, and what the kernel wrote; ``a`` and ``b`` are full, ``c`` is empty."""
    a, b, c = np.arange(1, 257, dtype=np.float32), np.zeros(256, np.float32), np.zeros(256, np.float32)
    with Emulator(library, profile, mode, seed) as emulator:
        found = emulator.launch(name, blocks, a, b, Unwritten(c), 0, 0.0, check=False)
    return [f for f in found if "argument" not in f.where], np.concatenate([b, c])


@pytest.mark.parametrize("name", FAULTS)
def test_fault(library: Library, name: str) -> None:
    fault = FAULTS[name]
    found, _ = run(library, f"wrong_{name}", fault.blocks, "2201-manual")
    first = [f for f in found if f.kind == fault.kind and re.search(fault.says, str(f))]
    assert first, found
    assert {f.kind for f in found} <= {fault.kind, *fault.also}, found
    assert first[0].where.startswith(f"wrong_{name}: ")
    right, _ = run(library, f"right_{name}", fault.blocks, "2201-manual")
    assert right == []


AUTO = ("v_barrier", "v_barrier_write", "v_s", "mte2_s", "s_v", "s_mte3")


@pytest.mark.parametrize("name", [n for n, f in FAULTS.items() if f.kind == "race"])
def test_what_the_compiler_would_insert(library: Library, name: str) -> None:
    found, _ = run(library, f"wrong_{name}", FAULTS[name].blocks, "2201-auto")
    assert bool(found) == (name not in AUTO)


NUMBERS = (
    "v_barrier",
    "v_barrier_write",
    "mte2_v",
    "v_mte3",
    "mte3_v",
    "v_mte2",
    "mte3_mte2",
    "mte2_mte2",
    "v_s",
    "mte2_s",
    "s_v",
    "s_mte3",
)
NUMBERS += ("mte2_mte1", "mte1_m", "m_fix", "core_core")


@pytest.mark.parametrize("name", NUMBERS)
def test_witness(library: Library, name: str) -> None:
    blocks = FAULTS[name].blocks
    _, want = run(library, f"right_{name}", blocks, "2201-manual")
    wrong = 0
    for seed in range(24):
        found, value = run(library, f"right_{name}", blocks, "2201-manual", "witness", seed)
        assert found == []
        np.testing.assert_array_equal(value, want)
        _, value = run(library, f"wrong_{name}", blocks, "2201-manual", "witness", seed)
        wrong += not np.array_equal(value, want, equal_nan=True)
    assert wrong > 0


def test_same_twice(library: Library) -> None:
    for name in ("wrong_v_mte3", "wrong_core_core", "wrong_cross_hang", "wrong_cache_sharing"):
        fault = FAULTS[name.removeprefix("wrong_")]
        for mode, seed in (("clocks", 0), ("witness", 5)):
            first = run(library, name, fault.blocks, "2201-manual", mode, seed)
            second = run(library, name, fault.blocks, "2201-manual", mode, seed)
            assert first[0] == second[0]
            np.testing.assert_array_equal(first[1], second[1])


def test_a_finding_is_not_hidden_by_an_earlier_launch(library: Library) -> None:
    with Emulator(library) as emulator:
        c = np.zeros(256, np.float32)
        first, second = (emulator.launch("wrong_v_mte3", 1, c, c, c, 0, 0.0, check=False) for _ in range(2))
        assert first == second != []
        assert emulator.findings() == first + second
        with pytest.raises(
            EmulationError, match=r"wrong_v_mte3: vector\.cpp:\d+: race: DataCopyPad \(pipe MTE3\) reads UB"
        ):
            emulator.launch("wrong_v_mte3", 1, c, c, c, 0, 0.0)


def test_unwritten_output(library: Library) -> None:
    with Emulator(library) as emulator:
        c = np.zeros(256, np.float32)
        found = emulator.launch("right_v_mte3", 1, c, c, Unwritten(c), 0, 0.0, check=False)
    assert [(f.kind, f.text) for f in found] == [("undefined", "byte 512 of 1024 was never written")]


# --- what does not compile on the device does not compile here -----------------------------------------------------
ILLEGAL = {
    "bf16_maths": (
        "auto x = ub<bfloat16_t>(X, 64); Add(x, x, x, 64);",
        "Add: this element type is not computed on this chip",
    ),
    "to_int8": (
        "Cast(ub<int8_t>(Y, 64), ub<float>(X, 64), RoundMode::CAST_RINT, 64);",
        "this pair of types does not exist",
    ),
    "bf16_half": (
        "Cast(ub<half>(Y, 64), ub<bfloat16_t>(X, 64), RoundMode::CAST_RINT, 64);",
        "this pair of types does not exist",
    ),
    "from_fp8": (
        "Cast(ub<float>(Y, 64), ub<fp8_e4m3fn_t>(X, 64), RoundMode::CAST_NONE, 64);",
        "this pair of types does not exist",
    ),
    "from_fp4": (
        "Cast(ub<bfloat16_t>(Y, 64), ub<fp4x2_e2m1_t>(X, 32), RoundMode::CAST_NONE, 64);",
        "this pair of types does not exist",
    ),
    "int_exp": ("auto x = ub<int32_t>(X, 64); Exp(x, x, 64);", "Exp: this element type"),
    "scatter": (
        "auto x = ub<float>(X, 64); Scatter(x, x, ub<uint32_t>(Y, 64), 0, 64);",
        "Scatter does not exist on 2201",
    ),
    "fill_bytes": ("Duplicate(ub<int8_t>(X, 64), (int8_t)0, 64);", "16- and 32-bit types only"),
    "cross_pipe": ("CrossCoreSetFlag<2, PIPE_S>(1);", "names the pipe whose work must be complete"),
    "cross_mode": ("CrossCoreSetFlag<4, PIPE_MTE3>(1);", "cross-core mode"),
    "scalar_bf16": ("bfloat16_t x(1.0f); float y = x + x; (void)y;", "x + x"),
    "load_v2": ("LocalTensor<half> l; LoadData(l, l, LoadData2DParamsV2());", "LoadData2DParamsV2 is of 3510"),
    "mmad_types": (
        "LocalTensor<half> h; LocalTensor<bfloat16_t> b; LocalTensor<float> c; Mmad(c, h, b, MmadParams());",
        "Mmad: this combination",
    ),
    "gemv": ("MmadParams p; p.disableGemv = true;", "no member named"),
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal_on_2201(name: str, tmp_path: Path) -> None:
    body, says = ILLEGAL[name]
    (tmp_path / "kernel.cpp").write_text(HEAD + kernel(name, body))
    command = [compiler(), *flags_of(2201), "-fsyntax-only", str(tmp_path / "kernel.cpp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert says in done.stderr
