// Instructions whose addresses are data: their ranges are found when they leave the queue.
#pragma once

#include "cube.h"

namespace emu {

template <typename T>
std::vector<T> take(const Range& r) {
    std::vector<T> out(r.bytes / sizeof(T));
    std::memcpy(out.data(), r.memory->bytes + r.off, out.size() * sizeof(T));
    return out;
}

bool check_ub(std::initializer_list<const Place*> places, uint32_t align, const char* who, At at) {
    for (const Place* p : places) {
        if (!check_position(*p, {Hardware::UB}, who, at) || !check_aligned(*p, align, who, at)) return false;
    }
    return true;
}

// Pieces of src at data-dependent offsets; null if one lies outside.
std::optional<std::vector<Range>> pieces_at(Core& c, const Place& src, const std::vector<uint32_t>& offsets,
                                            uint32_t base, uint32_t bytes, uint32_t align, const char* who, At at) {
    std::vector<Range> out;
    for (uint32_t off : offsets) {
        if ((off + base) % align) {
            find("align", at, format("%s: offset %u is not a multiple of %u bytes", who, off + base, align),
                 "offsets are in bytes");
            return std::nullopt;
        }
        const auto r = range_of(c, src, uint64_t(off) + base, bytes, who, at);
        if (!r) return std::nullopt;
        out.push_back(*r);
    }
    return out;
}

void gather(const Operand& dst, const Place& src, const Place& offsets, uint32_t base, const Shape& shape, At at) {
    Core& c = core(at);
    Instr i("Gather", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    const uint32_t size = size_of(dst.type);
    const auto segments = segments_of(c, shape, 256 / size, i.name, at);
    if (segments.empty() || !check_ub({&dst.place, &src, &offsets}, 32, i.name, at)) return;
    std::vector<Range> to, from;
    // One offset per lane, in lane order.
    if (!add_ranges(c, to, dst.place, runs_of(segments, size, dst.blk, dst.rep), i.name, at)) return;
    const uint64_t lanes = bytes_in(to) / size;
    if (!add_ranges(c, from, offsets, {{0, uint32_t(lanes * 4)}}, i.name, at)) return;
    i.reads = from;
    i.writes = to;
    i.cycles = double(lanes) / 16;  // random access; no documented rate
    Core* me = &c;
    i.prepare = [=](Instr& self) {
        const auto pieces = pieces_at(*me, src, take<uint32_t>(from[0]), base, size, size, self.name, self.at);
        if (!pieces) return false;
        self.reads.insert(self.reads.end(), pieces->begin(), pieces->end());
        const std::vector<Range> found = *pieces;
        self.run = [to, found] {
            std::vector<uint8_t> bytes;
            for (const Range& r : found)
                bytes.insert(bytes.end(), r.memory->bytes + r.off, r.memory->bytes + r.off + r.bytes);
            size_t next = 0;
            for (const Range& r : to) {
                std::memcpy(r.memory->bytes + r.off, bytes.data() + next, r.bytes);
                next += r.bytes;
            }
        };
        return true;
    };
    issue(std::move(i));
}

void gather_blocks(const Operand& dst, const Place& src, const Place& offsets, int repeat, At at) {
    Core& c = core(at);
    Instr i("Gatherb", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    if (repeat == 0 || !check_ub({&dst.place, &src, &offsets}, 32, i.name, at)) return;
    std::vector<Run> writes;
    for (int r = 0; r < repeat; r++) {
        for (uint32_t b = 0; b < 8; b++) writes.push_back({(uint64_t(r) * dst.rep + uint64_t(b) * dst.blk) * 32, 32});
    }
    std::vector<Range> from;
    if (!add_ranges(c, i.writes, dst.place, writes, i.name, at) ||
        !add_ranges(c, from, offsets, {{0, uint32_t(repeat) * 32}}, i.name, at))
        return;
    i.reads = from;
    i.cycles = double(repeat) * 8;
    const std::vector<Range> to = i.writes;
    Core* me = &c;
    i.prepare = [=](Instr& self) {
        const auto pieces = pieces_at(*me, src, take<uint32_t>(from[0]), 0, 32, 32, self.name, self.at);
        if (!pieces) return false;
        self.reads.insert(self.reads.end(), pieces->begin(), pieces->end());
        const std::vector<Range> found = *pieces;
        self.run = [to, found] {
            for (size_t k = 0; k < to.size(); k++)
                std::memmove(to[k].memory->bytes + to[k].off, found[k].memory->bytes + found[k].off, 32);
        };
        return true;
    };
    issue(std::move(i));
}

bool fixed_pattern(int pattern, uint64_t element) {
    switch (pattern) {
        case 1: return element % 2 == 0;
        case 2: return element % 2 == 1;
        case 7: return true;
        default: return element % 4 == uint64_t(pattern - 3);
    }
}

// The result's length is data, and the scalar unit gets it: the instruction is complete when the call returns.
uint64_t gather_mask(const Place& dst, const Place& src, Dtype type, const Compress& p, At at) {
    Core& c = core(at);
    Instr i("GatherMask", V, at);
    if (!has_lane(c, V)) {
        issue(std::move(i));
        return 0;
    }
    const uint32_t size = size_of(type), per = 256 / size;
    const uint32_t each = p.counter ? p.count : per;
    if (p.fixed && (p.pattern < 1 || p.pattern > 7)) {
        find("mode", at, format("GatherMask with fixed pattern %d; there are 1 to 7", p.pattern));
        return 0;
    }
    if (p.repeats == 0 || each == 0) {
        find("count", at, "GatherMask of no elements");
        return 0;
    }
    if (!check_ub({&dst, &src}, 32, i.name, at) || (!p.fixed && !check_ub({&p.mask}, 32, i.name, at))) return 0;
    std::vector<Segment> segments;
    std::vector<Range> from, masks;
    for (int64_t r = 0; r < p.repeats; r++) segments.push_back({uint32_t(r), 0, each});
    if (!add_ranges(c, from, src, runs_of(segments, size, uint32_t(p.blk), uint32_t(p.rep0)), i.name, at)) return 0;
    if (!p.fixed) {
        std::vector<Run> runs;
        for (int64_t r = 0; r < p.repeats; r++) runs.push_back({uint64_t(r * p.rep1 * 32), (each + 7) / 8});
        if (!add_ranges(c, masks, p.mask, runs, i.name, at)) return 0;
    }
    i.reads = from;
    i.reads.insert(i.reads.end(), masks.begin(), masks.end());
    i.cycles = double(each) * double(p.repeats) * size / 256;
    auto kept = std::make_shared<uint64_t>(0);
    Core* me = &c;
    i.prepare = [=](Instr& self) {
        std::vector<uint64_t> chosen;
        for (uint64_t e = 0; e < uint64_t(each) * uint64_t(p.repeats); e++) {
            const uint64_t r = e / each, inside = e % each;
            const bool on = p.fixed ? fixed_pattern(p.pattern, inside)
                                    : masks[r].memory->bytes[masks[r].off + inside / 8] >> (inside % 8) & 1;
            if (on) chosen.push_back(e);
        }
        *kept = chosen.size();
        const auto to = range_of(*me, dst, 0, chosen.size() * size, self.name, self.at);
        if (!to) return false;
        if (!chosen.empty()) self.writes.push_back(*to);
        const Range target = *to;
        self.run = [=] {
            std::vector<uint8_t> bytes;
            for (const Range& r : from)
                bytes.insert(bytes.end(), r.memory->bytes + r.off, r.memory->bytes + r.off + r.bytes);
            for (size_t k = 0; k < chosen.size(); k++) {
                std::memcpy(target.memory->bytes + target.off + k * size, bytes.data() + chosen[k] * size, size);
            }
        };
        return true;
    };
    issue(std::move(i));
    wait_until(c, [&c] { return c.pipes[V].queue.empty(); }, "GatherMask at " + name_of(at));
    force_lane(c, V, c.pipes[V].count);
    return *kept;
}

void scatter(const Place& dst, const Place& src, const Place& offsets, Dtype type, uint32_t base, uint32_t count,
             At at) {
    Core& c = core(at);
    Instr i("Scatter", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    const uint32_t size = size_of(type);
    std::vector<Range> from, where;
    if (count == 0 || !check_ub({&dst, &src, &offsets}, 32, i.name, at) ||
        !add_ranges(c, from, src, {{0, count * size}}, i.name, at) ||
        !add_ranges(c, where, offsets, {{0, count * 4}}, i.name, at)) {
        return;
    }
    i.reads = from;
    i.reads.push_back(where[0]);
    i.cycles = double(count) / 16;
    Core* me = &c;
    i.prepare = [=](Instr& self) {
        const auto pieces = pieces_at(*me, dst, take<uint32_t>(where[0]), base, size, size, self.name, self.at);
        if (!pieces) return false;
        self.writes = *pieces;
        const std::vector<Range> to = *pieces;
        self.run = [=] {
            for (size_t k = 0; k < to.size(); k++) {
                std::memmove(to[k].memory->bytes + to[k].off, from[0].memory->bytes + from[0].off + k * size, size);
            }
        };
        return true;
    };
    issue(std::move(i));
}

// --- transposition: moves of single elements -----------------------------------------------------------------------
void transpose_16x16(const Place& dst, const Place& src, Dtype type, At at) {
    Core& c = core(at);
    Instr i("Transpose", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    if (!check_ub({&dst, &src}, 32, i.name, at)) return;
    const auto to = range_of(c, dst, 0, 512, i.name, at), from = range_of(c, src, 0, 512, i.name, at);
    if (!to || !from) return;
    check_overlap({*to}, {*from}, i.name, at);
    move_fractal(i, *to, *from, size_of(type), true);
    i.cycles = 2;
    issue(std::move(i));
}

// NCHW <-> NHWC.
void transpose_image(const Place& dst, const Place& src, Dtype type, int64_t n, int64_t c, int64_t hw,
                     bool channels_last, At at) {
    Core& me = core(at);
    Instr i("Transpose", V, at);
    if (!has_lane(me, V)) return issue(std::move(i));
    const int64_t size = size_of(type), total = n * c * hw * size;
    if (!check_ub({&dst, &src}, 32, i.name, at)) return;
    const auto to = range_of(me, dst, 0, uint64_t(total), i.name, at),
               from = range_of(me, src, 0, uint64_t(total), i.name, at);
    if (!to || !from) return;
    check_overlap({*to}, {*from}, i.name, at);
    i.writes = {*to};
    i.reads = {*from};
    for (int64_t b = 0; b < n; b++) {
        for (int64_t x = 0; x < c; x++) {
            for (int64_t y = 0; y < hw; y++) {
                const int64_t first = ((b * c + x) * hw + y) * size, last = ((b * hw + y) * c + x) * size;
                i.moves.push_back({to->memory, to->off + uint64_t(channels_last ? last : first), from->memory,
                                   from->off + uint64_t(channels_last ? first : last), uint32_t(size)});
            }
        }
    }
    i.cycles = double(total) / 256;
    issue(std::move(i));
}

Place ub_place(uint64_t address, At at) {
    return place_at(TPosition::VECCALC, uint32_t(address),
                    address < capacity(Hardware::UB) ? capacity(Hardware::UB) - address : 0, at);
}

void to_5hd(const Place* dst, const Place* src, Dtype type, const To5HD& p, At at) {
    Core& c = core(at);
    Instr i("TransDataTo5HD", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    const uint32_t size = size_of(type), lanes = size == 4 ? 8 : 16;
    for (int64_t r = 0; r < p.repeats; r++) {
        std::vector<Range> to, from;
        for (int b = 0; b < 16; b++) {
            if (!check_ub({&dst[b], &src[b]}, 32, i.name, at)) return;
            const auto x = range_of(c, dst[b], uint64_t(r * p.dst_rep * 32), 32, i.name, at);
            const auto y = range_of(c, src[b], uint64_t(r * p.src_rep * 32), 32, i.name, at);
            if (!x || !y) return;
            to.push_back(*x);
            from.push_back(*y);
        }
        for (uint32_t row = 0; row < 16; row++) {
            for (uint32_t x = 0; x < lanes; x++) {
                // 32-bit types: column x takes two destination blocks, of rows 0..7 and 8..15.
                const Range& target = size == 4 ? to[x * 2 + row / 8] : to[x];
                const uint64_t off = size == 4 ? row % 8 * 4 : size == 2 ? row * 2 : row + (p.dst_high ? 16 : 0);
                i.moves.push_back({target.memory, target.off + off, from[row].memory,
                                   from[row].off + x * size + (size == 1 && p.src_high ? 16 : 0), size});
            }
        }
        i.reads.insert(i.reads.end(), from.begin(), from.end());
        i.writes.insert(i.writes.end(), to.begin(), to.end());
    }
    i.cycles = double(p.repeats) * 2;
    issue(std::move(i));
}

void broadcast(const Place& dst, const Place& src, Dtype type, const int64_t dst_shape[2], const int64_t src_shape[2],
               At at) {
    Core& c = core(at);
    Instr i("Broadcast", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    const int64_t size = size_of(type);
    if (!check_ub({&dst, &src}, 32, i.name, at)) return;
    const auto to = range_of(c, dst, 0, uint64_t(dst_shape[0] * dst_shape[1] * size), i.name, at);
    const auto from = range_of(c, src, 0, uint64_t(src_shape[0] * src_shape[1] * size), i.name, at);
    if (!to || !from) return;
    check_overlap({*to}, {*from}, i.name, at);
    i.writes = {*to};
    i.reads = {*from};
    for (int64_t r = 0; r < dst_shape[0]; r++) {
        for (int64_t x = 0; x < dst_shape[1]; x++) {
            const int64_t row = src_shape[0] == 1 ? 0 : r, column = src_shape[1] == 1 ? 0 : x;
            i.moves.push_back({to->memory, to->off + uint64_t((r * dst_shape[1] + x) * size), from->memory,
                               from->off + uint64_t((row * src_shape[1] + column) * size), uint32_t(size)});
        }
    }
    i.cycles = double(to->bytes) / 256;
    issue(std::move(i));
}

}  // namespace emu
