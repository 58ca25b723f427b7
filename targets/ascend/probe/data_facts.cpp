// Facts of vector cores: choices by bits, casts, copies.
#include "vector_facts.h"

namespace {

// Numbers whose rounding is a tie, to either side, and numbers that need no rounding.
void ties(Array& in, float unit) {
    for (int i = 0; i < 64; i++)
        in.put<float>(i, (i % 2 ? -1.0f : 1.0f) * (1.0f + unit * 0.5f * static_cast<float>(i)));
    in.put<float>(60, INFINITY);
    in.put<float>(61, -INFINITY);
}

bool bit(const Array& in, int i) { return in.get<uint8_t>(1024 + i / 8) >> i % 8 & 1; }

}  // namespace

std::vector<Fact> choices() {
    const Fill pattern = [](Array& in) {
        floats(in);
        for (int i = 0; i < 64; i++) in.put<uint8_t>(1024 + i, static_cast<uint8_t>(i * 73 + 5));
    };
    const Fill pairs = [](Array& in) {
        for (int i = 0; i < 256; i++)
            in.put<float>(i, static_cast<float>(i % 7)), in.put<float>(256 + i, static_cast<float>(i % 5));
    };
    const Fill bytes = [](Array& in) {
        floats(in);
        for (int i = 0; i < 64; i++) in.put<uint32_t>(256 + i, static_cast<uint32_t>((i * 11 % 64) * 4));
    };
    std::vector<Fact> out = {
        fact(9, "3.5", "Compare, CompareScalar: element i is bit i % 8 of byte i / 8", "u8", pairs,
             [](const Array& in, Array& o) {
                 for (int k = 0; k < 7; k++) {
                     for (int i = 0; i < 64; i++) {
                         const float a = in.get<float>(i), b = in.get<float>(256 + i);
                         const bool is[] = {a<b, a> b, a == b, a <= b, a >= b, a != b, a > 3};
                         const int at = 32 * k + i / 8;
                         o.put<uint8_t>(at, static_cast<uint8_t>((i % 8 ? o.get<uint8_t>(at) : 0) | is[k] << i % 8));
                     }
                 }
             }),
        fact(10, "3.5", "Select of tensors: a where the bit is set, bits consumed continuously", "f32", pattern,
             [](const Array& in, Array& o) {
                 for (int i = 0; i < 128; i++) o.put<float>(i, in.get<float>(bit(in, i) ? i : 512 + i));
             }),
        fact(11, "3.5", "Select with a number: the number where the bit is not set", "f32", pattern,
             [](const Array& in, Array& o) {
                 for (int i = 0; i < 128; i++) o.put<float>(i, bit(in, i) ? in.get<float>(i) : -2.0f);
             }),
        fact(12, "3.7", "GatherMask by bits: kept elements in their order; one repeat of any length", "f32", pattern,
             [](const Array& in, Array& o) {
                 for (int i = 0, at = 0; i < 128; i++)
                     if (bit(in, i)) o.put<float>(at++, in.get<float>(i));
             }),
        fact(13, "3.7", "Gather: offsets in bytes", "f32", bytes,
             [](const Array& in, Array& o) {
                 for (int i = 0; i < 64; i++) o.put<float>(i, in.get<float>(in.get<uint32_t>(256 + i) / 4));
             }),
    };
    int kept = 0;
    Array made(kBytes, 0);
    pattern(made);
    for (int i = 0; i < 128; i++) kept += bit(made, i);
    out[3].compared = kept * 4;
    return out;
}

std::vector<Fact> casts() {
    const Fill large = [](Array& in) {
        const float list[] = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 0.49f, 2.51f, 1e6f, -1e6f, 3e9f, -3e9f};
        for (int i = 0; i < 64; i++) in.put<float>(i, list[i % 12]);
    };
    const Fill wide = [](Array& in) {
        for (int i = 0; i < 64; i++) in.put<int32_t>(i, i % 2 ? -(1 << i % 24) - 1 : (1 << i % 24) + 1);
    };
    const Fill sixteen = [](Array& in) {
        for (int i = 0; i < 64; i++)
            in.put<uint16_t>(i, half_of(1.0f + static_cast<float>(i) / 64)),
                in.put<uint16_t>(512 + i, bf16_of(1.0f - static_cast<float>(i) / 64));
    };
    const Fill small = [](Array& in) {
        for (int i = 0; i < 64; i++) in.put<uint8_t>(i, static_cast<uint8_t>(i % 2 ? i * 4 : i % 4 / 2));
    };
    const auto integer = [](float x) {
        return static_cast<int32_t>(
            std::min(std::max(std::nearbyint(static_cast<double>(x)), -2147483648.0), 2147483647.0));
    };
    return {
        fact(
            14, "3.3", "f32 to bf16, RINT: ties to even, infinities stay", "bf16", [](Array& in) { ties(in, 0x1p-7f); },
            [](const Array& in, Array& o) {
                for (int i = 0; i < 64; i++) o.put<uint16_t>(i, bf16_of(in.get<float>(i)));
            }),
        fact(
            15, "3.3", "f32 to f16, RINT: ties to even, infinities stay", "f16", [](Array& in) { ties(in, 0x1p-10f); },
            [](const Array& in, Array& o) {
                for (int i = 0; i < 64; i++) o.put<uint16_t>(i, half_of(in.get<float>(i)));
            }),
        fact(16, "3.3", "f32 to i32, RINT: ties to even, saturating", "i32", large,
             [&](const Array& in, Array& o) {
                 for (int i = 0; i < 64; i++) o.put<int32_t>(i, integer(in.get<float>(i)));
             }),
        fact(17, "3.3", "i32 to f32, NONE", "f32", wide,
             [](const Array& in, Array& o) {
                 for (int i = 0; i < 64; i++) o.put<float>(i, static_cast<float>(in.get<int32_t>(i)));
             }),
        fact(18, "3.3", "f16 and bf16 to f32, NONE", "f32", sixteen,
             [](const Array&, Array& o) {
                 for (int i = 0; i < 64; i++) {
                     o.put<float>(i, 1.0f + static_cast<float>(i) / 64);
                     o.put<uint32_t>(64 + i, static_cast<uint32_t>(bf16_of(1.0f - static_cast<float>(i) / 64)) << 16);
                 }
             }),
        fact(19, "3.3", "u8 to f16, NONE, and back, RINT", "u8", small,
             [](const Array& in, Array& o) {
                 for (int i = 0; i < 64; i++)
                     o.put<uint16_t>(i, half_of(in.get<uint8_t>(i))), o.put<uint8_t>(1024 + i, in.get<uint8_t>(i));
             }),
    };
}

std::vector<Fact> moves() {
    return {
        fact(22, "2.3", "GetValue of UB behind V_S, and of GM", "i32", integers,
             [](const Array& in, Array& o) {
                 for (int i = 0; i < 8; i++)
                     o.put<int32_t>(i, 2 * in.get<int32_t>(5)), o.put<int32_t>(8 + i, in.get<int32_t>(7));
             }),
        fact(23, "3.10", "DataCopyPad into UB: gap in bytes in GM, in blocks in UB; rows padded with the value", "f32",
             floats,
             [](const Array& in, Array& o) {
                 for (int r = 0; r < 3; r++)
                     for (int i = 0; i < 8; i++) o.put<float>(r * 16 + i, i < 5 ? in.get<float>(r * 8 + i) : 7.0f);
             }),
        fact(24, "3.10", "DataCopyPad out of UB: gap in blocks in UB, in bytes in GM; writes no byte between rows",
             "f32", floats,
             [](const Array& in, Array& o) {
                 for (int r = 0; r < 3; r++)
                     for (int i = 0; i < 5; i++) o.put<float>(r * 8 + i, in.get<float>(r * 16 + i));
             }),
    };
}
