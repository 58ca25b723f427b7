// Definitions of operators: what they take and give, and the functions that a call needs. See docs/ascend.md.
//
// Declarations only, here and in exe_graph/: an operator project has many small files, operators.cpp has the rest.
#pragma once

#include "../exe_graph/runtime/infer_datatype_context.h"
#include "../exe_graph/runtime/infer_shape_context.h"
#include "../exe_graph/runtime/tiling_context.h"

namespace ops {

enum Option { IGNORE = 0, OPTIONAL = 1, REQUIRED = 2, DYNAMIC = 3 };

class OpParamDef {
public:
    OpParamDef& ParamType(Option option);
    OpParamDef& DataType(std::initializer_list<ge::DataType> types);
    OpParamDef& Format(std::initializer_list<ge::Format> formats);
};

class OpAttrDef {
public:
    OpAttrDef& AttrType(Option option);
    OpAttrDef& Int();
};

class OpAICoreDef {
public:
    OpAICoreDef& SetTiling(ge::graphStatus (*function)(gert::TilingContext*));
    void AddConfig(const char* unit);
};

struct Definition;

class OpDef {
public:
    explicit OpDef(const char* type);
    OpParamDef& Input(const char* name);
    OpParamDef& Output(const char* name);
    OpAttrDef& Attr(const char* name);
    OpAICoreDef& AICore();
    OpDef& SetInferShape(ge::graphStatus (*function)(gert::InferShapeContext*));
    OpDef& SetInferDataType(ge::graphStatus (*function)(gert::InferDataTypeContext*));

private:
    Definition* definition_;  // lives as long as the library
};

}  // namespace ops

#define OP_ADD(type) static const ops::OpDef dsv4c_added_##type = type(#type)
