// Flags, event ids and barriers inside a core.
#pragma once

#include "engine.h"

namespace emu {

bool event_exists(const Core& c, HardEvent e, At at) {
    const EventLanes l = lanes_of(e);
    if (has_lane(c, l.src) && has_lane(c, l.dst)) return true;
    find("flag", at,
         format("HardEvent::%s does not exist on %s", event_name(l.src, l.dst).c_str(),
                c.cube ? "a cube core" : "a vector core"));
    return false;
}

bool id_exists(int id, At at) {
    if (id >= 0 && id < kEventIds) return true;
    find("flag", at, format("event id %d; a core has ids 0 to 7 for each event", id),
         "use ids from FetchEventID or AllocEventID");
    return false;
}

void set_flag_of(HardEvent event, int id, At at, bool of_queue) {
    Core& c = core(at);
    if (!id_exists(id, at) || !event_exists(c, event, at)) return;
    const int e = int(event);
    const EventLanes l = lanes_of(event);
    if (c.outstanding[e][id]++ > 0) {
        find("flag", at,
             format("SetFlag<%s>(%d) a second time before a WaitFlag; the first is at %s",
                    event_name(l.src, l.dst).c_str(), id, name_of(c.set_at[e][id]).c_str()),
             "wait in between, or use another id");
    }
    c.set_at[e][id] = at;
    if (l.src == S) {  // the scalar unit's own work is complete when it gets here
        Token token{c.scalar_clock(), 0};
        c.flags[e][id].push_back(token);
        return;
    }
    enqueue(c, l.src, {Item::Set, at, {}, nullptr, e, id, 0, {}, of_queue});
}

void set_flag(HardEvent event, int id, At at) { set_flag_of(event, id, at, false); }

void wait_flag(HardEvent event, int id, At at) {
    Core& c = core(at);
    if (!id_exists(id, at) || !event_exists(c, event, at)) return;
    const int e = int(event);
    const EventLanes l = lanes_of(event);
    if (c.outstanding[e][id] <= 0) {
        find("deadlock", at,
             format("WaitFlag<%s>(%d) waits for a flag that nothing has set: the core hangs",
                    event_name(l.src, l.dst).c_str(), id),
             "set the same event with the same id before");
        return;
    }
    c.outstanding[e][id]--;
    if (l.dst != S) {
        enqueue(c, l.dst, {Item::Wait, at, {}, nullptr, e, id, 0, {}});
        return;
    }
    wait_until(c, [&c, e, id] { return !c.flags[e][id].empty(); }, "WaitFlag at " + name_of(at));
    c.clock.join(c.flags[e][id].front().clock);
    c.flags[e][id].pop_front();
}

int event_of(Lane src, Lane dst);

// By pipes instead of an event's name.
int named_event(pipe_t src, pipe_t dst, At at) {
    const int e = src == PIPE_ALL || dst == PIPE_ALL ? -1 : event_of(lane_of(src), lane_of(dst));
    if (e < 0) find("flag", at, format("there is no flag from pipe %d to pipe %d", int(src), int(dst)));
    return e;
}
void set_flag_of(pipe_t src, pipe_t dst, int id, At at) {
    const int e = named_event(src, dst, at);
    if (e >= 0) set_flag(HardEvent(e), id, at);
}
void wait_flag_of(pipe_t src, pipe_t dst, int id, At at) {
    const int e = named_event(src, dst, at);
    if (e >= 0) wait_flag(HardEvent(e), id, at);
}
void report_absent(const char* what, At at) {
    find("dtype", at, format("%s: this chip does not have it, or the emulator does not model it", what));
}
void report_assert(const char* condition, At at) { find("assert", at, format("ASSERT(%s) fails", condition)); }

int first_free(uint8_t used) {
    for (int id = 0; id < kEventIds; id++) {
        if (!(used >> id & 1)) return id;
    }
    return -1;
}

int alloc_event(HardEvent event, At at) {
    Core& c = core(at);
    const int id = first_free(c.used_ids[int(event)]);
    if (id < 0) {
        const EventLanes l = lanes_of(event);
        find("flag", at, format("more than 8 event ids of %s in use at once", event_name(l.src, l.dst).c_str()),
             "release ids, or use fewer queue buffers at one position");
        return 0;
    }
    c.used_ids[int(event)] |= uint8_t(1u << id);
    return id;
}

int fetch_event(HardEvent event) {
    const int id = first_free(core().used_ids[int(event)]);
    return id < 0 ? 0 : id;
}

void release_event(HardEvent event, int id, At at) {
    if (!id_exists(id, at)) return;
    Core& c = core(at);
    if (!(c.used_ids[int(event)] >> id & 1))
        find("flag", at, format("ReleaseEventID(%d) of an id that is not allocated", id));
    c.used_ids[int(event)] &= uint8_t(~(1u << id));
}

bool all_quiet(const Core& c) {
    for (const Pipe& p : c.pipes) {
        if (!p.queue.empty()) return false;
    }
    return true;
}

// The scalar unit and with it everything issued later knows all that was issued so far.
void barrier_all(Core& c, At at) {
    wait_until(c, [&c] { return all_quiet(c); }, "PipeBarrier<PIPE_ALL> at " + name_of(at));
    double latest = 0;
    for (int lane = 0; lane < kLanes; lane++) {
        c.clock.know(lane, c.pipes[lane].count);
        c.clock.join(c.pipes[lane].clock);
        latest = std::max(latest, c.pipes[lane].time);
    }
    for (Pipe& p : c.pipes) p.time = latest;
}

void pipe_barrier(pipe_t pipe, At at) {
    Core& c = core(at);
    if (pipe == PIPE_ALL) return barrier_all(c, at);
    const Lane lane = lane_of(pipe);
    if (lane == S) return;
    if (!has_lane(c, lane)) {
        find("flag", at, format("PipeBarrier<PIPE_%s> on a core without that pipe", name_of(lane)));
        return;
    }
    enqueue(c, lane, {Item::Barrier, at, {}, nullptr, 0, 0, 0, {}});
}

void data_sync(At at) {
    Core& c = core(at);
    c.clock.know(SW, c.pipes[SW].count);  // the scalar unit's stores are complete
}

}  // namespace emu
