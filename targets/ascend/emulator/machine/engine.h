// From issue to execution: order is computed when an item leaves its pipe's queue, and checked against shadow memory.
//
// In `clocks` mode an instruction executes right then. In `witness` mode it joins a pool and executes when something
// that is ordered after it must, or when chance says so: any linear extension of happens-before can come out.
#pragma once

#include "machine.h"

namespace emu {

bool cross_deliver(Core& from, int mode, int id, const Token& token, At at);

void force(const Clock& clock);

void execute(Core& c, Pipe& pipe, size_t index) {
    std::shared_ptr<Instr> instr = pipe.pending[index];
    force(instr->clock);
    // Forcing may have executed others of this pipe, so find it again.
    for (size_t i = 0; i < pipe.pending.size(); i++) {
        if (pipe.pending[i] != instr) continue;
        pipe.pending.erase(pipe.pending.begin() + long(i));
        Core* before = machine().running;
        machine().running = &c;
        for (const Move& m : instr->moves) std::memmove(m.dst->bytes + m.dst_off, m.src->bytes + m.src_off, m.bytes);
        if (instr->run) instr->run();
        machine().running = before;
        return;
    }
}

void force_lane(Core& c, int lane, uint32_t tick) {
    Pipe& pipe = c.pipes[lane];
    Machine& m = machine();
    for (;;) {
        size_t eligible = 0;
        while (eligible < pipe.pending.size() && pipe.pending[eligible]->tick <= tick) eligible++;
        if (!eligible) return;
        const bool newest = m.settings.seed % 4 == 3;
        execute(c, pipe, newest ? eligible - 1 : m.random.below(uint32_t(eligible)));
    }
}

// Executes exactly what is ordered before.
void force(const Clock& clock) {
    Machine& m = machine();
    if (!m.settings.witness) return;
    Core& mine = *m.cores[size_t(clock.agent())];
    const int first = int(m.random.below(kLanes));
    for (int i = 0; i < kLanes; i++) {
        const int lane = (first + i) % kLanes;
        if (clock.own[lane]) force_lane(mine, lane, clock.own[lane]);
    }
    if (const Ticks* others = clock.others()) {
        for (size_t i = 0; i < others->size(); i++) {
            if ((*others)[i] && i / kLanes != size_t(mine.agent))
                force_lane(*m.cores[i / kLanes], int(i % kLanes), (*others)[i]);
        }
    }
}

void force_core(Core& c) {
    const int first = int(machine().random.below(kLanes));
    for (int lane = 0; lane < kLanes; lane++) force_lane(c, (first + lane) % kLanes, ~0u);
}

// After every issue chance may execute something; the seed also picks how lazy the pool is.
void drift(Core& c) {
    Machine& m = machine();
    const uint64_t policy = m.settings.seed % 4;
    size_t waiting = 0;
    for (Pipe& p : c.pipes) waiting += p.pending.size();
    const bool full = waiting > 256;
    if (policy == 2) {  // one slow lane, the others prompt
        for (int lane = 0; lane < kLanes; lane++) {
            if (lane != m.slow_lane || full) force_lane(c, lane, ~0u);
        }
        return;
    }
    const bool some = policy == 1 && m.random.below(2) == 0;
    if (!some && !full) return;
    const int first = int(m.random.below(kLanes));
    for (int i = 0; i < kLanes; i++) {
        Pipe& p = c.pipes[(first + i) % kLanes];
        if (p.pending.empty()) continue;
        execute(c, p, m.random.below(uint32_t(p.pending.size())));
        return;
    }
}

// --- races ---------------------------------------------------------------------------------------------------------
std::string what_to_add(const Core& c, Lane lane, const Touch& other) {
    const Lane from = Lane(other.lane);
    if (other.agent != c.agent) {
        return format(
            "synchronise the cores: CrossCoreSetFlag on the first one's PIPE_%s, then CrossCoreWaitFlag here, or "
            "SyncAll",
            name_of(from));
    }
    if (from == lane && lane != SW) return format("add PipeBarrier<PIPE_%s>() between them", name_of(lane));
    const std::string event = event_name(from, lane);
    return "add SetFlag and WaitFlag of HardEvent::" + event + " between them, or pass the data through a queue";
}

void report_race(const Core& c, const Instr& i, const Range& r, Kind kind, const Touch& other) {
    Machine& m = machine();
    const Machine::Source& before = m.sources[other.at];
    const char* verb = kind == Kind::Read ? "reads" : "writes";
    const char* done = other.kind == Kind::Read ? "read" : "written";
    const std::string who = other.agent == c.agent ? "" : " by " + m.cores[other.agent]->name;
    const std::string part = r.memory->name + " from byte " + std::to_string(r.off);
    find("race", i.at,
         format("%s (pipe %s) %s %s that %s (%s, pipe %s%s) has %s, and nothing orders the two", i.name,
                name_of(i.lane), verb, part.c_str(), before.name, name_of(before.at).c_str(), name_of(Lane(other.lane)),
                who.c_str(), done),
         what_to_add(c, i.lane, other));
}

void check_scalar_caches(const Core& c, const Instr& i, const Range& r, bool write) {
    Machine& m = machine();
    if (m.dirty.empty() || r.memory->name.rfind("GM", 0) != 0) return;
    const uint64_t base = reinterpret_cast<uint64_t>(r.memory->bytes) + r.off;
    for (uint64_t line = base / 64; line <= (base + r.bytes - 1) / 64; line++) {
        const auto found = m.dirty.find(line);
        if (found == m.dirty.end()) continue;
        if (found->second == &c && i.lane == S) continue;  // a core reads what is in its own cache
        find("cache", i.at,
             format("%s %s GM that SetValue (%s, %s) holds modified in its scalar cache", i.name,
                    write ? "writes" : "reads", found->second->name.c_str(),
                    name_of(found->second->cache[line].at).c_str()),
             "call DataCacheCleanAndInvalid after SetValue");
        return;
    }
}

void check_access(Core& c, Instr& i, const Range& r, Kind kind) {
    Touch clash;
    const Touch touch{0, i.tick, machine().source(i.at, i.name), uint16_t(c.agent), i.lane, kind};
    if (r.memory->shadow.touch(r.off, r.bytes, touch, i.clock, &clash, ++machine().stamp))
        report_race(c, i, r, kind, clash);
    check_scalar_caches(c, i, r, kind != Kind::Read);
}

void check_defined(const Instr& i, const Range& r) {
    const int64_t at = r.memory->shadow.undefined(r.off, r.bytes);
    if (at < 0) return;
    find("undefined", i.at,
         format("%s reads %s, byte %lld, which nothing has written", i.name, r.memory->name.c_str(),
                static_cast<long long>(at)),
         "write it first (DataCopy, DataCopyPad with padding, Duplicate), or reduce the count");
}

void carry_defined(const Instr& i) {
    std::vector<bool> bits;
    // All sources are looked at before any destination changes: they may overlap.
    for (const Move& m : i.moves) {
        m.src->shadow.each(m.src_off, m.bytes, [&](Line& l, uint32_t mask) {
            for (; mask; mask &= mask - 1) bits.push_back(l.defined >> __builtin_ctz(mask) & 1);
        });
    }
    size_t next = 0;
    for (const Move& m : i.moves) {
        m.dst->shadow.each(m.dst_off, m.bytes, [&](Line& l, uint32_t mask) {
            for (; mask; mask &= mask - 1) {
                const uint32_t bit = mask & -mask;
                l.defined = bits[next++] ? l.defined | bit : l.defined & ~bit;
            }
        });
    }
}

// --- order ---------------------------------------------------------------------------------------------------------
bool orders_itself(const Core& c, Lane lane) {
    if (lane != V) return false;
    return __NPU_ARCH__ == 3510 || (machine().settings.auto_sync && !c.cube);
}

void commit(Core& c, Pipe& pipe, const std::shared_ptr<Instr>& instr) {
    if (orders_itself(c, instr->lane) || instr->in_order) pipe.clock.know(instr->lane, pipe.count);
    if (instr->unit) {
        pipe.clock.know(M, c.pipes[M].count);
        pipe.clock.know(FIX, c.pipes[FIX].count);
    }
    instr->tick = ++pipe.count;
    instr->clock = pipe.clock;
    if (instr->prepare) {
        force(instr->clock);  // so that the data that holds addresses is there
        if (!instr->prepare(*instr)) return;
        instr->prepare = nullptr;
    }
    pipe.busy += instr->cycles;
    pipe.time += instr->cycles;
    for (const Range& r : instr->reads) check_access(c, *instr, r, Kind::Read);
    if (instr->moves.empty()) {
        for (const Range& r : instr->reads) check_defined(*instr, r);
    }
    for (const Range& r : instr->writes) check_access(c, *instr, r, instr->write_kind);
    if (instr->moves.empty()) {
        for (const Range& r : instr->writes) r.memory->shadow.define(r.off, r.bytes, true);
    } else {
        carry_defined(*instr);
    }
    pipe.pending.push_back(instr);
    if (!machine().settings.witness) execute(c, pipe, pipe.pending.size() - 1);
}

// A flag is one bit: the pipe that sets it again must know that the last wait for it is over, or the set may be lost.
// Queues reuse ids in program order; that is the vendor's own doing, and not judged.
void check_waited(const Core& c, const Item& item, const Clock& knows) {
    const EventLanes l = lanes_of(HardEvent(item.event));
    const bool over = c.flags[item.event][item.id].empty() && knows.own[l.dst] >= c.waited[item.event][item.id];
    if (l.dst == S || item.of_queue || over) return;
    const std::string event = event_name(l.src, l.dst), back = event_name(l.dst, l.src);
    find("again", item.at,
         format("SetFlag<%s>(%d) again, and nothing says that the WaitFlag before it is over", event.c_str(), item.id),
         "let HardEvent::" + back + " say so first, or use another id");
}

// One item; false if it has to wait.
bool process(Core& c, Lane lane, Item& item) {
    Pipe& pipe = c.pipes[lane];
    pipe.clock.join(item.issue);
    switch (item.type) {
        case Item::Instruction: commit(c, pipe, item.instr); return true;
        case Item::Barrier: pipe.clock.know(lane, pipe.count); return true;
        case Item::Undefine:
            item.range.memory->shadow.define(item.range.off, item.range.bytes, false);
            if (!machine().settings.witness) poison(item.range.memory->bytes + item.range.off, item.range.bytes);
            return true;
        case Item::Set: {
            check_waited(c, item, pipe.clock);
            Token token{pipe.clock, pipe.time};
            token.clock.know(lane, pipe.count);
            c.flags[item.event][item.id].push_back(token);
            return true;
        }
        case Item::Wait: {
            auto& tokens = c.flags[item.event][item.id];
            if (tokens.empty()) return false;
            pipe.clock.join(tokens.front().clock);
            pipe.time = std::max(pipe.time, tokens.front().time);
            tokens.pop_front();
            c.waited[item.event][item.id] = ++pipe.count;  // a tick of its own: others may know that it is over
            return true;
        }
        case Item::CrossSet: {
            Token token{pipe.clock, pipe.time};
            token.clock.know(lane, pipe.count);
            cross_deliver(c, item.mode, item.id, token, item.at);
            return true;
        }
        case Item::CrossWait: {
            auto& tokens = c.cross[item.id];
            if (tokens.empty()) return false;
            pipe.clock.join(tokens.front().clock);
            pipe.time = std::max(pipe.time, tokens.front().time);
            tokens.pop_front();
            return true;
        }
    }
    return true;
}

bool pump(Core& c) {
    bool progress = false, again = true;
    while (again) {
        again = false;
        for (int lane = 0; lane < kLanes; lane++) {
            Pipe& pipe = c.pipes[lane];
            while (!pipe.queue.empty() && process(c, Lane(lane), pipe.queue.front())) {
                pipe.queue.pop_front();
                again = progress = true;
            }
        }
    }
    return progress;
}

void enqueue(Core& c, Lane lane, Item item) {
    item.issue = c.clock;
    item.issue.know(S, c.pipes[S].count);
    Pipe& pipe = c.pipes[lane];
    pipe.queue.push_back(std::move(item));
    if (pipe.queue.size() == 1) pump(c);
}

bool has_lane(const Core& c, Lane lane) {
    if (lane == S || lane == SW || lane == MTE2) return true;
    if (c.cube) return lane == M || lane == MTE1 || lane == FIX || lane == MTE3;
    return lane == V || lane == MTE3;
}

void issue(Instr instr) {
    Core& c = core(instr.at);
    if (!has_lane(c, instr.lane)) {
        find("position", instr.at,
             format("%s runs on pipe %s, which %s does not have", instr.name, name_of(instr.lane),
                    c.cube ? "a cube core" : "a vector core"),
             c.cube ? "guard it with if ASCEND_IS_AIV" : "guard it with if ASCEND_IS_AIC");
        return;
    }
    if (!c.ready) {
        find("mode", instr.at,
             "the kernel has neither a TPipe nor InitSocState: modes that an earlier kernel left are still on",
             "call InitSocState() first");
        c.ready = true;
    }
    const Lane lane = instr.lane;
    Item item{Item::Instruction, instr.at, {}, std::make_shared<Instr>(std::move(instr)), 0, 0, 0, {}};
    enqueue(c, lane, std::move(item));
    if (machine().settings.witness) drift(c);
}

}  // namespace emu
