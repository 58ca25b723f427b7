// A part of the device's headers that some kernels name; here all is one.
#include "kernel_operator.h"
