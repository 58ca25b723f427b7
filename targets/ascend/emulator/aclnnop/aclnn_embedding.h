#pragma once

#include "../aclnn/acl_meta.h"

extern "C" {
// out [.., D] = weight [N, D] at indices [..]
aclnnStatus aclnnEmbeddingGetWorkspaceSize(const aclTensor* weight, const aclTensor* indices, const aclTensor* out,
                                           uint64_t* workspace_size, aclOpExecutor** executor);
aclnnStatus aclnnEmbedding(void* workspace, uint64_t workspace_size, aclOpExecutor* executor, aclrtStream stream);
}
