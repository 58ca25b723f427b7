// DataCopy in its forms, and DataCopyPad.
#pragma once

#include "reduce.h"

namespace emu {

// Blocks of `len` bytes; gaps in bytes from the end of one to the start of the next.
struct Blocks {
    int64_t count, len, src_gap, dst_gap;
};
void copy_in(const Place& dst, uint64_t src, Dtype type, const Blocks& b, At at);   // GM -> on-chip
void copy_out(uint64_t dst, const Place& src, Dtype type, const Blocks& b, At at);  // on-chip -> GM
void copy_local(const Place& dst, const Place& src, Dtype type, const Blocks& b, At at);
void copy_in_pad(const Place& dst, uint64_t src, Dtype type, const Blocks& b, bool pad, int left, int right,
                 uint64_t value, At at);
void copy_out_pad(uint64_t dst, const Place& src, Dtype type, const Blocks& b, At at);

struct Nd2Nz {
    int64_t nd, rows, cols, src_matrix, src_pitch, dst_c0, dst_n, dst_matrix;
};
void copy_nd2nz(const Place& dst, uint64_t src, Dtype type, const Nd2Nz& p, At at);
void set_atomic(int mode, Dtype type);  // 0 none, 1 add, 2 max, 3 min

constexpr int64_t kBlock = 32;
inline Blocks in_blocks(const AscendC::DataCopyParams& p) {
    return {p.blockCount, p.blockLen * kBlock, p.srcStride * kBlock, p.dstStride * kBlock};
}

}  // namespace emu

namespace AscendC {

template <typename T>
inline void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const uint32_t count, At at = At()) {
    emu::copy_in(dst.place(), src.address(), emu::dtype<T>, {1, int64_t(count) * int64_t(sizeof(T)), 0, 0}, at);
}
template <typename T>
inline void DataCopy(const GlobalTensor<T>& dst, const LocalTensor<T>& src, const uint32_t count, At at = At()) {
    emu::copy_out(dst.address(), src.place(), emu::dtype<T>, {1, int64_t(count) * int64_t(sizeof(T)), 0, 0}, at);
}
template <typename T>
inline void DataCopy(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint32_t count, At at = At()) {
    emu::copy_local(dst.place(), src.place(), emu::dtype<T>, {1, int64_t(count) * int64_t(sizeof(T)), 0, 0}, at);
}
template <typename T>
inline void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const DataCopyParams& repeatParams,
                     At at = At()) {
    emu::copy_in(dst.place(), src.address(), emu::dtype<T>, emu::in_blocks(repeatParams), at);
}
template <typename T>
inline void DataCopy(const GlobalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyParams& repeatParams,
                     At at = At()) {
    emu::copy_out(dst.address(), src.place(), emu::dtype<T>, emu::in_blocks(repeatParams), at);
}
template <typename T>
inline void DataCopy(const LocalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyParams& repeatParams,
                     At at = At()) {
    emu::copy_local(dst.place(), src.place(), emu::dtype<T>, emu::in_blocks(repeatParams), at);
}
template <typename T>
inline void DataCopy(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const Nd2NzParams& p, At at = At()) {
    emu::copy_nd2nz(dst.place(), src.address(), emu::dtype<T>,
                    {p.ndNum, p.nValue, int64_t(p.dValue), int64_t(p.srcNdMatrixStride), int64_t(p.srcDValue),
                     p.dstNzC0Stride, p.dstNzNStride, int64_t(p.dstNzMatrixStride)},
                    at);
}

template <typename T>
inline void DataCopyPad(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const DataCopyExtParams& p,
                        const DataCopyPadExtParams<T>& pad, At at = At()) {
    emu::copy_in_pad(dst.place(), src.address(), emu::dtype<T>,
                     {p.blockCount, p.blockLen, int64_t(p.srcStride), int64_t(p.dstStride) * emu::kBlock}, pad.isPad,
                     pad.leftPadding, pad.rightPadding, emu::bits_of(pad.paddingValue), at);
}
template <typename T>
inline void DataCopyPad(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const DataCopyParams& p,
                        const DataCopyPadParams& pad, At at = At()) {
    emu::copy_in_pad(dst.place(), src.address(), emu::dtype<T>,
                     {p.blockCount, p.blockLen, p.srcStride, p.dstStride * emu::kBlock}, pad.isPad, pad.leftPadding,
                     pad.rightPadding, pad.paddingValue, at);
}
template <typename T>
inline void DataCopyPad(const GlobalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyExtParams& p,
                        At at = At()) {
    emu::copy_out_pad(dst.address(), src.place(), emu::dtype<T>,
                      {p.blockCount, p.blockLen, int64_t(p.srcStride) * emu::kBlock, int64_t(p.dstStride)}, at);
}
template <typename T>
inline void DataCopyPad(const GlobalTensor<T>& dst, const LocalTensor<T>& src, const DataCopyParams& p, At at = At()) {
    emu::copy_out_pad(dst.address(), src.place(), emu::dtype<T>,
                      {p.blockCount, p.blockLen, p.srcStride * emu::kBlock, p.dstStride}, at);
}

// Every later store of this core through MTE3 or FIX accumulates, until SetAtomicNone.
#define EMU_ATOMIC_RULE (emu::one_of<T, float, half, int16_t, int32_t, int8_t, bfloat16_t>)
template <typename T>
inline void SetAtomicAdd() {
    static_assert(EMU_ATOMIC_RULE, "SetAtomicAdd: float, half, int16, int32, int8, bfloat16");
    emu::set_atomic(1, emu::dtype<T>);
}
template <typename T>
inline void SetAtomicMax() {
    static_assert(EMU_ATOMIC_RULE, "SetAtomicMax: float, half, int16, int32, int8, bfloat16");
    emu::set_atomic(2, emu::dtype<T>);
}
template <typename T>
inline void SetAtomicMin() {
    static_assert(EMU_ATOMIC_RULE, "SetAtomicMin: float, half, int16, int32, int8, bfloat16");
    emu::set_atomic(3, emu::dtype<T>);
}
inline void SetAtomicNone() { emu::set_atomic(0, emu::Dtype::None); }
inline void DisableDmaAtomic() { SetAtomicNone(); }

}  // namespace AscendC
