// Cast, Duplicate, Copy, Brcb, CreateVecIndex, Compare, Select.
#pragma once

#include "vector.h"

namespace emu {

void brcb(const Operand& dst, const Operand& src, int repeat, At at);
void create_index(const Operand& dst, uint64_t first, const Shape& shape, At at);
void compare(const Place& dst, const Operand& a, const Operand& b, bool scalar, uint64_t value, CMPMODE mode,
             const Shape& shape, At at);
void select(const Operand& dst, const Place& mask, const Operand& a, const Operand& b, bool scalar, uint64_t value,
            int mode, const Shape& shape, At at);

// Which conversions exist and with which rounding (spec §3.3): bit r of the result allows RoundMode r.
constexpr uint32_t kNone = 1, kModes = 0b111110, kOdd = 1 << 6, kHybrid = 1 << 7;
template <typename D, typename S>
constexpr uint32_t cast_modes() {
    if (std::is_same<S, half>::value && std::is_same<D, float>::value) return kNone;
    if (std::is_same<S, bfloat16_t>::value && std::is_same<D, float>::value) return kNone;
    if (std::is_same<S, int16_t>::value && std::is_same<D, float>::value) return kNone;
    if (std::is_same<S, float>::value && std::is_same<D, half>::value) return kModes | kOdd | kNone;
    if (std::is_same<S, float>::value && std::is_same<D, bfloat16_t>::value) return kModes;
    if (std::is_same<S, float>::value && one_of<D, int32_t, int16_t, int64_t, float>) return kModes;
    if (std::is_same<S, int32_t>::value && std::is_same<D, float>::value) return kModes | kNone;
    if (std::is_same<S, int64_t>::value && std::is_same<D, float>::value) return kModes;
    if (std::is_same<S, half>::value && one_of<D, int8_t, uint8_t>) return kModes | kNone;
    if (std::is_same<S, half>::value && one_of<D, int16_t, int32_t>) return kModes;
    if (one_of<S, int8_t, uint8_t> && std::is_same<D, half>::value) return kNone;
    if (std::is_same<S, int16_t>::value && std::is_same<D, half>::value) return kModes | kNone;
    if (std::is_same<S, int32_t>::value && std::is_same<D, half>::value) return kNone;  // with SetDeqScale
    if (std::is_same<S, int32_t>::value && one_of<D, int16_t, int64_t>) return kNone;
    if (std::is_same<S, int64_t>::value && std::is_same<D, int32_t>::value) return kNone;
    if (std::is_same<S, bfloat16_t>::value && std::is_same<D, int32_t>::value) return kModes;
    if (k3510) {
        if (std::is_same<S, half>::value && std::is_same<D, bfloat16_t>::value) return kModes;
        if (std::is_same<S, bfloat16_t>::value && std::is_same<D, half>::value) return kModes;
        if (std::is_same<S, float>::value && one_of<D, fp8_e4m3fn_t, fp8_e5m2_t>) return 1 << 1;
        if (one_of<S, fp8_e4m3fn_t, fp8_e5m2_t> && std::is_same<D, float>::value) return kNone;
        if (std::is_same<S, int8_t>::value && one_of<D, int16_t, int32_t>) return kNone;
        if (std::is_same<S, fp4x2_e2m1_t>::value && std::is_same<D, bfloat16_t>::value) return kNone;
    }
    return 0;
}

void cast(const Operand& dst, const Operand& src, RoundMode round, uint32_t allowed, const Shape& shape, At at);
void cast_pairs(const Place& dst, const Place& src, RoundMode round, int64_t count, At at);  // e2m1 -> bfloat16

}  // namespace emu

namespace AscendC {

template <typename T, typename U>
inline void Cast(const LocalTensor<T>& dst, const LocalTensor<U>& src, const RoundMode& roundMode, const uint32_t count,
                 At at = At()) {
    static_assert(emu::cast_modes<T, U>() != 0, "Cast: this pair of types does not exist on this chip");
    if constexpr (std::is_same<U, fp4x2_e2m1_t>::value) {
        emu::cast_pairs(dst.place(), src.place(), roundMode, count, at);
    } else {
        emu::cast({dst.place(), emu::dtype<T>}, {src.place(), emu::dtype<U>}, roundMode, emu::cast_modes<T, U>(),
                  emu::count_of(count), at);
    }
}
template <typename T, typename U, bool isSetMask = true>
inline void Cast(const LocalTensor<T>& dst, const LocalTensor<U>& src, const RoundMode& roundMode, const uint64_t mask,
                 emu::Repeat repeatTime, const UnaryRepeatParams& p, At at = At()) {
    static_assert(emu::cast_modes<T, U>() != 0, "Cast: this pair of types does not exist on this chip");
    static_assert(!std::is_same<U, fp4x2_e2m1_t>::value, "Cast of fp4x2: the emulator has the form with a count only");
    emu::cast({dst.place(), emu::dtype<T>, p.dstBlkStride, p.dstRepStride},
              {src.place(), emu::dtype<U>, p.srcBlkStride, p.srcRepStride}, roundMode, emu::cast_modes<T, U>(),
              emu::repeats(mask, repeatTime, isSetMask), at);
}
template <typename T, typename U, bool isSetMask = true>
inline void Cast(const LocalTensor<T>& dst, const LocalTensor<U>& src, const RoundMode& roundMode,
                 const uint64_t mask[], emu::Repeat repeatTime, const UnaryRepeatParams& p, At at = At()) {
    static_assert(emu::cast_modes<T, U>() != 0, "Cast: this pair of types does not exist on this chip");
    static_assert(!std::is_same<U, fp4x2_e2m1_t>::value, "Cast of fp4x2: the emulator has the form with a count only");
    emu::cast({dst.place(), emu::dtype<T>, p.dstBlkStride, p.dstRepStride},
              {src.place(), emu::dtype<U>, p.srcBlkStride, p.srcRepStride}, roundMode, emu::cast_modes<T, U>(),
              emu::repeats(mask, repeatTime, isSetMask), at);
}
inline void SetDeqScale(half scale) { emu::set_deq_scale(static_cast<float>(scale)); }

// 16- and 32-bit types; int8 is filled as int16.
#define EMU_FILLABLE (sizeof(T) == 2 || sizeof(T) == 4 || (emu::k3510 && sizeof(T) == 1))
template <typename T>
inline void Duplicate(const LocalTensor<T>& dst, const T& scalarValue, const int32_t& count, At at = At()) {
    static_assert(EMU_FILLABLE, "Duplicate: 16- and 32-bit types only; fill 8-bit data as int16");
    emu::elementwise({"Duplicate",
                      emu::VecOp::Duplicate,
                      {dst.place(), emu::dtype<T>},
                      {{}, {}},
                      0,
                      emu::count_of(count),
                      emu::bits_of(scalarValue),
                      emu::dtype<T>},
                     at);
}
template <typename T, bool isSetMask = true>
inline void Duplicate(const LocalTensor<T>& dst, const T& scalarValue, uint64_t mask, emu::Repeat repeatTime,
                      const uint16_t dstBlockStride, const uint8_t dstRepeatStride, At at = At()) {
    static_assert(EMU_FILLABLE, "Duplicate: 16- and 32-bit types only; fill 8-bit data as int16");
    emu::elementwise({"Duplicate",
                      emu::VecOp::Duplicate,
                      {dst.place(), emu::dtype<T>, dstBlockStride, dstRepeatStride},
                      {{}, {}},
                      0,
                      emu::repeats(mask, repeatTime, isSetMask),
                      emu::bits_of(scalarValue),
                      emu::dtype<T>},
                     at);
}
template <typename T, bool isSetMask = true>
inline void Duplicate(const LocalTensor<T>& dst, const T& scalarValue, uint64_t mask[], emu::Repeat repeatTime,
                      const uint16_t dstBlockStride, const uint8_t dstRepeatStride, At at = At()) {
    static_assert(EMU_FILLABLE, "Duplicate: 16- and 32-bit types only; fill 8-bit data as int16");
    emu::elementwise({"Duplicate",
                      emu::VecOp::Duplicate,
                      {dst.place(), emu::dtype<T>, dstBlockStride, dstRepeatStride},
                      {{}, {}},
                      0,
                      emu::repeats(mask, repeatTime, isSetMask),
                      emu::bits_of(scalarValue),
                      emu::dtype<T>},
                     at);
}

// UB to UB by the vector unit.
template <typename T, bool isSetMask = true>
inline void Copy(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint64_t mask, emu::Repeat repeatTime,
                 const CopyRepeatParams& p, At at = At()) {
    static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Copy: 16- and 32-bit types only");
    emu::elementwise({"Copy",
                      emu::VecOp::Copy,
                      {dst.place(), emu::dtype<T>, p.dstStride, p.dstRepeatSize},
                      {{src.place(), emu::dtype<T>, p.srcStride, p.srcRepeatSize}, {}},
                      1,
                      emu::repeats(mask, repeatTime, isSetMask)},
                     at);
}
template <typename T, bool isSetMask = true>
inline void Copy(const LocalTensor<T>& dst, const LocalTensor<T>& src, const uint64_t mask[], emu::Repeat repeatTime,
                 const CopyRepeatParams& p, At at = At()) {
    static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Copy: 16- and 32-bit types only");
    emu::elementwise({"Copy",
                      emu::VecOp::Copy,
                      {dst.place(), emu::dtype<T>, p.dstStride, p.dstRepeatSize},
                      {{src.place(), emu::dtype<T>, p.srcStride, p.srcRepeatSize}, {}},
                      1,
                      emu::repeats(mask, repeatTime, isSetMask)},
                     at);
}

template <typename T>
inline void Brcb(const LocalTensor<T>& dst, const LocalTensor<T>& src, emu::Repeat repeatTime,
                 const BrcbRepeatParams& p, At at = At()) {
    static_assert(sizeof(T) == 2 || sizeof(T) == 4, "Brcb: 16- and 32-bit types only");
    emu::brcb({dst.place(), emu::dtype<T>, p.dstBlkStride, p.dstRepStride}, {src.place(), emu::dtype<T>}, repeatTime,
              at);
}

template <typename T>
inline void CreateVecIndex(LocalTensor<T> dst, const T& firstValue, uint32_t count, At at = At()) {
    static_assert(emu::one_of<T, half, float, int16_t, int32_t>, "CreateVecIndex: half, float, int16, int32");
    emu::create_index({dst.place(), emu::dtype<T>}, emu::bits_of(firstValue), emu::count_of(count), at);
}

template <typename T, bool isSetMask = true>
inline void CreateVecIndex(LocalTensor<T>& dst, const T& firstValue, uint64_t mask, emu::Repeat repeatTime,
                           uint16_t dstBlkStride, uint8_t dstRepStride, At at = At()) {
    static_assert(emu::one_of<T, half, float, int16_t, int32_t>, "CreateVecIndex: half, float, int16, int32");
    emu::create_index({dst.place(), emu::dtype<T>, dstBlkStride, dstRepStride}, emu::bits_of(firstValue),
                      emu::repeats(mask, repeatTime, isSetMask), at);
}

// --- compare and select --------------------------------------------------------------------------------------------
#define EMU_COMPARABLE                      \
    (emu::legal<T, half, float, int32_t> || \
     (emu::k3510 && emu::one_of<T, int16_t, uint16_t, uint32_t, int64_t, uint64_t>))
template <typename T, typename U>
inline void Compare(const LocalTensor<U>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1, CMPMODE cmpMode,
                    uint32_t count, At at = At()) {
    static_assert(EMU_COMPARABLE, "Compare: half, float, and int32 with EQ");
    emu::compare(dst.place(), {src0.place(), emu::dtype<T>}, {src1.place(), emu::dtype<T>}, false, 0, cmpMode,
                 emu::count_of(count), at);
}
template <typename T, typename U, bool isSetMask = true>
inline void Compare(const LocalTensor<U>& dst, const LocalTensor<T>& src0, const LocalTensor<T>& src1, CMPMODE cmpMode,
                    uint64_t mask, emu::Repeat repeatTime, const BinaryRepeatParams& p, At at = At()) {
    static_assert(EMU_COMPARABLE, "Compare: half, float, and int32 with EQ");
    emu::compare(dst.place(), {src0.place(), emu::dtype<T>, p.src0BlkStride, p.src0RepStride},
                 {src1.place(), emu::dtype<T>, p.src1BlkStride, p.src1RepStride}, false, 0, cmpMode,
                 emu::repeats(mask, repeatTime, isSetMask), at);
}
template <typename T, typename U>
inline void CompareScalar(const LocalTensor<U>& dst, const LocalTensor<T>& src0, const T src1Scalar, CMPMODE cmpMode,
                          uint32_t count, At at = At()) {
    static_assert(EMU_COMPARABLE, "CompareScalar: half, float, and int32 with EQ");
    emu::compare(dst.place(), {src0.place(), emu::dtype<T>}, {}, true, emu::bits_of(src1Scalar), cmpMode,
                 emu::count_of(count), at);
}
template <typename T, typename U, bool isSetMask = true>
inline void CompareScalar(const LocalTensor<U>& dst, const LocalTensor<T>& src0, const T src1Scalar, CMPMODE cmpMode,
                          uint64_t mask, emu::Repeat repeatTime, const UnaryRepeatParams& p, At at = At()) {
    static_assert(EMU_COMPARABLE, "CompareScalar: half, float, and int32 with EQ");
    emu::compare(dst.place(), {src0.place(), emu::dtype<T>, p.srcBlkStride, p.srcRepStride}, {}, true,
                 emu::bits_of(src1Scalar), cmpMode, emu::repeats(mask, repeatTime, isSetMask), at);
}
template <typename T, typename U>
inline void Compares(const LocalTensor<U>& dst, const LocalTensor<T>& src0, const T src1Scalar, CMPMODE cmpMode,
                     uint32_t count, At at = At()) {
    CompareScalar(dst, src0, src1Scalar, cmpMode, count, at);
}
#define EMU_SELECTABLE (emu::legal<T, half, float> || (emu::k3510 && (sizeof(T) == 2 || sizeof(T) == 4)))
template <typename T, typename U>
inline void Select(const LocalTensor<T>& dst, const LocalTensor<U>& selMask, const LocalTensor<T>& src0,
                   const LocalTensor<T>& src1, SELMODE selMode, uint32_t count, At at = At()) {
    static_assert(EMU_SELECTABLE, "Select: half, float; integers by ReinterpretCast");
    emu::select({dst.place(), emu::dtype<T>}, selMask.place(), {src0.place(), emu::dtype<T>},
                {src1.place(), emu::dtype<T>}, false, 0, int(selMode), emu::count_of(count), at);
}
template <typename T, typename U>
inline void Select(const LocalTensor<T>& dst, const LocalTensor<U>& selMask, const LocalTensor<T>& src0, T src1,
                   SELMODE selMode, uint32_t count, At at = At()) {
    static_assert(EMU_SELECTABLE, "Select: half, float; integers by ReinterpretCast");
    emu::select({dst.place(), emu::dtype<T>}, selMask.place(), {src0.place(), emu::dtype<T>}, {}, true,
                emu::bits_of(src1), int(selMode), emu::count_of(count), at);
}
template <typename T, typename U, bool isSetMask = true>
inline void Select(const LocalTensor<T>& dst, const LocalTensor<U>& selMask, const LocalTensor<T>& src0,
                   const LocalTensor<T>& src1, SELMODE selMode, uint64_t mask, emu::Repeat repeatTime,
                   const BinaryRepeatParams& p, At at = At()) {
    static_assert(EMU_SELECTABLE, "Select: half, float; integers by ReinterpretCast");
    emu::select({dst.place(), emu::dtype<T>, p.dstBlkStride, p.dstRepStride}, selMask.place(),
                {src0.place(), emu::dtype<T>, p.src0BlkStride, p.src0RepStride},
                {src1.place(), emu::dtype<T>, p.src1BlkStride, p.src1RepStride}, false, 0, int(selMode),
                emu::repeats(mask, repeatTime, isSetMask), at);
}
template <typename T, typename U, bool isSetMask = true>
inline void Select(const LocalTensor<T>& dst, const LocalTensor<U>& selMask, const LocalTensor<T>& src0, T src1,
                   SELMODE selMode, uint64_t mask, emu::Repeat repeatTime, const BinaryRepeatParams& p, At at = At()) {
    static_assert(EMU_SELECTABLE, "Select: half, float; integers by ReinterpretCast");
    emu::select({dst.place(), emu::dtype<T>, p.dstBlkStride, p.dstRepStride}, selMask.place(),
                {src0.place(), emu::dtype<T>, p.src0BlkStride, p.src0RepStride}, {}, true, emu::bits_of(src1),
                int(selMode), emu::repeats(mask, repeatTime, isSetMask), at);
}

}  // namespace AscendC
