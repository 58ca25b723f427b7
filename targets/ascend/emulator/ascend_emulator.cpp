// The machine behind the headers, compiled once per project and linked with the kernels.
#include "kernel_operator.h"

#include "machine/library.h"
