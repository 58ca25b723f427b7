// Shapes, and the attributes of a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "../../graph/types.h"

namespace gert {

class Shape {
public:
    static constexpr size_t kMaxDimNum = 25;

    Shape() = default;
    Shape(std::initializer_list<int64_t> extents) {
        for (const int64_t extent : extents) AppendDim(extent);
    }
    size_t GetDimNum() const { return count_; }
    void SetDimNum(size_t count) { count_ = count < kMaxDimNum ? count : kMaxDimNum; }
    int64_t GetDim(size_t axis) const { return axis < count_ ? extents_[axis] : -1; }
    void SetDim(size_t axis, int64_t extent) {
        if (axis < kMaxDimNum) extents_[axis] = extent;
    }
    Shape& AppendDim(int64_t extent) {
        if (count_ < kMaxDimNum) extents_[count_++] = extent;
        return *this;
    }
    int64_t GetShapeSize() const {
        int64_t size = 1;
        for (size_t axis = 0; axis < count_; axis++) size *= extents_[axis];
        return size;
    }

private:
    size_t count_ = 0;
    int64_t extents_[kMaxDimNum] = {};
};

// A shape as the model has it and as it lies in memory: the same for FORMAT_ND.
class StorageShape {
public:
    StorageShape() = default;
    explicit StorageShape(const Shape& shape) : shape_(shape) {}
    const Shape& GetOriginShape() const { return shape_; }
    const Shape& GetStorageShape() const { return shape_; }

private:
    Shape shape_;
};

// Attributes in the order of the definition; here integers only.
class RuntimeAttrs {
public:
    RuntimeAttrs(const int64_t* values, size_t count) : values_(values), count_(count) {}
    size_t GetAttrNum() const { return count_; }
    const int64_t* GetInt(size_t index) const { return index < count_ ? values_ + index : nullptr; }
    template <typename T>
    const T* GetAttrPointer(size_t index) const {
        static_assert(sizeof(T) == 8, "only integers are modelled");
        return reinterpret_cast<const T*>(GetInt(index));
    }

private:
    const int64_t* values_;
    size_t count_;
};

}  // namespace gert
