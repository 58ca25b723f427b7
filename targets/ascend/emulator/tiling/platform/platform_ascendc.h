// What a host program asks about the chip.
#pragma once

#include <cstdint>

namespace emu {
int core_count(bool cube);
uint64_t memory_bytes(int type);
constexpr uint32_t kSystemPart = 16 * 1024 * 1024;  // of an operator's workspace, in front of its own
}  // namespace emu

namespace platform_ascendc {

enum class CoreMemType { L0_A = 0, L0_B = 1, L0_C = 2, L1 = 3, L2 = 4, UB = 5, HBM = 6, RESERVED };
enum class SocVersion { ASCEND910B = 0, ASCEND910_95, RESERVED_VERSION };

class PlatformAscendC {
public:
    explicit PlatformAscendC(void* = nullptr) {}
    uint32_t GetCoreNum() const { return GetCoreNumAiv(); }
    uint32_t GetCoreNumAic() const { return uint32_t(emu::core_count(true)); }
    uint32_t GetCoreNumAiv() const { return uint32_t(emu::core_count(false)); }
    void GetCoreMemSize(const CoreMemType& type, uint64_t& size) const { size = emu::memory_bytes(int(type)); }
    uint32_t GetLibApiWorkSpaceSize() const { return emu::kSystemPart; }
    // Blocks for a kernel that needs `slices` vector cores in groups of aiv/aic.
    uint32_t CalcTschBlockDim(uint32_t slices, uint32_t aic, uint32_t aiv) const {
        if (aic == 0 || aiv == 0 || aic > aiv) return slices;
        const uint32_t ratio = aiv / aic;
        return (slices + ratio - 1) / ratio;
    }
};

class PlatformAscendCManager {
public:
    static PlatformAscendC* GetInstance() {
        static PlatformAscendC one;
        return &one;
    }
    static PlatformAscendC* GetInstance(const char*) { return GetInstance(); }
};

}  // namespace platform_ascendc
