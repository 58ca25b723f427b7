// Arrays as the test vectors have them: what they are, .npy files, and how far two of them are apart.
#pragma once

#include <cmath>
#include <cstring>
#include <filesystem>

#include "extent.h"

using Bytes = std::vector<uint8_t>;

struct Tensor {
    std::string name, role, dtype;  // role: in, out, inout
    std::vector<int64_t> shape;

    Tensor(std::string its_name, std::string its_role, std::string its_dtype, std::vector<int64_t> its_shape)
        : name(std::move(its_name)),
          role(std::move(its_role)),
          dtype(std::move(its_dtype)),
          shape(std::move(its_shape)) {}
    explicit Tensor(const Json& json)
        : name(json.at("name").text), role(json.at("role").text), dtype(json.at("dtype").text) {
        for (const Json& each : json.at("shape").list) shape.push_back(each.integer());
    }
    int64_t count() const {
        int64_t out = 1;
        for (int64_t n : shape) out *= n;
        return out;
    }
    int64_t bytes() const { return count() * width_of(dtype); }
    bool read() const { return role != "out"; }
    bool written() const { return role != "in"; }
};

inline std::string list_text(const std::vector<int64_t>& numbers) {
    std::string out;
    for (int64_t n : numbers) out += (out.empty() ? "" : ", ") + std::to_string(n);
    return "[" + out + "]";
}

// The number at an index, whatever the dtype.
inline double element(const Bytes& data, const std::string& dtype, int64_t index) {
    const auto take = [&](auto value) {
        std::memcpy(&value, data.data() + index * sizeof(value), sizeof(value));
        return value;
    };
    if (dtype == "f32") return take(float{});
    if (dtype == "i32") return take(int32_t{});
    if (dtype == "i64") return static_cast<double>(take(int64_t{}));
    if (dtype == "bf16") {
        const uint32_t bits = static_cast<uint32_t>(take(uint16_t{})) << 16;
        float value;
        std::memcpy(&value, &bits, 4);
        return value;
    }
    if (dtype == "f16") {
        const uint16_t bits = take(uint16_t{});
        const int exponent = bits >> 10 & 31, fraction = bits & 1023;
        const double sign = bits >> 15 ? -1 : 1;
        if (exponent == 31) return fraction ? NAN : sign * INFINITY;
        return sign * (exponent ? std::ldexp(1024 + fraction, exponent - 25) : std::ldexp(fraction, -24));
    }
    return take(int8_t{});
}

// How one array differs from what was expected.
struct Difference {
    double worst = 0;  // of the largest of its row; infinity where integers differ
    int64_t first = -1, wrong = 0;
};

// Floats may be off by `tolerance` of the largest of their row, integers not at all. A NaN is expected only where a
// kernel stores rows that it was given no input for, and nobody reads them: anything may stand there.
inline Difference difference(const Bytes& got, const Bytes& want, const Tensor& t, double tolerance) {
    constexpr double kSmallest = 1e-6;  // a row of zeros has no scale of its own
    Difference out;
    const bool floats = t.dtype == "f32" || t.dtype == "bf16" || t.dtype == "f16";
    const int64_t count = t.count(), width = t.shape.empty() ? 1 : std::max<int64_t>(t.shape.back(), 1);
    for (int64_t row = 0; row < count; row += width) {
        double scale = kSmallest;
        for (int64_t i = row; floats && i < row + width; i++) {
            const double size = std::fabs(element(want, t.dtype, i));
            if (std::isfinite(size)) scale = std::max(scale, size);
        }
        for (int64_t i = row; i < row + width; i++) {
            const double a = element(got, t.dtype, i), b = element(want, t.dtype, i);
            if (a == b || std::isnan(b)) continue;
            double off = floats ? std::fabs(a - b) / scale : INFINITY;
            if (std::isnan(off)) off = INFINITY;
            out.worst = std::max(out.worst, off);
            if (off <= tolerance) continue;
            if (out.first < 0) out.first = i;
            out.wrong++;
        }
    }
    return out;
}

// Relative L2 of two rows of f32.
inline double distance(const Bytes& got, const Bytes& want, int64_t count) {
    double off = 0, size = 0;
    for (int64_t i = 0; i < count; i++) {
        const double a = element(got, "f32", i), b = element(want, "f32", i);
        off += (a - b) * (a - b);
        size += b * b;
    }
    return std::sqrt(off) / std::max(std::sqrt(size), 1e-6);
}

inline std::vector<int64_t> index_in(const Tensor& t, int64_t flat) {
    std::vector<int64_t> out(t.shape.size());
    for (size_t axis = t.shape.size(); axis-- > 0; flat /= t.shape[axis]) out[axis] = flat % t.shape[axis];
    return out;
}

// The elements of a .npy file in C order, as bytes.
inline Bytes read_npy(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    char head[10];
    if (!file.read(head, 10) || std::memcmp(head, "\x93NUMPY\x01", 7) != 0)
        throw std::runtime_error(path.string() + ": no .npy file of version 1");
    const int length = static_cast<uint8_t>(head[8]) + 256 * static_cast<uint8_t>(head[9]);
    file.seekg(10 + length);
    return Bytes(std::istreambuf_iterator<char>(file), {});
}

// numpy's own name for a dtype; bf16 as its bits.
inline std::string npy_name(const std::string& dtype) {
    static const std::map<std::string, std::string> names = {{"f32", "<f4"}, {"i32", "<i4"}, {"bf16", "<u2"},
                                                             {"f16", "<f2"}, {"i64", "<i8"}, {"i8", "|i1"},
                                                             {"bool", "|b1"}};
    return names.at(dtype);
}

inline void write_npy(const std::filesystem::path& path, const Tensor& t, const Bytes& data) {
    std::string shape = list_text(t.shape);
    shape = "(" + shape.substr(1, shape.size() - 2) + (t.shape.size() == 1 ? ",)" : ")");
    std::string head = "{'descr': '" + npy_name(t.dtype) + "', 'fortran_order': False, 'shape': " + shape + ", }";
    head += std::string(63 - (10 + head.size()) % 64, ' ') + "\n";
    std::ofstream file(path, std::ios::binary);
    file << "\x93NUMPY" << '\x01' << '\0' << static_cast<char>(head.size() % 256)
         << static_cast<char>(head.size() / 256) << head;
    file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
    if (!file) throw std::runtime_error(path.string() + ": cannot write the file");
}
