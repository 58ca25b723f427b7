// What shape inference of an operator sees.
#pragma once

#include <vector>

#include "shape.h"

namespace gert {

class InferShapeContext {
public:
    InferShapeContext(std::vector<Shape> inputs, size_t outputs, RuntimeAttrs attrs)
        : inputs_(std::move(inputs)), outputs_(outputs), attrs_(attrs) {}
    const Shape* GetInputShape(size_t index) const { return index < inputs_.size() ? &inputs_[index] : nullptr; }
    Shape* GetOutputShape(size_t index) { return index < outputs_.size() ? &outputs_[index] : nullptr; }
    const RuntimeAttrs* GetAttrs() const { return &attrs_; }

private:
    std::vector<Shape> inputs_, outputs_;
    RuntimeAttrs attrs_;
};

}  // namespace gert
