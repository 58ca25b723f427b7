// Facts of cube cores: products with a matrix of ones on the diagonal show where each element went.
#include "facts.h"

namespace {

constexpr int kSide = 32, kAll = kSide * kSide;
enum class Kind { Half, Bfloat, Float };

float element(int i) { return static_cast<float>(i * 37 % 253 - 126); }  // exact in bf16

void put(Array& in, Kind kind, int index, float value) {
    if (kind == Kind::Float) {
        in.put<float>(index, value);
    } else {
        in.put<uint16_t>(index, kind == Kind::Half ? half_of(value) : bf16_of(value));
    }
}

// One matrix of numbers, then the identity, in 4096 bytes each.
Bytes operands(Kind kind, const std::function<float(int)>& of) {
    Array in(8192, 0);
    const int second = kind == Kind::Float ? 1024 : 2048;
    for (int i = 0; i < kAll; i++) {
        put(in, kind, i, of(i));
        put(in, kind, second + i, i / kSide == i % kSide ? 1.0f : 0.0f);
    }
    return in.data;
}

// 32 x 48 numbers, which are also 48 x 32, then the identity of 48.
Bytes oblong() {
    Array in(8192, 0);
    for (int i = 0; i < 32 * 48; i++) put(in, Kind::Half, i, element(i));
    for (int i = 0; i < 48; i++) put(in, Kind::Half, 32 * 48 + i * 49, 1.0f);
    return in.data;
}
Bytes placed(const std::function<int(int)>& from) {
    Array out(2 * kBytes, kUntouched);
    for (int i = 0; i < 32 * 48; i++) out.put<float>(i, element(from(i)));
    return out.data;
}

Bytes result(const std::function<float(int row, int col)>& of) {
    Array out(kBytes, kUntouched);
    for (int i = 0; i < kAll; i++) out.put<float>(i, of(i / kSide, i % kSide));
    return out.data;
}

}  // namespace

std::vector<Fact> cube_facts() {
    const auto as_is = result([](int r, int c) { return element(r * kSide + c); });
    const auto sums = result([](int r, int) {
        float sum = 0;
        for (int k = 0; k < 20; k++) sum += element(r * 20 + k);
        return sum;
    });
    const auto one = result([](int r, int c) { return r == 0 ? element(c) : 0.0f; });
    const auto twice = result([](int r, int c) { return 2 * element(r * kSide + c); });
    Array rows(kBytes, kUntouched), bf16(kBytes, kUntouched), half(kBytes, kUntouched);
    const auto tie = [](float unit) {
        return [unit](int i) { return 1.0f + unit * 0.5f * static_cast<float>(i % 64); };
    };
    for (int r = 0; r < 5; r++) {
        for (int c = 0; c < 20; c++) rows.put<float>(r * 40 + c, element(r * kSide + c));
    }
    for (int i = 0; i < kAll; i++) {
        bf16.put<uint16_t>(i, bf16_of(tie(0x1p-7f)(i)));
        half.put<uint16_t>(i, half_of(tie(0x1p-10f)(i)));
    }
    return {
        {0, "3.11", "A: Nd2Nz to columns of fractals, LoadData to what Mmad takes; Fixpipe back to rows", "f32",
         oblong(), placed([](int i) { return i; })},
        {1, "3.11", "B [n, k]: what Nd2Nz made needs no transposition", "f32", oblong(),
         placed([](int i) { return i % 32 * 48 + i / 32; })},
        {2, "3.11", "B [k, n]: LoadData transposes each fractal", "f32", oblong(), placed([](int i) { return i; })},
        {3, "3.11", "operands of f32: blocks of 8 columns, and no digit is lost", "f32", operands(Kind::Float, element),
         as_is},
        {4, "3.11", "operands of bf16", "f32", operands(Kind::Bfloat, element), as_is},
        {5, "3.11", "Nd2Nz fills the last block of columns with zeros; InitConstValue fills blocks of 32 bytes", "f32",
         operands(Kind::Half, element), sums},
        {6, "3.11", "one row in a tile of 32: the rows that InitConstValue cleared stay zero", "f32",
         operands(Kind::Half, element), one},
        {7, "3.11", "cmatrixInitVal begins a sum, without it Mmad adds", "f32", operands(Kind::Half, element), twice},
        {8, "3.11", "Fixpipe: m and n cut the tile, the pitch is in elements, nothing between rows", "f32",
         operands(Kind::Float, element), rows.data},
        {9, "3.11", "Fixpipe F322BF16: to the nearest, ties to even", "bf16", operands(Kind::Float, tie(0x1p-7f)),
         bf16.data},
        {10, "3.11", "Fixpipe F322F16: to the nearest, ties to even", "f16", operands(Kind::Float, tie(0x1p-10f)),
         half.data},
    };
}
