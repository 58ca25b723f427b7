// Many kernels include it for everything but the Matmul objects, which are not modelled.
#include "../kernel_operator.h"
