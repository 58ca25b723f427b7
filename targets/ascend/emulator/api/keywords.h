// The device's keywords for a host compiler, and the core type that this translation unit is compiled for.
#pragma once

#ifndef __NPU_ARCH__
#define __NPU_ARCH__ 2201
#endif
#if __NPU_ARCH__ != 2201 && __NPU_ARCH__ != 3510
#error "__NPU_ARCH__ must be 2201 or 3510"
#endif
// A kernel is compiled once per core type: with -DDSV4C_CORE_AIC for the cube cores, without for the vector cores.
#ifdef DSV4C_CORE_AIC
#define __DAV_CUBE__ 1
#else
#define __DAV_VEC__ 1
#endif
// What older code asks instead.
#if __NPU_ARCH__ == 3510
#define __CCE_AICORE__ 310
#else
#define __CCE_AICORE__ 220
#ifdef DSV4C_CORE_AIC
#define __DAV_C220_CUBE__ 1
#else
#define __DAV_C220_VEC__ 1
#endif
#endif

#define __aicore__
#define __global__
#define __gm__
#define __ubuf__
#define __cbuf__
#define __ca__
#define __cb__
#define __cc__
#define __fbuf__
#define __inout_pipe__(pipe)
#define __in_pipe__(pipe)
#define __out_pipe__(pipe)
#define __schedmode__(mode)
#define __force_inline__ inline __attribute__((always_inline))
#define __forceinline__ __force_inline__
// Newer kernels fix the core type in the signature; sections keep it, so that the launcher can ask where a function
// lies.
#define __vector__ __attribute__((section("dsv4c_aiv")))
#define __cube__ __attribute__((section("dsv4c_aic")))
#define DSV4C_MIX_SECTION(aic, aiv) __attribute__((section("dsv4c_mix_" #aic "_" #aiv)))
#define __mix__(aic, aiv) DSV4C_MIX_SECTION(aic, aiv)

#define GM_ADDR unsigned char*
