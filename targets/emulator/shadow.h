// Shadow memory: for every byte who touched it last, and whether it was ever written.
//
// Lines of 32 bytes, each with a few touches {byte mask, agent, lane, tick, kind}; overlap is exact to the byte and
// costs one AND. Pages appear when first touched and are forgotten between launches by generation, not by clearing.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "clock.h"

namespace emu {

enum class Kind : uint8_t { Read, Write, Atomic };

struct Touch {
    uint32_t mask;
    uint32_t tick;
    uint32_t at;  // interned source line
    uint16_t agent;
    uint8_t lane;
    Kind kind;
};

struct Line {
    uint32_t defined = 0;
    uint32_t stamp = 0;  // when last written, for the model of the scalar cache
    std::vector<Touch> touches;
};

constexpr uint64_t kLine = 32;
constexpr uint64_t kPageLines = 64;

class Shadow {
public:
    explicit Shadow(uint64_t bytes) : pages_((bytes + kLine * kPageLines - 1) / (kLine * kPageLines)) {}

    // Orders everything so far before everything to come (the end of a launch); what is defined stays so.
    void next_launch() { generation_++; }

    void forget() {
        for (auto& page : pages_) page.reset();
    }

    Line& line(uint64_t index) {
        auto& page = pages_[index / kPageLines];
        if (!page) page = std::make_unique<Page>();
        if (page->generation != generation_) {
            for (Line& each : page->lines) each.touches.clear();
            page->generation = generation_;
        }
        return page->lines[index % kPageLines];
    }

    // Calls f(line, mask) for every line of the range.
    template <typename F>
    void each(uint64_t off, uint64_t bytes, F&& f) {
        const uint64_t end = off + bytes;
        while (off < end) {
            const uint64_t first = off % kLine, n = std::min(kLine - first, end - off);
            const uint32_t mask = uint32_t(((1ull << n) - 1) << first);
            f(line(off / kLine), mask);
            off += n;
        }
    }

    void define(uint64_t off, uint64_t bytes, bool on) {
        each(off, bytes, [on](Line& l, uint32_t mask) { l.defined = on ? l.defined | mask : l.defined & ~mask; });
    }

    // The first undefined byte of the range, or -1.
    int64_t undefined(uint64_t off, uint64_t bytes) {
        int64_t found = -1;
        uint64_t base = off / kLine * kLine;
        each(off, bytes, [&](Line& l, uint32_t mask) {
            const uint32_t missing = mask & ~l.defined;
            if (missing && found < 0) found = int64_t(base) + __builtin_ctz(missing);
            base += kLine;
        });
        return found;
    }

    // Records a touch; returns through `clash` an earlier one that overlaps, conflicts and is not ordered before.
    bool touch(uint64_t off, uint64_t bytes, const Touch& as, const Clock& clock, Touch* clash, uint32_t stamp) {
        bool raced = false;
        each(off, bytes, [&](Line& l, uint32_t mask) {
            Touch mine = as;
            mine.mask = mask;
            if (as.kind != Kind::Read) l.stamp = stamp;
            if (const Touch* other = add(l, mine, clock)) {
                if (!raced) *clash = *other;
                raced = true;
            }
        });
        return raced;
    }

private:
    struct Page {
        uint32_t generation = 0;
        Line lines[kPageLines];
    };

    // Keeps only touches that can still race with a later instruction that is ordered after this one.
    const Touch* add(Line& line, const Touch& mine, const Clock& clock) {
        bool raced = false;
        size_t kept = 0;
        auto& all = line.touches;
        for (size_t i = 0; i < all.size(); i++) {
            Touch t = all[i];
            const uint32_t common = t.mask & mine.mask;
            if (common) {
                const bool self = t.agent == mine.agent && t.lane == mine.lane && t.tick == mine.tick;
                const bool ordered = self || clock.knows(t.agent, t.lane) >= t.tick;
                const bool harmless = t.kind == mine.kind && t.kind != Kind::Write;
                if (!ordered && !harmless) {  // the latest: what orders it orders what it is ordered after
                    raced = true;
                    clash_ = t;
                }
                const bool same_lane = t.agent == mine.agent && t.lane == mine.lane && t.kind == mine.kind;
                if (mine.kind == Kind::Write) {
                    t.mask &= ~mine.mask;
                } else if (same_lane || (ordered && t.kind == mine.kind) || (mine.kind == Kind::Atomic && ordered)) {
                    t.mask &= ~mine.mask;
                }
            }
            if (t.mask) all[kept++] = t;
        }
        all.resize(kept);
        all.push_back(mine);
        return raced ? &clash_ : nullptr;
    }

    uint32_t generation_ = 0;
    Touch clash_{};
    std::vector<std::unique_ptr<Page>> pages_;
};

}  // namespace emu
