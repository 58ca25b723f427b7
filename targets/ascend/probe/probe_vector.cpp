// One fact a launch, on the first vector core: 4096 bytes of input in UB, a result that begins as the output is.
#include "parts.h"

extern "C" __global__ __aicore__ void probe_vector(GM_ADDR x_gm, GM_ADDR y_gm, GM_ADDR workspace, GM_ADDR tiling) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIV_ONLY);
    REGISTER_TILING_DEFAULT(ProbeTiling);
    GET_TILING_DATA(sizes, tiling);
    const int64_t fact = sizes.number;
    GlobalTensor<float> x = global<float>(x_gm, 1024), y = global<float>(y_gm, 1024);
    TPipe pipe;
    TBuf<TPosition::VECCALC> ub_buf;
    pipe.InitBuffer(ub_buf, 8192);
    // Quarters of the input, and the result, as the types that facts need.
    LocalTensor<float> all = ub_buf.GetWithOffset<float>(1024, 0), a = all, b = all[256], d = all[512];
    LocalTensor<int32_t> ia = ub_buf.GetWithOffset<int32_t>(256, 0), ib = ub_buf.GetWithOffset<int32_t>(256, 1024);
    LocalTensor<half> ha = ub_buf.GetWithOffset<half>(512, 0);
    LocalTensor<bfloat16_t> wa = ub_buf.GetWithOffset<bfloat16_t>(512, 1024);
    LocalTensor<uint8_t> ba = ub_buf.GetWithOffset<uint8_t>(1024, 0), bits = ub_buf.GetWithOffset<uint8_t>(1024, 1024);
    LocalTensor<float> c = ub_buf.GetWithOffset<float>(1024, 4096);
    LocalTensor<int32_t> ic = ub_buf.GetWithOffset<int32_t>(1024, 4096);
    LocalTensor<half> hc = ub_buf.GetWithOffset<half>(2048, 4096);
    LocalTensor<bfloat16_t> wc = ub_buf.GetWithOffset<bfloat16_t>(2048, 4096);
    LocalTensor<uint8_t> bc = ub_buf.GetWithOffset<uint8_t>(4096, 4096);
    const DataCopyExtParams whole(1, 4096, 0, 0, 0);
    const DataCopyPadExtParams<float> plain(true, 0, 0, 0.0f);
    DataCopyPad(all, x, whole, plain);
    DataCopyPad(c, y, whole, plain);
    ORDER(MTE2_V, 0);
    if (fact == 0) {
        Add(c, a, b, 60);
        Sub(c[64], a, b, 60);
        Mul(c[128], a, b, 60);
        Div(c[192], a, b, 60);
        Max(c[256], a, b, 60);
        Min(c[320], a, b, 60);
    } else if (fact == 1) {
        Adds(c, a, 1.5f, 60);
        Muls(c[64], a, -2.0f, 60);
        Maxs(c[128], a, 3.0f, 60);
        Mins(c[192], a, 3.0f, 60);
    } else if (fact == 2) {
        Add(ic, ia, ib, 60);
        Sub(ic[64], ia, ib, 60);
        Mul(ic[128], ia, ib, 60);
        Max(ic[192], ia, ib, 60);
        Min(ic[256], ia, ib, 60);
        Adds(ic[320], ia, int32_t(5), 60);
        Muls(ic[384], ia, int32_t(-3), 60);
        ShiftRight(ic[448], ia, int32_t(3), 60);
    } else if (fact == 3) {
        Add(c, a, b, 64, 3, BinaryRepeatParams(1, 1, 1, 8, 8, 0));
    } else if (fact == 4) {
        Mul(c, a, b, 64, 3, BinaryRepeatParams(1, 1, 0, 8, 8, 1));
    } else if (fact == 5) {
        Sub(c, a, b, 16, 3, BinaryRepeatParams(1, 1, 1, 8, 4, 2));
    } else if (fact == 6) {
        Muls(c, a, 3.0f, 24, 4, UnaryRepeatParams(1, 1, 4, 8));
    } else if (fact == 7) {
        Brcb(c, a, 2, BrcbRepeatParams(1, 8));
    } else if (fact == 8) {
        WholeReduceSum(c, a, 24, 3, 1, 1, 4);
        WholeReduceMax(c[64], a, 24, 3, 1, 1, 4, ReduceOrder::ORDER_ONLY_VALUE);
        WholeReduceMin(c[128], a, 24, 3, 1, 1, 4, ReduceOrder::ORDER_ONLY_VALUE);
    } else if (fact == 9) {
        Compare(bc, a, b, CMPMODE::LT, 64);
        Compare(bc[32], a, b, CMPMODE::GT, 64);
        Compare(bc[64], a, b, CMPMODE::EQ, 64);
        Compare(bc[96], a, b, CMPMODE::LE, 64);
        Compare(bc[128], a, b, CMPMODE::GE, 64);
        Compare(bc[160], a, b, CMPMODE::NE, 64);
        CompareScalar(bc[192], a, 3.0f, CMPMODE::GT, 64);
    } else if (fact == 10) {
        Select(c, bits, a, d, SELMODE::VSEL_TENSOR_TENSOR_MODE, 128);
    } else if (fact == 11) {
        Select(c, bits, a, -2.0f, SELMODE::VSEL_TENSOR_SCALAR_MODE, 128);
    } else if (fact == 12) {
        uint64_t kept = 0;
        GatherMask(c, a, bits.ReinterpretCast<uint32_t>(), true, 128, GatherMaskParams(1, 1, 8, 8), kept);
    } else if (fact == 13) {
        Gather(c, a, ib.ReinterpretCast<uint32_t>(), 0, 64);
    } else if (fact == 14) {
        Cast(wc, a, RoundMode::CAST_RINT, 64);
    } else if (fact == 15) {
        Cast(hc, a, RoundMode::CAST_RINT, 64);
    } else if (fact == 16) {
        Cast(ic, a, RoundMode::CAST_RINT, 64);
    } else if (fact == 17) {
        Cast(c, ia, RoundMode::CAST_NONE, 64);
    } else if (fact == 18) {
        Cast(c, ha, RoundMode::CAST_NONE, 64);
        Cast(c[64], wa, RoundMode::CAST_NONE, 64);
    } else if (fact == 19) {
        Cast(hc, ba, RoundMode::CAST_NONE, 64);
        PipeBarrier<PIPE_V>();
        Cast(bc[1024], hc, RoundMode::CAST_RINT, 64);
    } else if (fact == 20) {
        Duplicate(c, 1.5f, 60);
        Duplicate(ic[64], int32_t(-7), 60);
        CreateVecIndex(ic[128], int32_t(100), 60);
        Duplicate(c[192], -Infinity(), 60);
    } else if (fact == 21) {
        Exp(c, d, 60);
        Ln(c[64], a, 60);
        Sqrt(c[128], a, 60);
        Abs(c[192], b, 60);
    } else if (fact == 22) {
        Muls(ia, ia, int32_t(2), 64);
        ORDER(V_S, 0);
        const int64_t twice = ia.GetValue(5);
        GlobalTensor<int32_t> numbers = global<int32_t>(x_gm, 1024);
        Duplicate(ic, static_cast<int32_t>(twice), 8);
        Duplicate(ic[8], static_cast<int32_t>(numbers.GetValue(7)), 8);
    } else if (fact == 23) {  // rows of 20 bytes, 32 apart in GM; two blocks apart in UB
        ORDER(V_MTE2, 0);
        DataCopyPad(c, x, DataCopyExtParams(3, 20, 12, 1, 0), DataCopyPadExtParams<float>(true, 0, 3, 7.0f));
        ORDER(MTE2_V, 0);
    }
    ORDER(V_MTE3, 0);
    if (fact == 24) {
        DataCopyPad(y, a, DataCopyExtParams(3, 20, 1, 12, 0));
    } else {
        DataCopyPad(y, c, whole);
    }
}
