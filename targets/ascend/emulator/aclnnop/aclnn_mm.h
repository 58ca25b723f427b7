#pragma once

#include "../aclnn/acl_meta.h"

extern "C" {
// out [M, N] = self [M, K] mat2 [K, N]
aclnnStatus aclnnMmGetWorkspaceSize(const aclTensor* self, const aclTensor* mat2, aclTensor* out, int8_t cube_math_type,
                                    uint64_t* workspace_size, aclOpExecutor** executor);
aclnnStatus aclnnMm(void* workspace, uint64_t workspace_size, aclOpExecutor* executor, aclrtStream stream);
}
