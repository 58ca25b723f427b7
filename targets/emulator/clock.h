// Vector clocks over (agent, lane): an agent is a core, a lane is one of its pipes.
//
// An instruction is tick t of its lane. All that orders instructions (flags, barriers) waits for *all earlier* ones of
// a lane, so what an instruction knows of a lane is always a prefix: one number. Knowledge of the own agent is an
// array; knowledge of others changes only at cross-agent synchronisation and is shared, because it has agents*lanes
// entries.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

namespace emu {

constexpr int kLanes = 8;

using Ticks = std::vector<uint32_t>;  // [agent * kLanes + lane]

class Clock {
public:
    uint32_t own[kLanes] = {};

    Clock() = default;
    explicit Clock(int agent) : agent_(agent) {}

    uint32_t knows(int agent, int lane) const {
        if (agent == agent_) return own[lane];
        const size_t at = size_t(agent) * kLanes + lane;
        return others_ && at < others_->size() ? (*others_)[at] : 0;
    }

    void know(int lane, uint32_t tick) { own[lane] = std::max(own[lane], tick); }

    // Everything `from` knows becomes known; both may belong to different agents.
    void join(const Clock& from) {
        if (from.agent_ == agent_) {
            for (int i = 0; i < kLanes; i++) own[i] = std::max(own[i], from.own[i]);
            if (!from.others_ || from.others_ == others_) return;
            if (!others_) {
                others_ = from.others_;
                return;
            }
            others_ = merged(others_, *from.others_);
            return;
        }
        Ticks all = from.others_ ? *from.others_ : Ticks();
        const size_t start = size_t(from.agent_) * kLanes;
        if (all.size() < start + kLanes) all.resize(start + kLanes);
        for (int i = 0; i < kLanes; i++) all[start + i] = std::max(all[start + i], from.own[i]);
        // What others know of this agent's own lanes is knowledge of the own lanes.
        const size_t mine = size_t(agent_) * kLanes;
        for (int i = 0; i < kLanes && mine + i < all.size(); i++) own[i] = std::max(own[i], all[mine + i]);
        others_ = merged(others_, all);
    }

    const Ticks* others() const { return others_.get(); }
    int agent() const { return agent_; }

private:
    static std::shared_ptr<const Ticks> merged(const std::shared_ptr<const Ticks>& a, const Ticks& b) {
        auto out = std::make_shared<Ticks>(b);
        if (a) {
            if (out->size() < a->size()) out->resize(a->size());
            for (size_t i = 0; i < a->size(); i++) (*out)[i] = std::max((*out)[i], (*a)[i]);
        }
        return out;
    }

    int agent_ = 0;
    std::shared_ptr<const Ticks> others_;
};

}  // namespace emu
