// Sort32, MrgSort, Sort, Extract over records of 8 bytes: float {score, index}, half {score, 2 unused bytes, index}.
#pragma once

#include <algorithm>

#include "gather.h"

namespace emu {

struct Record {
    double score;
    uint8_t bytes[8];
};

Record record_of(const uint8_t* score, uint32_t index, Dtype t) {
    Record r;
    std::memset(r.bytes, 0, 8);
    std::memcpy(r.bytes, score, size_of(t));
    std::memcpy(r.bytes + 4, &index, 4);
    r.score = load(score, t);
    return r;
}

Record record_at(const uint8_t* p, Dtype t) {
    Record r;
    std::memcpy(r.bytes, p, 8);
    r.score = load(p, t);
    return r;
}

// Ties are stable in Sort32 (spec §0).
void sort_records(std::vector<Record>& all) {
    std::stable_sort(all.begin(), all.end(), [](const Record& a, const Record& b) { return a.score > b.score; });
}

bool refuse_nan(const std::vector<Record>& all, const char* who, At at) {
    for (const Record& r : all) {
        if (!std::isnan(r.score)) continue;
        find("number", at, format("%s meets a NaN; its place in the order is not defined", who),
             "filter NaN before, pad tails with -inf");
        return true;
    }
    return false;
}

void sort_blocks(const Range& to, const Range& scores, const Range& indices, Dtype t, uint32_t block, At at,
                 const char* who) {
    const uint32_t size = size_of(t), n = uint32_t(scores.bytes / size);
    std::vector<Record> all;
    for (uint32_t k = 0; k < n; k++) {
        all.push_back(record_of(scores.memory->bytes + scores.off + k * size,
                                at_address<uint32_t>(indices.memory->bytes + indices.off + k * 4), t));
    }
    refuse_nan(all, who, at);
    for (uint32_t first = 0; first < n; first += block) {
        std::vector<Record> part(all.begin() + first, all.begin() + std::min(first + block, n));
        sort_records(part);
        for (size_t k = 0; k < part.size(); k++)
            std::memcpy(to.memory->bytes + to.off + (first + k) * 8, part[k].bytes, 8);
    }
}

void issue_sort(const char* name, const Place& dst, const Place& scores, const Place& indices, const Place* scratch,
                Dtype type, int repeat, uint32_t block, At at) {
    Core& c = core(at);
    Instr i(name, V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    if (repeat == 0) {
        find("count", at, format("%s with repeatTime 0", name));
        return;
    }
    const uint32_t n = uint32_t(repeat) * 32;
    if (!check_ub({&dst, &scores, &indices}, 32, name, at)) return;
    const auto to = range_of(c, dst, 0, n * 8, name, at), from = range_of(c, scores, 0, n * size_of(type), name, at);
    const auto index = range_of(c, indices, 0, n * 4, name, at);
    if (!to || !from || !index) return;
    i.writes = {*to};
    i.reads = {*from, *index};
    check_overlap(i.writes, i.reads, name, at);
    if (scratch && n > 32) {
        const auto room = range_of(c, *scratch, 0, n * 8, name, at);
        if (!room) return;
        check_overlap({*room}, i.reads, name, at);
        i.writes.push_back(*room);
    }
    i.cycles = double(n) / 2;  // spec §1.2: two elements per cycle and pass
    const Range a = *to, b = *from, d = *index;
    i.run = [=] { sort_blocks(a, b, d, type, block, at, name); };
    issue(std::move(i));
}

void sort32(const Place& dst, const Place& scores, const Place& indices, Dtype type, int repeat, At at) {
    issue_sort("Sort32", dst, scores, indices, nullptr, type, repeat, 32, at);
}

void sort_all(const Place& dst, const Place& scores, const Place& indices, const Place& scratch, Dtype type, int repeat,
              bool full, At at) {
    issue_sort("Sort", dst, scores, indices, full ? &scratch : nullptr, type, repeat,
               full ? uint32_t(std::max(1, repeat)) * 32 : 32, at);
}

struct Merged {
    std::vector<Record> records;
    uint16_t taken[4] = {};
};

// Ties between lists are not promised: witness runs take the later list first.
Merged merge_lists(const std::vector<std::vector<Record>>& lists, bool suspend, bool later_first) {
    Merged out;
    for (;;) {
        int best = -1;
        bool dry = false;
        for (size_t l = 0; l < lists.size(); l++) {
            if (out.taken[l] >= lists[l].size()) {
                dry = true;
                continue;
            }
            const double score = lists[l][out.taken[l]].score;
            const double most = best < 0 ? 0 : lists[size_t(best)][out.taken[best]].score;
            if (best < 0 || score > most || (later_first && score == most)) best = int(l);
        }
        if (best < 0 || (suspend && dry)) return out;
        out.records.push_back(lists[size_t(best)][out.taken[best]++]);
    }
}

bool check_merge(const Place& dst, const Merge& p, At at) {
    bool good = check_ub({&dst}, 32, "MrgSort", at);
    if (p.lists_used == 0) {
        find("mode", at, "MrgSort: validBit is 3, 7 or 15 for two, three or four lists");
        return false;
    }
    for (int l = 0; l < p.lists_used; l++) {
        good = good && check_ub({&p.lists[l]}, 8, "MrgSort", at);
        if (p.lengths[l] == 0) {
            find("count", at, format("MrgSort: list %d has no records", l + 1));
            good = false;
        }
        if (p.repeat > 1 && (p.lists_used != 4 || p.lengths[l] != p.lengths[0])) {
            find("count", at, "MrgSort: repeatTimes above 1 needs four lists of equal length, side by side");
            good = false;
        }
    }
    return good;
}

void merge_sorted(const Place& dst, Dtype type, const Merge& p, At at) {
    Core& c = core(at);
    Instr i("MrgSort", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    if (!check_merge(dst, p, at)) return;
    int64_t total = 0;
    for (int l = 0; l < p.lists_used; l++) total += p.lengths[l];
    std::vector<Range> from;
    for (int r = 0; r < p.repeat; r++) {
        for (int l = 0; l < p.lists_used; l++) {
            const auto list = range_of(c, p.lists[l], uint64_t(r * total * 8), uint64_t(p.lengths[l] * 8), i.name, at);
            if (!list) return;
            from.push_back(*list);
        }
    }
    i.cycles = double(total * p.repeat) / 2;
    const bool later_first = machine().settings.witness;
    Core* me = &c;
    const size_t used = size_t(p.lists_used);
    i.reads = from;
    i.prepare = [=](Instr& self) {
        // Only a suspended merge has a length that is data.
        std::vector<uint64_t> lengths(size_t(p.repeat), uint64_t(total));
        const auto read_lists = [=](size_t r) {
            std::vector<std::vector<Record>> lists(used);
            for (size_t l = 0; l < used; l++) {
                const Range& list = from[r * used + l];
                for (uint64_t k = 0; k < list.bytes; k += 8)
                    lists[l].push_back(record_at(list.memory->bytes + list.off + k, type));
            }
            return lists;
        };
        if (p.suspend) lengths[0] = merge_lists(read_lists(0), true, later_first).records.size();
        std::vector<Range> to;
        for (size_t r = 0; r < lengths.size(); r++) {
            const auto room = range_of(*me, dst, r * uint64_t(total) * 8, lengths[r] * 8, self.name, self.at);
            if (!room) return false;
            to.push_back(*room);
        }
        check_overlap(to, self.reads, self.name, self.at);
        self.writes = to;
        self.run = [=] {
            for (size_t r = 0; r < to.size(); r++) {
                const auto lists = read_lists(r);
                for (const auto& list : lists) {
                    if (refuse_nan(list, "MrgSort", at)) break;
                    for (size_t k = 1; k < list.size(); k++) {
                        if (list[k].score <= list[k - 1].score) continue;
                        find("number", at, "MrgSort: a list is not in descending order",
                             "sort it first; lengths are in records");
                        break;
                    }
                }
                const Merged merged = merge_lists(lists, p.suspend, later_first);
                for (size_t k = 0; k < merged.records.size() && k * 8 < to[r].bytes; k++) {
                    std::memcpy(to[r].memory->bytes + to[r].off + k * 8, merged.records[k].bytes, 8);
                }
                std::memcpy(me->merged, merged.taken, sizeof(me->merged));
            }
        };
        return true;
    };
    issue(std::move(i));
}

void merge_result(uint16_t counts[4]) {
    Core& c = core();
    wait_until(c, [&c] { return c.pipes[V].queue.empty(); }, "GetMrgSortResult");
    force_lane(c, V, c.pipes[V].count);
    std::memcpy(counts, c.merged, sizeof(c.merged));
}

void extract(const Place& values, const Place& indices, const Place& records, Dtype type, int repeat, At at) {
    Core& c = core(at);
    Instr i("Extract", V, at);
    if (!has_lane(c, V)) return issue(std::move(i));
    const uint32_t n = uint32_t(repeat) * 32, size = size_of(type);
    if (n == 0 || !check_ub({&values, &indices, &records}, 32, i.name, at)) return;
    const auto v = range_of(c, values, 0, n * size, i.name, at), x = range_of(c, indices, 0, n * 4, i.name, at);
    const auto from = range_of(c, records, 0, n * 8, i.name, at);
    if (!v || !x || !from) return;
    i.writes = {*v, *x};
    i.reads = {*from};
    check_overlap(i.writes, i.reads, i.name, at);
    i.cycles = double(n) / 32;
    const Range a = *v, b = *x, r = *from;
    i.run = [=] {
        for (uint32_t k = 0; k < n; k++) {
            std::memcpy(a.memory->bytes + a.off + k * size, r.memory->bytes + r.off + k * 8, size);
            std::memcpy(b.memory->bytes + b.off + k * 4, r.memory->bytes + r.off + k * 8 + 4, 4);
        }
    };
    issue(std::move(i));
}

}  // namespace emu
