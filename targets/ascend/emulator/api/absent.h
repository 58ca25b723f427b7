// Names that libraries of kernels mention in branches that they do not take here: of older chips, and of sparsity and
// im2col, which are not modelled. Using one is a finding.
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

enum class FmatrixMode : uint8_t { FMATRIX_LEFT, FMATRIX_RIGHT };
struct IsResetLoad3dConfig {
    bool isSetFMatrix = true, isSetPadding = true;
};
struct LoadData3DParamsV2Pro {
    uint16_t channelSize = 0;
    uint64_t extConfig = 0;
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
inline void SetHF32Mode(bool on, At at = At()) {
    if (on) emu::report_absent("HF32", at);
}
inline void SetHF32TransMode(bool) {}
inline void SetMMLayoutTransform(bool on, At at = At()) {
    if (on) emu::report_absent("SetMMLayoutTransform", at);
}
inline void SetFmatrix(uint16_t, uint16_t, const uint8_t[4], FmatrixMode, At at = At()) {
    emu::report_absent("SetFmatrix", at);
}
inline void Load3DSetFMatrixCal(uint16_t, uint16_t, const uint8_t[4], At at = At()) {
    emu::report_absent("Load3DSetFMatrixCal", at);
}
template <typename T, const IsResetLoad3dConfig& config, typename U>
inline void LoadData(const LocalTensor<T>&, const LocalTensor<T>&, const LoadData3DParamsV2<U>&, At at = At()) {
    emu::report_absent("LoadData with IsResetLoad3dConfig", at);
}
template <typename T>
inline void LoadData(const LocalTensor<T>&, const LocalTensor<T>&, const LoadData3DParamsV2Pro&, At at = At()) {
    emu::report_absent("LoadData with LoadData3DParamsV2Pro", at);
}
template <typename T, typename U>
inline void LoadDataWithSparse(const LocalTensor<T>&, const LocalTensor<T>&, const LocalTensor<U>&,
                               const LoadData2DParams&, At at = At()) {
    emu::report_absent("LoadDataWithSparse", at);
}

}  // namespace AscendC
