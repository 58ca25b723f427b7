// What shape inference of an operator sees.
#pragma once

#include "shape.h"

namespace gert {

class InferShapeContext {
public:
    const Shape* GetInputShape(size_t index) const;
    Shape* GetOutputShape(size_t index);
    const RuntimeAttrs* GetAttrs() const;
};

}  // namespace gert
