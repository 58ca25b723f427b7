// Adds its number and the number of its core to one row of 64 floats a core, in two halves that take turns in UB.
#include "parts.h"

extern "C" __global__ __aicore__ void smoke_vector(GM_ADDR x_gm, GM_ADDR y_gm, GM_ADDR workspace, GM_ADDR tiling) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    REGISTER_TILING_DEFAULT(ProbeTiling);
    GET_TILING_DATA(sizes, tiling);
    const int64_t rows = GetBlockNum();
    GlobalTensor<float> x = global<float>(x_gm, rows * 64), y = global<float>(y_gm, rows * 64);
    TPipe pipe;
    TBuf<TPosition::VECCALC> ub_buf;
    pipe.InitBuffer(ub_buf, 256);
    LocalTensor<float> tile = ub_buf.GetWithOffset<float>(64, 0);
    SetFlag<HardEvent::MTE3_MTE2>(0);
    SetFlag<HardEvent::MTE3_MTE2>(1);
    for (int64_t turn = 0; turn < 4; ++turn) {  // each half is used twice
        const LocalTensor<float> half = tile[turn % 2 * 32];
        const int64_t at = GetBlockIdx() * 64 + turn * 16;
        WaitFlag<HardEvent::MTE3_MTE2>(turn % 2);
        DataCopyPad(half, x[at], DataCopyExtParams(1, 64, 0, 0, 0), DataCopyPadExtParams<float>(true, 0, 0, 0.0f));
        SetFlag<HardEvent::MTE2_V>(turn % 2);
        WaitFlag<HardEvent::MTE2_V>(turn % 2);
        Adds(half, half, static_cast<float>(sizes.number), 16);
        PipeBarrier<PIPE_V>();
        Adds(half, half, static_cast<float>(GetBlockIdx()), 16);
        SetFlag<HardEvent::V_MTE3>(turn % 2);
        WaitFlag<HardEvent::V_MTE3>(turn % 2);
        DataCopyPad(y[at], half, DataCopyExtParams(1, 64, 0, 0, 0));
        SetFlag<HardEvent::MTE3_MTE2>(turn % 2);
    }
    WaitFlag<HardEvent::MTE3_MTE2>(0);
    WaitFlag<HardEvent::MTE3_MTE2>(1);
}
