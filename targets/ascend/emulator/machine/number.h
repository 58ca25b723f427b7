// Numbers: every element is computed as a double and rounded once to its type.
//
// For +, -, *, / and sqrt of 16- and 32-bit floats, rounding through double gives the correctly rounded result
// (53 >= 2*24+2 bits); int32 is exact in a double.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "../api/backend.h"

namespace emu {

uint32_t size_of(Dtype t) {
    switch (t) {
        case Dtype::I8:
        case Dtype::U8:
        case Dtype::E4M3:
        case Dtype::E5M2: return 1;
        case Dtype::F16:
        case Dtype::BF16:
        case Dtype::I16:
        case Dtype::U16: return 2;
        case Dtype::F32:
        case Dtype::I32:
        case Dtype::U32: return 4;
        default: return 8;
    }
}

const char* name_of(Dtype t) {
    static const char* names[] = {"float", "half",   "bfloat16", "double", "int8",       "uint8",    "int16", "uint16",
                                  "int32", "uint32", "int64",    "uint64", "fp8_e4m3fn", "fp8_e5m2", "none"};
    return names[int(t)];
}

bool is_float(Dtype t) {
    return t == Dtype::F32 || t == Dtype::F16 || t == Dtype::BF16 || t == Dtype::F64 || t == Dtype::E4M3 ||
           t == Dtype::E5M2;
}

// x rounded to an integer.
double round_integer(double x, RoundMode mode) {
    switch (mode) {
        case RoundMode::CAST_FLOOR: return std::floor(x);
        case RoundMode::CAST_CEIL: return std::ceil(x);
        case RoundMode::CAST_ROUND: return std::round(x);  // ties away from zero
        case RoundMode::CAST_TRUNC: return std::trunc(x);
        case RoundMode::CAST_ODD: {  // Von Neumann: inexact results become odd
            const double t = std::trunc(x);
            return t == x || std::fmod(t, 2.0) != 0 ? t : t + (x > 0 ? 1 : -1);
        }
        default: return std::nearbyint(x);  // to nearest even
    }
}

struct FloatFormat {
    int bits, exponent_bits, mantissa;  // mantissa without the implicit one
    int bias() const { return (1 << (exponent_bits - 1)) - 1; }
};
FloatFormat format_of(Dtype t) {
    switch (t) {
        case Dtype::F16: return {16, 5, 10};
        case Dtype::BF16: return {16, 8, 7};
        case Dtype::E4M3: return {8, 4, 3};
        case Dtype::E5M2: return {8, 5, 2};
        default: return {32, 8, 23};
    }
}

uint32_t encode(double x, Dtype type, RoundMode mode) {
    const FloatFormat f = format_of(type);
    const bool fn = type == Dtype::E4M3;  // no infinity: the largest exponent holds numbers
    const uint32_t sign = std::signbit(x) ? 1u << (f.bits - 1) : 0;
    const uint32_t exponent_all = ((1u << f.exponent_bits) - 1) << f.mantissa;
    if (std::isnan(x)) return sign | exponent_all | (fn ? 7u : 1u << (f.mantissa - 1));
    const double magnitude = std::fabs(x);
    if (magnitude == 0) return sign;
    const uint32_t largest = fn ? exponent_all | 6u : exponent_all - 1;
    if (std::isinf(x)) return sign | (fn ? largest : exponent_all);
    const int exponent = std::max(std::ilogb(magnitude), 1 - f.bias());
    const double units = std::ldexp(x, f.mantissa - exponent);
    const uint64_t rounded = uint64_t(std::fabs(round_integer(units, mode)));
    // A carry out of the mantissa raises the exponent, and the encoding is monotone, so one addition does it.
    const bool subnormal = rounded < (1ull << f.mantissa);
    const uint64_t code = subnormal ? rounded : (uint64_t(exponent + f.bias() - 1) << f.mantissa) + rounded;
    if (code <= largest) return sign | uint32_t(code);
    const bool to_zero = mode == RoundMode::CAST_TRUNC || mode == RoundMode::CAST_ODD ||
                         (mode == RoundMode::CAST_FLOOR && x > 0) || (mode == RoundMode::CAST_CEIL && x < 0);
    return sign | (fn || to_zero ? largest : exponent_all);
}

double decode(uint32_t bits, Dtype type) {
    const FloatFormat f = format_of(type);
    const int exponent = int(bits >> f.mantissa) & ((1 << f.exponent_bits) - 1);
    const uint32_t fraction = bits & ((1u << f.mantissa) - 1);
    const double sign = bits >> (f.bits - 1) & 1 ? -1 : 1;
    const bool top = exponent == (1 << f.exponent_bits) - 1;
    if (type == Dtype::E4M3 ? top && fraction == 7 : top && fraction) return std::numeric_limits<double>::quiet_NaN();
    if (top && type != Dtype::E4M3) return sign * std::numeric_limits<double>::infinity();
    if (!exponent) return sign * std::ldexp(double(fraction), 1 - f.bias() - f.mantissa);
    return sign * std::ldexp(double(fraction | 1u << f.mantissa), exponent - f.bias() - f.mantissa);
}

// Faster than decode(), because whole tensors pass here.
float half_bits_to_float(uint16_t h) {
    const uint32_t sign = uint32_t(h & 0x8000) << 16;
    const uint32_t rest = h & 0x7FFF;
    uint32_t bits;
    if (rest >= 0x7C00) {
        bits = sign | 0x7F800000 | (rest & 0x3FF) << 13;
    } else if (rest >= 0x400) {
        bits = sign | ((rest << 13) + (112u << 23));
    } else {
        const float small = float(rest) * (1.0f / 16777216.0f);
        std::memcpy(&bits, &small, 4);
        bits |= sign;
    }
    float out;
    std::memcpy(&out, &bits, 4);
    return out;
}

template <typename I>
I saturate(double x) {
    if (std::isnan(x)) return 0;
    if (x <= double(std::numeric_limits<I>::min())) return std::numeric_limits<I>::min();
    if (x >= double(std::numeric_limits<I>::max())) return std::numeric_limits<I>::max();
    return I(x);
}

template <typename T>
T at_address(const uint8_t* p) {
    T v;
    std::memcpy(&v, p, sizeof(T));
    return v;
}

double load(const uint8_t* p, Dtype t) {
    switch (t) {
        case Dtype::F32: return at_address<float>(p);
        case Dtype::F16: return half_bits_to_float(at_address<uint16_t>(p));
        case Dtype::BF16: {
            const uint32_t bits = uint32_t(at_address<uint16_t>(p)) << 16;
            float f;
            std::memcpy(&f, &bits, 4);
            return f;
        }
        case Dtype::F64: return at_address<double>(p);
        case Dtype::I8: return at_address<int8_t>(p);
        case Dtype::U8: return *p;
        case Dtype::I16: return at_address<int16_t>(p);
        case Dtype::U16: return at_address<uint16_t>(p);
        case Dtype::I32: return at_address<int32_t>(p);
        case Dtype::U32: return at_address<uint32_t>(p);
        case Dtype::I64: return double(at_address<int64_t>(p));
        case Dtype::U64: return double(at_address<uint64_t>(p));
        default: return decode(*p, t);
    }
}

template <typename T>
void put(uint8_t* p, T v) {
    std::memcpy(p, &v, sizeof(T));
}

// Rounds to the type, to nearest even unless told otherwise; integers saturate.
void store(uint8_t* p, Dtype t, double x, RoundMode mode = RoundMode::CAST_RINT) {
    const bool nearest = mode == RoundMode::CAST_RINT || mode == RoundMode::CAST_NONE;
    if (t == Dtype::F32 && nearest) return put(p, float(x));
    if (t == Dtype::F64) return put(p, x);
    if (is_float(t)) {
        const uint32_t code = encode(x, t, mode);
        std::memcpy(p, &code, size_of(t));
        return;
    }
    const double r = round_integer(x, mode);
    switch (t) {
        case Dtype::I8: return put(p, saturate<int8_t>(r));
        case Dtype::U8: return put(p, saturate<uint8_t>(r));
        case Dtype::I16: return put(p, saturate<int16_t>(r));
        case Dtype::U16: return put(p, saturate<uint16_t>(r));
        case Dtype::I32: return put(p, saturate<int32_t>(r));
        case Dtype::U32: return put(p, saturate<uint32_t>(r));
        case Dtype::I64: return put(p, saturate<int64_t>(r));
        default: return put(p, saturate<uint64_t>(r));
    }
}

double scalar_value(uint64_t bits, Dtype t) { return load(reinterpret_cast<const uint8_t*>(&bits), t); }

float half_to_float(uint16_t bits) { return half_bits_to_float(bits); }
uint16_t float_to_half(float value) { return uint16_t(encode(value, Dtype::F16, RoundMode::CAST_RINT)); }
float bf16_to_float(uint16_t bits) { return float(load(reinterpret_cast<uint8_t*>(&bits), Dtype::BF16)); }
uint16_t float_to_bf16(float value) { return uint16_t(encode(value, Dtype::BF16, RoundMode::CAST_RINT)); }
float fp8_to_float(uint8_t bits, Dtype type) { return float(decode(bits, type)); }
uint8_t float_to_fp8(float value, Dtype type) { return uint8_t(encode(value, type, RoundMode::CAST_RINT)); }

}  // namespace emu
