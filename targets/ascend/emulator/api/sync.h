// Flags, barriers and synchronisation between cores.
#pragma once

#include "pipe.h"

namespace AscendC {

template <HardEvent event>
inline void SetFlag(int32_t eventID, At at = At()) {
    emu::set_flag(event, eventID, at);
}
template <HardEvent event>
inline void WaitFlag(int32_t eventID, At at = At()) {
    emu::wait_flag(event, eventID, at);
}
template <pipe_t pipe>
inline void PipeBarrier(At at = At()) {
    emu::pipe_barrier(pipe, at);
}
template <MemDsbT kind>
inline void DataSyncBarrier(At at = At()) {
    emu::data_sync(at);
}

template <uint8_t modeId, pipe_t pipe>
inline void CrossCoreSetFlag(uint16_t flagId, At at = At()) {
    static_assert(modeId <= 2 || (emu::k3510 && modeId == 4), "cross-core mode: 0, 1, 2, and 4 on 3510");
    static_assert(pipe != PIPE_S && pipe != PIPE_ALL,
                  "CrossCoreSetFlag names the pipe whose work must be complete, not S or ALL");
    emu::cross_set(modeId, pipe, flagId, at);
}
template <uint8_t modeId = 0, pipe_t pipe = PIPE_S>
inline void CrossCoreWaitFlag(uint16_t flagId, At at = At()) {
    static_assert(pipe != PIPE_ALL, "CrossCoreWaitFlag: PIPE_ALL is not allowed");
    emu::cross_wait(modeId, pipe, flagId, at);
}

template <bool isAIVOnly = true>
inline void SyncAll(At at = At()) {
    emu::sync_all(isAIVOnly, at);
}
template <bool isAIVOnly = true>
inline void SyncAll(const GlobalTensor<int32_t>& gm, const LocalTensor<int32_t>& ub, const int32_t usedCores = 0,
                    At at = At()) {
    emu::sync_all_soft(isAIVOnly, gm.address(), ub.place(), usedCores, at);
}
template <bool isAIVOnly = true>
inline void IBSet(const GlobalTensor<int32_t>& gm, const LocalTensor<int32_t>& ub, int32_t blockIdx, int32_t eventID,
                  At at = At()) {
    emu::ib_set(gm.address(), ub.place(), blockIdx, eventID, at);
}
template <bool isAIVOnly = true>
inline void IBWait(const GlobalTensor<int32_t>& gm, const LocalTensor<int32_t>& ub, int32_t blockIdx, int32_t eventID,
                   At at = At()) {
    emu::ib_wait(gm.address(), ub.place(), blockIdx, eventID, at);
}

}  // namespace AscendC
