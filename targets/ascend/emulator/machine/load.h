// L1 -> L0A and L0B: fractals of 512 bytes, 16 rows of 32 bytes (spec §3.11).
#pragma once

#include "move.h"

namespace emu {

constexpr uint32_t kFractal = 512;

bool check_load(const Place& dst, const Place* src, const char* who, At at) {
    return check_position(dst, {Hardware::L0A, Hardware::L0B}, who, at) && check_aligned(dst, 512, who, at) &&
           (!src || (check_position(*src, {Hardware::L1}, who, at) && check_aligned(*src, 32, who, at)));
}

double load_rate(const Place& dst) { return hardware_of(dst.pos) == Hardware::L0A || __NPU_ARCH__ == 3510 ? 256 : 128; }

// Moves one fractal, element by element where it is transposed.
void move_fractal(Instr& i, const Range& to, const Range& from, uint32_t size, bool transpose) {
    i.writes.push_back(to);
    i.reads.push_back(from);
    if (!transpose) {
        i.moves.push_back({to.memory, to.off, from.memory, from.off, kFractal});
        return;
    }
    for (uint32_t r = 0; r < 16; r++) {
        for (uint32_t c = 0; c < 16; c++) {
            i.moves.push_back(
                {to.memory, to.off + (c * 16 + r) * size, from.memory, from.off + (r * 16 + c) * size, size});
        }
    }
}

bool load_legal(const Load2D& p, Dtype type, const char* who, At at) {
    if (p.times == 0) {
        find("count", at, format("%s with repeatTimes 0", who));
        return false;
    }
    if (p.transpose && size_of(type) != 2) {
        find("dtype", at, format("%s: ifTranspose exists for 16-bit types only", who), "use LoadDataWithTranspose");
        return false;
    }
    return true;
}

void load_2d(const Place& dst, const Place& src, Dtype type, const Load2D& p, At at) {
    Core& c = core(at);
    Instr i("LoadData", MTE1, at);
    if (!check_load(dst, &src, i.name, at) || !load_legal(p, type, i.name, at)) return;
    for (int64_t k = 0; k < p.times; k++) {
        const auto to = range_of(c, dst, uint64_t(k * (1 + p.dst_gap)) * kFractal, kFractal, i.name, at);
        const auto from = range_of(c, src, uint64_t(p.start + k * p.src_stride) * kFractal, kFractal, i.name, at);
        if (!to || !from) return;
        move_fractal(i, *to, *from, size_of(type), p.transpose);
    }
    i.cycles = double(p.times) * kFractal / load_rate(dst);
    issue(std::move(i));
}

void load_2d_gm(const Place& dst, uint64_t src, Dtype type, const Load2D& p, At at) {
    Core& c = core(at);
    Instr i("LoadData", MTE2, at);
    if (!check_load(dst, nullptr, i.name, at) || !load_legal(p, type, i.name, at)) return;
    for (int64_t k = 0; k < p.times; k++) {
        const auto to = range_of(c, dst, uint64_t(k * (1 + p.dst_gap)) * kFractal, kFractal, i.name, at);
        const auto from = gm_range(src + uint64_t(p.start + k * p.src_stride) * kFractal, kFractal, i.name, at);
        if (!to || !from) return;
        move_fractal(i, *to, *from, size_of(type), p.transpose);
    }
    i.cycles = double(p.times) * kFractal / 110;
    issue(std::move(i));
}

// 3510: a block of mStep x kStep fractals of an Nz matrix; transposed, it becomes Zn for L0B.
void load_2d_v2(const Place& dst, const Place& src, Dtype type, const Load2DV2& p, At at) {
    Core& c = core(at);
    Instr i("LoadData", MTE1, at);
    if (!check_load(dst, &src, i.name, at)) return;
    if (p.m_step == 0 || p.k_step == 0) {
        find("count", at, "LoadData with mStep or kStep 0");
        return;
    }
    const int64_t size = size_of(type), c0 = 32 / size;
    for (int64_t k = 0; k < p.k_step; k++) {
        for (int64_t m = 0; m < p.m_step; m++) {
            const auto from = range_of(c, src, uint64_t((p.k_start + k) * p.src_stride + p.m_start + m) * kFractal,
                                       kFractal, i.name, at);
            if (!from) return;
            i.reads.push_back(*from);
            if (!p.transpose) {
                const auto to = range_of(c, dst, uint64_t(k * p.dst_stride + m) * kFractal, kFractal, i.name, at);
                if (!to) return;
                i.writes.push_back(*to);
                i.moves.push_back({to->memory, to->off, from->memory, from->off, kFractal});
                continue;
            }
            for (int64_t r = 0; r < 16; r++) {
                for (int64_t x = 0; x < c0; x++) {
                    const int64_t row = m * 16 + r,
                                  column = k * c0 + x;  // the matrix is rows x columns; L0B holds (k = row, n = column)
                    const int64_t off =
                        ((row / c0) * p.dst_stride + column / 16) * kFractal + ((column % 16) * c0 + row % c0) * size;
                    const auto to = range_of(c, dst, uint64_t(off), uint64_t(size), i.name, at);
                    if (!to) return;
                    i.writes.push_back(*to);
                    i.moves.push_back(
                        {to->memory, to->off, from->memory, from->off + uint64_t((r * c0 + x) * size), uint32_t(size)});
                }
            }
        }
    }
    i.cycles = double(p.m_step * p.k_step) * kFractal / load_rate(dst);
    issue(std::move(i));
}

// Squares of 16x16 (16-bit) or 32x32 (8-bit: two fractals each, dstFracGap apart).
void load_transposed(const Place& dst, const Place& src, Dtype type, const Load2D& p, int64_t fractal_gap, At at) {
    const uint32_t size = size_of(type);
    if (size == 2) return load_2d(dst, src, type, p, at);
    Core& c = core(at);
    Instr i("LoadDataWithTranspose", MTE1, at);
    if (!check_load(dst, &src, i.name, at) || p.times == 0) return;
    for (int64_t k = 0; k < p.times; k++) {
        const int64_t first = k * (2 + fractal_gap + p.dst_gap);  // fractals
        const auto from = range_of(c, src, uint64_t(p.start + k * p.src_stride) * 1024, 1024, i.name, at);
        const auto low = range_of(c, dst, uint64_t(first) * kFractal, kFractal, i.name, at);
        const auto high = range_of(c, dst, uint64_t(first + 1 + fractal_gap) * kFractal, kFractal, i.name, at);
        if (!from || !low || !high) return;
        i.reads.push_back(*from);
        i.writes.push_back(*low);
        i.writes.push_back(*high);
        for (uint32_t r = 0; r < 32; r++) {
            for (uint32_t x = 0; x < 32; x++) {
                const Range& to = x < 16 ? *low : *high;
                i.moves.push_back({to.memory, to.off + (x % 16) * 32 + r, from->memory, from->off + r * 32 + x, 1});
            }
        }
    }
    i.cycles = double(p.times) * 1024 / load_rate(dst);
    issue(std::move(i));
}

// im2col of NC1HWC0 in L1 into L0A: row m is an output position, column k runs over (c1, fh, fw, c0).
void load_3d(const Place& dst, const Place& src, Dtype type, const Load3D& p, At at) {
    Core& c = core(at);
    Instr i("LoadData(3D)", MTE1, at);
    if (!check_position(dst, {Hardware::L0A}, i.name, at) || !check_load(dst, &src, i.name, at)) return;
    const int64_t size = size_of(type), c0 = 32 / size;
    if (p.k_ext % c0 || p.m_ext % 16 || p.k_start % c0 || p.m_start % 16 || p.transpose) {
        find("align", at,
             "LoadData(3D): kExtension and kStartPt are multiples of a block's elements, mExtension and mStartPt of "
             "16, without transposition");
        return;
    }
    const int64_t out_w = (p.w + p.pad[0] + p.pad[1] - p.dilation_w * (p.filter_w - 1) - 1) / p.stride_w + 1;
    const int64_t out_h = (p.h + p.pad[2] + p.pad[3] - p.dilation_h * (p.filter_h - 1) - 1) / p.stride_h + 1;
    std::vector<Range> padded;
    for (int64_t m = 0; m < p.m_ext; m++) {
        for (int64_t kb = 0; kb < p.k_ext / c0; kb++) {
            const int64_t position = p.m_start + m, k = p.k_start / c0 + kb;  // k in blocks of C0
            const int64_t fw = k % p.filter_w, fh = k / p.filter_w % p.filter_h, c1 = k / (p.filter_w * p.filter_h);
            const int64_t y = position / out_w * p.stride_h - p.pad[2] + fh * p.dilation_h;
            const int64_t x = position % out_w * p.stride_w - p.pad[0] + fw * p.dilation_w;
            const int64_t fractal = __NPU_ARCH__ == 3510 ? kb * (p.m_ext / 16) + m / 16 : m / 16 * (p.k_ext / c0) + kb;
            const auto to = range_of(c, dst, uint64_t(fractal * kFractal + m % 16 * 32), 32, i.name, at);
            if (!to) return;
            i.writes.push_back(*to);
            const bool outside =
                y < 0 || y >= p.h || x < 0 || x >= p.w || position >= out_h * out_w || c1 * c0 >= p.channels;
            if (outside) {
                padded.push_back(*to);
                continue;
            }
            const auto from = range_of(c, src, uint64_t(((c1 * p.h + y) * p.w + x) * 32), 32, i.name, at);
            if (!from) return;
            i.reads.push_back(*from);
            i.moves.push_back({to->memory, to->off, from->memory, from->off, 32});
        }
    }
    const uint64_t value = p.pad_value;
    i.run = [padded, value, size] {
        for (const Range& r : padded) {
            for (int64_t x = 0; x < 32; x += size) std::memcpy(r.memory->bytes + r.off + x, &value, size_t(size));
        }
    };
    i.cycles = double(p.m_ext * p.k_ext * size) / load_rate(dst);
    issue(std::move(i));
    for (const Range& r : padded) r.memory->shadow.define(r.off, r.bytes, true);
}

void init_const(const Place& dst, Dtype type, int64_t times, int64_t blocks, int64_t gap, uint64_t value, At at) {
    Core& c = core(at);
    const bool l1 = hardware_of(dst.pos) == Hardware::L1;
    Instr i("InitConstValue", l1 ? MTE2 : MTE1, at);
    if (!check_position(dst, {Hardware::L1, Hardware::L0A, Hardware::L0B}, i.name, at) ||
        !check_aligned(dst, l1 ? 32 : 512, i.name, at))
        return;
    if (times <= 0 || blocks <= 0) {
        find("count", at, "InitConstValue with repeatTimes or blockNum 0");
        return;
    }
    const uint64_t unit = l1 ? 32 : kFractal;
    for (int64_t k = 0; k < times; k++) {
        const auto to = range_of(c, dst, uint64_t(k * (blocks + gap)) * unit, uint64_t(blocks) * unit, i.name, at);
        if (!to) return;
        i.writes.push_back(*to);
    }
    const std::vector<Range> all = i.writes;
    const uint32_t size = size_of(type);
    i.cycles = double(bytes_in(all)) / (l1 ? 110 : 256);
    i.run = [all, value, size] {
        for (const Range& r : all) {
            for (uint64_t x = 0; x < r.bytes; x += size) std::memcpy(r.memory->bytes + r.off + x, &value, size);
        }
    };
    issue(std::move(i));
}

}  // namespace emu
