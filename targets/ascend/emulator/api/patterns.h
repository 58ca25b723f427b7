// Reductions of a matrix over its rows or columns, which the device's library builds from vector instructions; so here.
// Barriers stand between these, as they do there.
#pragma once

#include "gather.h"

namespace emu {
void check_rows(const char* name, uint64_t bytes, bool padded, At at);
}

namespace AscendC {

namespace Pattern::Reduce {
struct AR {};  // [A, R]: over the last axis
struct RA {};  // [R, A]: over the first axis
}  // namespace Pattern::Reduce

// The last axis of src is a multiple of 32 bytes: srcInnerPad says that the caller has padded it.
#define EMU_REDUCE_PATTERN(Name, Combine)                                                                              \
    template <typename T, typename pattern, bool isReuseSource = false>                                                \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<uint8_t>& scratch,        \
                     const uint32_t srcShape[], bool srcInnerPad, At at = At()) {                                      \
        static_assert(EMU_FLOATS, #Name ": half and float");                                                           \
        const uint32_t rows = srcShape[0], columns = srcShape[1];                                                      \
        emu::check_rows(#Name, columns * sizeof(T), srcInnerPad, at);                                                  \
        if constexpr (std::is_same_v<pattern, Pattern::Reduce::RA>) {                                                  \
            Max(dst, src, src, int32_t(columns), at);                                                                  \
            for (uint32_t r = 1; r < rows; r++) {                                                                      \
                emu::pipe_barrier(PIPE_V, at);                                                                         \
                Combine(dst, dst, src[r * columns], int32_t(columns), at);                                             \
            }                                                                                                          \
        } else {                                                                                                       \
            for (uint32_t r = 0; r < rows; r++) {                                                                      \
                Name(dst[r], src[r * columns], scratch.template ReinterpretCast<T>(), int32_t(columns));               \
                emu::pipe_barrier(PIPE_V, at);                                                                         \
            }                                                                                                          \
        }                                                                                                              \
    }

EMU_REDUCE_PATTERN(ReduceSum, Add)
EMU_REDUCE_PATTERN(ReduceMax, Max)
EMU_REDUCE_PATTERN(ReduceMin, Min)

// The name before release 9.
template <typename T, int32_t dim, int32_t axis, bool isReuseSource = false>
inline void BroadCast(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint32_t dstShape[dim],
                      const uint32_t srcShape[dim], const LocalTensor<uint8_t>& scratch, At at = At()) {
    Broadcast<T, dim, axis, isReuseSource>(dst, src, dstShape, srcShape, scratch, at);
}

}  // namespace AscendC
