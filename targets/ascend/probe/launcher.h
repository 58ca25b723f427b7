// Launches the kernels of this folder: one input, one output.
#pragma once

#include <cstdio>
#include <cstring>
#include <vector>

#include "device.h"
#include "dsv4c_launch.h"
#include "probe_tiling.h"

using Bytes = std::vector<uint8_t>;
using Launch = void (*)(uint32_t blocks, aclrtStream stream, uint8_t** arguments);

#define DSV4C_PROBE(kernel)                                                           \
    extern "C" __global__ __aicore__ void kernel(GM_ADDR, GM_ADDR, GM_ADDR, GM_ADDR); \
    static void launch_##kernel(uint32_t blocks, aclrtStream stream, uint8_t** a) {   \
        DSV4C_LAUNCH(kernel, blocks, stream, a[0], a[1], a[2], a[3]);                 \
    }

// What the kernel makes of `in` and of an output that begins as `out`; throws where the runtime reports an error.
inline Bytes launched(Launch launch, uint32_t blocks, aclrtStream stream, int64_t number, const Bytes& in,
                      const Bytes& out) {
    const int64_t n = static_cast<int64_t>(in.size()), m = static_cast<int64_t>(out.size());
    Block x(n), y(m), workspace(4096 * static_cast<int64_t>(blocks)), tiling(sizeof(ProbeTiling));
    const ProbeTiling sizes{number};
    x.upload(in.data(), n);
    y.upload(out.data(), m);
    tiling.upload(&sizes, sizeof sizes);
    uint8_t* arguments[] = {x.at(0), y.at(0), workspace.at(0), tiling.at(0)};
    launch(blocks, stream, arguments);
    check(aclrtSynchronizeStream(stream), "the stream");
    check_messages();
    Bytes found(m);
    y.download(found.data(), m);
    return found;
}

template <typename T>
Bytes bytes_of(const std::vector<T>& values) {
    Bytes out(values.size() * sizeof(T));
    std::memcpy(out.data(), values.data(), out.size());
    return out;
}
