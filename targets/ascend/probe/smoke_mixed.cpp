// The vector core doubles x, the cube core multiplies it with itself, the vector core adds a number: two hand-overs,
// the way emitted kernels make them. Through global memory on dav-2201, between UB and L1 or L0C on dav-3510.
#include "parts.h"

#if __NPU_ARCH__ == 3510
constexpr FixpipeConfig TO_UB = {CO2Layout::ROW_MAJOR, true};
#endif

extern "C" __global__ __aicore__ void smoke_mixed(GM_ADDR x_gm, GM_ADDR y_gm, GM_ADDR workspace, GM_ADDR tiling) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_MIX_AIC_1_1);
    REGISTER_TILING_DEFAULT(ProbeTiling);
    GET_TILING_DATA(sizes, tiling);
    GlobalTensor<float> up = global<float>(workspace + GetBlockIdx() * 2048, 256);
    GlobalTensor<float> down = global<float>(workspace + GetBlockIdx() * 2048 + 1024, 256);
    TPipe pipe;
    TBuf<TPosition::A1> l1_buf;
    pipe.InitBuffer(l1_buf, 1024);
    LocalTensor<float> a1 = l1_buf.GetWithOffset<float>(256, 0);
    if ASCEND_IS_AIC {
        TBuf<TPosition::A2> l0a_buf;
        pipe.InitBuffer(l0a_buf, 1024);
        LocalTensor<float> a2 = l0a_buf.GetWithOffset<float>(256, 0);
        TBuf<TPosition::B2> l0b_buf;
        pipe.InitBuffer(l0b_buf, 1024);
        LocalTensor<float> b2 = l0b_buf.GetWithOffset<float>(256, 0);
        TBuf<TPosition::CO1> l0c_buf;
        pipe.InitBuffer(l0c_buf, 1024);
        LocalTensor<float> sum = l0c_buf.GetWithOffset<float>(256, 0);
#if __NPU_ARCH__ == 3510
        CrossCoreWaitFlag<4, PIPE_MTE1>(2);
#else
        CrossCoreWaitFlag<2>(2);
        to_l1(a1, up, 16, 16, 16);
        ORDER(MTE2_MTE1, 0);
#endif
        to_l0a(a2, a1, 16, 16);
        to_l0b(b2, a1, 16, 16);
        ORDER(MTE1_M, 0);
        product(sum, a2, b2, 16, 16, 16, true);
        ORDER(M_FIX, 0);
#if __NPU_ARCH__ == 3510
        TBuf<TPosition::VECCALC> ub_buf;
        pipe.InitBuffer(ub_buf, 2048);
        LocalTensor<float> there = ub_buf.GetWithOffset<float>(256, 1024);
        FixpipeParamsArch3510<CO2Layout::ROW_MAJOR> params;
        params.nSize = 16;
        params.mSize = 16;
        params.srcStride = 16;
        params.dstStride = 16;
        params.quantPre = QuantMode_t::NoQuant;
        params.dualDstCtl = 0;
        params.subBlockId = 0;
        params.params.ndNum = 1;
        params.params.srcNdStride = 0;
        params.params.dstNdStride = 0;
        Fixpipe<float, float, TO_UB>(there, sum, params);
        CrossCoreSetFlag<4, PIPE_FIX>(0);
#else
        drain(down, sum, 16, 16, 16, 16, QuantMode_t::NoQuant);
        CrossCoreSetFlag<2, PIPE_FIX>(0);
#endif
    }
    if ASCEND_IS_AIV {
        GlobalTensor<float> x = global<float>(x_gm, 256), y = global<float>(y_gm, GetBlockNum() * 256);
        TBuf<TPosition::VECCALC> ub_buf;
        pipe.InitBuffer(ub_buf, 2048);
        LocalTensor<float> tile = ub_buf.GetWithOffset<float>(256, 0), back = ub_buf.GetWithOffset<float>(256, 1024);
        const DataCopyExtParams whole(1, 1024, 0, 0, 0);
        const DataCopyPadExtParams<float> plain(true, 0, 0, 0.0f);
        DataCopyPad(tile, x, whole, plain);
        ORDER(MTE2_V, 0);
        Muls(tile, tile, 2.0f, 256);
        ORDER(V_MTE3, 0);
#if __NPU_ARCH__ == 3510
        for (int64_t column = 0; column < 2; ++column) {
            DataCopy(a1[column * 128], tile[column * 8], DataCopyParams(16, 1, 1, 0));
        }
        CrossCoreSetFlag<4, PIPE_MTE3>(2);
        CrossCoreWaitFlag<4, PIPE_V>(0);
#else
        DataCopyPad(up, tile, whole);
        CrossCoreSetFlag<2, PIPE_MTE3>(2);
        CrossCoreWaitFlag<2>(0);
        DataCopyPad(back, down, whole, plain);
        ORDER(MTE2_V, 1);
#endif
        Adds(back, back, static_cast<float>(sizes.number), 256);
        ORDER(V_MTE3, 1);
        DataCopyPad(y[GetBlockIdx() * 256], back, whole);
    }
}
