// Definitions of operators: what they take and give, and the functions that a call needs. See docs/ascend.md.
#pragma once

#include <string>
#include <vector>

#include "../exe_graph/runtime/infer_datatype_context.h"
#include "../exe_graph/runtime/infer_shape_context.h"
#include "../exe_graph/runtime/tiling_context.h"

namespace ops {

enum Option { IGNORE = 0, OPTIONAL = 1, REQUIRED = 2, DYNAMIC = 3 };

class OpParamDef {
public:
    explicit OpParamDef(const char* name) : name(name) {}
    OpParamDef& ParamType(Option option) { return this->option = option, *this; }
    OpParamDef& DataType(std::vector<ge::DataType> list) { return types = std::move(list), *this; }
    OpParamDef& Format(std::vector<ge::Format> list) { return formats = std::move(list), *this; }

    std::string name;
    Option option = IGNORE;
    std::vector<ge::DataType> types;
    std::vector<ge::Format> formats;
};

class OpAttrDef {
public:
    explicit OpAttrDef(const char* name) : name(name) {}
    OpAttrDef& AttrType(Option option) { return this->option = option, *this; }
    OpAttrDef& Int() { return *this; }

    std::string name;
    Option option = IGNORE;
};

using Tiling = ge::graphStatus (*)(gert::TilingContext*);
using InferShape = ge::graphStatus (*)(gert::InferShapeContext*);
using InferDataType = ge::graphStatus (*)(gert::InferDataTypeContext*);

class OpAICoreDef {
public:
    OpAICoreDef& SetTiling(Tiling function) { return tiling = function, *this; }
    OpAICoreDef& AddConfig(const char* unit) { return units.emplace_back(unit), *this; }

    Tiling tiling = nullptr;
    std::vector<std::string> units;
};

class OpDef {
public:
    explicit OpDef(const char* type) : type(type) {}
    OpParamDef& Input(const char* name) { return inputs.emplace_back(name); }
    OpParamDef& Output(const char* name) { return outputs.emplace_back(name); }
    OpAttrDef& Attr(const char* name) { return attrs.emplace_back(name); }
    OpAICoreDef& AICore() { return core; }
    OpDef& SetInferShape(InferShape function) { return infer_shape = function, *this; }
    OpDef& SetInferDataType(InferDataType function) { return infer_type = function, *this; }

    std::string type;
    std::vector<OpParamDef> inputs, outputs;
    std::vector<OpAttrDef> attrs;
    OpAICoreDef core;
    InferShape infer_shape = nullptr;
    InferDataType infer_type = nullptr;
};

// All operators of the library that this is a part of.
std::vector<OpDef>& registered();

}  // namespace ops

#define OP_ADD(type) static const bool dsv4c_added_##type = (ops::registered().emplace_back(type(#type)), true)
