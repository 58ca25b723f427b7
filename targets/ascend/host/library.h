// Calls of the vendor's library operators: tensors over memory of the device, and the two phases of a call.
#pragma once

#include <vector>

#include "aclnn/acl_meta.h"
#include "device.h"

namespace library {

// A view of device memory; strides in elements, those of a dense tensor unless given.
class Tensor {
public:
    Tensor(void* data, aclDataType type, std::vector<int64_t> dims, std::vector<int64_t> strides = {}) {
        int64_t count = 1;
        for (int64_t each : dims) count *= each;
        const bool dense = strides.empty();
        if (dense) strides.assign(dims.size(), 1);
        for (size_t axis = dims.size(); dense && axis-- > 1;) strides[axis - 1] = strides[axis] * dims[axis];
        tensor_ = aclCreateTensor(dims.data(), dims.size(), type, strides.data(), 0, ACL_FORMAT_ND, &count, 1, data);
        if (!tensor_) throw std::runtime_error("aclCreateTensor: " + recent_message());
    }
    Tensor(const Tensor&) = delete;
    ~Tensor() { aclDestroyTensor(tensor_); }
    operator aclTensor*() const { return tensor_; }

private:
    aclTensor* tensor_ = nullptr;
};

// Memory that calls share, one after the other on one stream; grows as they ask.
inline void* scratch(int slot, uint64_t bytes) {
    static std::vector<Block> blocks[2];
    std::vector<Block>& mine = blocks[slot];
    if (mine.empty() || mine.back().bytes() < static_cast<int64_t>(bytes)) mine.emplace_back(static_cast<int64_t>(bytes));
    return mine.back().at(0);  // smaller ones stay: calls that use them may still be under way
}

using Run = aclnnStatus (*)(void* workspace, uint64_t size, aclOpExecutor* executor, aclrtStream stream);

// The second phase, in a workspace of the size that the first one asked for.
inline aclError run(aclnnStatus prepared, Run second, uint64_t size, aclOpExecutor* executor, aclrtStream stream) {
    return prepared != ACLNN_SUCCESS ? prepared : second(size ? scratch(0, size) : nullptr, size, executor, stream);
}

}  // namespace library
