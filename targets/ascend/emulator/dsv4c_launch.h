// One spelling of a kernel launch for the device's compiler and for g++.
//
// DSV4C_LAUNCH(kernel, blocks, stream, args...) needs the kernel declared: extern "C" __global__ __aicore__ void
// kernel(...).
#pragma once

#ifndef DSV4C_EMULATOR

#define DSV4C_LAUNCH(kernel, blocks, stream, ...) kernel<<<(blocks), nullptr, (stream)>>>(__VA_ARGS__)

#else

#include <functional>

namespace emu {
// Runs the copies of a kernel for vector and cube cores; either may be null.
void launch_kernel(const char* name, long blocks, const std::function<void()>& aiv, const void* aiv_address,
                   const std::function<void()>& aic, const void* aic_address);

template <typename... P, typename... A>
void launch_typed(const char* name, long blocks, void (*aiv)(P...), void (*aic)(P...), A... args) {
    std::function<void()> on_vector, on_cube;
    if (aiv) on_vector = [=] { aiv(static_cast<P>(args)...); };
    if (aic) on_cube = [=] { aic(static_cast<P>(args)...); };
    launch_kernel(name, blocks, on_vector, reinterpret_cast<const void*>(aiv), on_cube,
                  reinterpret_cast<const void*>(aic));
}
}  // namespace emu

// The kernel is compiled once per core type as kernel_aiv and kernel_aic; a weak reference is null where a copy is
// absent.
#define DSV4C_LAUNCH(kernel, blocks, stream, ...)                                                                   \
    do {                                                                                                            \
        extern decltype(kernel) kernel##_on_aiv __asm__(#kernel "_aiv") __attribute__((weak));                      \
        extern decltype(kernel) kernel##_on_aic __asm__(#kernel "_aic") __attribute__((weak));                      \
        (void)(stream);                                                                                             \
        ::emu::launch_typed(#kernel, static_cast<long>(blocks), &kernel##_on_aiv, &kernel##_on_aic, ##__VA_ARGS__); \
    } while (0)

#endif
