// Which bytes a vector instruction touches: repeats of 256 bytes, blocks of 32, masks (spec §3.1).
#pragma once

#include "scalar.h"

namespace emu {

// Contiguous active elements of one repeat.
struct Segment {
    uint32_t repeat, first, count;
};

struct Run {
    uint64_t off;  // bytes from the operand's start
    uint32_t bytes;
};

void add_segments(std::vector<Segment>& out, uint32_t repeat, const uint64_t* mask, uint32_t per) {
    uint32_t e = 0;
    while (e < per) {
        if (!(mask[e / 64] >> (e % 64) & 1)) {
            e++;
            continue;
        }
        const uint32_t first = e;
        while (e < per && (mask[e / 64] >> (e % 64) & 1)) e++;
        out.push_back({repeat, first, e - first});
    }
}

// The active elements, where a repeat holds `per` of them; 8-bit types have 256 and masks only by count.
std::vector<Segment> segments_of(Core& c, const Shape& s, uint32_t per, const char* who, At at) {
    std::vector<Segment> out;
    if (s.count_form) {
        if (s.count <= 0) {
            find("count", at, format("%s with count %lld", who, static_cast<long long>(s.count)), "skip the call");
            return out;
        }
        out.push_back({0, 0, uint32_t(s.count)});
        return out;
    }
    if (s.use_register && c.counter) {
        // Counter mode: the register holds a number of elements, the repeat count is ignored.
        for (uint64_t done = 0, repeat = 0; done < c.mask[0]; done += per, repeat++) {
            out.push_back({uint32_t(repeat), 0, uint32_t(std::min<uint64_t>(per, c.mask[0] - done))});
        }
        return out;
    }
    uint64_t mask[4] = {0, 0, 0, 0};
    if (s.use_register || s.mask_is_bits) {
        const uint64_t* from = s.use_register ? c.mask : s.mask;
        mask[0] = from[0];
        mask[1] = from[1];
        // The reset register (all ones) is right for every width.
        if (s.mask_is_bits && per <= 64 && (mask[1] || (per < 64 && mask[0] >> per))) {
            find("mask", at, format("%s: mask bits beyond the %u elements of a repeat", who, per));
        }
    } else {
        if (s.mask[0] == 0 || s.mask[0] > per) {
            find("mask", at,
                 format("%s: mask %llu; a repeat holds 1 to %u elements", who,
                        static_cast<unsigned long long>(s.mask[0]), per));
            return out;
        }
        for (uint64_t e = 0; e < s.mask[0]; e++) mask[e / 64] |= 1ull << (e % 64);
    }
    for (int r = 0; r < s.repeat; r++) add_segments(out, uint32_t(r), mask, per);
    return out;
}

// Bytes of the segments in one operand, in lane order; neighbours are joined.
std::vector<Run> runs_of(const std::vector<Segment>& segments, uint32_t size, uint32_t blk, uint32_t rep) {
    std::vector<Run> out;
    const uint32_t per_block = 32 / size;
    for (const Segment& s : segments) {
        uint32_t e = s.first, left = s.count;
        while (left) {
            const uint32_t inside = e % per_block, n = blk == 1 ? left : std::min(left, per_block - inside);
            const uint64_t off =
                (uint64_t(s.repeat) * rep + uint64_t(e / per_block) * blk) * 32 + uint64_t(inside) * size;
            if (!out.empty() && out.back().off + out.back().bytes == off) {
                out.back().bytes += n * size;
            } else {
                out.push_back({off, n * size});
            }
            e += n;
            left -= n;
        }
    }
    return out;
}

// Adds the runs of an operand to a list of ranges, checked; false if they are not all inside the buffer.
bool add_ranges(Core& c, std::vector<Range>& to, const Place& place, const std::vector<Run>& runs, const char* who,
                At at) {
    uint64_t reach = 0;
    for (const Run& r : runs) reach = std::max<uint64_t>(reach, r.off + r.bytes);
    const auto whole = range_of(c, place, 0, reach, who, at);
    if (!whole) return false;
    for (const Run& r : runs) to.push_back({whole->memory, place.addr + r.off, r.bytes});
    return true;
}

bool overlaps(const std::vector<Range>& a, const std::vector<Range>& b) {
    for (const Range& x : a) {
        for (const Range& y : b) {
            if (x.memory == y.memory && x.off < y.off + y.bytes && y.off < x.off + x.bytes) return true;
        }
    }
    return false;
}

bool same(const std::vector<Range>& a, const std::vector<Range>& b) {
    if (a.size() != b.size()) return false;
    for (size_t i = 0; i < a.size(); i++) {
        if (a[i].memory != b[i].memory || a[i].off != b[i].off || a[i].bytes != b[i].bytes) return false;
    }
    return true;
}

void bounds(const std::vector<Range>& all, uint64_t* low, uint64_t* high) {
    *low = ~0ull;
    *high = 0;
    for (const Range& r : all) {
        *low = std::min(*low, r.off);
        *high = std::max(*high, r.off + r.bytes);
    }
}

// Spec §3.1: operands overlap only if their addresses are identical element for element.
void check_overlap(const std::vector<Range>& dst, const std::vector<Range>& src, const char* who, At at) {
    if (dst.empty() || src.empty() || dst[0].memory != src[0].memory) return;
    uint64_t a, b, x, y;
    bounds(dst, &a, &b);
    bounds(src, &x, &y);
    if (a >= y || x >= b || same(dst, src) || !overlaps(dst, src)) return;
    find("overlap", at, format("%s: destination and source overlap without being the same elements", who),
         "use another buffer");
}

// Elements of runs as doubles, and back.
void gather_lanes(const std::vector<Range>& runs, Dtype t, std::vector<double>& out) {
    const uint32_t size = size_of(t);
    out.clear();
    for (const Range& r : runs) {
        const uint8_t* p = r.memory->bytes + r.off;
        const size_t n = r.bytes / size, start = out.size();
        out.resize(start + n);
        double* to = out.data() + start;
        if (t == Dtype::F32) {  // the common case, vectorised
            for (size_t i = 0; i < n; i++) to[i] = at_address<float>(p + i * 4);
        } else {
            for (size_t i = 0; i < n; i++) to[i] = load(p + i * size, t);
        }
    }
}

void scatter_lanes(const std::vector<Range>& runs, Dtype t, const std::vector<double>& values,
                   RoundMode mode = RoundMode::CAST_RINT) {
    const uint32_t size = size_of(t);
    size_t next = 0;
    for (const Range& r : runs) {
        uint8_t* p = r.memory->bytes + r.off;
        for (uint32_t i = 0; i < r.bytes / size && next < values.size(); i++)
            store(p + i * size, t, values[next++], mode);
    }
}

void set_mask_mode(bool counter) { core().counter = counter; }
void set_vector_mask(uint64_t high, uint64_t low, bool as_count, At at) {
    Core& c = core(at);
    if (as_count != c.counter) {
        find("mask", at,
             as_count ? "SetVectorMask in counter mode, but the core is in normal mode"
                      : "SetVectorMask in normal mode, but the core is in counter mode",
             as_count ? "call SetMaskCount before" : "call SetMaskNorm before");
    }
    c.mask[0] = low;
    c.mask[1] = high;
}
void reset_mask() { core().mask[0] = core().mask[1] = ~0ull; }
void set_deq_scale(float scale) { core().deq_scale = scale; }

}  // namespace emu
