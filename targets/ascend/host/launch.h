// The kernels of this artefact by name; launch.cpp has the table.
#pragma once

#include <cstdint>

#include "acl/acl.h"

enum class Core { Vector, Cube, Mixed };

struct Kernel {
    const char* name;
    Core core;
    int tensors;
    int64_t workspace;  // bytes for each group of cores
    void (*launch)(uint32_t blocks, aclrtStream stream, uint8_t** arguments, const int64_t* sizes);
};

extern const Kernel kKernels[];
extern const int kKernelCount;
