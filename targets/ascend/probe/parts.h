// What the kernels of this folder share: memory as emitted kernels take it, and one product from GM to L0C.
#pragma once

#include "kernel_operator.h"
#include "probe_tiling.h"

using namespace AscendC;

#define ORDER(event, id)           \
    SetFlag<HardEvent::event>(id); \
    WaitFlag<HardEvent::event>(id)

__aicore__ inline float Infinity() {
    uint32_t bits = 0x7f800000;
    return *(float*)&bits;
}

template <typename T>
__aicore__ inline GlobalTensor<T> global(GM_ADDR from, int64_t count) {
    GlobalTensor<T> out;
    out.SetGlobalBuffer((__gm__ T*)from, count);
    return out;
}

// [rows, cols] in GM, row by row, into fractals of L1: column blocks of 32 bytes, `padded` rows each.
template <typename T>
__aicore__ inline void to_l1(const LocalTensor<T>& l1, const GlobalTensor<T>& gm, int64_t rows, int64_t cols,
                             int64_t padded) {
    Nd2NzParams nd2nz;
    nd2nz.ndNum = 1;
    nd2nz.nValue = rows;
    nd2nz.dValue = cols;
    nd2nz.srcNdMatrixStride = 0;
    nd2nz.srcDValue = cols;
    nd2nz.dstNzC0Stride = padded;
    nd2nz.dstNzNStride = 1;
    nd2nz.dstNzMatrixStride = 0;
    DataCopy(l1, gm, nd2nz);
}

// A [m, k] from L1 to L0A; sizes are multiples of a fractal. Of 16 bits, each fractal may be transposed on its way.
template <typename T>
__aicore__ inline void to_l0a(const LocalTensor<T>& l0a, const LocalTensor<T>& l1, int64_t m, int64_t k,
                              bool turned = false) {
    constexpr int64_t c0 = 32 / sizeof(T);
#if __NPU_ARCH__ == 3510
    LoadData2DParamsV2 load;
    load.mStartPosition = 0;
    load.kStartPosition = 0;
    load.mStep = m / 16;
    load.kStep = k / c0;
    load.srcStride = m / 16;
    load.dstStride = (turned ? k : m) / 16;  // of what arrives
    load.ifTranspose = turned;
    LoadData(l0a, l1, load);
#else
    for (int64_t band = 0; band < m / 16; ++band) {
        LoadData2DParams load;
        load.startIndex = 0;
        load.repeatTimes = k / c0;
        load.srcStride = m / 16;
        load.sid = 0;
        load.dstGap = 0;
        load.ifTranspose = turned;
        LoadData(l0a[band * 16 * k], l1[band * 16 * c0], load);
    }
#endif
}

// B [n, k] from L1 to L0B, as it lies.
template <typename T>
__aicore__ inline void to_l0b(const LocalTensor<T>& l0b, const LocalTensor<T>& l1, int64_t n, int64_t k) {
    constexpr int64_t c0 = 32 / sizeof(T);
#if __NPU_ARCH__ == 3510
    to_l0a(l0b, l1, n, k);
#else
    LoadData2DParams load;
    load.startIndex = 0;
    load.repeatTimes = (n / 16) * (k / c0);
    load.srcStride = 1;
    load.sid = 0;
    load.dstGap = 0;
    load.ifTranspose = false;
    LoadData(l0b, l1, load);
#endif
}

// B [k, n] of 16 bits from L1 to L0B, each fractal transposed.
template <typename T>
__aicore__ inline void to_l0b_turned(const LocalTensor<T>& l0b, const LocalTensor<T>& l1, int64_t n, int64_t k) {
    to_l0a(l0b, l1, k, n, true);
}

template <typename T>
__aicore__ inline void product(const LocalTensor<float>& l0c, const LocalTensor<T>& a, const LocalTensor<T>& b,
                               int64_t m, int64_t n, int64_t k, bool first) {
    MmadParams params;
    params.m = m;
    params.n = n;
    params.k = k;
    params.cmatrixInitVal = first;
    params.cmatrixSource = false;
    Mmad(l0c, a, b, params);
}

// The first `m` rows of a sum of `padded` rows from L0C to GM, rows `pitch` elements apart.
template <typename T>
__aicore__ inline void drain(const GlobalTensor<T>& gm, const LocalTensor<float>& l0c, int64_t m, int64_t n,
                             int64_t padded, int64_t pitch, QuantMode_t cast) {
#if __NPU_ARCH__ == 3510
    FixpipeParamsArch3510<CO2Layout::ROW_MAJOR> params;
    params.dualDstCtl = 0;
    params.subBlockId = 0;
    params.params.ndNum = 1;
    params.params.srcNdStride = 0;
    params.params.dstNdStride = 0;
#else
    FixpipeParamsV220 params;
    params.ndNum = 1;
    params.srcNdStride = 0;
    params.dstNdStride = 0;
#endif
    params.nSize = n;
    params.mSize = m;
    params.srcStride = padded;
    params.dstStride = pitch;
    params.quantPre = cast;
    Fixpipe<T, float, CFG_ROW_MAJOR>(gm, l0c, params);
}
