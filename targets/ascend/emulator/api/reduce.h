// Reductions. Argument order differs: Whole* takes (mask, repeat), Block* and Pair* take (repeat, mask).
#pragma once

#include "convert.h"

namespace emu {

enum class Fold : uint8_t { Sum, Max, Min };
enum class Span : uint8_t { Whole, Block, Pair };
// One instruction; rep strides: dst in results, src in blocks.
void reduce_repeat(const char* name, Fold fold, Span span, const Operand& dst, const Operand& src, const Shape& shape,
                   ReduceOrder order, At at);
// The count form over everything, with its scratch.
void reduce_all(const char* name, Fold fold, const Operand& dst, const Operand& src, const Place& scratch,
                const Shape& shape, bool index, At at);

}  // namespace emu

namespace AscendC {

#define EMU_REDUCE_COUNT(Name, fold)                                                                              \
    template <typename T, bool isSetMask = true>                                                                  \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<T>& sharedTmpBuffer, \
                     const int32_t count, bool calIndex = false, At at = At()) {                                  \
        static_assert(EMU_FLOATS, #Name ": half and float");                                                      \
        emu::reduce_all(#Name, fold, {dst.place(), emu::dtype<T>}, {src.place(), emu::dtype<T>},                  \
                        sharedTmpBuffer.place(), emu::count_of(count), calIndex, at);                             \
    }
EMU_REDUCE_COUNT(ReduceMax, emu::Fold::Max)
EMU_REDUCE_COUNT(ReduceMin, emu::Fold::Min)

template <typename T, bool isSetMask = true>
inline void ReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<T>& sharedTmpBuffer,
                      const int32_t count, At at = At()) {
    static_assert(EMU_FLOATS, "ReduceSum: half and float");
    emu::reduce_all("ReduceSum", emu::Fold::Sum, {dst.place(), emu::dtype<T>}, {src.place(), emu::dtype<T>},
                    sharedTmpBuffer.place(), emu::count_of(count), false, at);
}

// The repeat forms of the same: (mask, repeatTime, srcRepStride).
template <typename T>
inline void ReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<T>& sharedTmpBuffer,
                      const int32_t mask, const int32_t repeatTime, const int32_t srcRepStride, At at = At()) {
    static_assert(EMU_FLOATS, "ReduceSum: half and float");
    emu::reduce_all("ReduceSum", emu::Fold::Sum, {dst.place(), emu::dtype<T>},
                    {src.place(), emu::dtype<T>, 1, uint32_t(srcRepStride)}, sharedTmpBuffer.place(),
                    emu::repeats(uint64_t(mask), emu::Repeat(repeatTime, at), true), false, at);
}

template <typename T, bool isSetMask = true>
inline void WholeReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t mask,
                           const int32_t repeatTime, const int32_t dstRepStride, const int32_t srcBlkStride,
                           const int32_t srcRepStride, At at = At()) {
    static_assert(EMU_FLOATS, "WholeReduceSum: half and float");
    emu::reduce_repeat(
        "WholeReduceSum", emu::Fold::Sum, emu::Span::Whole, {dst.place(), emu::dtype<T>, 1, uint32_t(dstRepStride)},
        {src.place(), emu::dtype<T>, uint32_t(srcBlkStride), uint32_t(srcRepStride)},
        emu::repeats(uint64_t(mask), emu::Repeat(repeatTime, at), isSetMask), ReduceOrder::ORDER_ONLY_VALUE, at);
}

template <typename T, bool isSetMask = true>
inline void WholeReduceSum(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint64_t mask[],
                           const int32_t repeatTime, const int32_t dstRepStride, const int32_t srcBlkStride,
                           const int32_t srcRepStride, At at = At()) {
    static_assert(EMU_FLOATS, "WholeReduceSum: half and float");
    emu::reduce_repeat("WholeReduceSum", emu::Fold::Sum, emu::Span::Whole,
                       {dst.place(), emu::dtype<T>, 1, uint32_t(dstRepStride)},
                       {src.place(), emu::dtype<T>, uint32_t(srcBlkStride), uint32_t(srcRepStride)},
                       emu::repeats(mask, emu::Repeat(repeatTime, at), isSetMask), ReduceOrder::ORDER_ONLY_VALUE, at);
}

#define EMU_REDUCE_WHOLE(Name, fold)                                                                                 \
    template <typename T, bool isSetMask = true>                                                                     \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t mask,                       \
                     const int32_t repeatTime, const int32_t dstRepStride, const int32_t srcBlkStride,               \
                     const int32_t srcRepStride, ReduceOrder order = ReduceOrder::ORDER_VALUE_INDEX, At at = At()) { \
        static_assert(EMU_FLOATS, #Name ": half and float");                                                         \
        emu::reduce_repeat(#Name, fold, emu::Span::Whole, {dst.place(), emu::dtype<T>, 1, uint32_t(dstRepStride)},   \
                           {src.place(), emu::dtype<T>, uint32_t(srcBlkStride), uint32_t(srcRepStride)},             \
                           emu::repeats(uint64_t(mask), emu::Repeat(repeatTime, at), isSetMask), order, at);         \
    }
EMU_REDUCE_WHOLE(WholeReduceMax, emu::Fold::Max)
EMU_REDUCE_WHOLE(WholeReduceMin, emu::Fold::Min)

#define EMU_REDUCE_PART(Name, fold, span)                                                                             \
    template <typename T, bool isSetMask = true>                                                                      \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t repeatTime,                  \
                     const int32_t mask, const int32_t dstRepStride, const int32_t srcBlkStride,                      \
                     const int32_t srcRepStride, At at = At()) {                                                      \
        static_assert(EMU_FLOATS, #Name ": half and float");                                                          \
        emu::reduce_repeat(#Name, fold, span, {dst.place(), emu::dtype<T>, 1, uint32_t(dstRepStride)},                \
                           {src.place(), emu::dtype<T>, uint32_t(srcBlkStride), uint32_t(srcRepStride)},              \
                           emu::repeats(uint64_t(mask), emu::Repeat(repeatTime, at), isSetMask),                      \
                           ReduceOrder::ORDER_ONLY_VALUE, at);                                                        \
    }                                                                                                                 \
    template <typename T, bool isSetMask = true>                                                                      \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t repeatTime,                  \
                     const uint64_t mask[], const int32_t dstRepStride, const int32_t srcBlkStride,                   \
                     const int32_t srcRepStride, At at = At()) {                                                      \
        static_assert(EMU_FLOATS, #Name ": half and float");                                                          \
        emu::reduce_repeat(#Name, fold, span, {dst.place(), emu::dtype<T>, 1, uint32_t(dstRepStride)},                \
                           {src.place(), emu::dtype<T>, uint32_t(srcBlkStride), uint32_t(srcRepStride)},              \
                           emu::repeats(mask, emu::Repeat(repeatTime, at), isSetMask), ReduceOrder::ORDER_ONLY_VALUE, \
                           at);                                                                                       \
    }
EMU_REDUCE_PART(BlockReduceSum, emu::Fold::Sum, emu::Span::Block)
EMU_REDUCE_PART(BlockReduceMax, emu::Fold::Max, emu::Span::Block)
EMU_REDUCE_PART(BlockReduceMin, emu::Fold::Min, emu::Span::Block)
EMU_REDUCE_PART(PairReduceSum, emu::Fold::Sum, emu::Span::Pair)

// The names of release 9.
template <ReduceType type, typename T, bool isSetMask = true>
inline void ReduceDataBlock(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t repeatTime,
                            const int32_t mask, const int32_t dstRepStride, const int32_t srcBlkStride,
                            const int32_t srcRepStride, At at = At()) {
    if constexpr (type == ReduceType::SUM)
        BlockReduceSum<T, isSetMask>(dst, src, repeatTime, mask, dstRepStride, srcBlkStride, srcRepStride, at);
    if constexpr (type == ReduceType::MAX)
        BlockReduceMax<T, isSetMask>(dst, src, repeatTime, mask, dstRepStride, srcBlkStride, srcRepStride, at);
    if constexpr (type == ReduceType::MIN)
        BlockReduceMin<T, isSetMask>(dst, src, repeatTime, mask, dstRepStride, srcBlkStride, srcRepStride, at);
}

template <ReduceType type, typename T, bool isSetMask = true>
inline void ReduceRepeat(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t mask,
                         const int32_t repeatTime, const int32_t dstRepStride, const int32_t srcBlkStride,
                         const int32_t srcRepStride, ReduceOrder order = ReduceOrder::ORDER_VALUE_INDEX, At at = At()) {
    if constexpr (type == ReduceType::SUM)
        WholeReduceSum<T, isSetMask>(dst, src, mask, repeatTime, dstRepStride, srcBlkStride, srcRepStride, at);
    if constexpr (type == ReduceType::MAX)
        WholeReduceMax<T, isSetMask>(dst, src, mask, repeatTime, dstRepStride, srcBlkStride, srcRepStride, order, at);
    if constexpr (type == ReduceType::MIN)
        WholeReduceMin<T, isSetMask>(dst, src, mask, repeatTime, dstRepStride, srcBlkStride, srcRepStride, order, at);
}
template <typename T, bool isSetMask = true>
inline void ReducePairElem(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t repeatTime,
                           const int32_t mask, const int32_t dstRepStride, const int32_t srcBlkStride,
                           const int32_t srcRepStride, At at = At()) {
    PairReduceSum<T, isSetMask>(dst, src, repeatTime, mask, dstRepStride, srcBlkStride, srcRepStride, at);
}

}  // namespace AscendC
