// What inference of element types sees.
#pragma once

#include <vector>

#include "../../graph/types.h"

namespace gert {

class InferDataTypeContext {
public:
    InferDataTypeContext(std::vector<ge::DataType> inputs, size_t outputs)
        : inputs_(std::move(inputs)), outputs_(outputs, ge::DT_UNDEFINED) {}
    ge::DataType GetInputDataType(size_t index) const {
        return index < inputs_.size() ? inputs_[index] : ge::DT_UNDEFINED;
    }
    ge::DataType GetOutputDataType(size_t index) const {
        return index < outputs_.size() ? outputs_[index] : ge::DT_UNDEFINED;
    }
    ge::graphStatus SetOutputDataType(size_t index, ge::DataType type) {
        if (index >= outputs_.size()) return ge::GRAPH_FAILED;
        outputs_[index] = type;
        return ge::GRAPH_SUCCESS;
    }

private:
    std::vector<ge::DataType> inputs_, outputs_;
};

}  // namespace gert
