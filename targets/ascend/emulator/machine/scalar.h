// The scalar unit: single elements of on-chip memory, GM through its data cache, indices.
#pragma once

#include "../tiling/platform/platform_ascendc.h"
#include "queues.h"

namespace emu {

// Profile 2201-auto: on vector cores the compiler orders scalar accesses with V and the copy pipes.
void auto_order_scalar(Core& c) {
    if (!machine().settings.auto_sync || c.cube) return;
    wait_until(c, [&c] { return all_quiet(c); }, "a scalar access");
    for (int lane = 0; lane < kLanes; lane++) {
        c.clock.know(lane, c.pipes[lane].count);
        c.clock.join(c.pipes[lane].clock);
    }
}

// An access of the scalar unit is complete when the next instruction is issued, except that its writes are not yet
// visible to pipes: they are a lane of their own.
void scalar_access(Core& c, Instr instr) {
    auto_order_scalar(c);
    Pipe& pipe = c.pipes[instr.lane];
    pipe.clock = c.scalar_clock();
    auto shared = std::make_shared<Instr>(std::move(instr));
    const bool write = shared->lane == SW;
    commit(c, pipe, shared);
    if (!machine().settings.witness) return;
    if (write) return drift(c);
    force_lane(c, S, ~0u);  // a read needs its value now
}

void scalar_read(const Place& place, uint64_t off, void* to, uint32_t bytes, At at) {
    Core& c = core(at);
    std::memset(to, 0, bytes);
    Instr i("GetValue", S, at);
    const auto r = range_of(c, place, off, bytes, i.name, at);
    if (!r || !check_position(place, {Hardware::UB, Hardware::L1}, i.name, at)) return;
    if (place.addr % bytes) check_aligned(place, bytes, i.name, at);
    i.reads.push_back(*r);
    const Range from = *r;
    i.run = [from, to] { std::memcpy(to, from.memory->bytes + from.off, from.bytes); };
    scalar_access(c, std::move(i));
    if (machine().settings.auto_sync && !c.cube) c.clock.know(S, c.pipes[S].count);
}

void scalar_write(const Place& place, uint64_t off, const void* from, uint32_t bytes, At at) {
    Core& c = core(at);
    Instr i("SetValue", SW, at);
    const auto r = range_of(c, place, off, bytes, i.name, at);
    if (!r || !check_position(place, {Hardware::UB, Hardware::L1}, i.name, at)) return;
    i.writes.push_back(*r);
    const Range to = *r;
    std::vector<uint8_t> value(static_cast<const uint8_t*>(from), static_cast<const uint8_t*>(from) + bytes);
    i.run = [to, value] { std::memcpy(to.memory->bytes + to.off, value.data(), value.size()); };
    scalar_access(c, std::move(i));
    if (machine().settings.auto_sync && !c.cube) c.clock.know(SW, c.pipes[SW].count);
}

// --- GM through the scalar data cache: lines of 64 bytes, not coherent with anything --------------------------------
uint32_t last_written(Memory& m, uint64_t off) {
    uint32_t stamp = 0;
    const uint64_t end = std::min<uint64_t>(off + 64, m.size);
    m.shadow.each(off, end - off, [&stamp](Line& l, uint32_t) { stamp = std::max(stamp, l.stamp); });
    return stamp;
}

void clean_line(Core& c, uint64_t line, At at) {
    Machine& m = machine();
    const auto found = c.cache.find(line);
    if (found == c.cache.end()) return;
    CacheLine& cached = found->second;
    if (cached.dirty) {
        m.dirty.erase(line);
        for (uint64_t i = 0; i < 64; i++) {
            if (!(cached.dirty >> i & 1)) continue;
            const auto r = gm_range(line * 64 + i, 1, "SetValue", cached.at);
            if (!r) break;
            Instr write("SetValue", S, at);
            write.writes.push_back(*r);
            const uint8_t byte = cached.bytes[i];
            const Range to = *r;
            write.run = [to, byte] { to.memory->bytes[to.off] = byte; };
            scalar_access(c, std::move(write));
        }
    }
    c.cache.erase(found);
}

// The cached line that holds the address, filled from memory if it is not there.
CacheLine* cached_line(Core& c, uint64_t address, Memory& memory, At at) {
    const uint64_t line = address / 64, base = reinterpret_cast<uint64_t>(memory.bytes);
    auto found = c.cache.find(line);
    if (found != c.cache.end()) return &found->second;
    auto_order_scalar(c);
    force(c.scalar_clock());
    CacheLine& fresh = c.cache[line];
    const uint64_t start = std::max(line * 64, base), end = std::min(line * 64 + 64, base + memory.size);
    std::memset(fresh.bytes, 0, 64);
    std::memcpy(fresh.bytes + (start - line * 64), reinterpret_cast<uint8_t*>(start), end - start);
    fresh.filled = machine().stamp;
    fresh.at = at;
    return &fresh;
}

void gm_read(uint64_t address, void* to, uint32_t bytes, At at) {
    Core& c = core(at);
    std::memset(to, 0, bytes);
    const auto r = gm_range(address, bytes, "GetValue", at);
    if (!r) return;
    CacheLine* line = cached_line(c, address, *r->memory, at);
    const uint64_t in_line = address % 64;
    const uint64_t mask = (bytes >= 64 ? ~0ull : (1ull << bytes) - 1) << in_line;
    if ((line->dirty & mask) != mask) {
        Instr i("GetValue", S, at);
        i.reads.push_back(*r);
        scalar_access(c, std::move(i));
        const uint64_t off = r->off - std::min<uint64_t>(in_line, r->off);
        if (last_written(*r->memory, off) > line->filled &&
            std::memcmp(line->bytes + in_line, r->memory->bytes + r->off, bytes) != 0) {
            find("cache", at,
                 format("GetValue may read a stale line of GM: it was cached at %s and has been written since",
                        name_of(line->at).c_str()),
                 "call DataCacheCleanAndInvalid before reading again");
        }
    }
    std::memcpy(to, line->bytes + in_line, bytes);
}

void gm_write(uint64_t address, const void* from, uint32_t bytes, At at) {
    Core& c = core(at);
    Machine& m = machine();
    const auto r = gm_range(address, bytes, "SetValue", at);
    if (!r) return;
    const uint64_t line = address / 64;
    const auto other = m.dirty.find(line);
    if (other != m.dirty.end() && other->second != &c) {
        find("cache", at,
             format("two cores hold the same 64-byte line of GM modified: the other is %s (%s)",
                    other->second->name.c_str(), name_of(other->second->cache[line].at).c_str()),
             "give every core lines of its own");
    }
    CacheLine* cached = cached_line(c, address, *r->memory, at);
    const uint64_t in_line = address % 64;
    std::memcpy(cached->bytes + in_line, from, bytes);
    cached->dirty |= (bytes >= 64 ? ~0ull : (1ull << bytes) - 1) << in_line;
    cached->at = at;
    m.dirty[line] = &c;
}

void gm_clean(uint64_t address, bool all, At at) {
    Core& c = core(at);
    if (!all) return clean_line(c, address / 64, at);
    std::vector<uint64_t> lines;
    for (const auto& each : c.cache) lines.push_back(each.first);
    // By age, because addresses differ from run to run.
    std::sort(lines.begin(), lines.end(),
              [&c](uint64_t a, uint64_t b) { return c.cache[a].filled < c.cache[b].filled; });
    for (uint64_t line : lines) clean_line(c, line, at);
}

// Tiling data is copied to the core before the kernel starts; reading it is no hazard.
void read_tiling(uint64_t address, void* to, uint64_t bytes, At at) {
    std::memset(to, 0, bytes);
    const auto r = gm_range(address, bytes, "GET_TILING_DATA", at);
    if (r) std::memcpy(to, r->memory->bytes + r->off, bytes);
}

int64_t block_index() {
    const Core& c = core();
    const auto& kind = machine().kind;
    if (c.cube || kind.aiv_per_block < 2) return c.block;
    return c.block * kind.aiv_per_block + c.sub;
}
int64_t block_count() { return machine().blocks; }
int64_t sub_block_index() { return core().sub; }
int64_t sub_block_count() {
    const auto& kind = machine().kind;
    return core().cube ? 1 : kind.aiv_per_block;
}
int64_t task_ratio() { return std::max(1, machine().kind.aiv_per_block); }
uint64_t tiling_key() { return machine().settings.tiling_key; }
uint64_t system_workspace() {
    static uint8_t* bytes = machine().gm.allocate(16 * 1024 * 1024);
    return reinterpret_cast<uint64_t>(bytes);
}
uint64_t user_workspace(At at) {
    if (machine().settings.workspace) return machine().settings.workspace + kSystemPart;
    find("launch", at, "GetUserWorkspace, but nothing has said where the system's part of the workspace begins",
         "only an operator's workspace has one: in a kernel launched directly, take the argument as it is");
    return 0;
}

}  // namespace emu
