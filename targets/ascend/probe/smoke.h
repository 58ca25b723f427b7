// The smoke kernels: on vector cores, on cube cores, on both.
#pragma once

#include "launcher.h"

extern const Launch kSmoke[3];
