// What the API hands to the machine: plain records and functions, compiled once in ascend_emulator.cpp, so that a
// kernel's translation unit holds nothing but thin templates.
#pragma once

#include "../../../emulator/at.h"
#include "../../../emulator/narrow.h"
#include "enums.h"
#include "types.h"

namespace emu {

using AscendC::CMPMODE;
using AscendC::HardEvent;
using AscendC::Hardware;
using AscendC::QuantMode_t;
using AscendC::ReduceOrder;
using AscendC::RoundMode;
using AscendC::TPosition;

// Part of an on-chip memory: from addr up to the end of its buffer [lo, hi).
struct Place {
    union {
        TPosition pos = TPosition::MAX;
        uint8_t logicPos;  // the device's name for it, which some kernels assign to
    };
    uint16_t buffer = 0;      // of a queue, 0 if of none
    uint32_t generation = 0;  // of that buffer when the tensor was made; differs after FreeTensor
    uint32_t addr = 0;
    uint32_t lo = 0;
    uint32_t hi = 0;
};

// A vector operand: blocks of 32 bytes, `blk` apart inside a repeat, repeats `rep` blocks apart.
struct Operand {
    Place place;
    Dtype type;
    uint32_t blk = 1;
    uint32_t rep = 8;
};

// Which elements: count form (the first n), or repeats with a mask; use_register takes the core's mask register.
struct Shape {
    bool count_form = true;
    bool use_register = false;
    int64_t count = 0;
    uint64_t mask[2] = {0, 0};
    bool mask_is_bits = false;
    int repeat = 1;
};

inline Shape count_of(int64_t n) {
    Shape s;
    s.count = n;
    return s;
}
inline Shape repeats(uint64_t mask, int repeat, bool set_mask) {
    Shape s;
    s.count_form = false;
    s.use_register = !set_mask;
    s.mask[0] = mask;
    s.repeat = repeat;
    return s;
}
inline Shape repeats(const uint64_t* mask, int repeat, bool set_mask) {
    Shape s = repeats(uint64_t(0), repeat, set_mask);
    s.mask_is_bits = true;
    if (mask) s.mask[0] = mask[0], s.mask[1] = mask[1];
    return s;
}

enum class VecOp : uint8_t {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    And,
    Or,
    Not,
    Adds,
    Muls,
    Maxs,
    Mins,
    LeakyRelu,
    ShiftLeft,
    ShiftRight,
    Exp,
    Ln,
    Abs,
    Sqrt,
    Rsqrt,
    Reciprocal,
    Relu,
    Axpy,
    MulAddDst,
    FusedMulAdd,
    AddRelu,
    SubRelu,
    Neg,
    Duplicate,
    Cast,
    Copy,
    Floor,
    Ceil,
    Rint,
    Trunc,
    Sign,
    Sigmoid,
    Silu,
    Swish,
    Tanh,
    Erf,
    Sin,
    Cos,
    Atan
};

// dst = op(srcs, scalar), lane by lane.
struct Elementwise {
    const char* name;
    VecOp op;
    Operand dst;
    Operand src[2];
    int srcs;
    Shape shape;
    uint64_t scalar = 0;  // bits
    Dtype scalar_type = Dtype::None;
    RoundMode round = RoundMode::CAST_NONE;
};
void elementwise(const Elementwise& e, At at);

void set_mask_mode(bool counter);
void set_vector_mask(uint64_t high, uint64_t low, bool as_count, At at);
void reset_mask();
void set_deq_scale(float scale);

// --- memory management -----------------------------------------------------------------------------------------
struct QueueHandle {
    int id = -1;
};
void init_state();
void pipe_open(At at);
void pipe_reset(At at);
void pipe_close();
Place buffer_init(TPosition pos, uint32_t bytes, At at);
Place static_place(TPosition pos, uint32_t addr, uint64_t bytes, At at);
// Between enter and leave, buffers come from the pool's own memory.
struct Pool {
    Place place;
    uint32_t used = 0;
};
void pool_enter(Pool* pool);
void pool_leave();
QueueHandle queue_init(TPosition src, TPosition dst, int depth, int num, uint32_t bytes, At at);
Place queue_alloc(QueueHandle q, At at);
void queue_free(QueueHandle q, const Place& place, At at);
void queue_enque(QueueHandle q, const Place& place, At at);
Place queue_deque(QueueHandle q, At at);
int queue_enqueued(QueueHandle q);
int queue_idle(QueueHandle q);

// --- synchronisation -------------------------------------------------------------------------------------------
void set_flag(HardEvent event, int id, At at);
void wait_flag(HardEvent event, int id, At at);
int alloc_event(HardEvent event, At at);
int fetch_event(HardEvent event);
void release_event(HardEvent event, int id, At at);
void pipe_barrier(pipe_t pipe, At at);
void data_sync(At at);
void cross_set(int mode, pipe_t pipe, int id, At at);
void cross_wait(int mode, pipe_t pipe, int id, At at);
void sync_all(bool aiv_only, At at);
void sync_all_soft(bool aiv_only, uint64_t gm, const Place& ub, int cores, At at);
void ib_set(uint64_t gm, const Place& ub, int block, int event, At at);
void ib_wait(uint64_t gm, const Place& ub, int block, int event, At at);

// --- scalar ----------------------------------------------------------------------------------------------------
void scalar_read(const Place& place, uint64_t off, void* to, uint32_t bytes, At at);
void scalar_write(const Place& place, uint64_t off, const void* from, uint32_t bytes, At at);
void gm_read(uint64_t address, void* to, uint32_t bytes, At at);
void gm_write(uint64_t address, const void* from, uint32_t bytes, At at);
void gm_clean(uint64_t address, bool all, At at);
void read_tiling(uint64_t address, void* to, uint64_t bytes, At at);
int64_t block_index();
int64_t block_count();
int64_t sub_block_index();
int64_t sub_block_count();
int64_t task_ratio();
uint64_t tiling_key();
uint64_t system_workspace();
uint64_t user_workspace(At at);

}  // namespace emu
