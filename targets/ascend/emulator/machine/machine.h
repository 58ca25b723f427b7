// The machine: cores of fibers and pipes, and the instructions between them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "../../../emulator/fiber.h"
#include "../../../emulator/memory.h"
#include "../../../emulator/report.h"
#include "number.h"

namespace emu {

// Lanes of a core. Writes by the scalar unit have one of their own: they are visible to pipes only after S_V and the
// like.
enum Lane : uint8_t { S, V, M, MTE1, MTE2, MTE3, FIX, SW };
const char* name_of(Lane l) {
    static const char* names[] = {"S", "V", "M", "MTE1", "MTE2", "MTE3", "FIX", "S"};
    return names[l];
}
Lane lane_of(pipe_t p) { return p == PIPE_FIX ? FIX : Lane(p); }

struct EventLanes {
    Lane src, dst;
};
EventLanes lanes_of(HardEvent e) {
    static const EventLanes table[] = {
#define EMU_LANES(a, b) {a, b},
        EMU_EVENTS(EMU_LANES)
#undef EMU_LANES
    };
    return table[int(e)];
}
std::string event_name(Lane src, Lane dst) { return std::string(name_of(src)) + "_" + name_of(dst); }
constexpr int kEvents = int(HardEvent::MAX);
constexpr int kEventIds = 8;

// Bytes that an instruction only moves: whether they are defined moves with them.
struct Move {
    Memory* dst;
    uint64_t dst_off;
    Memory* src;
    uint64_t src_off;
    uint32_t bytes;
};

struct Instr {
    const char* name;
    Lane lane;
    At at;
    std::vector<Range> reads, writes;
    Kind write_kind = Kind::Write;
    std::vector<Move> moves;
    std::function<void()> run;
    std::function<bool(Instr&)> prepare;  // finds ranges that are data; false: a check failed, do not execute
    double cycles = 0;
    bool in_order = false;  // the hardware orders it after all earlier ones of its lane
    bool unit = false;      // unitFlag: the hardware orders Mmad and Fixpipe among themselves
    uint32_t tick = 0;
    Clock clock;

    Instr(const char* n, Lane l, At a) : name(n), lane(l), at(a) {}
};

// What waits in a pipe's queue: an instruction, or something that orders instructions.
struct Item {
    enum Type { Instruction, Set, Wait, Barrier, CrossSet, CrossWait, Undefine } type;
    At at;
    Clock issue;
    std::shared_ptr<Instr> instr;
    int event = 0, id = 0, mode = 0;
    Range range{};
    bool of_queue = false;  // a flag that a queue has chosen
};

struct Token {
    Clock clock;
    double time = 0;
};

// A queue that allocates nothing while it is empty: a core has hundreds of them.
template <typename T>
class Fifo {
public:
    bool empty() const { return head_ == items_.size(); }
    size_t size() const { return items_.size() - head_; }
    T& front() { return items_[head_]; }
    const T& front() const { return items_[head_]; }
    void push_back(T item) { items_.push_back(std::move(item)); }
    void pop_front() {
        if (++head_ < items_.size()) return;
        items_.clear();
        head_ = 0;
    }

private:
    std::vector<T> items_;
    size_t head_ = 0;
};

struct Pipe {
    Fifo<Item> queue;                             // issued, but behind a wait that is not over
    Clock clock;                                  // what its next instruction knows
    uint32_t count = 0;                           // instructions so far
    std::vector<std::shared_ptr<Instr>> pending;  // witness: not executed yet, in order of ticks
    double time = 0, busy = 0;                    // cycle estimate
};

struct Buffer {  // of a queue
    enum State { Free, Allocated, Enqueued, Dequeued } state = Free;
    Place place;
    int enque_id = -1, free_id = -1;  // event ids held
    At at{"", 0};                     // of the last change of state
};

struct Queue {
    TPosition src, dst;
    int depth;
    std::vector<int> buffers;  // indices into Core::buffers
    Fifo<int> enqueued;
    int event = -1, free_event = -1;  // -1: a barrier of the vector pipe instead
};

struct CacheLine {
    uint8_t bytes[64];
    uint64_t dirty = 0;   // byte mask
    uint32_t filled = 0;  // stamp
    At at{"", 0};
};

struct Core;

// The cores that share one launch block, with their memories.
struct Group {
    std::unique_ptr<Chip> l1, l0a, l0b, l0c, bias, fixbuf, ub[2];
    Core* aic = nullptr;
    Core* aiv[2] = {nullptr, nullptr};
};

struct Core {
    int agent = 0;
    bool cube = false;
    int64_t block = 0;
    int sub = 0;
    std::string name;
    Group* group = nullptr;
    std::unique_ptr<Fiber> fiber;
    std::function<bool()> waiting;  // what it waits for, and in words
    std::string waits_for;
    bool started = false;

    Clock clock;  // of the scalar unit, as issued instructions know it
    Pipe pipes[kLanes];
    Fifo<Token> flags[kEvents][kEventIds];
    int outstanding[kEvents][kEventIds] = {};  // sets minus waits in program order
    At set_at[kEvents][kEventIds];
    bool of_queue[kEvents][kEventIds] = {};
    uint32_t waited[kEvents][kEventIds] = {};  // tick of the last wait in its lane
    uint8_t used_ids[kEvents] = {};
    Fifo<Token> cross[32];
    At cross_at[32];
    int syncs = 0;

    // mask register and modes
    bool counter = false;
    uint64_t mask[2] = {~0ull, ~0ull};
    float deq_scale = 1;
    int atomic = 0;
    Dtype atomic_type = Dtype::None;
    At atomic_at;
    uint16_t merged[4] = {};  // of the last MrgSort

    bool ready = false;    // InitSocState or a TPipe has set the core's modes
    bool statics = false;  // has tensors at addresses of the kernel's choice
    int pipes_open = 0;
    Pool* pool = nullptr;   // that buffers are being taken from
    uint32_t used[8] = {};  // bytes allocated by the pipe, per memory
    std::vector<Buffer> buffers;
    std::vector<Queue> queues;
    int per_position[32] = {};
    int total_buffers = 0;

    std::unordered_map<uint64_t, CacheLine> cache;  // scalar data cache over GM, by address / 64

    Core() {
        for (auto& row : set_at)
            for (At& at : row) at = At("", 0);
    }

    Clock scalar_clock() const {  // of the scalar unit's own accesses: it sees its own writes
        Clock c = clock;
        c.know(SW, pipes[SW].count);
        c.know(S, pipes[S].count);
        return c;
    }
};

#ifndef DSV4C_CUBE_CORES
#define DSV4C_CUBE_CORES 24
#endif

struct Settings {
    bool auto_sync = false;  // profile 2201-auto: the compiler's syncs on vector cores
    bool witness = false;
    uint64_t seed = 0;
    int aic = DSV4C_CUBE_CORES, aiv = 2 * DSV4C_CUBE_CORES;
    uint32_t ub_bytes = __NPU_ARCH__ == 3510 ? 248 * 1024 : 188160;  // spec §1.1: what is left without special flags
    uint32_t l1_bytes = 512 * 1024 - 256;
    uint64_t tiling_key = 0;
    uint64_t workspace = 0;  // of an operator, with the system's part in front
};

struct KernelKind {
    int aic_per_block = 0, aiv_per_block = 1;
    bool cross_allowed = false;  // AIV_ONLY kernels have no cross-core flags
};

struct Machine {
    Settings settings;
    Registry gm;
    Random random;
    std::vector<std::unique_ptr<Core>> cores;
    std::vector<std::unique_ptr<Group>> groups;
    Core* running = nullptr;
    bool aborted = false;
    KernelKind kind;
    int64_t blocks = 0;
    uint32_t stamp = 0;  // counts executed writes
    int slow_lane = V;
    bool sync_used = false;
    std::unordered_map<uint64_t, Core*> dirty;  // GM lines that a scalar cache holds modified
    std::string cycles;  // rows of JSON, one a launch
    int launches = 0;

    struct Source {
        At at;
        const char* name;
    };
    std::vector<Source> sources;
    std::unordered_map<uint64_t, uint32_t> source_ids;

    uint32_t source(At at, const char* name) {
        const uint64_t key =
            reinterpret_cast<uint64_t>(at.file) * 1000003u + reinterpret_cast<uint64_t>(name) * 31 + uint64_t(at.line);
        auto found = source_ids.find(key);
        if (found != source_ids.end()) return found->second;
        sources.push_back({at, name});
        return source_ids[key] = uint32_t(sources.size() - 1);
    }
};

Report& report() {
    static Report one;
    return one;
}

Machine& machine() {
    static Machine one;
    return one;
}

void find(const char* kind, At at, const std::string& text, const std::string& fix = "") {
    Machine& m = machine();
    report().core = m.running ? m.running->name : "";
    report().add(kind, at, text, fix);
}

void report_narrow(const char* name, long long value, unsigned long long limit, At at) {
    find("narrow", at, format("%s = %lld does not fit its field (at most %llu)", name, value, limit),
         "split into a loop or choose a smaller tile; the chip would drop the upper bits");
}

Core& core(At at = At("", 0)) {
    Core* c = machine().running;
    if (!c) {
        std::fprintf(stderr, "dsv4c: an AscendC call outside a kernel (%s:%d)\n", at.file, at.line);
        std::abort();
    }
    return *c;
}

// The scalar unit waits; the scheduler runs others.
void wait_until(Core& c, std::function<bool()> over, const std::string& what) {
    while (!over()) {
        c.waiting = over;
        c.waits_for = what;
        c.fiber->wait();
    }
    c.waiting = nullptr;
}

// The kernel cannot go on (the device would hang): the launch ends here with what was reported.
[[noreturn]] void abandon(Core& c) {
    machine().aborted = true;
    for (;;) c.fiber->wait();
}

}  // namespace emu
