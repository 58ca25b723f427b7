// Element-wise arithmetic in the three forms of every instruction: count, mask, bit mask.
#pragma once

#include "system.h"

namespace AscendC {
namespace emu_detail {

inline emu::Operand operand(const emu::Place& place, emu::Dtype type, uint32_t blk = 1, uint32_t rep = 8) {
    return {place, type, blk, rep};
}

template <typename D, typename S>
void unary(const char* name, emu::VecOp op, const LocalTensor<D>& dst, const LocalTensor<S>& src,
           const emu::Shape& shape, const UnaryRepeatParams& p, At at, uint64_t scalar = 0,
           emu::Dtype scalar_type = emu::Dtype::None) {
    emu::elementwise({name,
                      op,
                      operand(dst.place(), emu::dtype<D>, p.dstBlkStride, p.dstRepStride),
                      {operand(src.place(), emu::dtype<S>, p.srcBlkStride, p.srcRepStride), {}},
                      1,
                      shape,
                      scalar,
                      scalar_type,
                      RoundMode::CAST_NONE},
                     at);
}

template <typename D, typename S>
void binary(const char* name, emu::VecOp op, const LocalTensor<D>& dst, const LocalTensor<S>& a,
            const LocalTensor<S>& b, const emu::Shape& shape, const BinaryRepeatParams& p, At at) {
    emu::elementwise({name,
                      op,
                      operand(dst.place(), emu::dtype<D>, p.dstBlkStride, p.dstRepStride),
                      {operand(a.place(), emu::dtype<S>, p.src0BlkStride, p.src0RepStride),
                       operand(b.place(), emu::dtype<S>, p.src1BlkStride, p.src1RepStride)},
                      2,
                      shape,
                      0,
                      emu::Dtype::None,
                      RoundMode::CAST_NONE},
                     at);
}

}  // namespace emu_detail

#define EMU_BINARY(Name, rule)                                                                                         \
    template <typename T, bool isSetMask = true>                                                                       \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1,                \
                     uint64_t mask[], emu::Repeat repeatTime, const BinaryRepeatParams& repeatParams, At at = At()) {  \
        static_assert(rule, #Name ": this element type is not computed on this chip");                                 \
        emu_detail::binary(#Name, emu::VecOp::Name, dst, src0, src1, emu::repeats(mask, repeatTime, isSetMask),        \
                           repeatParams, at);                                                                          \
    }                                                                                                                  \
    template <typename T, bool isSetMask = true>                                                                       \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1, uint64_t mask, \
                     emu::Repeat repeatTime, const BinaryRepeatParams& repeatParams, At at = At()) {                   \
        static_assert(rule, #Name ": this element type is not computed on this chip");                                 \
        emu_detail::binary(#Name, emu::VecOp::Name, dst, src0, src1, emu::repeats(mask, repeatTime, isSetMask),        \
                           repeatParams, at);                                                                          \
    }                                                                                                                  \
    template <typename T>                                                                                              \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1,                \
                     const int32_t& count, At at = At()) {                                                             \
        static_assert(rule, #Name ": this element type is not computed on this chip");                                 \
        emu_detail::binary(#Name, emu::VecOp::Name, dst, src0, src1, emu::count_of(count), BinaryRepeatParams(), at);  \
    }

#define EMU_ARITH emu::legal<T, half, float, int16_t, int32_t>
#define EMU_FLOATS emu::legal<T, half, float>
#define EMU_BITS \
    (emu::one_of<T, int16_t, uint16_t> || (emu::k3510 && emu::one_of<T, int32_t, uint32_t, int8_t, uint8_t>))
EMU_BINARY(Add, EMU_ARITH)
EMU_BINARY(Sub, EMU_ARITH)
EMU_BINARY(Mul, EMU_ARITH)
EMU_BINARY(Max, EMU_ARITH)
EMU_BINARY(Min, EMU_ARITH)
EMU_BINARY(Div, EMU_FLOATS)
EMU_BINARY(And, EMU_BITS)
EMU_BINARY(Or, EMU_BITS)
EMU_BINARY(AddRelu, (emu::one_of<T, half, float, int16_t>))
EMU_BINARY(SubRelu, (emu::one_of<T, half, float, int16_t>))
EMU_BINARY(FusedMulAdd, EMU_FLOATS)

#define EMU_UNARY(Name, rule)                                                                                         \
    template <typename T, bool isSetMask = true>                                                                      \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, uint64_t mask[], emu::Repeat repeatTime,   \
                     const UnaryRepeatParams& repeatParams, At at = At()) {                                           \
        static_assert(rule, #Name ": this element type is not computed on this chip");                                \
        emu_detail::unary(#Name, emu::VecOp::Name, dst, src, emu::repeats(mask, repeatTime, isSetMask), repeatParams, \
                          at);                                                                                        \
    }                                                                                                                 \
    template <typename T, bool isSetMask = true>                                                                      \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, uint64_t mask, emu::Repeat repeatTime,     \
                     const UnaryRepeatParams& repeatParams, At at = At()) {                                           \
        static_assert(rule, #Name ": this element type is not computed on this chip");                                \
        emu_detail::unary(#Name, emu::VecOp::Name, dst, src, emu::repeats(mask, repeatTime, isSetMask), repeatParams, \
                          at);                                                                                        \
    }                                                                                                                 \
    template <typename T>                                                                                             \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const int32_t& count, At at = At()) {      \
        static_assert(rule, #Name ": this element type is not computed on this chip");                                \
        emu_detail::unary(#Name, emu::VecOp::Name, dst, src, emu::count_of(count), UnaryRepeatParams(), at);          \
    }

EMU_UNARY(Exp, EMU_FLOATS)
EMU_UNARY(Ln, EMU_FLOATS)
EMU_UNARY(Abs, EMU_FLOATS)
EMU_UNARY(Sqrt, EMU_FLOATS)
EMU_UNARY(Rsqrt, EMU_FLOATS)
EMU_UNARY(Reciprocal, EMU_FLOATS)
EMU_UNARY(Relu, (emu::legal<T, half, float, int32_t>))
EMU_UNARY(Not, EMU_BITS)
EMU_UNARY(Neg, (emu::k3510 && emu::legal<T, half, float, int32_t, int16_t>))

#define EMU_SCALAR(Name, rule)                                                                                         \
    template <typename T, bool isSetMask = true>                                                                       \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T& scalarValue, uint64_t mask[],      \
                     emu::Repeat repeatTime, const UnaryRepeatParams& repeatParams, At at = At()) {                    \
        static_assert(rule, #Name ": this element type is not computed on this chip");                                 \
        emu_detail::unary(#Name, emu::VecOp::Name, dst, src, emu::repeats(mask, repeatTime, isSetMask), repeatParams,  \
                          at, emu::bits_of(scalarValue), emu::dtype<T>);                                               \
    }                                                                                                                  \
    template <typename T, bool isSetMask = true>                                                                       \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T& scalarValue, uint64_t mask,        \
                     emu::Repeat repeatTime, const UnaryRepeatParams& repeatParams, At at = At()) {                    \
        static_assert(rule, #Name ": this element type is not computed on this chip");                                 \
        emu_detail::unary(#Name, emu::VecOp::Name, dst, src, emu::repeats(mask, repeatTime, isSetMask), repeatParams,  \
                          at, emu::bits_of(scalarValue), emu::dtype<T>);                                               \
    }                                                                                                                  \
    template <typename T, bool isSetMask = true>                                                                       \
    inline void Name(const LocalTensor<T>& dst, const LocalTensor<T>& src, const T& scalarValue, const int32_t& count, \
                     At at = At()) {                                                                                   \
        static_assert(rule, #Name ": this element type is not computed on this chip");                                 \
        emu_detail::unary(#Name, emu::VecOp::Name, dst, src, emu::count_of(count), UnaryRepeatParams(), at,            \
                          emu::bits_of(scalarValue), emu::dtype<T>);                                                   \
    }

#define EMU_SHIFTABLE (emu::one_of<T, int16_t, uint16_t, int32_t, uint32_t>)
EMU_SCALAR(Adds, EMU_ARITH)
EMU_SCALAR(Muls, EMU_ARITH)
EMU_SCALAR(Maxs, EMU_ARITH)
EMU_SCALAR(Mins, EMU_ARITH)
EMU_SCALAR(LeakyRelu, EMU_FLOATS)
EMU_SCALAR(ShiftLeft, EMU_SHIFTABLE)
EMU_SCALAR(ShiftRight, EMU_SHIFTABLE)

// dst = scalar * src + dst; src may be half with dst float.
#define EMU_AXPY_RULE \
    (std::is_same<T, U>::value ? emu::legal<T, half, float> : emu::one_of<T, float> && emu::one_of<U, half>)
template <typename T, typename U, bool isSetMask = true>
inline void Axpy(const LocalTensor<T>& dst, const LocalTensor<U>& src, const U& scalarValue, uint64_t mask[],
                 emu::Repeat repeatTime, const UnaryRepeatParams& p, At at = At()) {
    static_assert(EMU_AXPY_RULE, "Axpy: half, float, or float from half");
    emu_detail::unary("Axpy", emu::VecOp::Axpy, dst, src, emu::repeats(mask, repeatTime, isSetMask), p, at,
                      emu::bits_of(scalarValue), emu::dtype<U>);
}
template <typename T, typename U, bool isSetMask = true>
inline void Axpy(const LocalTensor<T>& dst, const LocalTensor<U>& src, const U& scalarValue, uint64_t mask,
                 emu::Repeat repeatTime, const UnaryRepeatParams& p, At at = At()) {
    static_assert(EMU_AXPY_RULE, "Axpy: half, float, or float from half");
    emu_detail::unary("Axpy", emu::VecOp::Axpy, dst, src, emu::repeats(mask, repeatTime, isSetMask), p, at,
                      emu::bits_of(scalarValue), emu::dtype<U>);
}
template <typename T, typename U>
inline void Axpy(const LocalTensor<T>& dst, const LocalTensor<U>& src, const U& scalarValue, const int32_t& count,
                 At at = At()) {
    static_assert(EMU_AXPY_RULE, "Axpy: half, float, or float from half");
    emu_detail::unary("Axpy", emu::VecOp::Axpy, dst, src, emu::count_of(count), UnaryRepeatParams(), at,
                      emu::bits_of(scalarValue), emu::dtype<U>);
}

// dst = src0 * src1 + dst.
template <typename T, typename U, bool isSetMask = true>
inline void MulAddDst(const LocalTensor<T>& dst, const LocalTensor<U>& src0, const LocalTensor<U>& src1,
                      uint64_t mask[], emu::Repeat repeatTime, const BinaryRepeatParams& p, At at = At()) {
    static_assert(EMU_AXPY_RULE, "MulAddDst: half, float, or float from half");
    emu_detail::binary("MulAddDst", emu::VecOp::MulAddDst, dst, src0, src1, emu::repeats(mask, repeatTime, isSetMask),
                       p, at);
}
template <typename T, typename U, bool isSetMask = true>
inline void MulAddDst(const LocalTensor<T>& dst, const LocalTensor<U>& src0, const LocalTensor<U>& src1, uint64_t mask,
                      emu::Repeat repeatTime, const BinaryRepeatParams& p, At at = At()) {
    static_assert(EMU_AXPY_RULE, "MulAddDst: half, float, or float from half");
    emu_detail::binary("MulAddDst", emu::VecOp::MulAddDst, dst, src0, src1, emu::repeats(mask, repeatTime, isSetMask),
                       p, at);
}
template <typename T, typename U>
inline void MulAddDst(const LocalTensor<T>& dst, const LocalTensor<U>& src0, const LocalTensor<U>& src1,
                      const int32_t& count, At at = At()) {
    static_assert(EMU_AXPY_RULE, "MulAddDst: half, float, or float from half");
    emu_detail::binary("MulAddDst", emu::VecOp::MulAddDst, dst, src0, src1, emu::count_of(count), BinaryRepeatParams(),
                       at);
}

// --- the mask register ---------------------------------------------------------------------------------------------
inline void SetMaskCount() { emu::set_mask_mode(true); }
inline void SetMaskNorm() { emu::set_mask_mode(false); }
inline void ResetMask() { emu::reset_mask(); }
template <typename T, MaskMode mode = MaskMode::NORMAL>
inline void SetVectorMask(const uint64_t maskHigh, const uint64_t maskLow, At at = At()) {
    emu::set_vector_mask(maskHigh, maskLow, mode == MaskMode::COUNTER, at);
}
// In counter mode the number of elements; in normal mode the number of leading ones.
template <typename T, MaskMode mode = MaskMode::NORMAL>
inline void SetVectorMask(int32_t length, At at = At()) {
    if constexpr (mode == MaskMode::COUNTER) {
        emu::set_vector_mask(0, uint64_t(length), true, at);
    } else {
        const uint64_t ones = ~uint64_t(0);
        const uint64_t low = length >= 64 ? ones : (uint64_t(1) << length) - 1;
        const uint64_t high = length >= 128 ? ones : length > 64 ? (uint64_t(1) << (length - 64)) - 1 : 0;
        emu::set_vector_mask(high, low, false, at);
    }
}

}  // namespace AscendC
