// Names of older chips, which kernels mention in branches that they do not take here. Using one is a finding.
#pragma once

#include "cube.h"

namespace emu {
void report_absent(const char* what, At at);
}

enum class pad_t : uint8_t { PAD_NONE };

namespace AscendC {

enum class BlockMode : uint8_t { BLOCK_MODE_NORMAL, BLOCK_MODE_MATRIX, BLOCK_MODE_VECTOR };
enum class DeqScale : uint8_t { DEQ_NONE, DEQ, VDEQ, DEQ8, VDEQ8, DEQ16, VDEQ16 };
struct DataCopyEnhancedParams {
    DataCopyEnhancedParams() = default;
    DataCopyEnhancedParams(BlockMode, DeqScale, uint64_t, uint8_t, bool, pad_t, uint64_t) {}
};
struct Nz2NdOfOldFixpipe {
    bool nz2ndEn = false;
    uint16_t ndNum = 1, srcNdStride = 0, dstNdStride = 0, originalNSize = 0;
};
struct QuantParams {
    QuantMode_t quantPre = QuantMode_t::NoQuant;
    uint64_t deqScalar = 0;
};
template <typename T>
struct FixpipeParams {
    FixpipeParams(uint16_t, uint16_t, uint16_t, uint32_t) {}
    Nz2NdOfOldFixpipe nz2ndParams;
    QuantParams quantParams;
};

template <typename T, typename U>
inline void DataCopy(const LocalTensor<T>&, const LocalTensor<U>&, const DataCopyParams&, const DataCopyEnhancedParams&,
                     At at = At()) {
    emu::report_absent("DataCopy with DataCopyEnhancedParams", at);
}
template <typename T, typename U, typename V>
inline void Fixpipe(const T&, const LocalTensor<U>&, const FixpipeParams<V>&, At at = At()) {
    emu::report_absent("Fixpipe with FixpipeParams", at);
}
template <typename T, typename U, typename V>
inline void Fixpipe(const T&, const LocalTensor<U>&, const LocalTensor<uint64_t>&, const FixpipeParams<V>&,
                    At at = At()) {
    emu::report_absent("Fixpipe with FixpipeParams", at);
}
template <typename T>
inline void SetFixPipeConfigImpl(const LocalTensor<T>&, At at = At()) {
    emu::report_absent("SetFixPipeConfigImpl", at);
}

}  // namespace AscendC
