// What a tiling function sees, and what it leaves: tiling data, blocks, workspace, schedule mode.
#pragma once

#include <cstring>
#include <vector>

#include "shape.h"

namespace fe {
class PlatFormInfos {};
}  // namespace fe

namespace gert {

class TilingContext {
public:
    static constexpr size_t kCapacity = 2048;  // bytes of tiling data
    static constexpr uint8_t kPoison = 0xA5;   // fields that a tiling function forgets

    TilingContext(const char* type, const std::vector<Shape>& inputs, const std::vector<Shape>& outputs,
                  RuntimeAttrs attrs)
        : type_(type), attrs_(attrs), data_(kCapacity, kPoison) {
        for (const Shape& shape : inputs) inputs_.emplace_back(shape);
        for (const Shape& shape : outputs) outputs_.emplace_back(shape);
    }

    const char* GetNodeName() const { return type_; }
    const char* GetNodeType() const { return type_; }
    const StorageShape* GetInputShape(size_t index) const { return index < inputs_.size() ? &inputs_[index] : nullptr; }
    const StorageShape* GetOutputShape(size_t index) const {
        return index < outputs_.size() ? &outputs_[index] : nullptr;
    }
    const RuntimeAttrs* GetAttrs() const { return &attrs_; }
    fe::PlatFormInfos* GetPlatformInfo() { return &platform_; }
    template <typename T>
    T* GetTilingData() {
        if (sizeof(T) > kCapacity) return nullptr;
        used_ = sizeof(T);
        return reinterpret_cast<T*>(data_.data());
    }
    size_t* GetWorkspaceSizes(size_t count) {
        workspace_.resize(count, 0);
        return workspace_.data();
    }
    ge::graphStatus SetBlockDim(uint32_t blocks) { return blocks_ = blocks, ge::GRAPH_SUCCESS; }
    ge::graphStatus SetTilingKey(uint64_t key) { return key_ = key, ge::GRAPH_SUCCESS; }
    ge::graphStatus SetScheduleMode(uint32_t mode) { return mode_ = mode, ge::GRAPH_SUCCESS; }
    uint32_t GetBlockDim() const { return blocks_; }
    uint64_t GetTilingKey() const { return key_; }
    uint32_t GetScheduleMode() const { return mode_; }

    // For the emulator: the tiling data that was asked for, and the sum of workspaces.
    const std::vector<uint8_t>& data() const { return data_; }
    size_t used() const { return used_; }
    size_t workspace() const {
        size_t sum = 0;
        for (const size_t each : workspace_) sum += each;
        return sum;
    }

private:
    const char* type_;
    std::vector<StorageShape> inputs_, outputs_;
    RuntimeAttrs attrs_;
    fe::PlatFormInfos platform_;
    std::vector<uint8_t> data_;
    std::vector<size_t> workspace_;
    size_t used_ = 0;
    uint64_t key_ = 0;
    uint32_t blocks_ = 0, mode_ = 0;
};

}  // namespace gert
