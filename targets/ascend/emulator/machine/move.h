// Copies between global and on-chip memory.
#pragma once

#include "reduce.h"

namespace emu {

// Bytes per cycle (spec §1.2).
double copy_rate(Lane lane, Hardware local) {
    if (lane == MTE1) return 256;
    if (local == Hardware::L1) return lane == MTE2 ? 110 : 128;
    return 64;
}

bool check_blocks(const Blocks& b, const char* who, At at, bool whole) {
    if (b.count <= 0 || b.len <= 0) {
        find("count", at,
             format("%s of %lld blocks of %lld bytes", who, static_cast<long long>(b.count),
                    static_cast<long long>(b.len)),
             "skip the call");
        return false;
    }
    if (whole && b.len % kBlock != 0) {
        find("count", at,
             format("%s of %lld bytes; it moves whole blocks of 32 bytes and drops the rest", who,
                    static_cast<long long>(b.len)),
             "use DataCopyPad");
    }
    return true;
}

// Gives an instruction its copies block by block; false if one is out of bounds.
struct CopyPlan {
    std::vector<Range> dst, src;
};

void finish_copy(Instr& i, const CopyPlan& plan, double rate) {
    i.reads = plan.src;
    i.writes = plan.dst;
    i.cycles = double(bytes_in(plan.dst)) / rate;
    add_moves(i, plan.dst, plan.src);
}

void copy_in(const Place& dst, uint64_t src, Dtype, const Blocks& b, At at) {
    Core& c = core(at);
    Instr i("DataCopy", MTE2, at);
    if (!check_blocks(b, i.name, at, true) || !check_position(dst, {Hardware::UB, Hardware::L1}, i.name, at) ||
        !check_aligned(dst, 32, i.name, at))
        return;
    const int64_t len = b.len / kBlock * kBlock;
    CopyPlan plan;
    for (int64_t k = 0; k < b.count && len; k++) {
        const auto to = range_of(c, dst, uint64_t(k * (len + b.dst_gap)), uint64_t(len), i.name, at);
        const auto from = gm_range(src + uint64_t(k * (len + b.src_gap)), uint64_t(len), i.name, at);
        if (!to || !from) return;
        plan.dst.push_back(*to);
        plan.src.push_back(*from);
    }
    if (plan.dst.empty()) return;
    finish_copy(i, plan, copy_rate(i.lane, hardware_of(dst.pos)));
    issue(std::move(i));
}

// Stores accumulate when an atomic mode is on.
void atomic_store(const Range& to, const std::vector<uint8_t>& bytes, int mode, Dtype t) {
    const uint32_t size = size_of(t);
    for (size_t k = 0; k + size <= bytes.size(); k += size) {
        uint8_t* p = to.memory->bytes + to.off + k;
        const double old = load(p, t), now = load(bytes.data() + k, t);
        store(p, t, mode == 1 ? old + now : mode == 2 ? std::max(old, now) : std::min(old, now));
    }
}

void finish_store(Core& c, Instr& i, const CopyPlan& plan, Dtype type, double rate) {
    i.reads = plan.src;
    i.writes = plan.dst;
    i.cycles = double(bytes_in(plan.dst)) / rate;
    const int mode = c.atomic;
    const Dtype t = c.atomic_type;
    if (mode && size_of(t) != size_of(type)) {
        find("dtype", i.at, format("a store of %s with atomic mode set for %s", name_of(type), name_of(t)),
             "SetAtomicAdd of the stored type");
    }
    if (mode) {
        i.write_kind = Kind::Atomic;
        for (const Range& r : plan.dst) check_defined(i, r);
    }
    i.run = [plan, mode, t] {
        for (size_t k = 0; k < plan.dst.size(); k++) {
            const Range& from = plan.src[k];
            const Range& to = plan.dst[k];
            if (!mode) {
                std::memmove(to.memory->bytes + to.off, from.memory->bytes + from.off, to.bytes);
            } else {
                atomic_store(to, {from.memory->bytes + from.off, from.memory->bytes + from.off + from.bytes}, mode, t);
            }
        }
    };
    issue(std::move(i));
}

bool out_plan(Core& c, CopyPlan& plan, uint64_t dst, const Place& src, const Blocks& b, int64_t len, int64_t src_step,
              const char* who, At at) {
    for (int64_t k = 0; k < b.count && len; k++) {
        const auto from = range_of(c, src, uint64_t(k * src_step), uint64_t(len), who, at);
        const auto to = gm_range(dst + uint64_t(k * (len + b.dst_gap)), uint64_t(len), who, at);
        if (!to || !from) return false;
        plan.dst.push_back(*to);
        plan.src.push_back(*from);
    }
    return !plan.dst.empty();
}

void copy_out(uint64_t dst, const Place& src, Dtype type, const Blocks& b, At at) {
    Core& c = core(at);
    Instr i("DataCopy", MTE3, at);
    if (!check_blocks(b, i.name, at, true) || !check_aligned(src, 32, i.name, at)) return;
    if (__NPU_ARCH__ == 3510 && hardware_of(src.pos) == Hardware::L1) {
        find("position", at, "DataCopy from L1 to GM does not exist on this chip", "go through UB");
        return;
    }
    if (!check_position(src, {Hardware::UB, Hardware::L1}, i.name, at)) return;
    CopyPlan plan;
    const int64_t len = b.len / kBlock * kBlock;
    if (out_plan(c, plan, dst, src, b, len, len + b.src_gap, i.name, at))
        finish_store(c, i, plan, type, copy_rate(MTE3, Hardware::UB));
}

// UB -> UB by the vector pipe, and on 3510 UB -> L1 by MTE3 and L1 -> UB by MTE1.
void copy_local(const Place& dst, const Place& src, Dtype, const Blocks& b, At at) {
    Core& c = core(at);
    const Hardware from = hardware_of(src.pos), to = hardware_of(dst.pos);
    const bool on_vector = from == Hardware::UB && to == Hardware::UB;
    const bool to_l1 = from == Hardware::UB && to == Hardware::L1, from_l1 = from == Hardware::L1 && to == Hardware::UB;
    const bool to_bias = from == Hardware::L1 && (to == Hardware::BIAS || to == Hardware::FIXBUF);
    Instr i("DataCopy", on_vector ? V : to_l1 ? MTE3 : to_bias && to == Hardware::FIXBUF ? FIX : MTE1, at);
    if (!(on_vector || to_bias || (__NPU_ARCH__ == 3510 && (to_l1 || from_l1)))) {
        find("position", at, format("DataCopy from %s to %s does not exist on this chip", name_of(from), name_of(to)),
             "go through GM");
        return;
    }
    if (!check_blocks(b, i.name, at, true) || !check_aligned(dst, to_bias ? 64 : 32, i.name, at) ||
        !check_aligned(src, 32, i.name, at))
        return;
    const int64_t len = b.len / kBlock * kBlock;
    CopyPlan plan;
    for (int64_t k = 0; k < b.count; k++) {
        const auto d = range_of(c, dst, uint64_t(k * (len + b.dst_gap)), uint64_t(len), i.name, at);
        const auto s = range_of(c, src, uint64_t(k * (len + b.src_gap)), uint64_t(len), i.name, at);
        if (!d || !s) return;
        plan.dst.push_back(*d);
        plan.src.push_back(*s);
    }
    check_overlap(plan.dst, plan.src, i.name, at);
    finish_copy(i, plan, on_vector ? 256 : 128);
    issue(std::move(i));
}

bool check_padding(const Blocks& b, Dtype type, bool pad, int left, int right, uint64_t value, At at) {
    const uint32_t size = size_of(type);
    bool good = true;
    const auto bad = [&](const std::string& text) {
        find("count", at, "DataCopyPad: " + text);
        good = false;
    };
    if (left * size > 32 || right * size > 32)
        bad(format("padding of %d and %d elements; each side takes at most 32 bytes", left, right));
    if (b.len % size != 0)
        bad(format("blocks of %lld bytes are no whole number of elements", static_cast<long long>(b.len)));
    if (size == 8 && pad && value != 0) bad("8-byte types can only be padded with 0");
    return good;
}

// GM -> UB: every block starts at a multiple of 32 bytes. Ragged tails: padding, or the block's first element.
void copy_in_pad(const Place& dst, uint64_t src, Dtype type, const Blocks& b, bool pad, int left, int right,
                 uint64_t value, At at) {
    Core& c = core(at);
    Instr i("DataCopyPad", MTE2, at);
    if (!check_blocks(b, i.name, at, false) || !check_padding(b, type, pad, left, right, value, at)) return;
    if (!check_position(dst, {Hardware::UB}, i.name, at) || !check_aligned(dst, 32, i.name, at)) return;
    const int64_t size = size_of(type), before = left * size, after = right * size;
    const int64_t used = before + b.len + after, room = (used + 31) / 32 * 32;
    CopyPlan data;
    std::vector<Range> garbage;
    for (int64_t k = 0; k < b.count; k++) {
        const uint64_t start = uint64_t(k * (room + b.dst_gap));
        const auto whole = range_of(c, dst, start, uint64_t(room), i.name, at);
        const auto from = gm_range(src + uint64_t(k * (b.len + b.src_gap)), uint64_t(b.len), i.name, at);
        if (!whole || !from) return;
        i.writes.push_back(*whole);
        i.reads.push_back(*from);
        if (!pad && (left || right)) garbage.push_back(*whole);
    }
    i.cycles = double(bytes_in(i.writes)) / copy_rate(MTE2, Hardware::UB);
    const std::vector<Range> to = i.writes, from = i.reads;
    const int64_t len = b.len;
    const bool leave = !pad && (left || right);
    i.run = [=] {
        for (size_t k = 0; k < to.size(); k++) {
            uint8_t* p = to[k].memory->bytes + to[k].off;
            const uint8_t* q = from[k].memory->bytes + from[k].off;
            const uint8_t* filler = pad ? reinterpret_cast<const uint8_t*>(&value) : q;
            std::vector<uint8_t> first(filler, filler + size);
            if (leave) {
                poison(p, uint64_t(room));
            } else {
                for (int64_t x = 0; x < room; x += size) std::memcpy(p + x, first.data(), size_t(size));
            }
            std::memcpy(p + before, q, size_t(len));
        }
    };
    issue(std::move(i));
    // Padding without a value is garbage: what lies outside the data counts as never written.
    if (leave) {
        for (const Range& g : garbage) {
            g.memory->shadow.define(g.off, uint64_t(before), false);
            g.memory->shadow.define(g.off + uint64_t(before + len), uint64_t(room - before - len), false);
        }
    }
}

// UB -> GM writes exactly the given bytes of every block.
void copy_out_pad(uint64_t dst, const Place& src, Dtype type, const Blocks& b, At at) {
    Core& c = core(at);
    Instr i("DataCopyPad", MTE3, at);
    if (!check_blocks(b, i.name, at, false) || !check_padding(b, type, false, 0, 0, 0, at)) return;
    if (!check_position(src, {Hardware::UB}, i.name, at) || !check_aligned(src, 32, i.name, at)) return;
    const int64_t room = (b.len + 31) / 32 * 32;
    CopyPlan plan;
    if (out_plan(c, plan, dst, src, b, b.len, room + b.src_gap, i.name, at))
        finish_store(c, i, plan, type, copy_rate(MTE3, Hardware::UB));
}

void set_atomic(int mode, Dtype type) {
    Core& c = core();
    c.atomic = mode;
    c.atomic_type = type;
    if (c.cube && mode == 0) c.ready = true;  // of what an earlier kernel can leave, a cube core has only this
}

// Row-major GM -> Nz in L1: element (r, c) at column block c/C0, row r. The last block's missing columns become zero;
// rows beyond nValue are not touched.
void copy_nd2nz(const Place& dst, uint64_t src, Dtype type, const Nd2Nz& p, At at) {
    Core& c = core(at);
    Instr i("DataCopy(Nd2Nz)", MTE2, at);
    if (p.nd <= 0 || p.rows <= 0 || p.cols <= 0) {
        find("count", at,
             format("Nd2Nz of %lld matrices of %lld x %lld", static_cast<long long>(p.nd),
                    static_cast<long long>(p.rows), static_cast<long long>(p.cols)));
        return;
    }
    const bool to_ub = __NPU_ARCH__ == 3510 && hardware_of(dst.pos) == Hardware::UB;
    if (!to_ub && !check_position(dst, {Hardware::L1}, i.name, at)) return;
    if (!check_aligned(dst, 32, i.name, at)) return;
    const int64_t size = size_of(type), c0 = 32 / size, blocks = (p.cols + c0 - 1) / c0;
    if (p.src_pitch < p.cols && p.rows > 1) {
        find("count", at,
             format("Nd2Nz: a row pitch of %lld with rows of %lld elements", static_cast<long long>(p.src_pitch),
                    static_cast<long long>(p.cols)),
             "srcDValue is the pitch in elements");
        return;
    }
    if (p.dst_c0 < p.rows * std::max<int64_t>(p.dst_n, 1) && blocks > 1 && p.dst_n == 1) {
        find("count", at,
             format("Nd2Nz: dstNzC0Stride %lld is less than the %lld rows of a column block",
                    static_cast<long long>(p.dst_c0), static_cast<long long>(p.rows)),
             "use the number of rows rounded up to 16");
        return;
    }
    struct Piece {
        Range to, from;
    };
    std::vector<Piece> pieces;
    for (int64_t n = 0; n < p.nd; n++) {
        for (int64_t r = 0; r < p.rows; r++) {
            const auto from = gm_range(src + uint64_t((n * p.src_matrix + r * p.src_pitch) * size),
                                       uint64_t(p.cols * size), i.name, at);
            if (!from) return;
            i.reads.push_back(*from);
            for (int64_t b = 0; b < blocks; b++) {
                const uint64_t off = uint64_t(n * p.dst_matrix * size + (b * p.dst_c0 + r * p.dst_n) * 32);
                const auto to = range_of(c, dst, off, 32, i.name, at);
                if (!to) return;
                const int64_t columns = std::min(c0, p.cols - b * c0);
                pieces.push_back({*to, {from->memory, from->off + uint64_t(b * 32), uint64_t(columns * size)}});
            }
        }
    }
    for (const Piece& each : pieces) i.writes.push_back(each.to);
    i.cycles = double(bytes_in(i.writes)) / copy_rate(MTE2, Hardware::L1);
    i.run = [pieces] {
        for (const Piece& each : pieces) {
            uint8_t* to = each.to.memory->bytes + each.to.off;
            std::memset(to, 0, 32);
            std::memcpy(to, each.from.memory->bytes + each.from.off, each.from.bytes);
        }
    };
    issue(std::move(i));
}

}  // namespace emu
