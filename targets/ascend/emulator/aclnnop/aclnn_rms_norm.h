#pragma once

#include "../aclnn/acl_meta.h"

extern "C" {
// y = x / sqrt(mean(x^2) + epsilon) * gamma over the last axis; rstd is 1 / sqrt(mean(x^2) + epsilon)
aclnnStatus aclnnRmsNormGetWorkspaceSize(const aclTensor* x, const aclTensor* gamma, double epsilon, const aclTensor* y,
                                         const aclTensor* rstd, uint64_t* workspace_size, aclOpExecutor** executor);
aclnnStatus aclnnRmsNorm(void* workspace, uint64_t workspace_size, aclOpExecutor* executor, aclrtStream stream);
}
