// What kernels print in a debug build (make debug, build.sh --debug): when a core begins a task, and what it stores
// where. Nothing otherwise.
#pragma once

#ifdef DSV4C_DEBUG

#define DSV4C_TASK(kernel, core, task)                                                            \
    AscendC::printf(kernel ": " core " %d begins task %d\n", static_cast<int32_t>(GetBlockIdx()), \
                    static_cast<int32_t>(task))
#define DSV4C_STORED(core, tensor, offset, rows, cols)                                                          \
    AscendC::printf("    " core " %d stores %d x %d at " #tensor "[%d]\n", static_cast<int32_t>(GetBlockIdx()), \
                    static_cast<int32_t>(rows), static_cast<int32_t>(cols), static_cast<int32_t>(offset))

#else

#define DSV4C_TASK(kernel, core, task)
#define DSV4C_STORED(core, tensor, offset, rows, cols)

#endif
