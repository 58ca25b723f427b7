// Reductions as binary trees over lanes.
#pragma once

#include "convert.h"

namespace emu {

// Sums round at every node to the element type, as the hardware's adders do.
double tree_sum(const std::vector<double>& values, size_t from, size_t to, Dtype t) {
    if (to - from == 1) return values[from];
    size_t half = 1;
    while (half * 2 < to - from) half *= 2;
    uint8_t rounded[8];
    store(rounded, t, tree_sum(values, from, from + half, t) + tree_sum(values, from + half, to, t));
    return load(rounded, t);
}

struct Folded {
    double value;
    uint64_t index;
};

Folded fold_range(const std::vector<double>& values, size_t from, size_t to, Fold fold, Dtype t) {
    if (fold == Fold::Sum) return {tree_sum(values, from, to, t), 0};
    Folded best{values[from], 0};
    for (size_t k = from + 1; k < to; k++) {
        const bool better = fold == Fold::Max ? values[k] > best.value : values[k] < best.value;
        if (better || (std::isnan(values[k]) && !std::isnan(best.value))) best = {values[k], k - from};
    }
    return best;
}

// The index is stored as bits in a slot of the element type.
void store_index(uint8_t* p, uint64_t index, Dtype t) { std::memcpy(p, &index, size_of(t)); }

void write_result(std::vector<uint8_t>& out, size_t slot, const Folded& f, ReduceOrder order, Dtype t) {
    const uint32_t size = size_of(t);
    uint8_t* p = out.data() + slot * size;
    switch (order) {
        case ReduceOrder::ORDER_ONLY_VALUE: store(p, t, f.value); break;
        case ReduceOrder::ORDER_ONLY_INDEX: store_index(p, f.index, t); break;
        case ReduceOrder::ORDER_VALUE_INDEX:
            store(p, t, f.value);
            store_index(p + size, f.index, t);
            break;
        case ReduceOrder::ORDER_INDEX_VALUE:
            store_index(p, f.index, t);
            store(p + size, t, f.value);
            break;
    }
}

struct FoldGroup {  // lanes that fold into one result, and where the result goes
    size_t from, to;
    uint64_t dst_off;
    uint64_t first_lane;
};

void reduce_repeat(const char* name, Fold fold, Span span, const Operand& dst, const Operand& src, const Shape& shape,
                   ReduceOrder order, At at) {
    Core& c = core(at);
    Instr i(name, V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    const uint32_t size = size_of(src.type), per = 256 / size;
    const auto segments = segments_of(c, shape, per, name, at);
    if (segments.empty()) return;
    const bool pair = order == ReduceOrder::ORDER_VALUE_INDEX || order == ReduceOrder::ORDER_INDEX_VALUE;
    const uint32_t width = span == Span::Whole ? per : span == Span::Block ? 32 / size : 2;
    // The unit of the destination's repeat stride: results for Whole, 8 results for Block, one repeat's results for
    // Pair.
    const uint64_t unit = span == Span::Whole ? (pair ? 2 : 1) * size : span == Span::Block ? 8 * size : per / 2 * size;
    std::vector<FoldGroup> groups;
    std::vector<Run> writes;
    size_t lane = 0;
    for (const Segment& s : segments) {
        for (uint32_t e = s.first; e < s.first + s.count; e++, lane++) {
            const uint64_t off = uint64_t(s.repeat) * dst.rep * unit + uint64_t(e / width) * size;
            if (groups.empty() || groups.back().dst_off != off) {
                groups.push_back({lane, lane + 1, off, e % width});
                writes.push_back({off, (pair ? 2 : 1) * size});
            } else {
                groups.back().to = lane + 1;
            }
        }
    }
    bool good =
        check_position(dst.place, {Hardware::UB}, name, at) && check_position(src.place, {Hardware::UB}, name, at);
    good = good && check_aligned(src.place, 32, name, at) &&
           check_aligned(dst.place, span == Span::Whole ? (pair ? 2 * size : size) : 32, name, at);
    if (!good || !add_ranges(c, i.reads, src.place, runs_of(segments, size, src.blk, src.rep), name, at) ||
        !add_ranges(c, i.writes, dst.place, writes, name, at)) {
        return;
    }
    i.cycles = double(bytes_in(i.reads)) / 256;
    const std::vector<Range> to = i.writes, from = i.reads;
    const Dtype t = src.type;
    i.run = [=] {
        std::vector<double> values;
        gather_lanes(from, t, values);
        for (size_t g = 0; g < groups.size(); g++) {
            Folded f = fold_range(values, groups[g].from, groups[g].to, fold, t);
            f.index += groups[g].first_lane;
            std::vector<uint8_t> bytes(to[g].bytes);
            write_result(bytes, 0, f, order, t);
            std::memcpy(to[g].memory->bytes + to[g].off, bytes.data(), bytes.size());
        }
    };
    issue(std::move(i));
}

// The scratch holds at least one value per repeat; with an index twice that and another pass (spec §3.6).
uint64_t scratch_bytes(uint64_t elements, uint32_t size, bool index) {
    const uint64_t per = 256 / size;
    uint64_t total = 0, left = elements;
    const uint32_t slots = index ? 2 : 1;
    do {
        left = (left + per - 1) / per * slots;
        total += (left * size + 31) / 32 * 32;
    } while (index && left > slots);
    return total;
}

void reduce_all(const char* name, Fold fold, const Operand& dst, const Operand& src, const Place& scratch,
                const Shape& shape, bool index, At at) {
    Core& c = core(at);
    Instr i(name, V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    const uint32_t size = size_of(src.type), per = 256 / size;
    const auto segments = segments_of(c, shape, per, name, at);
    if (segments.empty()) return;
    bool good = check_position(dst.place, {Hardware::UB}, name, at) &&
                check_position(src.place, {Hardware::UB}, name, at) &&
                check_position(scratch, {Hardware::UB}, name, at);
    good = good && check_aligned(src.place, 32, name, at) && check_aligned(scratch, 32, name, at) &&
           check_aligned(dst.place, size, name, at);
    if (!good || !add_ranges(c, i.reads, src.place, runs_of(segments, size, src.blk, src.rep), name, at)) return;
    const uint64_t elements = bytes_in(i.reads) / size;
    // One repeat needs no scratch.
    const uint64_t need = elements > per ? scratch_bytes(elements, size, index) : 0;
    std::vector<Range> temporary;
    if (need && !add_ranges(c, temporary, scratch, {{0, uint32_t(need)}}, name, at)) return;
    if (!add_ranges(c, i.writes, dst.place, {{0, (index ? 2 : 1) * size}}, name, at)) return;
    const Range to = i.writes[0];
    // The scratch may be the source's own space, and the destination may lie in the scratch (CANN docs, ReduceSum).
    if (scratch.addr != src.place.addr) check_overlap(temporary, i.reads, name, at);
    i.writes.insert(i.writes.end(), temporary.begin(), temporary.end());
    i.cycles = double(elements) / per + 64;  // then a tree over the partial results
    const std::vector<Range> from = i.reads;
    const Dtype t = src.type;
    i.run = [=] {
        std::vector<double> values;
        gather_lanes(from, t, values);
        Folded f{0, 0};
        if (fold == Fold::Sum) {
            std::vector<double> partial;
            for (size_t k = 0; k < values.size(); k += per)
                partial.push_back(tree_sum(values, k, std::min(k + per, values.size()), t));
            f.value = tree_sum(partial, 0, partial.size(), t);
        } else {
            f = fold_range(values, 0, values.size(), fold, t);
        }
        for (const Range& r : temporary) poison(r.memory->bytes + r.off, r.bytes);
        store(to.memory->bytes + to.off, t, f.value);
        if (index) store_index(to.memory->bytes + to.off + size, f.index, t);
    };
    issue(std::move(i));
}

void check_rows(const char* name, uint64_t bytes, bool padded, At at) {
    if (padded && bytes % 32 == 0) return;
    find("count", at, format("%s: rows of %llu bytes", name, static_cast<unsigned long long>(bytes)),
         "pad rows to multiples of 32 bytes, and pass srcInnerPad = true");
}

}  // namespace emu
