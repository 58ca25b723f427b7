// The cube path: L1 -> L0A/L0B by LoadData, L0 -> L0C by Mmad, L0C -> GM (and UB on 3510) by Fixpipe.
#pragma once

#include "cube_params.h"

namespace emu {

struct Load2D {
    int64_t start, times, src_stride, dst_gap;
    bool transpose;
};
struct Load2DV2 {
    int64_t m_start, k_start, m_step, k_step, src_stride, dst_stride;
    bool transpose;
};
struct Load3D {
    int64_t pad[4], h, w, channels, k_ext, m_ext, k_start, m_start, stride_w, stride_h, filter_w, filter_h, dilation_w,
        dilation_h;
    bool transpose;
    uint64_t pad_value;
};
// A tensor that was never given a memory lies at address 0 of the one that the instruction uses: what the device does.
Place settled(const Place& p, TPosition where, const char* who, At at);
void load_2d(const Place& dst, const Place& src, Dtype type, const Load2D& p, At at);
void load_2d_gm(const Place& dst, uint64_t src, Dtype type, const Load2D& p, At at);
void load_2d_v2(const Place& dst, const Place& src, Dtype type, const Load2DV2& p, At at);
void load_transposed(const Place& dst, const Place& src, Dtype type, const Load2D& p, int64_t fractal_gap, At at);
void load_3d(const Place& dst, const Place& src, Dtype type, const Load3D& p, At at);
void init_const(const Place& dst, Dtype type, int64_t times, int64_t blocks, int64_t gap, uint64_t value, At at);

struct Product {
    int64_t m, n, k;
    bool zero, from_bias, align_k;
    int unit_flag;
    bool unmodelled;
};
void mmad(const Place& c, const Place& a, const Place& b, const Place* bias, Dtype ct, Dtype at_type, Dtype bt,
          const Product& p, At at);

struct Fix {
    int64_t n, m, src_stride, dst_stride, nd, src_nd, dst_nd;
    bool relu, row_major;
    QuantMode_t quant;
    uint64_t scale;
    int unit_flag;
    int dual = 0, sub = 0;  // 3510: which vector core's UB
};
void fixpipe_gm(uint64_t dst, const Place& src, Dtype to, Dtype from, const Fix& p, const Place* vector, At at);
void fixpipe_local(const Place& dst, const Place& src, Dtype to, Dtype from, const Fix& p, const Place* vector, At at);

template <typename A, typename B, typename C>
constexpr bool mmad_types() {
    if (std::is_same<A, B>::value && one_of<A, half, bfloat16_t, float> && std::is_same<C, float>::value) return true;
    if (std::is_same<A, int8_t>::value && std::is_same<B, int8_t>::value && std::is_same<C, int32_t>::value)
        return true;
    return k3510 && one_of<A, fp8_e4m3fn_t, fp8_e5m2_t> && one_of<B, fp8_e4m3fn_t, fp8_e5m2_t> &&
           std::is_same<C, float>::value;
}

}  // namespace emu

namespace AscendC {

template <typename T>
inline void LoadData(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LoadData2DParams& p, At at = At()) {
    emu::load_2d(dst.place(), src.place(), emu::dtype<T>,
                 {p.startIndex, p.repeatTimes, p.srcStride, p.dstGap, p.ifTranspose}, at);
}
template <typename T>
inline void LoadData(const LocalTensor<T>& dst, const GlobalTensor<T>& src, const LoadData2DParams& p, At at = At()) {
    static_assert(!emu::k3510 || sizeof(T) == 0, "LoadData from GM to L0 does not exist on 3510");
    emu::load_2d_gm(dst.place(), src.address(), emu::dtype<T>,
                    {p.startIndex, p.repeatTimes, p.srcStride, p.dstGap, p.ifTranspose}, at);
}
template <typename T>
inline void LoadData(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LoadData2DParamsV2& p, At at = At()) {
    static_assert(emu::k3510 || sizeof(T) == 0, "LoadData2DParamsV2 is of 3510; use LoadData2DParams");
    emu::load_2d_v2(dst.place(), src.place(), emu::dtype<T>,
                    {p.mStartPosition, p.kStartPosition, p.mStep, p.kStep, p.srcStride, p.dstStride, p.ifTranspose},
                    at);
}
template <typename T>
inline void LoadDataWithTranspose(const LocalTensor<T>& dst, const LocalTensor<T>& src,
                                  const LoadData2dTransposeParams& p, At at = At()) {
    static_assert(sizeof(T) <= 2, "LoadDataWithTranspose: the emulator models 8- and 16-bit types");
    emu::load_transposed(dst.place(), src.place(), emu::dtype<T>,
                         {p.startIndex, p.repeatTimes, p.srcStride, p.dstGap, true}, p.dstFracGap, at);
}
template <typename T, typename U>
inline void LoadData(const LocalTensor<T>& dst, const LocalTensor<T>& src, const LoadData3DParamsV2<U>& p,
                     At at = At()) {
    emu::load_3d(dst.place(), src.place(), emu::dtype<T>,
                 {{p.padList[0], p.padList[1], p.padList[2], p.padList[3]},
                  p.l1H,
                  p.l1W,
                  p.channelSize,
                  p.kExtension,
                  p.mExtension,
                  p.kStartPt,
                  p.mStartPt,
                  p.strideW,
                  p.strideH,
                  p.filterW,
                  p.filterH,
                  p.dilationFilterW,
                  p.dilationFilterH,
                  p.enTranspose,
                  emu::bits_of(p.padValue)},
                 at);
}
// Units of 32 bytes in L1, of one fractal (512 bytes) in L0A and L0B.
template <typename T>
inline void InitConstValue(const LocalTensor<T>& dst, const InitConstValueParams<T>& p, At at = At()) {
    static_assert(sizeof(T) == 2 || sizeof(T) == 4, "InitConstValue: 16- and 32-bit types");
    emu::init_const(dst.place(), emu::dtype<T>, p.repeatTimes, p.blockNum, p.dstGap, emu::bits_of(p.initValue), at);
}
template <typename T>
inline void Fill(const LocalTensor<T>& dst, const InitConstValueParams<T>& p, At at = At()) {
    InitConstValue(dst, p, at);
}

namespace emu_detail {
inline emu::Product product_of(const MmadParams& p, bool from_bias) {
    const bool unmodelled = p.enSsparse || p.enWinogradA || p.enWinogradB;
    return {p.m, p.n, p.k, p.cmatrixInitVal, from_bias, p.kDirectionAlign, p.unitFlag, unmodelled};
}
}  // namespace emu_detail

#define EMU_MMAD_RULE (emu::mmad_types<U, S, T>())
template <typename T, typename U, typename S>
inline void Mmad(const LocalTensor<T>& c, const LocalTensor<U>& a, const LocalTensor<S>& b, const MmadParams& p,
                 At at = At()) {
    static_assert(EMU_MMAD_RULE, "Mmad: this combination of types does not exist on this chip");
    emu::mmad(emu::settled(c.place(), TPosition::CO1, "Mmad", at), a.place(), b.place(), nullptr,
              emu::dtype<T>, emu::dtype<U>, emu::dtype<S>, emu_detail::product_of(p, p.cmatrixSource), at);
}
template <typename T, typename U, typename S, typename V>
inline void Mmad(const LocalTensor<T>& c, const LocalTensor<U>& a, const LocalTensor<S>& b, const LocalTensor<V>& bias,
                 const MmadParams& p, At at = At()) {
    static_assert(EMU_MMAD_RULE && std::is_same<T, V>::value,
                  "Mmad: this combination of types does not exist on this chip");
    emu::mmad(emu::settled(c.place(), TPosition::CO1, "Mmad", at), a.place(), b.place(), &bias.place(),
              emu::dtype<T>, emu::dtype<U>, emu::dtype<S>, emu_detail::product_of(p, true), at);
}

namespace emu_detail {
inline emu::Fix fix_of(const FixpipeParamsV220& p, bool row_major) {
    return {p.nSize,  p.mSize,   p.srcStride, int64_t(p.dstStride), p.ndNum,   p.srcNdStride, int64_t(p.dstNdStride),
            p.reluEn, row_major, p.quantPre,  p.deqScalar,          p.unitFlag};
}
}  // namespace emu_detail

template <typename T, typename U, const FixpipeConfig& config = CFG_ROW_MAJOR>
inline void Fixpipe(const GlobalTensor<T>& dst, const LocalTensor<U>& src, const FixpipeParamsV220& p, At at = At()) {
    emu::fixpipe_gm(dst.address(), emu::settled(src.place(), TPosition::CO1, "Fixpipe", at), emu::dtype<T>,
                    emu::dtype<U>, emu_detail::fix_of(p, config.format == CO2Layout::ROW_MAJOR), nullptr, at);
}
template <typename T, typename U, const FixpipeConfig& config = CFG_ROW_MAJOR>
inline void Fixpipe(const GlobalTensor<T>& dst, const LocalTensor<U>& src, const LocalTensor<uint64_t>& quant,
                    const FixpipeParamsV220& p, At at = At()) {
    emu::fixpipe_gm(dst.address(), emu::settled(src.place(), TPosition::CO1, "Fixpipe", at), emu::dtype<T>,
                    emu::dtype<U>, emu_detail::fix_of(p, config.format == CO2Layout::ROW_MAJOR), &quant.place(), at);
}
// L0C -> L1, in fractals.
template <typename T, typename U, const FixpipeConfig& config = CFG_NZ>
inline void Fixpipe(const LocalTensor<T>& dst, const LocalTensor<U>& src, const FixpipeParamsV220& p, At at = At()) {
    emu::fixpipe_local(dst.place(), src.place(), emu::dtype<T>, emu::dtype<U>,
                       emu_detail::fix_of(p, config.format == CO2Layout::ROW_MAJOR), nullptr, at);
}

#if __NPU_ARCH__ == 3510
namespace emu_detail {
// Between columns of fractals dstStride is in elements of T here, and in blocks of 32 bytes in FixpipeParamsV220 (CANN's
// guide from 2201 to 3510).
template <typename T, CO2Layout format>
inline emu::Fix fix_of(const FixpipeParamsArch3510<format>& p) {
    const bool rows = format == CO2Layout::ROW_MAJOR;
    return {p.nSize,
            p.mSize,
            p.srcStride,
            rows ? int64_t(p.dstStride) : int64_t(p.dstStride) * int64_t(sizeof(T)) / 32,
            p.params.ndNum,
            p.params.srcNdStride,
            int64_t(p.params.dstNdStride),
            p.reluEn,
            rows,
            p.quantPre,
            p.deqScalar,
            p.unitFlag,
            p.dualDstCtl,
            p.subBlockId};
}
}  // namespace emu_detail
template <typename T, typename U, const FixpipeConfig& config = CFG_ROW_MAJOR>
inline void Fixpipe(const GlobalTensor<T>& dst, const LocalTensor<U>& src,
                    const FixpipeParamsArch3510<config.format>& p, At at = At()) {
    emu::fixpipe_gm(dst.address(), emu::settled(src.place(), TPosition::CO1, "Fixpipe", at), emu::dtype<T>,
                    emu::dtype<U>, emu_detail::fix_of<T>(p), nullptr, at);
}
template <typename T, typename U, const FixpipeConfig& config = CFG_ROW_MAJOR>
inline void Fixpipe(const LocalTensor<T>& dst, const LocalTensor<U>& src, const FixpipeParamsArch3510<config.format>& p,
                    At at = At()) {
    emu::fixpipe_local(dst.place(), src.place(), emu::dtype<T>, emu::dtype<U>, emu_detail::fix_of<T>(p), nullptr, at);
}
#endif

}  // namespace AscendC
