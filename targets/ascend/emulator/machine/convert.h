// Cast, Brcb, CreateVecIndex, Compare, Select.
#pragma once

#include "vector.h"

namespace emu {

const char* name_of(RoundMode m) {
    static const char* names[] = {"CAST_NONE",  "CAST_RINT",  "CAST_FLOOR", "CAST_CEIL",
                                  "CAST_ROUND", "CAST_TRUNC", "CAST_ODD",   "CAST_HYBRID"};
    return names[int(m)];
}

void run_cast(const Operands& o, Dtype to, Dtype from, RoundMode mode, float scale) {
    std::vector<double> a;
    gather_lanes(o.src[0], from, a);
    if (from == Dtype::I32 && to == Dtype::F16) {
        for (double& x : a) x *= scale;
    }
    // float -> float rounds to an integer and stays float.
    if (from == Dtype::F32 && to == Dtype::F32) {
        for (double& x : a) x = std::isfinite(x) ? round_integer(x, mode) : x;
        mode = RoundMode::CAST_RINT;
    }
    scatter_lanes(o.dst, to, a, mode);
}

void cast(const Operand& dst, const Operand& src, RoundMode round, uint32_t allowed, const Shape& shape, At at) {
    Core& c = core(at);
    Instr i("Cast", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    if (!(allowed >> int(round) & 1)) {
        find("dtype", at,
             format("Cast from %s to %s with %s does not exist on this chip", name_of(src.type), name_of(dst.type),
                    name_of(round)),
             dst.type == Dtype::BF16 ? "use CAST_RINT" : "use a mode of the table in spec 3.3");
        return;
    }
    Operands o;
    if (!take_operands(c, i, o, dst, &src, 1, shape)) return;
    const Dtype to = dst.type, from = src.type;
    const float scale = c.deq_scale;
    i.cycles = double(bytes_in(o.dst)) / size_of(to) / vector_rate(VecOp::Cast, to);
    const bool wide = to == Dtype::I64 || from == Dtype::I64;  // beyond a double's 53 bits
    i.run = [o, to, from, round, scale, wide] {
        if (wide && (from == Dtype::I32 || to == Dtype::I32)) {
            std::vector<int64_t> a;
            for (const Range& r : o.src[0]) {
                for (uint64_t k = 0; k < r.bytes; k += size_of(from)) {
                    const uint8_t* p = r.memory->bytes + r.off + k;
                    a.push_back(from == Dtype::I32 ? at_address<int32_t>(p) : at_address<int64_t>(p));
                }
            }
            size_t next = 0;
            for (const Range& r : o.dst) {
                for (uint64_t k = 0; k < r.bytes; k += size_of(to)) {
                    uint8_t* p = r.memory->bytes + r.off + k;
                    const int64_t x = a[next++];
                    if (to == Dtype::I64)
                        put(p, x);
                    else
                        put(p, int32_t(std::min<int64_t>(std::max<int64_t>(x, INT32_MIN), INT32_MAX)));
                }
            }
            return;
        }
        run_cast(o, to, from, round, scale);
    };
    issue(std::move(i));
}

// `count` numbers of two a byte, the low half first.
void cast_pairs(const Place& dst, const Place& src, RoundMode round, int64_t count, At at) {
    Core& c = core(at);
    Instr i("Cast", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    if (round != RoundMode::CAST_NONE) {
        find("dtype", at, format("Cast from fp4x2_e2m1 to bfloat16 with %s does not exist on this chip", name_of(round)),
             "use CAST_NONE");
        return;
    }
    if (count <= 0 || count % 2 != 0) {
        find("count", at, format("Cast of %lld numbers of two a byte", static_cast<long long>(count)),
             "cast an even number of them, one pair or more");
        return;
    }
    bool good = check_position(dst, {Hardware::UB}, i.name, at) && check_position(src, {Hardware::UB}, i.name, at);
    good = good && check_aligned(dst, 32, i.name, at) && check_aligned(src, 32, i.name, at);
    if (!good || !add_ranges(c, i.writes, dst, {{0, uint32_t(2 * count)}}, i.name, at) ||
        !add_ranges(c, i.reads, src, {{0, uint32_t(count / 2)}}, i.name, at))
        return;
    check_overlap(i.writes, i.reads, i.name, at);
    i.cycles = double(count) / vector_rate(VecOp::Cast, Dtype::BF16);
    const Range to = i.writes[0], from = i.reads[0];
    i.run = [to, from, count] {
        static const double values[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
        for (int64_t k = 0; k < count; k++) {
            const int code = from.memory->bytes[from.off + k / 2] >> (k % 2 ? 4 : 0) & 15;
            store(to.memory->bytes + to.off + 2 * k, Dtype::BF16, code & 8 ? -values[code & 7] : values[code]);
        }
    };
    issue(std::move(i));
}

// Per repeat: reads 8 elements, fills 8 blocks, block i with element i.
void brcb(const Operand& dst, const Operand& src, int repeat, At at) {
    Core& c = core(at);
    Instr i("Brcb", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    const uint32_t size = size_of(src.type);
    std::vector<Run> reads{{0, uint32_t(repeat) * 8 * size}}, writes;
    for (int r = 0; r < repeat; r++) {
        for (uint32_t b = 0; b < 8; b++) writes.push_back({(uint64_t(r) * dst.rep + uint64_t(b) * dst.blk) * 32, 32});
    }
    if (repeat == 0) return;
    bool good =
        check_position(dst.place, {Hardware::UB}, i.name, at) && check_position(src.place, {Hardware::UB}, i.name, at);
    good = good && check_aligned(dst.place, 32, i.name, at) && check_aligned(src.place, 32, i.name, at);
    if (!good || !add_ranges(c, i.writes, dst.place, writes, i.name, at) ||
        !add_ranges(c, i.reads, src.place, reads, i.name, at))
        return;
    check_overlap(i.writes, i.reads, i.name, at);
    i.cycles = double(repeat);
    const std::vector<Range> to = i.writes;
    const Range from = i.reads[0];
    i.run = [to, from, size] {
        std::vector<uint8_t> values(from.memory->bytes + from.off, from.memory->bytes + from.off + from.bytes);
        for (size_t b = 0; b < to.size(); b++) {
            for (uint32_t k = 0; k < 32; k += size)
                std::memcpy(to[b].memory->bytes + to[b].off + k, values.data() + b * size, size);
        }
    };
    issue(std::move(i));
}

void create_index(const Operand& dst, uint64_t first, const Shape& shape, At at) {
    Core& c = core(at);
    Instr i("CreateVecIndex", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    Operands o;
    if (!take_operands(c, i, o, dst, nullptr, 0, shape)) return;
    const double start = scalar_value(first, dst.type);
    const Dtype t = dst.type;
    const auto count = int64_t(bytes_in(o.dst) / size_of(t));
    i.cycles = double(count) / vector_rate(VecOp::Add, t);
    i.run = [o, start, t, count] {
        std::vector<double> values;
        for (int64_t k = 0; k < count; k++) values.push_back(start + double(k));
        scatter_lanes(o.dst, t, values);
    };
    issue(std::move(i));
}

bool holds(CMPMODE m, double a, double b) {
    switch (m) {
        case CMPMODE::LT: return a < b;
        case CMPMODE::GT: return a > b;
        case CMPMODE::EQ: return a == b;
        case CMPMODE::LE: return a <= b;
        case CMPMODE::GE: return a >= b;
        default: return a != b;
    }
}

// Bit i%8 of byte i/8 is the result for element i.
void compare(const Place& dst, const Operand& a, const Operand& b, bool scalar, uint64_t value, CMPMODE mode,
             const Shape& shape, At at) {
    Core& c = core(at);
    Instr i(scalar ? "CompareScalar" : "Compare", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    const uint32_t size = size_of(a.type);
    if (__NPU_ARCH__ == 2201 && a.type == Dtype::I32 && mode != CMPMODE::EQ) {
        find("dtype", at, format("%s of int32 with a mode other than EQ does not exist on this chip", i.name),
             "Cast to float, or compare differences");
        return;
    }
    if (shape.count_form && shape.count * size % 256 != 0) {
        find("count", at,
             format("%s: %lld elements are not a multiple of 256 bytes; the tail is not computed", i.name,
                    static_cast<long long>(shape.count)),
             "round the count up and pad the operands");
        return;
    }
    const auto segments = segments_of(c, shape, 256 / size, i.name, at);
    if (segments.empty()) return;
    std::vector<Range> src[2];
    bool good = check_position(dst, {Hardware::UB}, i.name, at) && check_aligned(dst, 32, i.name, at) &&
                check_position(a.place, {Hardware::UB}, i.name, at) && check_aligned(a.place, 32, i.name, at) &&
                add_ranges(c, src[0], a.place, runs_of(segments, size, a.blk, a.rep), i.name, at);
    if (good && !scalar) {
        good = check_position(b.place, {Hardware::UB}, i.name, at) && check_aligned(b.place, 32, i.name, at) &&
               add_ranges(c, src[1], b.place, runs_of(segments, size, b.blk, b.rep), i.name, at);
    }
    if (!good) return;
    const uint64_t elements = bytes_in(src[0]) / size;
    if (!add_ranges(c, i.writes, dst, {{0, uint32_t((elements + 7) / 8)}}, i.name, at)) return;
    for (auto& s : src) {
        check_overlap(i.writes, s, i.name, at);
        i.reads.insert(i.reads.end(), s.begin(), s.end());
    }
    i.cycles = double(elements) / vector_rate(VecOp::Add, a.type);
    const Range to = i.writes[0];
    const std::vector<Range> first = src[0], second = src[1];
    const double other = scalar ? scalar_value(value, a.type) : 0;
    const Dtype t = a.type;
    i.run = [=] {
        std::vector<double> x, y;
        gather_lanes(first, t, x);
        if (!scalar) gather_lanes(second, t, y);
        std::vector<uint8_t> bits(to.bytes);
        for (size_t k = 0; k < x.size(); k++) {
            if (holds(mode, x[k], scalar ? other : y[k])) bits[k / 8] |= uint8_t(1u << (k % 8));
        }
        std::memcpy(to.memory->bytes + to.off, bits.data(), bits.size());
    };
    issue(std::move(i));
}

// dst = bit ? src0 : src1. Mode 0 reuses one mask of a repeat for every repeat; modes 1 and 2 consume it continuously.
void select(const Operand& dst, const Place& mask, const Operand& a, const Operand& b, bool scalar, uint64_t value,
            int mode, const Shape& shape, At at) {
    Core& c = core(at);
    Instr i("Select", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    if (scalar != (mode == 1)) {
        find("mode", at,
             scalar ? "Select with a scalar needs SELMODE::VSEL_TENSOR_SCALAR_MODE"
                    : "Select of two tensors does not take VSEL_TENSOR_SCALAR_MODE");
        return;
    }
    Operands o;
    const Operand src[2] = {a, b};
    if (!take_operands(c, i, o, dst, src, scalar ? 1 : 2, shape)) return;
    const uint32_t size = size_of(dst.type), per = 256 / size;
    const uint64_t elements = bytes_in(o.dst) / size;
    std::vector<uint32_t> lane_of_element;  // its bit in the mask
    const auto segments = segments_of(c, shape, per, i.name, at);
    uint32_t highest = 0;
    for (const Segment& s : segments) {
        for (uint32_t e = s.first; e < s.first + s.count; e++) {
            const uint32_t bit = mode == 0 ? e % per : s.repeat * per + e;
            lane_of_element.push_back(bit);
            highest = std::max(highest, bit);
        }
    }
    const auto bits = range_of(c, mask, 0, highest / 8 + 1, i.name, at);
    if (!bits || !check_position(mask, {Hardware::UB}, i.name, at) || !check_aligned(mask, 32, i.name, at)) return;
    check_overlap(o.dst, {*bits}, i.name, at);
    i.reads.push_back(*bits);
    i.cycles = double(elements) / vector_rate(VecOp::Add, dst.type);
    const Range from = *bits;
    i.run = [=] {
        std::vector<uint8_t> x, y, m(from.memory->bytes + from.off, from.memory->bytes + from.off + from.bytes);
        const auto take = [](const std::vector<Range>& runs, std::vector<uint8_t>& to) {
            for (const Range& r : runs) to.insert(to.end(), r.memory->bytes + r.off, r.memory->bytes + r.off + r.bytes);
        };
        take(o.src[0], x);
        if (!scalar) take(o.src[1], y);
        size_t k = 0;
        for (const Range& r : o.dst) {
            for (uint64_t off = 0; off < r.bytes; off += size, k++) {
                const uint32_t bit = lane_of_element[k];
                const bool first = m[bit / 8] >> (bit % 8) & 1;
                const uint8_t* p = first    ? x.data() + k * size
                                   : scalar ? reinterpret_cast<const uint8_t*>(&value)
                                            : y.data() + k * size;
                std::memcpy(r.memory->bytes + r.off + off, p, size);
            }
        }
    };
    issue(std::move(i));
}

}  // namespace emu
