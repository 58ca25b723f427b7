// A fact: an input, and the output that the text of the AscendC reference asks for.
#pragma once

#include <cmath>
#include <functional>
#include <string>

#include "launcher.h"

constexpr int64_t kBytes = 4096;  // of an output
constexpr uint8_t kUntouched = 0xFF;

struct Fact {
    int64_t number;       // the kernel's
    const char* section;  // of the AscendC facts that dsv4c was written from
    const char* text;
    const char* dtype;  // to print elements
    Bytes in, want;
    double tolerance = 0;           // relative
    int64_t compared = 2 * kBytes;  // what lies behind may be anything
};

std::vector<Fact> vector_facts();
std::vector<Fact> cube_facts();
extern const Launch kProbeVector, kProbeCube;

// Input and output as arrays of any type, by index.
class Array {
public:
    explicit Array(int64_t bytes, uint8_t fill) : data(bytes, fill) {}

    template <typename T>
    void put(int64_t index, T value) {
        std::memcpy(data.data() + index * sizeof(T), &value, sizeof(T));
    }
    template <typename T>
    T get(int64_t index) const {
        T value;
        std::memcpy(&value, data.data() + index * sizeof(T), sizeof(T));
        return value;
    }

    Bytes data;
};

// A number as bf16 or half: to the nearest, ties to even. Not for subnormal numbers.
inline uint16_t narrow(float value, int fraction_bits) {
    uint32_t bits;
    std::memcpy(&bits, &value, 4);
    const int dropped = 23 - fraction_bits;
    const uint32_t sign = bits >> 31 << 15, size = bits & 0x7fffffff;
    if (size == 0) return static_cast<uint16_t>(sign);
    if (size >= 0x7f800000) return static_cast<uint16_t>(sign | (fraction_bits == 7 ? 0x7f80 : 0x7c00));
    const uint32_t rounded = (size + (1u << (dropped - 1)) - 1 + (size >> dropped & 1)) >> dropped;
    return static_cast<uint16_t>(sign | (fraction_bits == 7 ? rounded : rounded - (112u << 10)));
}
inline uint16_t bf16_of(float value) { return narrow(value, 7); }
inline uint16_t half_of(float value) { return narrow(value, 10); }
