// Facts of vector cores: the inputs of probe_vector, and what it must give.
#include "facts.h"

namespace {

using Fill = std::function<void(Array& in)>;
using Want = std::function<void(const Array& in, Array& out)>;

Fact fact(int64_t number, const char* section, const char* text, const char* dtype, const Fill& fill, const Want& want) {
    Array in(kBytes, 0), out(kBytes, kUntouched);
    fill(in);
    want(in, out);
    return {number, section, text, dtype, in.data, out.data};
}

// Two rows of small numbers, the second without zeros.
void floats(Array& in) {
    for (int i = 0; i < 1024; i++) in.put<float>(i, static_cast<float>((i * 37 + i / 256) % 29) - (i < 256 ? 11.0f : 14.5f));
}
void integers(Array& in) {
    for (int i = 0; i < 1024; i++) in.put<int32_t>(i, i * 7919 % 4001 - 2000);
}
// Numbers whose rounding is a tie, to either side, and numbers that need no rounding.
void ties(Array& in, float unit) {
    for (int i = 0; i < 64; i++) in.put<float>(i, (i % 2 ? -1.0f : 1.0f) * (1.0f + unit * 0.5f * static_cast<float>(i)));
    in.put<float>(60, INFINITY);
    in.put<float>(61, -INFINITY);
}

template <typename T>
void each(const Array& in, Array& out, int64_t to, int64_t count, const std::function<T(T, T)>& of) {
    for (int64_t i = 0; i < count; i++) out.put<T>(to + i, of(in.get<T>(i), in.get<T>(256 + i)));
}

std::vector<Fact> arithmetic() {
    using F = std::function<float(float, float)>;
    using I = std::function<int32_t(int32_t, int32_t)>;
    const F f[] = {[](float a, float b) { return a + b; }, [](float a, float b) { return a - b; }, [](float a, float b) { return a * b; },
                   [](float a, float b) { return a / b; }, [](float a, float b) { return std::max(a, b); }, [](float a, float b) { return std::min(a, b); }};
    const F n[] = {[](float a, float) { return a + 1.5f; }, [](float a, float) { return a * -2.0f; }, [](float a, float) { return std::max(a, 3.0f); },
                   [](float a, float) { return std::min(a, 3.0f); }};
    const I i[] = {[](int32_t a, int32_t b) { return a + b; }, [](int32_t a, int32_t b) { return a - b; }, [](int32_t a, int32_t b) { return a * b; },
                   [](int32_t a, int32_t b) { return std::max(a, b); }, [](int32_t a, int32_t b) { return std::min(a, b); },
                   [](int32_t a, int32_t) { return a + 5; }, [](int32_t a, int32_t) { return a * -3; }, [](int32_t a, int32_t) { return a >> 3; }};
    std::vector<Fact> out = {
        fact(0, "3.2", "Add, Sub, Mul, Div, Max, Min of floats: exactly rounded; a count of 60 leaves the rest", "f32", floats,
             [&](const Array& in, Array& o) { for (int k = 0; k < 6; k++) each<float>(in, o, 64 * k, 60, f[k]); }),
        fact(1, "3.2", "Adds, Muls, Maxs, Mins", "f32", floats, [&](const Array& in, Array& o) { for (int k = 0; k < 4; k++) each<float>(in, o, 64 * k, 60, n[k]); }),
        fact(2, "3.2", "the same of i32; ShiftRight keeps the sign", "i32", integers,
             [&](const Array& in, Array& o) { for (int k = 0; k < 8; k++) each<int32_t>(in, o, 64 * k, 60, i[k]); }),
    };
    out[0].tolerance = 0x1p-23;  // the documentation gives Div no bound: one unit
    out.push_back(fact(21, "3.2", "Exp, Ln, Sqrt, Abs; Exp(-inf) is 0, Exp(0) is 1", "f32",
                       [](Array& in) {
                           for (int k = 0; k < 256; k++) in.put<float>(k, k == 0 ? 1.0f : 0.1f * static_cast<float>(k)), in.put<float>(256 + k, static_cast<float>(k % 2 ? -k : k)), in.put<float>(512 + k, k ? 0.5f * static_cast<float>(k - 30) : -INFINITY);
                       },
                       [](const Array& in, Array& o) {
                           for (int k = 0; k < 60; k++) {
                               const float a = in.get<float>(k);
                               o.put<float>(k, std::exp(in.get<float>(512 + k))), o.put<float>(64 + k, std::log(a)), o.put<float>(128 + k, std::sqrt(a)), o.put<float>(192 + k, std::fabs(in.get<float>(256 + k)));
                           }
                       }));
    out.back().tolerance = 1e-6;
    return out;
}

std::vector<Fact> repeats() {
    return {
        fact(3, "3.1", "a repeat is 256 bytes; repeat stride 0 reads the same row again", "f32", floats,
             [](const Array& in, Array& o) { for (int i = 0; i < 192; i++) o.put<float>(i, in.get<float>(i) + in.get<float>(256 + i % 64)); }),
        fact(4, "3.1", "block stride 0 reads the same 32 bytes for a whole repeat", "f32", floats,
             [](const Array& in, Array& o) { for (int i = 0; i < 192; i++) o.put<float>(i, in.get<float>(i) * in.get<float>(256 + i / 64 * 8 + i % 8)); }),
        fact(5, "3.1", "a mask of 16 lanes leaves the others; BinaryRepeatParams: blocks dst, a, b, then repeats", "f32", floats,
             [](const Array& in, Array& o) {
                 for (int r = 0; r < 3; r++) for (int i = 0; i < 16; i++) o.put<float>(r * 64 + i, in.get<float>(r * 32 + i) - in.get<float>(256 + r * 16 + i));
             }),
        fact(6, "3.1", "UnaryRepeatParams: blocks dst, src, then repeats dst, src", "f32", floats,
             [](const Array& in, Array& o) { for (int r = 0; r < 4; r++) for (int i = 0; i < 24; i++) o.put<float>(r * 32 + i, in.get<float>(r * 64 + i) * 3); }),
        fact(7, "3.4", "Brcb: element i fills block i of 32 bytes, 8 a repeat", "f32", floats,
             [](const Array& in, Array& o) { for (int i = 0; i < 128; i++) o.put<float>(i, in.get<float>(i / 8)); }),
        fact(8, "3.6", "WholeReduce: mask before repeats, source stride in blocks, one value each, no index", "f32", floats,
             [](const Array& in, Array& o) {
                 for (int r = 0; r < 3; r++) {
                     float sum = 0, most = -INFINITY, least = INFINITY;
                     for (int i = r * 32; i < r * 32 + 24; i++) sum += in.get<float>(i), most = std::max(most, in.get<float>(i)), least = std::min(least, in.get<float>(i));
                     o.put<float>(r, sum), o.put<float>(64 + r, most), o.put<float>(128 + r, least);
                 }
             }),
        fact(20, "3.4", "Duplicate, also of an infinity, and CreateVecIndex: so many elements", "i32", [](Array&) {},
             [](const Array&, Array& o) { for (int i = 0; i < 60; i++) o.put<float>(i, 1.5f), o.put<int32_t>(64 + i, -7), o.put<int32_t>(128 + i, 100 + i), o.put<float>(192 + i, -INFINITY); }),
    };
}

bool bit(const Array& in, int i) { return in.get<uint8_t>(1024 + i / 8) >> i % 8 & 1; }

std::vector<Fact> choices() {
    const Fill pattern = [](Array& in) {
        floats(in);
        for (int i = 0; i < 64; i++) in.put<uint8_t>(1024 + i, static_cast<uint8_t>(i * 73 + 5));
    };
    const Fill pairs = [](Array& in) {
        for (int i = 0; i < 256; i++) in.put<float>(i, static_cast<float>(i % 7)), in.put<float>(256 + i, static_cast<float>(i % 5));
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
                         const bool is[] = {a < b, a > b, a == b, a <= b, a >= b, a != b, a > 3};
                         const int at = 32 * k + i / 8;
                         o.put<uint8_t>(at, static_cast<uint8_t>((i % 8 ? o.get<uint8_t>(at) : 0) | is[k] << i % 8));
                     }
                 }
             }),
        fact(10, "3.5", "Select of tensors: a where the bit is set, bits consumed continuously", "f32", pattern,
             [](const Array& in, Array& o) { for (int i = 0; i < 128; i++) o.put<float>(i, in.get<float>(bit(in, i) ? i : 512 + i)); }),
        fact(11, "3.5", "Select with a number: the number where the bit is not set", "f32", pattern,
             [](const Array& in, Array& o) { for (int i = 0; i < 128; i++) o.put<float>(i, bit(in, i) ? in.get<float>(i) : -2.0f); }),
        fact(12, "3.7", "GatherMask by bits: kept elements in their order; one repeat of any length", "f32", pattern,
             [](const Array& in, Array& o) { for (int i = 0, at = 0; i < 128; i++) if (bit(in, i)) o.put<float>(at++, in.get<float>(i)); }),
        fact(13, "3.7", "Gather: offsets in bytes", "f32", bytes,
             [](const Array& in, Array& o) { for (int i = 0; i < 64; i++) o.put<float>(i, in.get<float>(in.get<uint32_t>(256 + i) / 4)); }),
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
        for (int i = 0; i < 64; i++) in.put<uint16_t>(i, half_of(1.0f + static_cast<float>(i) / 64)), in.put<uint16_t>(512 + i, bf16_of(1.0f - static_cast<float>(i) / 64));
    };
    const Fill small = [](Array& in) { for (int i = 0; i < 64; i++) in.put<uint8_t>(i, static_cast<uint8_t>(i % 2 ? i * 4 : i % 4 / 2)); };
    const auto integer = [](float x) { return static_cast<int32_t>(std::min(std::max(std::nearbyint(static_cast<double>(x)), -2147483648.0), 2147483647.0)); };
    return {
        fact(14, "3.3", "f32 to bf16, RINT: ties to even, infinities stay", "bf16", [](Array& in) { ties(in, 0x1p-7f); },
             [](const Array& in, Array& o) { for (int i = 0; i < 64; i++) o.put<uint16_t>(i, bf16_of(in.get<float>(i))); }),
        fact(15, "3.3", "f32 to f16, RINT: ties to even, infinities stay", "f16", [](Array& in) { ties(in, 0x1p-10f); },
             [](const Array& in, Array& o) { for (int i = 0; i < 64; i++) o.put<uint16_t>(i, half_of(in.get<float>(i))); }),
        fact(16, "3.3", "f32 to i32, RINT: ties to even, saturating", "i32", large,
             [&](const Array& in, Array& o) { for (int i = 0; i < 64; i++) o.put<int32_t>(i, integer(in.get<float>(i))); }),
        fact(17, "3.3", "i32 to f32, NONE", "f32", wide, [](const Array& in, Array& o) { for (int i = 0; i < 64; i++) o.put<float>(i, static_cast<float>(in.get<int32_t>(i))); }),
        fact(18, "3.3", "f16 and bf16 to f32, NONE", "f32", sixteen,
             [](const Array&, Array& o) { for (int i = 0; i < 64; i++) {
                 o.put<float>(i, 1.0f + static_cast<float>(i) / 64);
                 o.put<uint32_t>(64 + i, static_cast<uint32_t>(bf16_of(1.0f - static_cast<float>(i) / 64)) << 16);
             } }),
        fact(19, "3.3", "u8 to f16, NONE, and back, RINT", "u8", small,
             [](const Array& in, Array& o) { for (int i = 0; i < 64; i++) o.put<uint16_t>(i, half_of(in.get<uint8_t>(i))), o.put<uint8_t>(1024 + i, in.get<uint8_t>(i)); }),
    };
}

std::vector<Fact> moves() {
    return {
        fact(22, "2.3", "GetValue of UB behind V_S, and of GM", "i32", integers,
             [](const Array& in, Array& o) { for (int i = 0; i < 8; i++) o.put<int32_t>(i, 2 * in.get<int32_t>(5)), o.put<int32_t>(8 + i, in.get<int32_t>(7)); }),
        fact(23, "3.10", "DataCopyPad into UB: gap in bytes in GM, in blocks in UB; rows padded with the value", "f32", floats,
             [](const Array& in, Array& o) { for (int r = 0; r < 3; r++) for (int i = 0; i < 8; i++) o.put<float>(r * 16 + i, i < 5 ? in.get<float>(r * 8 + i) : 7.0f); }),
        fact(24, "3.10", "DataCopyPad out of UB: gap in blocks in UB, in bytes in GM; writes no byte between rows", "f32", floats,
             [](const Array& in, Array& o) { for (int r = 0; r < 3; r++) for (int i = 0; i < 5; i++) o.put<float>(r * 8 + i, in.get<float>(r * 16 + i)); }),
    };
}

}  // namespace

std::vector<Fact> vector_facts() {
    std::vector<Fact> out;
    for (const auto& part : {arithmetic(), repeats(), choices(), casts(), moves()}) out.insert(out.end(), part.begin(), part.end());
    return out;
}
