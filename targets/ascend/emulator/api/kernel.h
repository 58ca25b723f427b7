// Everything that a kernel can name.
#pragma once

#include "absent.h"
#include "intrinsics.h"
#include "math.h"
#include "patterns.h"
#include "print.h"
#include "sort.h"
