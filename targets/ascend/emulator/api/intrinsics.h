// What lies below AscendC and is used beside it: flags by pipe, scalar helpers, settings that the emulator takes apart.
#pragma once

#include <cmath>
#include <limits>

#include "cube.h"

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define ASSERT(x) ((x) ? (void)0 : ::emu::report_assert(#x, ::emu::At()))

namespace emu {
void report_assert(const char* condition, At at);
void set_flag_of(pipe_t src, pipe_t dst, int id, At at);
void wait_flag_of(pipe_t src, pipe_t dst, int id, At at);
}  // namespace emu

using AscendC::g_coreType;
using AscendC::GetTPipePtr;

inline void set_flag(pipe_t pipe, pipe_t tpipe, int id, emu::At at = emu::At()) {
    emu::set_flag_of(pipe, tpipe, id, at);
}
inline void wait_flag(pipe_t pipe, pipe_t tpipe, int id, emu::At at = emu::At()) {
    emu::wait_flag_of(pipe, tpipe, id, at);
}
inline void pipe_barrier(pipe_t pipe, emu::At at = emu::At()) { emu::pipe_barrier(pipe, at); }

// The packs are empty: they let a kernel's own templates of these names be better matches.
template <typename A, typename B, typename... None>
constexpr std::common_type_t<A, B> min(A a, B b, None...) {
    return b < a ? b : a;
}
template <typename A, typename B, typename... None>
constexpr std::common_type_t<A, B> max(A a, B b, None...) {
    return a < b ? b : a;
}

namespace AscendC {

namespace Std {
using ::max;
using ::min;
}  // namespace Std

template <typename A, typename B>
struct IsSameType : std::is_same<A, B> {};

template <typename A, typename B>
constexpr std::common_type_t<A, B> DivCeil(A a, B b) {
    return b == 0 ? 0 : (a + b - 1) / b;
}
template <typename A, typename B>
constexpr std::common_type_t<A, B> AlignUp(A a, B to) {
    return DivCeil(a, to) * to;
}

// Addresses of the machinery behind cross-core flags, and padding of im2col: nothing here depends on them.
inline void SetSyncBaseAddr(uint64_t) {}
template <typename T>
inline void SetLoadDataPaddingValue(const T) {}
// The registers behind Fixpipe, which here takes everything from its parameters.
inline void SetFixpipeNz2ndFlag(uint16_t, uint16_t, uint16_t) {}
template <typename T, bool setRelu = false>
inline void SetFixPipeConfig(const LocalTensor<T>&, bool = false) {}
constexpr int32_t BLOCK_CUBE = 16;
struct AscendCUtils {
    template <typename T>
    static void SetMask(int32_t length, At at = At()) {
        SetVectorMask<T>(length, at);
    }
    static void ResetMask() { AscendC::ResetMask(); }
};
inline void WaitEvent(uint16_t flagId, At at = At()) { emu::cross_wait(0, PIPE_S, flagId, at); }

}  // namespace AscendC
