// A launch: cores of every block as fibers, a deterministic scheduler, checks at the end, cycle table.
#pragma once

#include "sort.h"

namespace emu {

using KernelBody = std::function<void()>;

Core* make_core(Group& g, bool cube, int64_t block, int sub, const KernelBody& body) {
    Machine& m = machine();
    auto c = std::make_unique<Core>();
    c->agent = int(m.cores.size());
    c->cube = cube;
    c->block = block;
    c->sub = sub;
    c->group = &g;
    c->name = std::string(cube ? "AIC" : "AIV") + " of block " + std::to_string(block) +
              (!cube && m.kind.aiv_per_block > 1 ? "." + std::to_string(sub) : "");
    c->clock = Clock(c->agent);
    for (Pipe& p : c->pipes) p.clock = Clock(c->agent);
    c->fiber = std::make_unique<Fiber>(body);
    m.cores.push_back(std::move(c));
    return m.cores.back().get();
}

void make_group(int64_t block, const KernelBody& aiv, const KernelBody& aic) {
    Machine& m = machine();
    m.groups.push_back(std::make_unique<Group>());
    Group& g = *m.groups.back();
    if (m.kind.aic_per_block) g.aic = make_core(g, true, block, 0, aic);
    for (int sub = 0; sub < m.kind.aiv_per_block; sub++) g.aiv[sub] = make_core(g, false, block, sub, aiv);
}

// Memories exist only while the block runs: a launch may have many more blocks than cores.
void start_group(Group& g) {
    if (g.aic) {
        g.l1 = std::make_unique<Chip>("L1", 512 * 1024);
        g.l0a = std::make_unique<Chip>("L0A", 64 * 1024);
        g.l0b = std::make_unique<Chip>("L0B", 64 * 1024);
        g.l0c = std::make_unique<Chip>("L0C", (__NPU_ARCH__ == 3510 ? 256 : 128) * 1024);
        g.bias = std::make_unique<Chip>("BT", 4096);
        g.fixbuf = std::make_unique<Chip>("FixPipe buffer", 7 * 1024);
    }
    for (int sub = 0; sub < 2; sub++) {
        if (g.aiv[sub]) g.ub[sub] = std::make_unique<Chip>("UB", 256 * 1024);
    }
    for (Core* c : {g.aic, g.aiv[0], g.aiv[1]}) {
        if (c) c->started = true;
    }
}

bool group_done(const Group& g) {
    for (const Core* c : {g.aic, g.aiv[0], g.aiv[1]}) {
        if (c && (!c->fiber->done() || !all_quiet(*c))) return false;
    }
    return true;
}

void end_checks(Core& c) {
    Machine& m = machine();
    m.running = &c;
    for (int e = 0; e < kEvents; e++) {
        for (int id = 0; id < kEventIds; id++) {
            const EventLanes l = lanes_of(HardEvent(e));
            if (c.outstanding[e][id] > 0 && !c.of_queue[e][id]) {
                find("flag", c.set_at[e][id],
                     format("SetFlag<%s>(%d) is never waited for: the flag stays set for the next kernel",
                            event_name(l.src, l.dst).c_str(), id),
                     "add the matching WaitFlag");
            }
        }
    }
    for (int id = 0; id < 32; id++) {
        if (!c.cross[id].empty()) {
            find("flag", c.cross_at[id],
                 format("cross-core flag %d of %s is set %zu times more than it is waited for", id,
                        c.cube ? "an AIC" : "an AIV", c.cross[id].size()),
                 "wait as often as you set");
        }
    }
    for (const Buffer& b : c.buffers) {
        if (b.state == Buffer::Free) continue;
        const char* what = b.state == Buffer::Enqueued ? "enqueued and never dequeued" : "never freed";
        find("queue", b.at, format("a tensor is %s", what),
             b.state == Buffer::Enqueued ? "DeQue it" : "call FreeTensor");
    }
    const CacheLine* oldest = nullptr;
    for (const auto& line : c.cache) {
        if (line.second.dirty && (!oldest || line.second.filled < oldest->filled)) oldest = &line.second;
    }
    if (oldest) {
        find("cache", oldest->at, "SetValue to GM stays in the scalar cache: nobody will see it",
             "call DataCacheCleanAndInvalid after the last SetValue");
    }
    if (c.atomic) find("mode", At("kernel", 0), "the kernel ends with an atomic mode on", "call SetAtomicNone");
    if (c.counter) find("mask", At("kernel", 0), "the kernel ends in counter mode", "call SetMaskNorm and ResetMask");
    m.running = nullptr;
}

void report_deadlock() {
    Machine& m = machine();
    for (auto& c : m.cores) {
        m.running = c.get();
        if (c->started && !c->fiber->done() && c->waiting) {
            find("deadlock", At("kernel", 0), "the core waits for ever: " + c->waits_for,
                 "every wait needs a set on every path");
        }
        for (int lane = 0; lane < kLanes; lane++) {
            if (c->pipes[lane].queue.empty()) continue;
            const Item& item = c->pipes[lane].queue.front();
            find("deadlock", item.at,
                 format("pipe %s waits for ever for %s %d", name_of(Lane(lane)),
                        item.type == Item::CrossWait ? "cross-core flag" : "event", item.id),
                 "every wait needs a set on every path");
        }
    }
    m.running = nullptr;
    m.aborted = true;
}

// Runs until all blocks are done, or nothing can go on.
void schedule() {
    Machine& m = machine();
    const int64_t slots =
        m.kind.aic_per_block ? m.settings.aic : std::max(1, m.settings.aiv / std::max(1, m.kind.aiv_per_block));
    size_t next = 0;
    std::vector<Group*> active;
    while (!m.aborted) {
        while (next < m.groups.size() && int64_t(active.size()) < slots) {
            start_group(*m.groups[next]);
            active.push_back(m.groups[next++].get());
        }
        if (active.empty()) return;
        std::vector<Core*> ready;
        bool progress = false;
        for (Group* g : active) {
            for (Core* c : {g->aic, g->aiv[0], g->aiv[1]}) {
                if (!c) continue;
                m.running = c;
                progress |= pump(*c);
                m.running = nullptr;
                if (!c->fiber->done() && (!c->waiting || c->waiting())) ready.push_back(c);
            }
        }
        if (!ready.empty()) {
            Core* c = ready[m.settings.witness ? m.random.below(uint32_t(ready.size())) : 0];
            m.running = c;
            c->fiber->resume();
            m.running = nullptr;
            progress = true;
        }
        for (size_t i = 0; i < active.size();) {
            if (!m.aborted && group_done(*active[i])) {
                // A later block reuses this core: what the block issued is complete before its memory goes.
                for (Core* c : {active[i]->aic, active[i]->aiv[0], active[i]->aiv[1]}) {
                    if (!c) continue;
                    force_core(*c);
                    end_checks(*c);
                }
                Group& g = *active[i];
                g.l1.reset(), g.l0a.reset(), g.l0b.reset(), g.l0c.reset(), g.bias.reset(), g.fixbuf.reset(),
                    g.ub[0].reset(), g.ub[1].reset();
                active.erase(active.begin() + long(i));
                progress = true;
            } else {
                i++;
            }
        }
        if (!progress && !m.aborted) report_deadlock();
    }
}

// Busy cycles of every pipe, of the busiest core and in sum; `cycles` is the longest chain over the busiest core's
// pipes.
void note_cycles(const std::string& kernel) {
    Machine& m = machine();
    double busiest[kLanes] = {}, sum[kLanes] = {}, longest = 0;
    for (auto& c : m.cores) {
        for (int lane = 0; lane < kLanes; lane++) {
            busiest[lane] = std::max(busiest[lane], c->pipes[lane].busy);
            sum[lane] += c->pipes[lane].busy;
            longest = std::max(longest, c->pipes[lane].time);
        }
    }
    std::string row = format("{\"kernel\": \"%s\", \"blocks\": %lld, \"cycles\": %.0f", kernel.c_str(),
                             static_cast<long long>(m.blocks), longest);
    for (int lane = V; lane <= FIX; lane++) {
        row += format(", \"%s\": %.0f, \"%s_sum\": %.0f", name_of(Lane(lane)), busiest[lane], name_of(Lane(lane)),
                      sum[lane]);
    }
    m.cycles += (m.cycles.empty() ? "" : ", ") + row + "}";
}

void run_launch(const std::string& kernel, const KernelKind& kind, int64_t blocks, const KernelBody& aiv,
                const KernelBody& aic) {
    Machine& m = machine();
    report().kernel = kernel;
    m.kind = kind;
    m.blocks = blocks;
    m.aborted = m.sync_used = false;
    m.random = Random(m.settings.seed * 7919 + uint64_t(m.launches++));
    m.slow_lane = V + int(m.random.below(6));
    m.cores.clear();
    m.groups.clear();
    meetings().clear();
    gatherings().clear();
    soft_flags().clear();
    m.dirty.clear();
    if (blocks <= 0) find("count", At("launch", 0), format("a launch of %lld blocks", static_cast<long long>(blocks)));
    for (int64_t b = 0; b < blocks; b++) make_group(b, aiv, aic);
    schedule();
    note_cycles(kernel);
    m.gm.next_launch();
    m.cores.clear();
    m.groups.clear();
    m.running = nullptr;
    report().kernel = report().core = "";
}

}  // namespace emu
