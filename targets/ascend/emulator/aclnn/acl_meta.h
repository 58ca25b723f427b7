// Tensors and executors of the library's operators.
#pragma once

#include "../acl/acl.h"

struct aclTensor;
struct aclOpExecutor;
using aclnnStatus = int32_t;
constexpr aclnnStatus ACLNN_SUCCESS = 0;
constexpr aclnnStatus ACLNN_ERR_PARAM_NULLPTR = 161001;
constexpr aclnnStatus ACLNN_ERR_PARAM_INVALID = 161002;

enum aclDataType { ACL_DT_UNDEFINED = -1, ACL_FLOAT = 0, ACL_FLOAT16 = 1, ACL_INT32 = 3, ACL_INT64 = 9, ACL_BF16 = 27 };
enum aclFormat { ACL_FORMAT_UNDEFINED = -1, ACL_FORMAT_ND = 2 };

extern "C" {
aclTensor* aclCreateTensor(const int64_t* view_dims, uint64_t view_dims_num, aclDataType type, const int64_t* stride,
                           int64_t offset, aclFormat format, const int64_t* storage_dims, uint64_t storage_dims_num,
                           void* data);
aclnnStatus aclDestroyTensor(const aclTensor* tensor);
}
