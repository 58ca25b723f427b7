// Parameter records of vector and move instructions. Fields of hardware width are checked (emulator/narrow.h).
#pragma once

#include "backend.h"

namespace AscendC {

using emu::At;

struct UnaryRepeatParams {
    EMU_FIELD(uint16_t, dstBlkStride, 1);
    EMU_FIELD(uint16_t, srcBlkStride, 1);
    EMU_FIELD(uint8_t, dstRepStride, 8);
    EMU_FIELD(uint8_t, srcRepStride, 8);
    UnaryRepeatParams() = default;
    template <typename A, typename B, typename C, typename D>
    UnaryRepeatParams(A db, B sb, C dr, D sr, At at = At())
        : dstBlkStride(db, at), srcBlkStride(sb, at), dstRepStride(dr, at), srcRepStride(sr, at) {}
};

struct BinaryRepeatParams {
    EMU_FIELD(uint8_t, dstBlkStride, 1);
    EMU_FIELD(uint8_t, src0BlkStride, 1);
    EMU_FIELD(uint8_t, src1BlkStride, 1);
    EMU_FIELD(uint8_t, dstRepStride, 8);
    EMU_FIELD(uint8_t, src0RepStride, 8);
    EMU_FIELD(uint8_t, src1RepStride, 8);
    BinaryRepeatParams() = default;
    template <typename A, typename B, typename C, typename D, typename E, typename F>
    BinaryRepeatParams(A db, B b0, C b1, D dr, E r0, F r1, At at = At())
        : dstBlkStride(db, at),
          src0BlkStride(b0, at),
          src1BlkStride(b1, at),
          dstRepStride(dr, at),
          src0RepStride(r0, at),
          src1RepStride(r1, at) {}
};

struct CopyRepeatParams {
    EMU_FIELD(uint16_t, dstStride, 1);
    EMU_FIELD(uint16_t, srcStride, 1);
    EMU_FIELD(uint16_t, dstRepeatSize, 8);
    EMU_FIELD(uint16_t, srcRepeatSize, 8);
    CopyRepeatParams() = default;
    template <typename A, typename B, typename C, typename D>
    CopyRepeatParams(A ds, B ss, C dr, D sr, At at = At())
        : dstStride(ds, at), srcStride(ss, at), dstRepeatSize(dr, at), srcRepeatSize(sr, at) {}
};

struct BrcbRepeatParams {
    EMU_FIELD(uint16_t, dstBlkStride, 1);
    EMU_FIELD(uint16_t, dstRepStride, 8);
    BrcbRepeatParams() = default;
    template <typename A, typename B>
    BrcbRepeatParams(A blk, B rep, At at = At()) : dstBlkStride(blk, at), dstRepStride(rep, at) {}
};

struct GatherRepeatParams {
    EMU_FIELD(uint16_t, dstBlkStride, 1);
    EMU_FIELD(uint16_t, dstRepStride, 8);
    GatherRepeatParams() = default;
    template <typename A, typename B>
    GatherRepeatParams(A blk, B rep, At at = At()) : dstBlkStride(blk, at), dstRepStride(rep, at) {}
};

struct GatherMaskParams {
    EMU_FIELD(uint8_t, src0BlockStride, 1);
    EMU_FIELD(uint16_t, repeatTimes, 0);
    EMU_FIELD(uint16_t, src0RepeatStride, 0);
    EMU_FIELD(uint8_t, src1RepeatStride, 0);
    GatherMaskParams() = default;
    template <typename A, typename B, typename C, typename D>
    GatherMaskParams(A blk, B times, C rep0, D rep1, At at = At())
        : src0BlockStride(blk, at), repeatTimes(times, at), src0RepeatStride(rep0, at), src1RepeatStride(rep1, at) {}
};

// Everything but the number of blocks in units of 32 bytes; strides are gaps.
struct DataCopyParams {
    EMU_FIELD_MAX(uint16_t, blockCount, 1, 4095);
    EMU_FIELD(uint16_t, blockLen, 0);
    EMU_FIELD(uint16_t, srcStride, 0);
    EMU_FIELD(uint16_t, dstStride, 0);
    DataCopyParams() = default;
    template <typename A, typename B, typename C, typename D>
    DataCopyParams(A count, B len, C src, D dst, At at = At())
        : blockCount(count, at), blockLen(len, at), srcStride(src, at), dstStride(dst, at) {}
};

// Lengths in bytes; the gap on the GM side in bytes, on the UB side in blocks of 32 bytes.
struct DataCopyExtParams {
    EMU_FIELD_MAX(uint16_t, blockCount, 1, 4095);
    EMU_FIELD_MAX(uint32_t, blockLen, 0, 2097151);
#if __NPU_ARCH__ == 3510
    EMU_FIELD(int64_t, srcStride, 0);
    EMU_FIELD(int64_t, dstStride, 0);
#else
    EMU_FIELD(uint32_t, srcStride, 0);
    EMU_FIELD(uint32_t, dstStride, 0);
#endif
    EMU_FIELD(uint32_t, rsv, 0);
    DataCopyExtParams() = default;
    template <typename A, typename B, typename C, typename D, typename E>
    DataCopyExtParams(A count, B len, C src, D dst, E reserved, At at = At())
        : blockCount(count, at), blockLen(len, at), srcStride(src, at), dstStride(dst, at), rsv(reserved, at) {}
};

template <typename T>
struct DataCopyPadExtParams {
    bool isPad = false;
    EMU_FIELD(uint8_t, leftPadding, 0);
    EMU_FIELD(uint8_t, rightPadding, 0);
    T paddingValue{};
    DataCopyPadExtParams() = default;
    template <typename B, typename C, typename V>
    DataCopyPadExtParams(bool pad, B left, C right, V value, At at = At())
        : isPad(pad), leftPadding(left, at), rightPadding(right, at), paddingValue(static_cast<T>(value)) {}
};

template <typename B, typename C, typename V>
DataCopyPadExtParams(bool, B, C, V) -> DataCopyPadExtParams<V>;

struct DataCopyPadParams {
    bool isPad = false;
    EMU_FIELD(uint8_t, leftPadding, 0);
    EMU_FIELD(uint8_t, rightPadding, 0);
    uint64_t paddingValue = 0;
    DataCopyPadParams() = default;
    template <typename B, typename C>
    DataCopyPadParams(bool pad, B left, C right, uint64_t value, At at = At())
        : isPad(pad), leftPadding(left, at), rightPadding(right, at), paddingValue(value) {}
};

// Row-major GM to fractals in L1. On 2201 every field is 16 bits wide; a pitch of 65536 would become 0.
struct Nd2NzParams {
#if __NPU_ARCH__ == 3510
    EMU_FIELD(uint16_t, ndNum, 1);
    EMU_FIELD(uint16_t, nValue, 0);
    EMU_FIELD(uint32_t, dValue, 0);
    EMU_FIELD(uint64_t, srcNdMatrixStride, 0);
    EMU_FIELD(uint64_t, srcDValue, 0);
    EMU_FIELD(uint16_t, dstNzC0Stride, 0);
    EMU_FIELD(uint16_t, dstNzNStride, 0);
    EMU_FIELD(uint32_t, dstNzMatrixStride, 0);
#else
    EMU_FIELD_MAX(uint16_t, ndNum, 1, 4095);
    EMU_FIELD_MAX(uint16_t, nValue, 0, 16384);
    EMU_FIELD(uint16_t, dValue, 0);
    EMU_FIELD(uint16_t, srcNdMatrixStride, 0);
    EMU_FIELD(uint16_t, srcDValue, 0);
    EMU_FIELD_MAX(uint16_t, dstNzC0Stride, 0, 16384);
    EMU_FIELD_MAX(uint16_t, dstNzNStride, 0, 16384);
    EMU_FIELD(uint16_t, dstNzMatrixStride, 0);
#endif
    Nd2NzParams() = default;
    template <typename A, typename B, typename C, typename D, typename E, typename F, typename G, typename H>
    Nd2NzParams(A nd, B n, C d, D sm, E sd, F c0, G ns, H ms, At at = At())
        : ndNum(nd, at),
          nValue(n, at),
          dValue(d, at),
          srcNdMatrixStride(sm, at),
          srcDValue(sd, at),
          dstNzC0Stride(c0, at),
          dstNzNStride(ns, at),
          dstNzMatrixStride(ms, at) {}
};

}  // namespace AscendC

namespace emu {
struct RepeatTimes {
    static constexpr const char* text = "repeatTime";
};
using Repeat = Narrow<uint8_t, RepeatTimes>;  // 255 at most
}  // namespace emu
