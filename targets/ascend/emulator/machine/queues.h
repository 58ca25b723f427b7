// On-chip allocation, queues of buffers and their discipline.
#pragma once

#include "place.h"

namespace emu {

void init_state() { core().ready = true; }

// Both would hand out the same addresses.
void report_mixed(At at) {
    find("queue", at, "tensors at static addresses and a TPipe in one kernel", "use one of the two");
}

void pipe_open(At at) {
    Core& c = core(at);
    if (c.pipes_open++) find("queue", at, "a second TPipe in one kernel", "declare one TPipe and pass a pointer");
    if (c.statics) report_mixed(at);
    c.ready = true;
}
void pipe_close() {}
void pipe_reset(At at) {
    Core& c = core(at);
    for (uint32_t& u : c.used) u = 0;
    for (int& n : c.per_position) n = 0;
    c.total_buffers = 0;
}

Place place_at(TPosition pos, uint32_t addr, uint64_t bytes, At at) {
    const Hardware h = hardware_of(pos);
    if (addr + bytes > capacity(h)) {
        find("capacity", at,
             format("a tensor of %llu bytes at address %u ends beyond %s (%u bytes)",
                    static_cast<unsigned long long>(bytes), addr, name_of(h), capacity(h)));
    }
    Place p;
    p.pos = pos;
    p.addr = p.lo = addr;
    p.hi = uint32_t(std::min<uint64_t>((addr + bytes + 31) / 32 * 32, capacity(h)));  // the last block belongs to it
    check_aligned(p, alignment(h), "LocalTensor", at);
    return p;
}

Place static_place(TPosition pos, uint32_t addr, uint64_t bytes, At at) {
    Core& c = core(at);
    if (c.pipes_open) report_mixed(at);
    c.statics = true;
    return place_at(pos, addr, bytes, at);
}

void pool_enter(Pool* pool) { core().pool = pool; }
void pool_leave() { core().pool = nullptr; }

Place take_memory(Core& c, TPosition pos, uint32_t bytes, At at) {
    const Hardware h = hardware_of(pos);
    const uint32_t rounded = (bytes + 31) / 32 * 32;
    const uint32_t step = alignment(h);
    if (c.pool && hardware_of(c.pool->place.pos) != h)
        find("position", at, "a buffer of another memory than its pool's");
    uint32_t& used = c.pool ? c.pool->used : c.used[int(h)];
    const uint32_t start = c.pool ? c.pool->place.lo : 0, room = c.pool ? c.pool->place.hi - start : capacity(h);
    const uint32_t offset = (used + step - 1) / step * step;
    if (bytes == 0) find("capacity", at, "InitBuffer with 0 bytes");
    if (offset + rounded > room) {
        find("capacity", at,
             format("InitBuffer: %s overflows: %u of %u bytes are taken, %u more do not fit",
                    c.pool ? "a pool" : name_of(h), used, room, rounded),
             "use smaller or fewer buffers");
        if (c.pool || offset + rounded > physical(h)) abandon(c);  // else it runs on, into what is reserved
    }
    used = offset + rounded;
    Place p;
    p.pos = pos;
    p.addr = p.lo = start + offset;
    p.hi = p.lo + rounded;
    return p;
}

void count_buffers(Core& c, TPosition pos, int num, bool queue, At at) {
    c.total_buffers += num;
    if (c.total_buffers > 64) find("queue", at, format("%d buffers; a TPipe has 64", c.total_buffers));
    if (!queue) return;
    c.per_position[int(pos)] += num;
    if (c.per_position[int(pos)] > 8) {
        find("queue", at,
             format("%d queue buffers at %s; there are event ids for 8", c.per_position[int(pos)], name_of(pos)),
             "merge buffers or use TBuf");
    }
}

Place buffer_init(TPosition pos, uint32_t bytes, At at) {
    Core& c = core(at);
    count_buffers(c, pos, 1, false, at);
    return take_memory(c, pos, bytes, at);
}

int event_of(Lane src, Lane dst) {
    for (int e = 0; e < kEvents; e++) {
        const EventLanes l = lanes_of(HardEvent(e));
        if (l.src == src && l.dst == dst && src != dst) return e;
    }
    return -1;
}

// Who fills and who drains a queue between two positions.
EventLanes ends_of(TPosition src, TPosition dst) {
    const Hardware from = hardware_of(src), to = hardware_of(dst);
    if (from == Hardware::GM) return {MTE2, to == Hardware::UB ? V : MTE1};
    if (from == Hardware::L1) return {to == Hardware::L1 ? MTE2 : MTE1, to == Hardware::L1 ? MTE1 : M};
    if (from == Hardware::L0C) return {M, FIX};
    if (from == Hardware::L0A || from == Hardware::L0B) return {MTE1, M};
    if (src == TPosition::VECIN && dst == TPosition::VECOUT) return {MTE2, MTE3};
    if (src == TPosition::VECIN) return {MTE2, V};
    if (to == Hardware::GM || to == Hardware::L1) return {V, MTE3};
    return {V, V};
}

QueueHandle queue_init(TPosition src, TPosition dst, int depth, int num, uint32_t bytes, At at) {
    Core& c = core(at);
    const TPosition pos = hardware_of(dst) == Hardware::GM ? src : dst;
    count_buffers(c, pos, num, true, at);
    Queue q;
    q.src = src;
    q.dst = dst;
    q.depth = depth;
    const EventLanes ends = ends_of(src, dst);
    q.event = event_of(ends.src, ends.dst);
    q.free_event = event_of(ends.dst, ends.src);
    for (int i = 0; i < num; i++) {
        Buffer b;
        b.place = take_memory(c, pos, bytes, at);
        b.place.buffer = uint16_t(c.buffers.size() + 1);
        b.at = at;
        q.buffers.push_back(int(c.buffers.size()));
        c.buffers.push_back(b);
    }
    c.queues.push_back(q);
    return {int(c.queues.size()) - 1};
}

Queue& queue_of(Core& c, QueueHandle h, At at) {
    if (h.id >= 0 && h.id < int(c.queues.size())) return c.queues[size_t(h.id)];
    find("queue", at, "a queue is used that InitBuffer has not seen", "call pipe.InitBuffer(queue, num, len) first");
    abandon(c);
}

Place queue_alloc(QueueHandle h, At at) {
    Core& c = core(at);
    Queue& q = queue_of(c, h, at);
    // The device hands buffers out in turn.
    for (size_t i = 0; i < q.buffers.size(); i++) {
        const int index = q.buffers.front();
        q.buffers.erase(q.buffers.begin());
        q.buffers.push_back(index);
        Buffer& b = c.buffers[size_t(index)];
        if (b.state != Buffer::Free) continue;
        if (b.free_id >= 0) {
            c.of_queue[q.free_event][b.free_id] = false;
            wait_flag(HardEvent(q.free_event), b.free_id, at);
            release_event(HardEvent(q.free_event), b.free_id, at);
            b.free_id = -1;
        } else if (q.free_event < 0) {
            emu::pipe_barrier(PIPE_V, at);
        }
        b.state = Buffer::Allocated;
        b.at = at;
        b.place.generation++;
        const EventLanes ends = ends_of(q.src, q.dst);
        Memory* m = memory_of(c, hardware_of(b.place.pos));
        if (m && has_lane(c, ends.src)) {
            enqueue(c, ends.src, {Item::Undefine, at, {}, nullptr, 0, 0, 0, {m, b.place.lo, b.place.hi - b.place.lo}});
        }
        return b.place;
    }
    const Buffer& oldest = c.buffers[size_t(q.buffers.front())];
    find(
        "queue", at,
        format("AllocTensor finds none of the queue's %zu buffers free: the core hangs (the oldest is in use since %s)",
               q.buffers.size(), name_of(oldest.at).c_str()),
        "call FreeTensor for every tensor taken with DeQue or AllocTensor");
    abandon(c);
}

Buffer* buffer_of(Core& c, const Queue& q, const Place& p, const char* who, At at) {
    if (p.buffer && p.buffer <= c.buffers.size()) {
        Buffer& b = c.buffers[p.buffer - 1u];
        for (int index : q.buffers) {
            if (index == int(p.buffer) - 1) return &b;
        }
    }
    find("queue", at, format("%s with a tensor that is not of this queue", who),
         "tensors go back to the queue they were allocated from");
    return nullptr;
}

void queue_enque(QueueHandle h, const Place& p, At at) {
    Core& c = core(at);
    Queue& q = queue_of(c, h, at);
    Buffer* b = buffer_of(c, q, p, "EnQue", at);
    if (!b) return;
    if (b->state != Buffer::Allocated && b->state != Buffer::Dequeued) {
        find("queue", at, format("EnQue of a tensor that is not allocated (since %s)", name_of(b->at).c_str()),
             "AllocTensor, fill, EnQue, DeQue, use, FreeTensor");
        return;
    }
    if (q.depth > 0 && int(q.enqueued.size()) >= std::max<int>(q.depth, int(q.buffers.size()))) {
        find("queue", at, format("EnQue into a full queue (depth %d)", q.depth), "DeQue first");
    }
    if (q.event < 0) {
        emu::pipe_barrier(PIPE_V, at);
    } else {
        b->enque_id = alloc_event(HardEvent(q.event), at);
        c.of_queue[q.event][b->enque_id] = true;
        set_flag_of(HardEvent(q.event), b->enque_id, at, true);
    }
    b->state = Buffer::Enqueued;
    b->at = at;
    q.enqueued.push_back(int(p.buffer) - 1);
}

Place queue_deque(QueueHandle h, At at) {
    Core& c = core(at);
    Queue& q = queue_of(c, h, at);
    if (q.enqueued.empty()) {
        find("queue", at, "DeQue from an empty queue: the core hangs", "EnQue the tensor before");
        abandon(c);
    }
    Buffer& b = c.buffers[size_t(q.enqueued.front())];
    q.enqueued.pop_front();
    if (q.event >= 0) {
        c.of_queue[q.event][b.enque_id] = false;
        wait_flag(HardEvent(q.event), b.enque_id, at);
        release_event(HardEvent(q.event), b.enque_id, at);
        b.enque_id = -1;
    }
    b.state = Buffer::Dequeued;
    b.at = at;
    return b.place;
}

void queue_free(QueueHandle h, const Place& p, At at) {
    Core& c = core(at);
    Queue& q = queue_of(c, h, at);
    Buffer* b = buffer_of(c, q, p, "FreeTensor", at);
    if (!b) return;
    if (b->state == Buffer::Free || b->state == Buffer::Enqueued) {
        find("queue", at,
             b->state == Buffer::Free ? "FreeTensor of a tensor that is free already"
                                      : "FreeTensor of a tensor that is still enqueued");
        return;
    }
    if (q.free_event >= 0) {
        b->free_id = alloc_event(HardEvent(q.free_event), at);
        c.of_queue[q.free_event][b->free_id] = true;
        set_flag_of(HardEvent(q.free_event), b->free_id, at, true);
    }
    b->state = Buffer::Free;
    b->at = at;
    b->place.generation++;
}

int queue_enqueued(QueueHandle h) { return h.id < 0 ? 0 : int(core().queues[size_t(h.id)].enqueued.size()); }
int queue_idle(QueueHandle h) {
    if (h.id < 0) return 0;
    Core& c = core();
    int n = 0;
    for (int index : c.queues[size_t(h.id)].buffers) n += c.buffers[size_t(index)].state == Buffer::Free;
    return n;
}

}  // namespace emu
