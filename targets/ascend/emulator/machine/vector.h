// Element-wise vector instructions.
#pragma once

#include "lanes.h"

namespace emu {

// Elements per cycle of one vector core (spec §1.2; where the table is silent, 256 bytes per cycle).
double vector_rate(VecOp op, Dtype t) {
    const bool wide = size_of(t) >= 4;
    switch (op) {
        case VecOp::Exp:
        case VecOp::Ln:
        case VecOp::Sqrt:
        case VecOp::Div: return 32;
        case VecOp::Cast: return 64;
        default: return wide ? 64 : 128;
    }
}

double apply(VecOp op, double a, double b, double dst, double scalar) {
    switch (op) {
        case VecOp::Add: return a + b;
        case VecOp::Sub: return a - b;
        case VecOp::Mul: return a * b;
        case VecOp::Div: return a / b;
        case VecOp::Max: return std::isnan(a) || std::isnan(b) ? NAN : a > b ? a : b;
        case VecOp::Min: return std::isnan(a) || std::isnan(b) ? NAN : a < b ? a : b;
        case VecOp::AddRelu: return a + b > 0 ? a + b : 0;
        case VecOp::SubRelu: return a - b > 0 ? a - b : 0;
        case VecOp::Adds: return a + scalar;
        case VecOp::Muls: return a * scalar;
        case VecOp::Maxs: return std::isnan(a) ? a : a > scalar ? a : scalar;
        case VecOp::Mins: return std::isnan(a) ? a : a < scalar ? a : scalar;
        case VecOp::LeakyRelu: return a >= 0 ? a : a * scalar;
        case VecOp::Exp: return std::exp(a);
        case VecOp::Ln: return std::log(a);
        case VecOp::Abs: return std::fabs(a);
        case VecOp::Sqrt: return std::sqrt(a);
        case VecOp::Rsqrt: return 1 / std::sqrt(a);
        case VecOp::Reciprocal: return 1 / a;
        case VecOp::Relu: return std::isnan(a) ? a : a > 0 ? a : 0;
        case VecOp::Neg: return -a;
        case VecOp::Axpy: return a * scalar + dst;
        case VecOp::MulAddDst: return a * b + dst;
        case VecOp::FusedMulAdd: return a * dst + b;
        case VecOp::Floor: return std::floor(a);
        case VecOp::Ceil: return std::ceil(a);
        case VecOp::Rint: return std::nearbyint(a);
        case VecOp::Trunc: return std::trunc(a);
        case VecOp::Sign: return std::isnan(a) ? a : double(a > 0) - double(a < 0);
        case VecOp::Sigmoid: return 1 / (1 + std::exp(-a));
        case VecOp::Silu: return a / (1 + std::exp(-a));
        case VecOp::Swish: return a / (1 + std::exp(-scalar * a));
        case VecOp::Tanh: return std::tanh(a);
        case VecOp::Erf: return std::erf(a);
        case VecOp::Sin: return std::sin(a);
        case VecOp::Cos: return std::cos(a);
        case VecOp::Atan: return std::atan(a);
        default: return 0;
    }
}

// The approximate units miss the last bits (spec §3.2): the result keeps about 10 (half) or 13 (float) of them.
double approximate(double x, Dtype t) {
    if (!std::isfinite(x) || x == 0) return x;
    return x * (1 + (t == Dtype::F16 ? 1.0 / 1024 : 1.0 / 8192));
}

bool reads_dst(VecOp op) { return op == VecOp::Axpy || op == VecOp::MulAddDst || op == VecOp::FusedMulAdd; }
bool is_bitwise(VecOp op) {
    return op == VecOp::And || op == VecOp::Or || op == VecOp::Not || op == VecOp::ShiftLeft ||
           op == VecOp::ShiftRight || op == VecOp::Copy || op == VecOp::Duplicate;
}

template <typename T>
T bit_op(VecOp op, T a, T b, uint64_t scalar) {
    using U = std::make_unsigned_t<T>;
    switch (op) {
        case VecOp::And: return T(a & b);
        case VecOp::Or: return T(a | b);
        case VecOp::Not: return T(~a);
        case VecOp::ShiftLeft: return scalar >= sizeof(T) * 8 ? T(0) : T(U(a) << scalar);
        case VecOp::ShiftRight: return scalar >= sizeof(T) * 8 ? T(a < 0 ? -1 : 0) : T(a >> scalar);
        case VecOp::Duplicate: return T(scalar);
        default: return a;
    }
}

struct Operands {
    std::vector<Range> dst, src[2];
};

template <typename T>
void run_bits(const Operands& o, VecOp op, int srcs, uint64_t scalar) {
    std::vector<T> a, b, out;
    const auto take = [](const std::vector<Range>& runs, std::vector<T>& to) {
        for (const Range& r : runs) {
            for (uint64_t i = 0; i < r.bytes; i += sizeof(T)) to.push_back(at_address<T>(r.memory->bytes + r.off + i));
        }
    };
    if (srcs > 0) take(o.src[0], a);
    if (srcs > 1) take(o.src[1], b);
    size_t next = 0;
    for (const Range& r : o.dst) {
        for (uint64_t i = 0; i < r.bytes; i += sizeof(T), next++) {
            put(r.memory->bytes + r.off + i,
                bit_op<T>(op, srcs > 0 ? a[next] : T(0), srcs > 1 ? b[next] : T(0), scalar));
        }
    }
}

void run_bitwise(const Operands& o, VecOp op, int srcs, uint64_t scalar, Dtype t) {
    const bool arithmetic = t == Dtype::I8 || t == Dtype::I16 || t == Dtype::I32;
    switch (size_of(t)) {
        case 1: return arithmetic ? run_bits<int8_t>(o, op, srcs, scalar) : run_bits<uint8_t>(o, op, srcs, scalar);
        case 2: return arithmetic ? run_bits<int16_t>(o, op, srcs, scalar) : run_bits<uint16_t>(o, op, srcs, scalar);
        case 4: return arithmetic ? run_bits<int32_t>(o, op, srcs, scalar) : run_bits<uint32_t>(o, op, srcs, scalar);
        default: return run_bits<uint64_t>(o, op, srcs, scalar);
    }
}

void run_arithmetic(const Operands& o, VecOp op, int srcs, double scalar, Dtype dst_type, Dtype src_type) {
    std::vector<double> a, b, d;
    gather_lanes(o.src[0], src_type, a);
    if (srcs > 1) gather_lanes(o.src[1], src_type, b);
    if (reads_dst(op)) gather_lanes(o.dst, dst_type, d);
    const bool rough = op == VecOp::Rsqrt || op == VecOp::Reciprocal;
    for (size_t i = 0; i < a.size(); i++) {
        a[i] = apply(op, a[i], srcs > 1 ? b[i] : 0, d.empty() ? 0 : d[i], scalar);
        if (rough) a[i] = approximate(a[i], dst_type);
    }
    scatter_lanes(o.dst, dst_type, a);
}

// Ranges of all operands into the instruction; false if a check failed.
bool take_operands(Core& c, Instr& i, Operands& o, const Operand& dst, const Operand* src, int srcs,
                   const Shape& shape) {
    uint32_t widest = dst.type == Dtype::None ? 1 : size_of(dst.type);
    for (int s = 0; s < srcs; s++) widest = std::max(widest, size_of(src[s].type));
    const auto segments = segments_of(c, shape, 256 / widest, i.name, i.at);
    if (segments.empty()) return false;
    bool good = check_position(dst.place, {Hardware::UB}, i.name, i.at) && check_aligned(dst.place, 32, i.name, i.at);
    good =
        good && add_ranges(c, o.dst, dst.place, runs_of(segments, size_of(dst.type), dst.blk, dst.rep), i.name, i.at);
    for (int s = 0; s < srcs && good; s++) {
        good = check_position(src[s].place, {Hardware::UB}, i.name, i.at) &&
               check_aligned(src[s].place, 32, i.name, i.at) &&
               add_ranges(c, o.src[s], src[s].place, runs_of(segments, size_of(src[s].type), src[s].blk, src[s].rep),
                          i.name, i.at);
        if (good) check_overlap(o.dst, o.src[s], i.name, i.at);
    }
    if (!good) return false;
    i.writes = o.dst;
    for (int s = 0; s < srcs; s++) i.reads.insert(i.reads.end(), o.src[s].begin(), o.src[s].end());
    return true;
}

uint64_t bytes_in(const std::vector<Range>& all) {
    uint64_t n = 0;
    for (const Range& r : all) n += r.bytes;
    return n;
}

// A copy of whole runs carries what is defined.
void add_moves(Instr& i, const std::vector<Range>& dst, const std::vector<Range>& src) {
    size_t a = 0, b = 0;
    uint64_t x = 0, y = 0;
    while (a < dst.size() && b < src.size()) {
        const uint64_t n = std::min(dst[a].bytes - x, src[b].bytes - y);
        i.moves.push_back({dst[a].memory, dst[a].off + x, src[b].memory, src[b].off + y, uint32_t(n)});
        x += n;
        y += n;
        if (x == dst[a].bytes) a++, x = 0;
        if (y == src[b].bytes) b++, y = 0;
    }
}

// A destination whose repeats lie on each other is written repeat after repeat. Where it is also the second source of
// one of these, the repeats accumulate; no other source may see them (CANN docs, overlap of addresses).
bool accumulates(VecOp op) {
    return op == VecOp::Add || op == VecOp::Sub || op == VecOp::Mul || op == VecOp::Max || op == VecOp::Min ||
           op == VecOp::And || op == VecOp::Or;
}

std::vector<Operands> one_by_one(Core& c, const Elementwise& e, const Operands& all, At at) {
    if (e.shape.count_form || e.dst.rep != 0) return {all};
    uint32_t widest = size_of(e.dst.type);
    for (int s = 0; s < e.srcs; s++) widest = std::max(widest, size_of(e.src[s].type));
    std::vector<Operands> steps;
    const auto segments = segments_of(c, e.shape, 256 / widest, e.name, at);
    for (size_t first = 0; first < segments.size();) {
        size_t end = first;
        while (end < segments.size() && segments[end].repeat == segments[first].repeat) end++;
        const std::vector<Segment> one(segments.begin() + long(first), segments.begin() + long(end));
        steps.emplace_back();
        add_ranges(c, steps.back().dst, e.dst.place, runs_of(one, size_of(e.dst.type), e.dst.blk, 0), e.name, at);
        for (int s = 0; s < e.srcs; s++) {
            const Operand& from = e.src[s];
            add_ranges(c, steps.back().src[s], from.place, runs_of(one, size_of(from.type), from.blk, from.rep), e.name,
                       at);
        }
        first = end;
    }
    for (int s = 0; s < e.srcs && steps.size() > 1; s++) {
        if (!overlaps(all.dst, all.src[s]) || (s == 1 && accumulates(e.op))) continue;
        find("overlap", at, format("%s: repeats with a destination stride of 0 read their own destination", e.name),
             "accumulate by Add, Sub, Mul, Max, Min, And or Or, with the destination as the second source");
    }
    return steps;
}

void elementwise(const Elementwise& e, At at) {
    Core& c = core(at);
    Instr i(e.name, V, at);
    Operands o;
    const bool inactive_core = !has_lane(c, V);
    if (inactive_core) return issue(std::move(i));
    if (!take_operands(c, i, o, e.dst, e.src, e.srcs, e.shape)) return;
    if (reads_dst(e.op)) i.reads.insert(i.reads.end(), o.dst.begin(), o.dst.end());
    const Dtype type = e.dst.type, from = e.src[0].type;
    i.cycles = double(bytes_in(o.dst)) / size_of(type) / vector_rate(e.op, type);
    const VecOp op = e.op;
    const int srcs = e.srcs;
    const uint64_t bits = e.scalar;
    const std::vector<Operands> steps = one_by_one(c, e, o, at);
    if (op == VecOp::Copy) {
        add_moves(i, o.dst, o.src[0]);
    } else if (is_bitwise(op)) {
        i.run = [steps, op, srcs, bits, type] {
            for (const Operands& step : steps) run_bitwise(step, op, srcs, bits, type);
        };
    } else {
        const double scalar = e.scalar_type == Dtype::None ? 0 : scalar_value(bits, e.scalar_type);
        i.run = [steps, op, srcs, scalar, type, from] {
            for (const Operands& step : steps) run_arithmetic(step, op, srcs, scalar, type, from);
        };
    }
    issue(std::move(i));
}

}  // namespace emu
