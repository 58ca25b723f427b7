// y = a b^T for one a and b of 16 x 16 halfs; every cube core writes the same to a place of its own.
#include "parts.h"

extern "C" __global__ __aicore__ void smoke_cube(GM_ADDR x_gm, GM_ADDR y_gm, GM_ADDR workspace, GM_ADDR tiling) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
    REGISTER_TILING_DEFAULT(ProbeTiling);
    GET_TILING_DATA(sizes, tiling);
    GlobalTensor<half> x = global<half>(x_gm, 512);
    GlobalTensor<float> y = global<float>(y_gm, GetBlockNum() * 256);
    TPipe pipe;
    TBuf<TPosition::A1> l1_buf;
    pipe.InitBuffer(l1_buf, 1024);
    LocalTensor<half> a1 = l1_buf.GetWithOffset<half>(256, 0), b1 = l1_buf.GetWithOffset<half>(256, 512);
    TBuf<TPosition::A2> l0a_buf;
    pipe.InitBuffer(l0a_buf, 512);
    LocalTensor<half> a2 = l0a_buf.GetWithOffset<half>(256, 0);
    TBuf<TPosition::B2> l0b_buf;
    pipe.InitBuffer(l0b_buf, 512);
    LocalTensor<half> b2 = l0b_buf.GetWithOffset<half>(256, 0);
    TBuf<TPosition::CO1> l0c_buf;
    pipe.InitBuffer(l0c_buf, 1024);
    LocalTensor<float> sum = l0c_buf.GetWithOffset<float>(256, 0);
    to_l1(a1, x, 16, 16, 16);
    to_l1(b1, x[256], 16, 16, 16);
    ORDER(MTE2_MTE1, 0);
    to_l0a(a2, a1, 16, 16);
    to_l0b(b2, b1, 16, 16);
    ORDER(MTE1_M, 0);
    product(sum, a2, b2, 16, 16, 16, true);
    ORDER(M_FIX, 0);
    drain(y[GetBlockIdx() * 256], sum, 16, 16, 16, 16, QuantMode_t::NoQuant);
}
