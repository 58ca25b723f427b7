// AscendC for the host: unchanged kernels include this file under the vendor's name. See docs/emulator.md.
#ifndef DSV4C_EMULATOR
#define DSV4C_EMULATOR 1
#include "api/kernel.h"
#include "dsv4c_debug.h"
#endif

// Some kernels spell out the attribute behind the keyword before they include this file. A host compiler has none.
#undef __aicore__
#define __aicore__
