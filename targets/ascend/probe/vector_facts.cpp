// Facts of vector cores: arithmetic, and how it repeats over rows.
#include "vector_facts.h"

namespace {

template <typename T>
void each(const Array& in, Array& out, int64_t to, int64_t count, const std::function<T(T, T)>& of) {
    for (int64_t i = 0; i < count; i++) out.put<T>(to + i, of(in.get<T>(i), in.get<T>(256 + i)));
}

std::vector<Fact> arithmetic() {
    using F = std::function<float(float, float)>;
    using I = std::function<int32_t(int32_t, int32_t)>;
    const F f[] = {[](float a, float b) { return a + b; },          [](float a, float b) { return a - b; },
                   [](float a, float b) { return a * b; },          [](float a, float b) { return a / b; },
                   [](float a, float b) { return std::max(a, b); }, [](float a, float b) { return std::min(a, b); }};
    const F n[] = {[](float a, float) { return a + 1.5f; }, [](float a, float) { return a * -2.0f; },
                   [](float a, float) { return std::max(a, 3.0f); }, [](float a, float) { return std::min(a, 3.0f); }};
    const I i[] = {
        [](int32_t a, int32_t b) { return a + b; },          [](int32_t a, int32_t b) { return a - b; },
        [](int32_t a, int32_t b) { return a * b; },          [](int32_t a, int32_t b) { return std::max(a, b); },
        [](int32_t a, int32_t b) { return std::min(a, b); }, [](int32_t a, int32_t) { return a + 5; },
        [](int32_t a, int32_t) { return a * -3; },           [](int32_t a, int32_t) { return a >> 3; }};
    std::vector<Fact> out = {
        fact(0, "3.2", "Add, Sub, Mul, Div, Max, Min of floats: exactly rounded; a count of 60 leaves the rest", "f32",
             floats,
             [&](const Array& in, Array& o) {
                 for (int k = 0; k < 6; k++) each<float>(in, o, 64 * k, 60, f[k]);
             }),
        fact(1, "3.2", "Adds, Muls, Maxs, Mins", "f32", floats,
             [&](const Array& in, Array& o) {
                 for (int k = 0; k < 4; k++) each<float>(in, o, 64 * k, 60, n[k]);
             }),
        fact(2, "3.2", "the same of i32; ShiftRight keeps the sign", "i32", integers,
             [&](const Array& in, Array& o) {
                 for (int k = 0; k < 8; k++) each<int32_t>(in, o, 64 * k, 60, i[k]);
             }),
    };
    out[0].tolerance = 0x1p-23;  // the documentation gives Div no bound: one unit
    out.push_back(fact(
        21, "3.2", "Exp, Ln, Sqrt, Abs; Exp(-inf) is 0, Exp(0) is 1", "f32",
        [](Array& in) {
            for (int k = 0; k < 256; k++)
                in.put<float>(k, k == 0 ? 1.0f : 0.1f * static_cast<float>(k)),
                    in.put<float>(256 + k, static_cast<float>(k % 2 ? -k : k)),
                    in.put<float>(512 + k, k ? 0.5f * static_cast<float>(k - 30) : -INFINITY);
        },
        [](const Array& in, Array& o) {
            for (int k = 0; k < 60; k++) {
                const float a = in.get<float>(k);
                o.put<float>(k, std::exp(in.get<float>(512 + k))), o.put<float>(64 + k, std::log(a)),
                    o.put<float>(128 + k, std::sqrt(a)), o.put<float>(192 + k, std::fabs(in.get<float>(256 + k)));
            }
        }));
    out.back().tolerance = 1e-6;
    return out;
}

std::vector<Fact> repeats() {
    return {
        fact(3, "3.1", "a repeat is 256 bytes; repeat stride 0 reads the same row again", "f32", floats,
             [](const Array& in, Array& o) {
                 for (int i = 0; i < 192; i++) o.put<float>(i, in.get<float>(i) + in.get<float>(256 + i % 64));
             }),
        fact(4, "3.1", "block stride 0 reads the same 32 bytes for a whole repeat", "f32", floats,
             [](const Array& in, Array& o) {
                 for (int i = 0; i < 192; i++)
                     o.put<float>(i, in.get<float>(i) * in.get<float>(256 + i / 64 * 8 + i % 8));
             }),
        fact(5, "3.1", "a mask of 16 lanes leaves the others; BinaryRepeatParams: blocks dst, a, b, then repeats",
             "f32", floats,
             [](const Array& in, Array& o) {
                 for (int r = 0; r < 3; r++)
                     for (int i = 0; i < 16; i++)
                         o.put<float>(r * 64 + i, in.get<float>(r * 32 + i) - in.get<float>(256 + r * 16 + i));
             }),
        fact(6, "3.1", "UnaryRepeatParams: blocks dst, src, then repeats dst, src", "f32", floats,
             [](const Array& in, Array& o) {
                 for (int r = 0; r < 4; r++)
                     for (int i = 0; i < 24; i++) o.put<float>(r * 32 + i, in.get<float>(r * 64 + i) * 3);
             }),
        fact(7, "3.4", "Brcb: element i fills block i of 32 bytes, 8 a repeat", "f32", floats,
             [](const Array& in, Array& o) {
                 for (int i = 0; i < 128; i++) o.put<float>(i, in.get<float>(i / 8));
             }),
        fact(8, "3.6", "WholeReduce: mask before repeats, source stride in blocks, one value each, no index", "f32",
             floats,
             [](const Array& in, Array& o) {
                 for (int r = 0; r < 3; r++) {
                     float sum = 0, most = -INFINITY, least = INFINITY;
                     for (int i = r * 32; i < r * 32 + 24; i++)
                         sum += in.get<float>(i), most = std::max(most, in.get<float>(i)),
                                                  least = std::min(least, in.get<float>(i));
                     o.put<float>(r, sum), o.put<float>(64 + r, most), o.put<float>(128 + r, least);
                 }
             }),
        fact(
            20, "3.4", "Duplicate, also of an infinity, and CreateVecIndex: so many elements", "i32", [](Array&) {},
            [](const Array&, Array& o) {
                for (int i = 0; i < 60; i++)
                    o.put<float>(i, 1.5f), o.put<int32_t>(64 + i, -7), o.put<int32_t>(128 + i, 100 + i),
                        o.put<float>(192 + i, -INFINITY);
            }),
    };
}

}  // namespace

std::vector<Fact> vector_facts() {
    std::vector<Fact> out;
    for (const auto& part : {arithmetic(), repeats(), choices(), casts(), moves()})
        out.insert(out.end(), part.begin(), part.end());
    return out;
}
