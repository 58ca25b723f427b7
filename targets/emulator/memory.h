// Memories: on-chip ones, and global memory with a registry of allocations, so that every access has bounds.
#pragma once

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>

#include "shadow.h"

namespace emu {

// Signalling NaN as fp32 and as fp16/bf16 pairs alike: a result computed from poison is NaN, never plausible.
inline void poison(uint8_t* bytes, uint64_t n) {
    static const uint8_t pattern[4] = {0xA1, 0x7F, 0xA1, 0x7F};
    for (uint64_t i = 0; i < n; i++) bytes[i] = pattern[i % 4];
}

struct Memory {
    std::string name;
    uint8_t* bytes;
    uint64_t size;
    Shadow shadow;

    Memory(std::string n, uint8_t* b, uint64_t s) : name(std::move(n)), bytes(b), size(s), shadow(s) {}
};

// On-chip memory owns its bytes.
class Chip : public Memory {
public:
    Chip(const char* n, uint64_t s) : Memory(n, new uint8_t[s ? s : 1], s) { poison(bytes, s); }
    ~Chip() { delete[] bytes; }
    Chip(const Chip&) = delete;

    void fresh() {
        poison(bytes, size);
        shadow.forget();
    }
};

// Allocations of global memory, each between red zones that belong to nobody.
class Registry {
public:
    static constexpr uint64_t kRed = 4096;   // bytes before and after: an access there is found, not served
    static constexpr uint64_t kAlign = 512;  // what the device's allocator gives

    ~Registry() {
        for (auto& each : blocks_) std::free(each.second.raw);
    }

    // A name for reports starts with "GM"; without one it is the number of the allocation. `front` bytes before it
    // are kept free of other allocations.
    uint8_t* allocate(uint64_t bytes, const char* called = nullptr, uint64_t front = kRed) {
        const uint64_t room = front + (bytes + kAlign - 1) / kAlign * kAlign + kRed;
        auto* raw = static_cast<uint8_t*>(std::aligned_alloc(kRed, (room + kRed - 1) / kRed * kRed));
        uint8_t* base = raw + front;
        poison(base - kRed, room - front + kRed);
        const std::string number = "GM allocation " + std::to_string(++made_);
        const std::string name = (called ? called : number) + " of " + std::to_string(bytes) + " bytes";
        blocks_[reinterpret_cast<uint64_t>(base)] = {raw, std::make_unique<Memory>(name, base, bytes)};
        return base;
    }

    bool release(void* base) {
        const auto found = blocks_.find(reinterpret_cast<uint64_t>(base));
        if (found == blocks_.end()) return false;
        std::free(found->second.raw);
        blocks_.erase(found);
        last_ = nullptr;
        return true;
    }

    // The allocation that holds the address, red zones included; null if none does.
    Memory* find(uint64_t address) {
        if (last_ && address - reinterpret_cast<uint64_t>(last_->bytes) < last_->size) return last_;
        auto after = blocks_.upper_bound(address + kRed);
        while (after != blocks_.begin()) {
            --after;
            Memory* m = after->second.memory.get();
            if (address + kRed >= after->first && address < after->first + m->size + kRed) return last_ = m;
            if (after->first < address) break;
        }
        return nullptr;
    }

    template <typename F>
    void each(F&& f) {
        for (auto& block : blocks_) f(*block.second.memory);
    }

    void next_launch() {
        each([](Memory& m) { m.shadow.next_launch(); });
    }

private:
    struct Block {
        uint8_t* raw;
        std::unique_ptr<Memory> memory;
    };
    std::map<uint64_t, Block> blocks_;
    Memory* last_ = nullptr;
    int made_ = 0;
};

// Part of one memory.
struct Range {
    Memory* memory;
    uint64_t off;
    uint64_t bytes;
};

}  // namespace emu
