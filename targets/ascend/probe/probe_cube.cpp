// One fact a launch, on the first cube core: a product of an operand with another that makes its layout visible.
#include "parts.h"

// Everything that one product needs.
template <typename T>
struct Bench {
    LocalTensor<T> a1, b1, a2, b2;
    LocalTensor<float> sum;
};

template <typename T>
__aicore__ inline Bench<T> bench(TBuf<TPosition::A1>& l1, TBuf<TPosition::A2>& l0a, TBuf<TPosition::B2>& l0b,
                                 TBuf<TPosition::CO1>& l0c) {
    const int64_t count = 16384 / sizeof(T);
    Bench<T> out;
    out.a1 = l1.GetWithOffset<T>(count, 0);
    out.b1 = l1.GetWithOffset<T>(count, 16384);
    out.a2 = l0a.GetWithOffset<T>(count, 0);
    out.b2 = l0b.GetWithOffset<T>(count, 0);
    out.sum = l0c.GetWithOffset<float>(4096, 0);
    return out;
}

// What lies in L1, a [m, k] times b [n, k]^T, into L0C.
template <typename T>
__aicore__ inline void multiplied(const Bench<T>& t, int64_t m, int64_t n, int64_t k) {
    ORDER(MTE2_MTE1, 0);
    to_l0a(t.a2, t.a1, m, k);
    to_l0b(t.b2, t.b1, n, k);
    ORDER(MTE1_M, 0);
    product(t.sum, t.a2, t.b2, m, n, k, true);
}

// The same for what lies in GM.
template <typename T>
__aicore__ inline void multiplied(const Bench<T>& t, const GlobalTensor<T>& a, const GlobalTensor<T>& b, int64_t m,
                                  int64_t n, int64_t k) {
    to_l1(t.a1, a, m, k, m);
    to_l1(t.b1, b, n, k, n);
    multiplied(t, m, n, k);
}

template <typename T>
__aicore__ inline void cleared(const LocalTensor<T>& l1, int64_t blocks, T value) {
    InitConstValue(l1, InitConstValueParams<T>(1, blocks, 0, value));
    PipeBarrier<PIPE_MTE2>();
}

extern "C" __global__ __aicore__ void probe_cube(GM_ADDR x_gm, GM_ADDR y_gm, GM_ADDR workspace, GM_ADDR tiling) {
    KERNEL_TASK_TYPE_DEFAULT(KERNEL_TYPE_AIC_ONLY);
    REGISTER_TILING_DEFAULT(ProbeTiling);
    GET_TILING_DATA(sizes, tiling);
    const int64_t fact = sizes.number;
    TPipe pipe;
    TBuf<TPosition::A1> l1_buf;
    pipe.InitBuffer(l1_buf, 32768);
    TBuf<TPosition::A2> l0a_buf;
    pipe.InitBuffer(l0a_buf, 16384);
    TBuf<TPosition::B2> l0b_buf;
    pipe.InitBuffer(l0b_buf, 16384);
    TBuf<TPosition::CO1> l0c_buf;
    pipe.InitBuffer(l0c_buf, 16384);
    GlobalTensor<float> y = global<float>(y_gm, 2048);
    GlobalTensor<half> xh = global<half>(x_gm, 4096), yh = global<half>(y_gm, 2048);
    GlobalTensor<float> xf = global<float>(x_gm, 2048);
    GlobalTensor<bfloat16_t> xb = global<bfloat16_t>(x_gm, 4096), yb = global<bfloat16_t>(y_gm, 2048);
    const Bench<half> h = bench<half>(l1_buf, l0a_buf, l0b_buf, l0c_buf);
    const Bench<float> f = bench<float>(l1_buf, l0a_buf, l0b_buf, l0c_buf);
    const Bench<bfloat16_t> w = bench<bfloat16_t>(l1_buf, l0a_buf, l0b_buf, l0c_buf);
    int64_t m = 32, n = 32;  // of the result
    if (fact == 0) {         // [32, 48] times the identity of 48
        n = 48;
        multiplied(h, xh, xh[1536], 32, 48, 48);
    } else if (fact == 1) {
        m = 48;
        multiplied(h, xh[1536], xh, 48, 32, 48);
    } else if (fact == 2) {
        m = 48;
        to_l1(h.a1, xh[1536], 48, 48, 48);
        to_l1(h.b1, xh, 48, 32, 48);
        ORDER(MTE2_MTE1, 0);
        to_l0a(h.a2, h.a1, 48, 48);
        to_l0b_turned(h.b2, h.b1, 32, 48);
        ORDER(MTE1_M, 0);
        product(h.sum, h.a2, h.b2, 48, 32, 48, true);
    } else if (fact == 3) {
        multiplied(f, xf, xf[1024], 32, 32, 32);
    } else if (fact == 4) {
        multiplied(w, xb, xb[2048], 32, 32, 32);
    } else if (fact == 5) {  // 20 of 32 columns; the rest of the last block is filled with zeros
        cleared(h.a1, 64, half(5.0f));
        cleared(h.b1, 64, half(1.0f));
        to_l1(h.a1, xh, 32, 20, 32);
        multiplied(h, 32, 32, 32);
    } else if (fact == 6) {  // one row of 32; the others were cleared
        cleared(h.a1, 64, half(0.0f));
        to_l1(h.a1, xh, 1, 32, 32);
        to_l1(h.b1, xh[2048], 32, 32, 32);
        multiplied(h, 32, 32, 32);
    } else if (fact == 7) {  // twice into the same sum
        multiplied(h, xh, xh[2048], 32, 32, 32);
        PipeBarrier<PIPE_M>();
        product(h.sum, h.a2, h.b2, 32, 32, 32, false);
    } else {  // 8: some rows at a pitch; 9, 10: narrow results
        multiplied(f, xf, xf[1024], 32, 32, 32);
    }
    ORDER(M_FIX, 0);
    if (fact == 8) {
        drain(y, f.sum, 5, 20, 32, 40, QuantMode_t::NoQuant);
    } else if (fact == 9) {
        drain(yb, f.sum, 32, 32, 32, 32, QuantMode_t::F322BF16);
    } else if (fact == 10) {
        drain(yh, f.sum, 32, 32, 32, 32, QuantMode_t::F322F16);
    } else {
        drain(y, f.sum, m, n, m, n, QuantMode_t::NoQuant);
    }
}
