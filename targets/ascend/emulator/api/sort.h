// Sorting: records of 8 bytes {score, index}, in descending order of scores.
#pragma once

#include "gather.h"

namespace emu {

void sort32(const Place& dst, const Place& scores, const Place& indices, Dtype type, int repeat, At at);
struct Merge {
    Place lists[4];
    int64_t lengths[4];
    int lists_used;
    bool suspend;
    int repeat;
};
void merge_sorted(const Place& dst, Dtype type, const Merge& p, At at);
void merge_result(uint16_t counts[4]);
void sort_all(const Place& dst, const Place& scores, const Place& indices, const Place& scratch, Dtype type, int repeat,
              bool full, At at);
void extract(const Place& values, const Place& indices, const Place& records, Dtype type, int repeat, At at);

}  // namespace emu

namespace AscendC {

#define EMU_SORTABLE static_assert(emu::one_of<T, half, float>, "sorting: half and float")

template <typename T>
inline void Sort32(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<uint32_t>& src1,
                   const int32_t repeatTime, At at = At()) {
    EMU_SORTABLE;
    emu::sort32(dst.place(), src0.place(), src1.place(), emu::dtype<T>, emu::Repeat(repeatTime, at), at);
}

template <typename T>
struct MrgSortSrcList {
    LocalTensor<T> src1, src2, src3, src4;
    MrgSortSrcList() = default;
    MrgSortSrcList(const LocalTensor<T>& a, const LocalTensor<T>& b, const LocalTensor<T>& c, const LocalTensor<T>& d)
        : src1(a), src2(b), src3(c), src4(d) {}
};
struct MrgSort4Info {
    struct Length {
        static constexpr const char* text = "elementLengths";
    };
    emu::Narrow<uint16_t, Length, 4095> elementLengths[4];
    bool ifExhaustedSuspension = false;
    EMU_FIELD(uint16_t, validBit, 0);
    EMU_FIELD(uint8_t, repeatTimes, 1);
    MrgSort4Info() = default;
    template <typename B, typename C>
    MrgSort4Info(const uint16_t lengths[4], bool suspend, B valid, C times, At at = At())
        : elementLengths{{lengths[0], at}, {lengths[1], at}, {lengths[2], at}, {lengths[3], at}},
          ifExhaustedSuspension(suspend),
          validBit(valid, at),
          repeatTimes(times, at) {}
};
template <typename T>
inline void MrgSort(const LocalTensor<T>& dst, const MrgSortSrcList<T>& src, const MrgSort4Info& p, At at = At()) {
    EMU_SORTABLE;
    const int used = p.validBit == 3 ? 2 : p.validBit == 7 ? 3 : p.validBit == 15 ? 4 : 0;
    emu::merge_sorted(dst.place(), emu::dtype<T>,
                      {{src.src1.place(), src.src2.place(), src.src3.place(), src.src4.place()},
                       {p.elementLengths[0], p.elementLengths[1], p.elementLengths[2], p.elementLengths[3]},
                       used,
                       p.ifExhaustedSuspension,
                       p.repeatTimes},
                      at);
}
inline void GetMrgSortResult(uint16_t& n1, uint16_t& n2, uint16_t& n3, uint16_t& n4) {
    uint16_t counts[4];
    emu::merge_result(counts);
    n1 = counts[0], n2 = counts[1], n3 = counts[2], n4 = counts[3];
}

// On both chips here the records are made by Sort itself: Concat hands its source on.
template <typename T>
inline void Concat(LocalTensor<T>& concat, const LocalTensor<T>& src, const LocalTensor<T>&, const int32_t) {
    concat = src;
}
template <typename T, bool isFullSort>
inline void Sort(const LocalTensor<T>& dst, const LocalTensor<T>& concat, const LocalTensor<uint32_t>& index,
                 LocalTensor<T>& tmp, const int32_t repeatTime, At at = At()) {
    EMU_SORTABLE;
    emu::sort_all(dst.place(), concat.place(), index.place(), tmp.place(), emu::dtype<T>, emu::Repeat(repeatTime, at),
                  isFullSort, at);
}
template <typename T>
inline void Extract(const LocalTensor<T>& dstValue, const LocalTensor<uint32_t>& dstIndex, const LocalTensor<T>& sorted,
                    const int32_t repeatTime, At at = At()) {
    EMU_SORTABLE;
    emu::extract(dstValue.place(), dstIndex.place(), sorted.place(), emu::dtype<T>, emu::Repeat(repeatTime, at), at);
}
// Elements of T that so many records take.
template <typename T>
inline uint32_t GetSortLen(const uint32_t elemCount) {
    return elemCount * uint32_t(8 / sizeof(T));
}
template <typename T>
inline uint32_t GetSortOffset(const uint32_t elemOffset) {
    return elemOffset * uint32_t(8 / sizeof(T));
}

}  // namespace AscendC
