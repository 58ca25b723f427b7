// Core indices, core type, tiling data, workspace.
#pragma once

#include "sync.h"

namespace AscendC {

#ifdef DSV4C_CORE_AIC
constexpr int32_t g_coreType = AIC;
#else
constexpr int32_t g_coreType = AIV;
#endif

inline int64_t GetBlockIdx() { return emu::block_index(); }
inline int64_t GetBlockNum() { return emu::block_count(); }
inline int64_t GetSubBlockIdx() { return emu::sub_block_index(); }
inline int64_t GetSubBlockNum() { return emu::sub_block_count(); }
inline int64_t GetTaskRatio() { return emu::task_ratio(); }
// Clears what an earlier kernel may have left: mask and atomic modes. A kernel without TPipe calls it first.
inline void InitSocState() { emu::init_state(); }
// As on the device, the argument does not matter: the framework has told where an operator's workspace begins.
inline GM_ADDR GetUserWorkspace(GM_ADDR, ::emu::At at = ::emu::At()) {
    return reinterpret_cast<GM_ADDR>(::emu::user_workspace(at));
}
inline void SetSysWorkspace(GM_ADDR) {}
inline GM_ADDR GetSysWorkSpacePtr() { return reinterpret_cast<GM_ADDR>(emu::system_workspace()); }

// The size of the hardware's vector repeat and block.
inline constexpr uint32_t GetVecLen() { return 256; }
inline constexpr uint32_t GetDataBlockSizeInBytes() { return 32; }

}  // namespace AscendC

// `if ASCEND_IS_AIC { ... }`: decided at compile time, as on the device.
#define ASCEND_IS_AIC constexpr(::AscendC::g_coreType == ::AscendC::AIC)
#define ASCEND_IS_AIV constexpr(::AscendC::g_coreType == ::AscendC::AIV)

namespace emu {
struct TaskType {
    const char* function;
    long type;
};
}  // namespace emu

// Kept in a section of its own, because the launcher must know the type before it starts the kernel.
#define KERNEL_TASK_TYPE_DEFAULT(kernel_type) \
    static ::emu::TaskType dsv4c_task_type    \
        __attribute__((used, section("dsv4c_task_types"))) = {__func__, static_cast<long>(::AscendC::kernel_type)}
#define KERNEL_TASK_TYPE(key, kernel_type)

#define REGISTER_TILING_DEFAULT(type) using DsvTilingDefault = type
#define GET_TILING_DATA(name, tiling) \
    DsvTilingDefault name;            \
    ::emu::read_tiling(reinterpret_cast<uint64_t>(tiling), &name, sizeof(name), ::emu::At())
#define GET_TILING_DATA_WITH_STRUCT(type, name, tiling) \
    type name;                                          \
    ::emu::read_tiling(reinterpret_cast<uint64_t>(tiling), &name, sizeof(name), ::emu::At())
#define TILING_KEY_IS(key) (::emu::tiling_key() == (key))
