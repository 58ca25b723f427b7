// Synchronisation between cores: cross-core flags, SyncAll, IBSet and IBWait.
#pragma once

#include <map>

#include "flags.h"

namespace emu {

// A set is delivered when all of its group have set: each core's counter of the flag then goes up by one.
struct Meeting {
    std::map<int, Fifo<Token>> sets;  // by agent
};
std::map<std::string, Meeting>& meetings() {
    static std::map<std::string, Meeting> all;
    return all;
}

void cross_raise(Core* to, int id, const Token& token, At at) {
    if (!to) return;
    to->cross[id].push_back(token);
    to->cross_at[id] = at;
    if (to->cross[id].size() > 15) {
        find("flag", at,
             format("flag %d of %s has more than 15 sets that nothing has waited for: its counter overflows", id,
                    to->name.c_str()),
             "wait as often as you set");
    }
}

bool cross_deliver(Core& from, int mode, int id, const Token& token, At at) {
    Machine& m = machine();
    std::vector<Core*> members, targets;
    std::string key = format("%d/%d/", mode, id);
    if (mode == 0) {
        key += from.cube ? "aic" : "aiv";
        for (auto& c : m.cores) {
            if (c->cube == from.cube) members.push_back(c.get());
        }
        targets = members;
    } else if (mode == 1) {
        key += std::to_string(from.block);
        members = {from.group->aiv[0], from.group->aiv[1]};
        targets = members;
    } else if (mode == 4) {
        Core* other = from.cube ? from.group->aiv[id >= 16 ? 1 : 0] : from.group->aic;
        cross_raise(other, from.cube ? id % 16 : id + 16 * from.sub, token, at);
        return true;
    } else if (from.cube) {
        cross_raise(from.group->aiv[0], id, token, at);
        cross_raise(from.group->aiv[1], id, token, at);
        return true;
    } else {
        key += std::to_string(from.block);
        members = {from.group->aiv[0], from.group->aiv[1]};
        targets = {from.group->aic};
    }
    Meeting& meeting = meetings()[key];
    meeting.sets[from.agent].push_back(token);
    for (Core* c : members) {
        if (c && meeting.sets[c->agent].empty()) return false;
    }
    Token all = token;
    for (Core* c : members) {
        if (!c) continue;
        all.clock.join(meeting.sets[c->agent].front().clock);
        all.time = std::max(all.time, meeting.sets[c->agent].front().time);
        meeting.sets[c->agent].pop_front();
    }
    for (Core* c : targets) cross_raise(c, id, all, at);
    return true;
}

bool cross_legal(Core& c, const char* what, At at) {
    Machine& m = machine();
    if (!m.kind.cross_allowed) {
        find("sync", at, format("%s does not work in a kernel of type AIV_ONLY", what), "use KERNEL_TYPE_MIX_AIV_1_0");
        return false;
    }
    const int64_t cores_of_kind = m.kind.aic_per_block ? m.settings.aic : m.settings.aiv;
    if (m.blocks > cores_of_kind) {
        find("sync", at,
             format("%s with %lld blocks on %lld cores: blocks that have not started cannot answer", what,
                    static_cast<long long>(m.blocks), static_cast<long long>(cores_of_kind)),
             "launch at most as many blocks as there are cores");
        abandon(c);
    }
    return true;
}

bool cross_id(Core& c, int mode, int id, At at) {
    const int most = mode == 4 ? (c.cube ? 26 : 10) : 15;
    if (id < 0 || id > most || (mode == 4 && id > 10 && id < 16)) {
        find("flag", at,
             format("cross-core flag %d; mode %d has flags 0 to %d%s", id, mode, mode == 4 ? 10 : most,
                    mode == 4 ? " and, on the AIC, 16 to 26" : ""));
        return false;
    }
    if (machine().sync_used && id >= 11 && id <= 14) {
        find("flag", at, format("cross-core flag %d belongs to SyncAll, which this kernel uses", id),
             "use flags 0 to 10");
    }
    return true;
}

void cross_set(int mode, pipe_t pipe, int id, At at) {
    Core& c = core(at);
    if (!cross_legal(c, "CrossCoreSetFlag", at) || !cross_id(c, mode, id, at)) return;
    const Lane lane = lane_of(pipe);
    if (!has_lane(c, lane)) {
        find("flag", at, format("CrossCoreSetFlag on pipe %s, which this core does not have", name_of(lane)));
        return;
    }
    enqueue(c, lane, {Item::CrossSet, at, {}, nullptr, 0, id, mode, {}});
}

void cross_wait(int mode, pipe_t pipe, int id, At at) {
    Core& c = core(at);
    if (!cross_legal(c, "CrossCoreWaitFlag", at) || !cross_id(c, mode, id, at)) return;
    const Lane lane = lane_of(pipe);
    if (lane != S) {
        enqueue(c, lane, {Item::CrossWait, at, {}, nullptr, 0, id, mode, {}});
        return;
    }
    wait_until(c, [&c, id] { return !c.cross[id].empty(); }, format("CrossCoreWaitFlag(%d) at ", id) + name_of(at));
    c.clock.join(c.cross[id].front().clock);
    for (Pipe& p : c.pipes) p.time = std::max(p.time, c.cross[id].front().time);
    c.cross[id].pop_front();
}

// A meeting of `cores` cores; everything before it is ordered before everything after it.
struct Gathering {
    int arrived = 0;
    Clock all;
};
std::map<std::string, Gathering>& gatherings() {
    static std::map<std::string, Gathering> all;
    return all;
}

void gather_cores(Core& c, const std::string& kind, int expected, At at) {
    barrier_all(c, at);
    const std::string key = kind + std::to_string(c.syncs++);
    Gathering& g = gatherings()[key];
    if (!g.arrived) g.all = Clock(c.agent);
    g.all.join(c.clock);
    g.arrived++;
    wait_until(
        c, [key, expected] { return gatherings()[key].arrived >= expected; },
        format("SyncAll at %s, which %d of %d cores have reached", name_of(at).c_str(), g.arrived, expected));
    c.clock.join(gatherings()[key].all);
}

int cores_in_sync(bool aiv_only) {
    int n = 0;
    for (auto& c : machine().cores) n += !aiv_only || !c->cube;
    return n;
}

void sync_all(bool aiv_only, At at) {
    Core& c = core(at);
    machine().sync_used = true;
    if (!cross_legal(c, "SyncAll", at)) return;
    for (int id = 11; id <= 14; id++) {
        if (!c.cross[id].empty())
            find("flag", at, format("SyncAll while cross-core flag %d is set; 11 to 14 belong to SyncAll", id),
                 "use flags 0 to 10");
    }
    if (aiv_only && c.cube) {
        find("sync", at, "SyncAll<true> on a cube core", "use SyncAll<false>, or guard it with if ASCEND_IS_AIV");
        return;
    }
    gather_cores(c, aiv_only ? "hard/aiv/" : "hard/all/", cores_in_sync(aiv_only), at);
}

void sync_all_soft(bool aiv_only, uint64_t gm, const Place& ub, int cores, At at) {
    Core& c = core(at);
    Machine& m = machine();
    const int expected = cores > 0 ? cores : cores_in_sync(aiv_only);
    if (m.blocks > (m.kind.aic_per_block ? m.settings.aic : m.settings.aiv)) {
        find("sync", at, "SyncAll with more blocks than cores: blocks that have not started cannot answer",
             "launch fewer blocks");
        abandon(c);
    }
    const uint64_t need = uint64_t(expected) * 32;
    Memory* memory = m.gm.find(gm);
    if (!memory || gm + need > reinterpret_cast<uint64_t>(memory->bytes) + memory->size) {
        find("bounds", at,
             format("SyncAll needs a GM workspace of %llu bytes (32 a core)", static_cast<unsigned long long>(need)));
        abandon(c);
    }
    if (ub.hi - ub.addr < need)
        find("bounds", at, format("SyncAll needs %llu bytes of UB (32 a core)", static_cast<unsigned long long>(need)));
    auto* mine = reinterpret_cast<uint32_t*>(gm + uint64_t(c.block) * 32);
    const uint64_t off = reinterpret_cast<uint64_t>(mine) - reinterpret_cast<uint64_t>(memory->bytes);
    if (c.syncs == 0 && (memory->shadow.undefined(off, 32) >= 0 || *mine != 0)) {
        find("sync", at, "the GM workspace of SyncAll is not zero at the start of the kernel",
             "zero it on the host before every launch");
    }
    put(reinterpret_cast<uint8_t*>(mine), uint32_t(c.syncs + 1));  // the device counts rounds there
    memory->shadow.define(off, 32, true);
    gather_cores(c, "soft/", expected, at);
}

std::map<std::string, Fifo<Clock>>& soft_flags() {
    static std::map<std::string, Fifo<Clock>> all;
    return all;
}

void ib_set(uint64_t gm, const Place&, int block, int event, At at) {
    Core& c = core(at);
    barrier_all(c, at);
    Clock clock = c.clock;
    soft_flags()[format("%llx/%d/%d", static_cast<unsigned long long>(gm), block, event)].push_back(clock);
}

void ib_wait(uint64_t gm, const Place&, int block, int event, At at) {
    Core& c = core(at);
    barrier_all(c, at);
    const std::string key = format("%llx/%d/%d", static_cast<unsigned long long>(gm), block, event);
    wait_until(c, [key] { return !soft_flags()[key].empty(); }, "IBWait at " + name_of(at));
    c.clock.join(soft_flags()[key].front());
    soft_flags()[key].pop_front();
}

}  // namespace emu
