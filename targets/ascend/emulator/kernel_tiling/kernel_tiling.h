// On the device the build writes tiling structures here; on the host they come before the kernel (-include).
#include "../kernel_operator.h"
