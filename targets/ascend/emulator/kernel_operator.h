// AscendC for the host: unchanged kernels include this file under the vendor's name. See docs/emulator.md.
#pragma once

#define DSV4C_EMULATOR 1

#include "api/print.h"
#include "api/sort.h"
#include "dsv4c_debug.h"
