// Places: which memory a position means, its capacity and alignment, and a tensor's bytes with bounds.
#pragma once

#include <optional>

#include "cores.h"

namespace emu {

Hardware hardware_of(TPosition p) {
    switch (p) {
        case TPosition::VECIN:
        case TPosition::VECOUT:
        case TPosition::VECCALC:
        case TPosition::SPM: return Hardware::UB;
        case TPosition::A1:
        case TPosition::B1:
        case TPosition::C1:
        case TPosition::TSCM: return Hardware::L1;
        case TPosition::A2: return Hardware::L0A;
        case TPosition::B2: return Hardware::L0B;
        case TPosition::CO1: return Hardware::L0C;
        case TPosition::C2: return Hardware::BIAS;
        case TPosition::C2PIPE2GM:
        case TPosition::C2PIPE2LOCAL: return Hardware::FIXBUF;
        default: return Hardware::GM;
    }
}
const char* name_of(Hardware h) {
    static const char* names[] = {"GM", "UB", "L1", "L0A", "L0B", "L0C", "BT", "FixPipe buffer", "no memory"};
    return names[int(h)];
}
const char* name_of(TPosition p) {
    static const char* names[] = {"GM",  "A1",   "A2",        "B1",           "B2",         "C1",
                                  "C2",  "CO1",  "CO2",       "VECIN",        "VECOUT",     "VECCALC",
                                  "SPM", "TSCM", "C2PIPE2GM", "C2PIPE2LOCAL", "no position"};
    return names[int(p)];
}

uint32_t capacity(Hardware h) {
    constexpr bool late = __NPU_ARCH__ == 3510;
    switch (h) {
        case Hardware::UB: return machine().settings.ub_bytes;
        // 256 bytes are the messages' between cores, which a kernel of cube cores alone has not (spec 1.1).
        case Hardware::L1: return machine().kind.aiv_per_block ? machine().settings.l1_bytes : 512 * 1024;
        case Hardware::L0A:
        case Hardware::L0B: return 64 * 1024;
        case Hardware::L0C: return (late ? 256 : 128) * 1024;
        case Hardware::BIAS: return late ? 4096 : 1024;
        case Hardware::FIXBUF: return late ? 4096 : 7 * 1024;  // four parts on 2201 (spec 1.1)
        default: return 0;
    }
}

// All of it, with what the device's own software keeps at the end (spec §1.1).
uint32_t physical(Hardware h) {
    if (h == Hardware::UB) return (__NPU_ARCH__ == 3510 ? 256 : 192) * 1024;
    return h == Hardware::L1 ? 512 * 1024 : capacity(h);
}

// Spec §1.1: alignment of local addresses.
uint32_t alignment(Hardware h) {
    switch (h) {
        case Hardware::L0A:
        case Hardware::L0B: return 512;
        case Hardware::L0C:
        case Hardware::BIAS: return 64;
        case Hardware::FIXBUF: return 128;
        default: return 32;
    }
}

Memory* memory_of(Core& c, Hardware h) {
    Group& g = *c.group;
    switch (h) {
        case Hardware::UB: return c.cube ? g.ub[0].get() : g.ub[c.sub].get();
        case Hardware::L1: return g.l1.get();
        case Hardware::L0A: return g.l0a.get();
        case Hardware::L0B: return g.l0b.get();
        case Hardware::L0C: return g.l0c.get();
        case Hardware::BIAS: return g.bias.get();
        case Hardware::FIXBUF: return g.fixbuf.get();
        default: return nullptr;
    }
}

// Bytes of a tensor from its start, checked: null if they are not all there.
std::optional<Range> range_of(Core& c, const Place& p, uint64_t off, uint64_t bytes, const char* who, At at) {
    const Hardware h = hardware_of(p.pos);
    Memory* m = memory_of(c, h);
    if (!m) {
        find("position", at, format("%s: a tensor at %s has no memory on this core", who, name_of(p.pos)));
        return std::nullopt;
    }
    if (p.buffer) {
        const Buffer& b = c.buffers[p.buffer - 1u];
        if (b.place.generation != p.generation) {
            find("queue", at, format("%s uses a tensor after FreeTensor (%s)", who, name_of(b.at).c_str()),
                 "free it after its last use");
            return std::nullopt;
        }
    }
    if (p.addr + off + bytes > p.hi || p.addr < p.lo) {
        find("bounds", at,
             format("%s reaches byte %llu of a buffer in %s that has %u bytes", who,
                    static_cast<unsigned long long>(p.addr - p.lo + off + bytes), name_of(h), p.hi - p.lo),
             "enlarge the buffer or reduce the count");
        return std::nullopt;
    }
    return Range{m, p.addr + off, bytes};
}

std::optional<Range> gm_range(uint64_t address, uint64_t bytes, const char* who, At at) {
    Memory* m = machine().gm.find(address);
    const uint64_t base = m ? reinterpret_cast<uint64_t>(m->bytes) : 0;
    if (m && address >= base && address + bytes <= base + m->size) return Range{m, address - base, bytes};
    const std::string text =
        m ? format("%s touches bytes %lld to %lld of %s", who, static_cast<long long>(address - base),
                   static_cast<long long>(address - base + bytes), m->name.c_str())
          : format("%s touches GM that no allocation holds", who);
    find("bounds", at, text, "mind the tail of the last tile, and offsets in elements");
    return std::nullopt;
}

bool check_position(const Place& p, std::initializer_list<Hardware> allowed, const char* who, At at) {
    const Hardware h = hardware_of(p.pos);
    for (Hardware each : allowed) {
        if (each == h) return true;
    }
    find("position", at,
         format("%s: operand lies at %s (%s), must be in %s", who, name_of(p.pos), name_of(h),
                name_of(*allowed.begin())));
    return false;
}

Place settled(const Place& p, TPosition where, const char* who, At at) {
    if (p.pos != TPosition::MAX) return p;
    const Hardware h = hardware_of(where);
    find("position", at,
         format("%s: a tensor that was never given a memory; the device takes address 0 of %s", who, name_of(h)),
         "get it from a buffer, or construct it with a position and an address");
    Place out = p;
    out.pos = where;
    out.hi = capacity(h);
    return out;
}

bool check_aligned(const Place& p, uint32_t to, const char* who, At at) {
    if (p.addr % to == 0) return true;
    find("align", at,
         format("%s: address %u in %s is not a multiple of %u bytes", who, p.addr, name_of(hardware_of(p.pos)), to),
         "start rows and slices at multiples of the block");
    return false;
}

}  // namespace emu
