// What inference of element types sees.
#pragma once

#include <cstddef>

#include "../../graph/types.h"

namespace gert {

class InferDataTypeContext {
public:
    ge::DataType GetInputDataType(size_t index) const;
    ge::graphStatus SetOutputDataType(size_t index, ge::DataType type);
};

}  // namespace gert
