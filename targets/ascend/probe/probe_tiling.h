// What the host passes to the kernels of this folder.
#ifndef PROBE_TILING_H
#define PROBE_TILING_H
#include <cstdint>

struct ProbeTiling {
    int64_t number;  // of a fact, or what a smoke kernel adds
};

#endif
