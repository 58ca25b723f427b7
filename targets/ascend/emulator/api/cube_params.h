// Parameter records of the cube path.
#pragma once

#include "move.h"

namespace AscendC {

struct LoadData2DParams {
    EMU_FIELD(uint16_t, startIndex, 0);
    EMU_FIELD(uint8_t, repeatTimes, 0);
    EMU_FIELD(uint16_t, srcStride, 0);
    EMU_FIELD(uint8_t, sid, 0);
    EMU_FIELD(uint16_t, dstGap, 0);
    bool ifTranspose = false;
    uint8_t addrMode = 0;
    LoadData2DParams() = default;
    template <typename A, typename B, typename C, typename D, typename E>
    LoadData2DParams(A start, B times, C src, D s, E gap, bool transpose, uint8_t mode, At at = At())
        : startIndex(start, at),
          repeatTimes(times, at),
          srcStride(src, at),
          sid(s, at),
          dstGap(gap, at),
          ifTranspose(transpose),
          addrMode(mode) {}
};
using LoadData2dParams = LoadData2DParams;

struct LoadData2DParamsV2 {
    EMU_FIELD(uint32_t, mStartPosition, 0);
    EMU_FIELD(uint32_t, kStartPosition, 0);
    EMU_FIELD(uint16_t, mStep, 0);
    EMU_FIELD(uint16_t, kStep, 0);
    EMU_FIELD(int32_t, srcStride, 0);
    EMU_FIELD(uint16_t, dstStride, 0);
    bool ifTranspose = false;
    uint8_t sid = 0;
};

struct LoadData2dTransposeParams {
    EMU_FIELD(uint16_t, startIndex, 0);
    EMU_FIELD(uint8_t, repeatTimes, 0);
    EMU_FIELD(uint16_t, srcStride, 0);
    EMU_FIELD(uint16_t, dstGap, 0);
    EMU_FIELD(uint16_t, dstFracGap, 0);
    uint8_t addrMode = 0;
    LoadData2dTransposeParams() = default;
    template <typename A, typename B, typename C, typename D, typename E>
    LoadData2dTransposeParams(A start, B times, C src, D gap, E fractal_gap, uint8_t mode = 0, At at = At())
        : startIndex(start, at),
          repeatTimes(times, at),
          srcStride(src, at),
          dstGap(gap, at),
          dstFracGap(fractal_gap, at),
          addrMode(mode) {}
};

template <typename T>
struct LoadData3DParamsV2 {
    uint8_t padList[4] = {0, 0, 0, 0};  // left, right, top, bottom
    EMU_FIELD(uint16_t, l1H, 0);
    EMU_FIELD(uint16_t, l1W, 0);
    EMU_FIELD(uint16_t, channelSize, 0);
    EMU_FIELD(uint16_t, kExtension, 0);
    EMU_FIELD(uint16_t, mExtension, 0);
    EMU_FIELD(uint16_t, kStartPt, 0);
    EMU_FIELD(uint16_t, mStartPt, 0);
    EMU_FIELD(uint8_t, strideW, 1);
    EMU_FIELD(uint8_t, strideH, 1);
    EMU_FIELD(uint8_t, filterW, 1);
    EMU_FIELD(uint8_t, filterH, 1);
    EMU_FIELD(uint8_t, dilationFilterW, 1);
    EMU_FIELD(uint8_t, dilationFilterH, 1);
    bool enTranspose = false;
    bool enSmallK = false;
    T padValue{};
    bool filterSizeW = false;
    bool filterSizeH = false;
    bool fMatrixCtrl = false;
};

template <typename T>
struct InitConstValueParams {
    EMU_FIELD(uint16_t, repeatTimes, 0);
    EMU_FIELD(uint16_t, blockNum, 0);
    EMU_FIELD(uint16_t, dstGap, 0);
    T initValue{};
    InitConstValueParams() = default;
    template <typename A, typename B, typename C>
    InitConstValueParams(A times, B blocks, C gap, T value, At at = At())
        : repeatTimes(times, at), blockNum(blocks, at), dstGap(gap, at), initValue(value) {}
};

struct MmadParams {
    EMU_FIELD_MAX(uint16_t, m, 0, 4095);
    EMU_FIELD_MAX(uint16_t, n, 0, 4095);
    EMU_FIELD_MAX(uint16_t, k, 0, 4095);
    bool isBias = false;
    int32_t fmOffset = 0;
    bool enSsparse = false;
    bool enWinogradA = false;
    bool enWinogradB = false;
    int8_t unitFlag = 0;
    bool kDirectionAlign = false;
    bool cmatrixSource = false;
    bool cmatrixInitVal = true;
#if __NPU_ARCH__ == 3510
    bool disableGemv = false;
#endif
    MmadParams() = default;
    template <typename A, typename B, typename C>
    MmadParams(A rows, B cols, C depth, uint8_t unit, bool source, bool init, At at = At())
        : m(rows, at), n(cols, at), k(depth, at), unitFlag(int8_t(unit)), cmatrixSource(source), cmatrixInitVal(init) {}
};

struct FixpipeConfig {
    CO2Layout format;
    bool isToUB = false;
};
inline constexpr FixpipeConfig CFG_NZ = {CO2Layout::NZ};
inline constexpr FixpipeConfig CFG_ROW_MAJOR = {CO2Layout::ROW_MAJOR};
inline constexpr FixpipeConfig CFG_NZ_UB = {CO2Layout::NZ, true};
inline constexpr FixpipeConfig CFG_ROW_MAJOR_UB = {CO2Layout::ROW_MAJOR, true};

struct FixpipeParamsV220 {
    EMU_FIELD_MAX(uint16_t, nSize, 0, 4095);
    EMU_FIELD(uint16_t, mSize, 0);
    EMU_FIELD(uint16_t, srcStride, 0);
    EMU_FIELD(uint32_t, dstStride, 0);
    QuantMode_t quantPre = QuantMode_t::NoQuant;
    uint64_t deqScalar = 0;
    EMU_FIELD(uint16_t, ndNum, 1);
    EMU_FIELD(uint16_t, srcNdStride, 0);
    EMU_FIELD(uint32_t, dstNdStride, 0);
    bool reluEn = false;
    uint8_t unitFlag = 0;
    bool isChannelSplit = false;
    FixpipeParamsV220() = default;
    template <typename A, typename B, typename C, typename D>
    FixpipeParamsV220(A cols, B rows, C src, D dst, bool relu, At at = At())
        : nSize(cols, at), mSize(rows, at), srcStride(src, at), dstStride(dst, at), reluEn(relu) {}
    template <typename A, typename B, typename C, typename D, typename E, typename F, typename G>
    FixpipeParamsV220(A cols, B rows, C src, D dst, bool relu, QuantMode_t quant, uint64_t scale, E nd, F src_nd,
                      G dst_nd, uint8_t unit, At at = At())
        : FixpipeParamsV220(cols, rows, src, dst, relu, at) {
        quantPre = quant;
        deqScalar = scale;
        ndNum = {nd, at};
        srcNdStride = {src_nd, at};
        dstNdStride = {dst_nd, at};
        unitFlag = unit;
    }
};

#if __NPU_ARCH__ == 3510
struct Nz2NdParams {
    uint16_t ndNum = 1;
    uint16_t srcNdStride = 0;
    uint32_t dstNdStride = 0;
};
// The fields stand outside the template: g++ 12 does not always emit the constructors of checked fields of templates.
struct FixpipeFields3510 {
    EMU_FIELD_MAX(uint16_t, nSize, 0, 4095);
    EMU_FIELD(uint16_t, mSize, 0);
    EMU_FIELD(uint16_t, srcStride, 0);
    EMU_FIELD(uint32_t, dstStride, 0);
    QuantMode_t quantPre = QuantMode_t::NoQuant;
    uint64_t deqScalar = 0;
    bool reluEn = false;
    uint8_t unitFlag = 0;
    uint8_t dualDstCtl = 0;  // 0: one UB, 1: rows halved over both, 2: columns halved over both
    uint8_t subBlockId = 0;
};
template <CO2Layout format = CO2Layout::ROW_MAJOR>
struct FixpipeParamsArch3510 : FixpipeFields3510 {
    Nz2NdParams params;
};
#endif

}  // namespace AscendC
