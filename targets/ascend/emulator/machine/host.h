// The host's side: which cores a kernel runs on, ACL, and a C ABI for Python.
#pragma once

#include "../acl/acl.h"
#include "../dsv4c_launch.h"
#include "../tiling/platform/platform_ascendc.h"
#include "launch.h"

// Sections that kernels leave behind (api/keywords.h, api/system.h); absent ones are null.
#define EMU_SECTION(name)                                   \
    extern "C" char __start_##name[] __attribute__((weak)); \
    extern "C" char __stop_##name[] __attribute__((weak));
EMU_SECTION(dsv4c_task_types)
EMU_SECTION(dsv4c_aiv)
EMU_SECTION(dsv4c_aic)
EMU_SECTION(dsv4c_mix_0_1)
EMU_SECTION(dsv4c_mix_1_0)
EMU_SECTION(dsv4c_mix_1_1)
EMU_SECTION(dsv4c_mix_1_2)

namespace emu {

KernelKind kind_of(AscendC::KernelMetaType t) {
    switch (t) {
        case AscendC::KERNEL_TYPE_AIC_ONLY: return {1, 0, true};
        case AscendC::KERNEL_TYPE_MIX_AIV_1_0: return {0, 1, true};
        case AscendC::KERNEL_TYPE_MIX_AIC_1_0: return {1, 0, true};
        case AscendC::KERNEL_TYPE_MIX_AIC_1_1: return {1, 1, true};
        case AscendC::KERNEL_TYPE_MIX_AIC_1_2: return {1, 2, true};
        default: return {0, 1, false};
    }
}

KernelKind kind_of(const std::string& name, const void* aiv, const void* aic) {
    if (__start_dsv4c_task_types) {
        auto* each = reinterpret_cast<TaskType*>(__start_dsv4c_task_types);
        auto* end = reinterpret_cast<TaskType*>(__stop_dsv4c_task_types);
        for (; each < end; each++) {
            const std::string f = each->function ? each->function : "";
            if (f == name + "_aiv" || f == name + "_aic") return kind_of(AscendC::KernelMetaType(each->type));
        }
    }
    const auto inside = [&](const char* start, const char* stop) {
        return start && ((aiv >= start && aiv < stop) || (aic >= start && aic < stop));
    };
    if (inside(__start_dsv4c_aic, __stop_dsv4c_aic)) return {1, 0, true};
    if (inside(__start_dsv4c_mix_0_1, __stop_dsv4c_mix_0_1)) return {0, 1, true};
    if (inside(__start_dsv4c_mix_1_0, __stop_dsv4c_mix_1_0)) return {1, 0, true};
    if (inside(__start_dsv4c_mix_1_1, __stop_dsv4c_mix_1_1)) return {1, 1, true};
    if (inside(__start_dsv4c_mix_1_2, __stop_dsv4c_mix_1_2)) return {1, 2, true};
    if (!aiv && aic) return {1, 0, true};
    // Where the text names no type, the device's tools take MIX_AIV_1_0 for vector code that synchronises cores.
    return {0, 1, !inside(__start_dsv4c_aiv, __stop_dsv4c_aiv)};
}

void launch_kernel(const char* name, long blocks, const std::function<void()>& aiv, const void* aiv_address,
                   const std::function<void()>& aic, const void* aic_address) {
    const KernelKind kind = kind_of(name, aiv_address, aic_address);
    if ((kind.aic_per_block && !aic) || (kind.aiv_per_block && !aiv)) {
        report().kernel = name;
        find("launch", At("launch", 0),
             format("the kernel was not compiled for %s cores", kind.aic_per_block && !aic ? "cube" : "vector"),
             "compile it a second time with -DDSV4C_CORE_AIC and renamed to kernel_aic");
        return;
    }
    run_launch(name, kind, blocks, aiv, aic);
}

int core_count(bool cube) { return cube ? machine().settings.aic : machine().settings.aiv; }
uint64_t memory_bytes(int type) {
    switch (platform_ascendc::CoreMemType(type)) {
        case platform_ascendc::CoreMemType::UB: return machine().settings.ub_bytes;
        case platform_ascendc::CoreMemType::L1: return machine().settings.l1_bytes;
        case platform_ascendc::CoreMemType::L0_A: return capacity(Hardware::L0A);
        case platform_ascendc::CoreMemType::L0_B: return capacity(Hardware::L0B);
        case platform_ascendc::CoreMemType::L0_C: return capacity(Hardware::L0C);
        case platform_ascendc::CoreMemType::L2: return 192ull << 20;
        default: return 64ull << 30;
    }
}

// Copies with bounds on the device's side.
bool upload(void* dst, const void* src, size_t n) {
    const auto r = gm_range(reinterpret_cast<uint64_t>(dst), n, "a copy from the host", At("host", 0));
    if (!r) return false;
    std::memcpy(dst, src, n);
    r->memory->shadow.define(r->off, n, true);
    return true;
}
bool download(void* dst, const void* src, size_t n) {
    const auto r = gm_range(reinterpret_cast<uint64_t>(src), n, "a copy to the host", At("host", 0));
    if (!r) return false;
    Instr reading("a copy to the host", S, At("host", 0));
    check_defined(reading, *r);
    std::memcpy(dst, src, n);
    return true;
}

}  // namespace emu

extern "C" {

// --- ACL -----------------------------------------------------------------------------------------------------------
aclError aclInit(const char*) { return ACL_SUCCESS; }
aclError aclFinalize() { return ACL_SUCCESS; }
aclError aclrtSetDevice(int32_t) { return ACL_SUCCESS; }
aclError aclrtResetDevice(int32_t) { return ACL_SUCCESS; }
aclError aclrtGetDevice(int32_t* device) { return *device = 0, ACL_SUCCESS; }
aclError aclrtGetDeviceCount(uint32_t* count) { return *count = 1, ACL_SUCCESS; }
aclError aclrtGetDeviceInfo(uint32_t, aclrtDevAttr attr, int64_t* value) {
    *value = attr == ACL_DEV_ATTR_VECTOR_CORE_NUM ? emu::core_count(false) : emu::core_count(true);
    return ACL_SUCCESS;
}
const char* aclrtGetSocName() { return __NPU_ARCH__ == 3510 ? "Ascend950PR_9589" : "Ascend910B1"; }
aclError aclrtCreateContext(aclrtContext* context, int32_t) { return *context = nullptr, ACL_SUCCESS; }
aclError aclrtDestroyContext(aclrtContext) { return ACL_SUCCESS; }
aclError aclrtCreateStream(aclrtStream* stream) { return *stream = stream, ACL_SUCCESS; }
aclError aclrtDestroyStream(aclrtStream) { return ACL_SUCCESS; }
aclError aclrtSynchronizeStream(aclrtStream) { return ACL_SUCCESS; }
aclError aclrtSynchronizeDevice() { return ACL_SUCCESS; }
aclError aclrtMalloc(void** pointer, size_t size, aclrtMemMallocPolicy) {
    *pointer = emu::machine().gm.allocate(size);
    return *pointer ? ACL_SUCCESS : ACL_ERROR_BAD_ALLOC;
}
aclError aclrtFree(void* pointer) { return emu::machine().gm.release(pointer) ? ACL_SUCCESS : ACL_ERROR_INVALID_PARAM; }
aclError aclrtMallocHost(void** pointer, size_t size) {
    *pointer = std::malloc(size ? size : 1);
    return *pointer ? ACL_SUCCESS : ACL_ERROR_BAD_ALLOC;
}
aclError aclrtFreeHost(void* pointer) { return std::free(pointer), ACL_SUCCESS; }
aclError aclrtMemcpy(void* dst, size_t dst_max, const void* src, size_t count, aclrtMemcpyKind kind) {
    if (count > dst_max) return ACL_ERROR_INVALID_PARAM;
    bool good = true;
    switch (kind) {
        case ACL_MEMCPY_HOST_TO_HOST: std::memcpy(dst, src, count); break;
        case ACL_MEMCPY_HOST_TO_DEVICE: good = emu::upload(dst, src, count); break;
        case ACL_MEMCPY_DEVICE_TO_HOST: good = emu::download(dst, src, count); break;
        case ACL_MEMCPY_DEVICE_TO_DEVICE: {
            std::vector<uint8_t> through(count);
            good = emu::download(through.data(), src, count) && emu::upload(dst, through.data(), count);
            break;
        }
    }
    return good ? ACL_SUCCESS : ACL_ERROR_INVALID_PARAM;
}
aclError aclrtMemcpyAsync(void* dst, size_t dst_max, const void* src, size_t count, aclrtMemcpyKind kind, aclrtStream) {
    return aclrtMemcpy(dst, dst_max, src, count, kind);
}
aclError aclrtMemset(void* pointer, size_t max, int32_t value, size_t count) {
    if (count > max) return ACL_ERROR_INVALID_PARAM;
    const std::vector<uint8_t> bytes(count, uint8_t(value));
    return emu::upload(pointer, bytes.data(), count) ? ACL_SUCCESS : ACL_ERROR_INVALID_PARAM;
}
aclError aclrtMemsetAsync(void* pointer, size_t max, int32_t value, size_t count, aclrtStream) {
    return aclrtMemset(pointer, max, value, count);
}
// Gives the message once, and null where there is none, as the device's does.
const char* aclGetRecentErrMsg() {
    static std::string text;
    text = emu::report().text();
    emu::report().clear();
    return text.empty() ? nullptr : text.c_str();
}

// --- for Python ----------------------------------------------------------------------------------------------------
int dsv4c_emu_arch() { return __NPU_ARCH__; }
void dsv4c_emu_configure(int auto_sync, int witness, uint64_t seed, int aic, int aiv, uint32_t ub_bytes) {
    emu::Settings s;
    s.auto_sync = auto_sync != 0;
    s.witness = witness != 0;
    s.seed = seed;
    s.aic = aic;
    s.aiv = aiv;
    if (ub_bytes) s.ub_bytes = ub_bytes;
    emu::machine().settings = s;
    emu::machine().launches = 0;
}
void dsv4c_emu_tiling_key(uint64_t key) { emu::machine().settings.tiling_key = key; }
void* dsv4c_emu_malloc(uint64_t bytes, const char* name) { return emu::machine().gm.allocate(bytes, name); }
// An operator's workspace, `bytes` of its own behind the system's part, and the one that GetUserWorkspace means from
// now on. The system's part belongs to nobody here: a kernel that touches it is found.
void* dsv4c_emu_workspace(uint64_t bytes) {
    uint8_t* own = emu::machine().gm.allocate(bytes, "GM workspace", emu::kSystemPart);
    emu::machine().settings.workspace = reinterpret_cast<uint64_t>(own) - emu::kSystemPart;
    return own - emu::kSystemPart;
}
int dsv4c_emu_free(void* pointer) { return emu::machine().gm.release(pointer); }
int dsv4c_emu_upload(void* dst, const void* src, uint64_t n) { return emu::upload(dst, src, n); }
// Unlike aclrtMemcpy says nothing of bytes that were never written: dsv4c_emu_undefined tells.
int dsv4c_emu_download(void* dst, const void* src, uint64_t n) {
    const auto r = emu::gm_range(reinterpret_cast<uint64_t>(src), n, "a copy to the host", emu::At("host", 0));
    if (r) std::memcpy(dst, src, n);
    return r.has_value();
}
int64_t dsv4c_emu_undefined(void* pointer) {
    emu::Memory* m = emu::machine().gm.find(reinterpret_cast<uint64_t>(pointer));
    return m && m->size ? m->shadow.undefined(0, m->size) : -1;
}

// Integers and pointers travel in integer registers and on the stack, floats in vector registers: one call signature
// serves every kernel of up to 24 integers and 8 floats.
void dsv4c_emu_launch(const char* name, void* aiv, void* aic, int64_t blocks, const uint64_t* w, const double* f) {
    using U = uint64_t;
    using Function = void (*)(U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, U, double, double,
                              double, double, double, double, double, double);
    const auto body = [w, f](void* address) -> std::function<void()> {
        if (!address) return nullptr;
        return [address, w, f] {
            reinterpret_cast<Function>(address)(w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10],
                                                w[11], w[12], w[13], w[14], w[15], w[16], w[17], w[18], w[19], w[20],
                                                w[21], w[22], w[23], f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]);
        };
    };
    emu::launch_kernel(name, long(blocks), body(aiv), aiv, body(aic), aic);
}

int dsv4c_emu_findings() { return int(emu::report().count()); }
const char* dsv4c_emu_findings_json() {
    static std::string text;
    text = emu::report().json();
    return text.c_str();
}
const char* dsv4c_emu_report() {
    static std::string text;
    text = emu::report().text();
    return text.c_str();
}
const char* dsv4c_emu_cycles() {
    static std::string text;
    text = "[" + emu::machine().cycles + "]";
    return text.c_str();
}
void dsv4c_emu_clear_findings() { emu::report().clear(); }
void dsv4c_emu_clear() {
    emu::report().clear();
    emu::machine().cycles.clear();
}

}  // extern "C"
