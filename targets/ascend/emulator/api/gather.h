// Gather, Gatherb, GatherMask, Scatter, and transposition.
#pragma once

#include "cube.h"

namespace emu {

void gather(const Operand& dst, const Place& src, const Place& offsets, uint32_t base, const Shape& shape, At at);
void gather_blocks(const Operand& dst, const Place& src, const Place& offsets, int repeat, At at);
struct Compress {
    bool fixed, counter;
    int pattern;
    Place mask;  // the pattern tensor
    uint32_t count;
    int64_t blk, repeats, rep0, rep1;
};
uint64_t gather_mask(const Place& dst, const Place& src, Dtype type, const Compress& p, At at);
void scatter(const Place& dst, const Place& src, const Place& offsets, Dtype type, uint32_t base, uint32_t count,
             At at);
void transpose_16x16(const Place& dst, const Place& src, Dtype type, At at);
void transpose_image(const Place& dst, const Place& src, Dtype type, int64_t n, int64_t c, int64_t hw,
                     bool channels_last, At at);
struct To5HD {
    bool dst_high, src_high;
    int64_t repeats, dst_rep, src_rep;
};
void to_5hd(const Place* dst, const Place* src, Dtype type, const To5HD& p, At at);
Place ub_place(uint64_t address, At at);
void broadcast(const Place& dst, const Place& src, Dtype type, const int64_t dst_shape[2], const int64_t src_shape[2],
               At at);

}  // namespace emu

namespace AscendC {

#define EMU_GATHERABLE (sizeof(T) == 2 || sizeof(T) == 4 || (emu::k3510 && sizeof(T) == 1))
// Offsets are bytes from the start of src.
template <typename T>
inline void Gather(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<uint32_t>& srcOffset,
                   const uint32_t srcBaseOffset, const uint32_t count, At at = At()) {
    static_assert(EMU_GATHERABLE, "Gather: 16- and 32-bit types");
    emu::gather({dst.place(), emu::dtype<T>}, src.place(), srcOffset.place(), srcBaseOffset, emu::count_of(count), at);
}
template <typename T>
inline void Gather(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<uint32_t>& srcOffset,
                   const uint32_t srcBaseOffset, const uint64_t mask, emu::Repeat repeatTime,
                   const uint16_t dstRepStride, At at = At()) {
    static_assert(EMU_GATHERABLE, "Gather: 16- and 32-bit types");
    emu::gather({dst.place(), emu::dtype<T>, 1, dstRepStride}, src.place(), srcOffset.place(), srcBaseOffset,
                emu::repeats(mask, repeatTime, true), at);
}
// Blocks of 32 bytes, 8 per repeat.
template <typename T>
inline void Gatherb(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<uint32_t>& offset,
                    emu::Repeat repeatTime, const GatherRepeatParams& p, At at = At()) {
    emu::gather_blocks({dst.place(), emu::dtype<T>, p.dstBlkStride, p.dstRepStride}, src.place(), offset.place(),
                       repeatTime, at);
}
// Keeps the elements that the pattern selects, side by side; rsvdCnt is their number.
template <typename T, typename U>
inline void GatherMask(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<U>& src1Pattern,
                       const bool reduceMode, const uint32_t mask, const GatherMaskParams& p, uint64_t& rsvdCnt,
                       At at = At()) {
    static_assert(
        (sizeof(T) == 2 && std::is_same<U, uint16_t>::value) || (sizeof(T) == 4 && std::is_same<U, uint32_t>::value),
        "GatherMask: the pattern is uint16 for 16-bit types and uint32 for 32-bit types");
    rsvdCnt = emu::gather_mask(dst.place(), src0.place(), emu::dtype<T>,
                               {false, reduceMode, 0, src1Pattern.place(), mask, p.src0BlockStride, p.repeatTimes,
                                p.src0RepeatStride, p.src1RepeatStride},
                               at);
}
template <typename T>
inline void GatherMask(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const uint8_t src1Pattern,
                       const bool reduceMode, const uint32_t mask, const GatherMaskParams& p, uint64_t& rsvdCnt,
                       At at = At()) {
    static_assert(sizeof(T) == 2 || sizeof(T) == 4, "GatherMask: 16- and 32-bit types");
    rsvdCnt = emu::gather_mask(dst.place(), src0.place(), emu::dtype<T>,
                               {true,
                                reduceMode,
                                src1Pattern,
                                {},
                                mask,
                                p.src0BlockStride,
                                p.repeatTimes,
                                p.src0RepeatStride,
                                p.src1RepeatStride},
                               at);
}
template <typename T>
inline void Scatter(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<uint32_t>& dstOffset,
                    const uint32_t dstBaseAddr, const uint32_t count, At at = At()) {
    static_assert(emu::k3510 || sizeof(T) == 0, "Scatter does not exist on 2201; sort, or store single elements");
    emu::scatter(dst.place(), src.place(), dstOffset.place(), emu::dtype<T>, dstBaseAddr, count, at);
}

// --- transposition -------------------------------------------------------------------------------------------------
struct TransposeParamsExt {
    uint16_t nSize = 0, cSize = 0, hSize = 0, wSize = 0;
    TransposeType transposeType = TransposeType::TRANSPOSE_ND2ND_B16;
    TransposeParamsExt() = default;
    TransposeParamsExt(uint16_t n, uint16_t c, uint16_t h, uint16_t w, TransposeType type)
        : nSize(n), cSize(c), hSize(h), wSize(w), transposeType(type) {}
};
template <typename T>
inline void Transpose(const LocalTensor<T>& dst, const LocalTensor<T>& src, At at = At()) {
    static_assert(sizeof(T) == 2, "Transpose: 16x16 of 16-bit types");
    emu::transpose_16x16(dst.place(), src.place(), emu::dtype<T>, at);
}
template <typename T>
inline void Transpose(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<uint8_t>&,
                      const TransposeParamsExt& p, At at = At()) {
    if (p.transposeType == TransposeType::TRANSPOSE_ND2ND_B16)
        return emu::transpose_16x16(dst.place(), src.place(), emu::dtype<T>, at);
    emu::transpose_image(dst.place(), src.place(), emu::dtype<T>, p.nSize, p.cSize, int64_t(p.hSize) * p.wSize,
                         p.transposeType == TransposeType::TRANSPOSE_NCHW2NHWC, at);
}

struct TransDataTo5HDParams {
    bool dstHighHalf = false;
    bool srcHighHalf = false;
    EMU_FIELD(uint8_t, repeatTimes, 1);
    EMU_FIELD(uint16_t, dstRepStride, 0);
    EMU_FIELD(uint16_t, srcRepStride, 0);
    TransDataTo5HDParams() = default;
    template <typename A, typename B, typename C>
    TransDataTo5HDParams(bool dst_high, bool src_high, A times, B dst_rep, C src_rep, At at = At())
        : dstHighHalf(dst_high),
          srcHighHalf(src_high),
          repeatTimes(times, at),
          dstRepStride(dst_rep, at),
          srcRepStride(src_rep, at) {}
};
template <typename T>
inline void TransDataTo5HD(const LocalTensor<T> (&dstList)[16], const LocalTensor<T> (&srcList)[16],
                           const TransDataTo5HDParams& p, At at = At()) {
    emu::Place dst[16], src[16];
    for (int i = 0; i < 16; i++) dst[i] = dstList[i].place(), src[i] = srcList[i].place();
    emu::to_5hd(dst, src, emu::dtype<T>, {p.dstHighHalf, p.srcHighHalf, p.repeatTimes, p.dstRepStride, p.srcRepStride},
                at);
}
// By addresses, as GetPhyAddr gives them.
template <typename T>
inline void TransDataTo5HD(uint64_t (&dstList)[16], uint64_t (&srcList)[16], const TransDataTo5HDParams& p,
                           At at = At()) {
    emu::Place dst[16], src[16];
    for (int i = 0; i < 16; i++) dst[i] = emu::ub_place(dstList[i], at), src[i] = emu::ub_place(srcList[i], at);
    emu::to_5hd(dst, src, emu::dtype<T>, {p.dstHighHalf, p.srcHighHalf, p.repeatTimes, p.dstRepStride, p.srcRepStride},
                at);
}

template <typename T, int32_t dim, int32_t axis, bool isReuseSource = false>
inline void Broadcast(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint32_t dstShape[dim],
                      const uint32_t srcShape[dim], const LocalTensor<uint8_t>&, At at = At()) {
    static_assert(dim == 1 || dim == 2, "Broadcast: one or two dimensions");
    const int64_t to[2] = {dim == 1 ? 1 : int64_t(dstShape[0]),
                           dim == 1 ? int64_t(dstShape[0]) : int64_t(dstShape[dim - 1])};
    const int64_t from[2] = {dim == 1 ? 1 : int64_t(srcShape[0]),
                             dim == 1 ? int64_t(srcShape[0]) : int64_t(srcShape[dim - 1])};
    emu::broadcast(dst.place(), src.place(), emu::dtype<T>, to, from, at);
}

}  // namespace AscendC
