// What the facts of vector cores are written with.
#pragma once

#include "facts.h"

using Fill = std::function<void(Array& in)>;
using Want = std::function<void(const Array& in, Array& out)>;

inline Fact fact(int64_t number, const char* section, const char* text, const char* dtype, const Fill& fill,
                 const Want& want) {
    Array in(kBytes, 0), out(kBytes, kUntouched);
    fill(in);
    want(in, out);
    return {number, section, text, dtype, in.data, out.data};
}

// Two rows of small numbers, the second without zeros.
inline void floats(Array& in) {
    for (int i = 0; i < 1024; i++)
        in.put<float>(i, static_cast<float>((i * 37 + i / 256) % 29) - (i < 256 ? 11.0f : 14.5f));
}
inline void integers(Array& in) {
    for (int i = 0; i < 1024; i++) in.put<int32_t>(i, i * 7919 % 4001 - 2000);
}

std::vector<Fact> choices();
std::vector<Fact> casts();
std::vector<Fact> moves();
