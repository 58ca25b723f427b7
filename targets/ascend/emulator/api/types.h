// Element types. 16-bit floats convert to float explicitly only, because scalar code on the device does not compute in
// them; numbers become half as they do there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "keywords.h"

namespace emu {

enum class Dtype : uint8_t { F32, F16, BF16, F64, I8, U8, I16, U16, I32, U32, I64, U64, E4M3, E5M2, None };

// Conversions live in the runtime, with every rounding mode; these round to nearest even.
float half_to_float(uint16_t bits);
uint16_t float_to_half(float value);
float bf16_to_float(uint16_t bits);
uint16_t float_to_bf16(float value);
float fp8_to_float(uint8_t bits, Dtype type);
uint8_t float_to_fp8(float value, Dtype type);

}  // namespace emu

struct half {
    uint16_t bits;
    half() = default;
    template <typename V, typename = std::enable_if_t<std::is_arithmetic<V>::value>>
    half(V value) : bits(emu::float_to_half(static_cast<float>(value))) {}
    template <typename V, typename = std::enable_if_t<std::is_arithmetic<V>::value>>
    explicit operator V() const {
        return static_cast<V>(emu::half_to_float(bits));
    }
};

struct bfloat16_t {
    uint16_t bits;
    bfloat16_t() = default;
    template <typename V, typename = std::enable_if_t<std::is_arithmetic<V>::value>>
    explicit bfloat16_t(V value) : bits(emu::float_to_bf16(static_cast<float>(value))) {}
    template <typename V, typename = std::enable_if_t<std::is_arithmetic<V>::value>>
    explicit operator V() const {
        return static_cast<V>(emu::bf16_to_float(bits));
    }
};

struct fp8_e4m3fn_t {
    uint8_t bits;
    explicit operator float() const { return emu::fp8_to_float(bits, emu::Dtype::E4M3); }
};

struct fp8_e5m2_t {
    uint8_t bits;
    explicit operator float() const { return emu::fp8_to_float(bits, emu::Dtype::E5M2); }
};

// Two numbers of e2m1, the first in the low half.
struct fp4x2_e2m1_t {
    uint8_t bits;
};

using float16_t = half;
#define __bf16 bfloat16_t  // not an alias: clang has a type of this name

namespace emu {

template <typename T>
struct DtypeOf {
    static constexpr Dtype value = Dtype::None;
};
template <>
struct DtypeOf<float> {
    static constexpr Dtype value = Dtype::F32;
};
template <>
struct DtypeOf<double> {
    static constexpr Dtype value = Dtype::F64;
};
template <>
struct DtypeOf<half> {
    static constexpr Dtype value = Dtype::F16;
};
template <>
struct DtypeOf<bfloat16_t> {
    static constexpr Dtype value = Dtype::BF16;
};
template <>
struct DtypeOf<int8_t> {
    static constexpr Dtype value = Dtype::I8;
};
template <>
struct DtypeOf<uint8_t> {
    static constexpr Dtype value = Dtype::U8;
};
template <>
struct DtypeOf<bool> {
    static constexpr Dtype value = Dtype::U8;
};
template <>
struct DtypeOf<int16_t> {
    static constexpr Dtype value = Dtype::I16;
};
template <>
struct DtypeOf<uint16_t> {
    static constexpr Dtype value = Dtype::U16;
};
template <>
struct DtypeOf<int32_t> {
    static constexpr Dtype value = Dtype::I32;
};
template <>
struct DtypeOf<uint32_t> {
    static constexpr Dtype value = Dtype::U32;
};
template <>
struct DtypeOf<int64_t> {
    static constexpr Dtype value = Dtype::I64;
};
template <>
struct DtypeOf<uint64_t> {
    static constexpr Dtype value = Dtype::U64;
};
template <>
struct DtypeOf<fp8_e4m3fn_t> {
    static constexpr Dtype value = Dtype::E4M3;
};
template <>
struct DtypeOf<fp8_e5m2_t> {
    static constexpr Dtype value = Dtype::E5M2;
};

template <typename T>
constexpr Dtype dtype = DtypeOf<T>::value;

// True when T is one of the listed types: the legality tables of spec §3 are written with it.
template <typename T, typename... Ts>
constexpr bool one_of = (std::is_same<T, Ts>::value || ...);

constexpr bool k3510 = __NPU_ARCH__ == 3510;

// "2201 types, or on 3510 also bf16", the most frequent rule.
template <typename T, typename... Ts>
constexpr bool legal = one_of<T, Ts...> || (k3510 && one_of<T, bfloat16_t>);

template <typename T>
uint64_t bits_of(const T& value) {
    uint64_t out = 0;
    std::memcpy(&out, &value, sizeof(T));
    return out;
}

}  // namespace emu

namespace AscendC {

using ::bfloat16_t;
using ::half;
struct int4b_t {  // named only: nothing computes in it here
    uint8_t bits;
};

inline float ToFloat(const bfloat16_t& value) { return static_cast<float>(value); }
inline bfloat16_t ToBfloat16(const float& value) { return bfloat16_t(value); }

}  // namespace AscendC
