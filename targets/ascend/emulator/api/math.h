// Functions of one operand that the device's library builds from vector instructions. Here each is one instruction of
// the vector pipe: the scratch that the device needs is neither asked for nor touched.
#pragma once

#include "convert.h"

namespace AscendC {

// With scratch, without, and without a count; `count` is then the tensor's size.
#define EMU_FUNCTION(Name, Op)                                                                                         \
    template <typename T, bool isReuseSource = false>                                                                  \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint32_t count, At at = At()) {       \
        static_assert(EMU_FLOATS, #Name ": half and float");                                                           \
        emu_detail::unary(#Name, emu::VecOp::Op, dst, src, emu::count_of(count), UnaryRepeatParams(), at);             \
    }                                                                                                                  \
    template <typename T, bool isReuseSource = false>                                                                  \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<uint8_t>&,                \
                     const uint32_t count, At at = At()) {                                                             \
        Name(dst, src, count, at);                                                                                     \
    }                                                                                                                  \
    template <typename T, bool isReuseSource = false>                                                                  \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, At at = At()) {                             \
        Name(dst, src, src.GetSize(), at);                                                                             \
    }                                                                                                                  \
    template <typename T, bool isReuseSource = false>                                                                  \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<uint8_t>&,                \
                     At at = At()) {                                                                                   \
        Name(dst, src, src.GetSize(), at);                                                                             \
    }
EMU_FUNCTION(Floor, Floor)
EMU_FUNCTION(Ceil, Ceil)
EMU_FUNCTION(Round, Rint)
EMU_FUNCTION(Trunc, Trunc)
EMU_FUNCTION(Sign, Sign)
EMU_FUNCTION(Sigmoid, Sigmoid)
EMU_FUNCTION(Silu, Silu)
EMU_FUNCTION(Tanh, Tanh)
EMU_FUNCTION(Erf, Erf)
EMU_FUNCTION(Sin, Sin)
EMU_FUNCTION(Cos, Cos)
EMU_FUNCTION(Atan, Atan)

// Values above (below) a scalar become the scalar.
#define EMU_CLAMP(Name, Op)                                                                                      \
    template <typename T, bool isReuseSource = false>                                                            \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T scalar, const uint32_t count, \
                     At at = At()) {                                                                             \
        static_assert(EMU_FLOATS, #Name ": half and float");                                                     \
        emu_detail::unary(#Name, emu::VecOp::Op, dst, src, emu::count_of(count), UnaryRepeatParams(), at,        \
                          emu::bits_of(scalar), emu::dtype<T>);                                                  \
    }                                                                                                            \
    template <typename T, bool isReuseSource = false>                                                            \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LocalTensor<uint8_t>&,          \
                     const T scalar, const uint32_t count, At at = At()) {                                       \
        Name(dst, src, scalar, count, at);                                                                       \
    }
EMU_CLAMP(ClampMax, Mins)
EMU_CLAMP(ClampMin, Maxs)

// dst = x * sigmoid(beta * x).
template <typename T, bool isReuseSource = false>
inline void Swish(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint32_t count, const T scalarValue,
                  At at = At()) {
    static_assert(EMU_FLOATS, "Swish: half and float");
    emu_detail::unary("Swish", emu::VecOp::Swish, dst, src, emu::count_of(count), UnaryRepeatParams(), at,
                      emu::bits_of(scalarValue), emu::dtype<T>);
}

// first, first + step, first + 2 step, ...
template <typename T>
inline void ArithProgression(const LocalTensor<T>& dst, const T first, const T step, const int32_t count,
                             At at = At()) {
    CreateVecIndex(dst, T(0), uint32_t(count), at);
    emu::pipe_barrier(PIPE_V, at);
    Muls(dst, dst, step, count, at);
    emu::pipe_barrier(PIPE_V, at);
    Adds(dst, dst, first, count, at);
}
template <typename T>
inline void Arange(const LocalTensor<T>& dst, const T first, const T step, const int32_t count, At at = At()) {
    ArithProgression(dst, first, step, count, at);
}

}  // namespace AscendC
