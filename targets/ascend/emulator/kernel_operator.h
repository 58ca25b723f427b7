// AscendC for the host: unchanged kernels include this file under the vendor's name. See docs/emulator.md.
#pragma once

#define DSV4C_EMULATOR 1

#include "api/sort.h"
