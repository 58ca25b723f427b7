// The host's side of operators: compiled and linked with the files of op_host/, called by Python.
//
// A call is integers: the number of inputs, the rank and extents of each, the same for outputs, the number of
// attributes, their values.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "register/op_def_registry.h"
#include "tiling/platform/platform_ascendc.h"

namespace ops {

struct Parameter : OpParamDef {
    std::string name;
    Option option = IGNORE;
    std::vector<ge::DataType> types;
    std::vector<ge::Format> formats;
};

struct Attribute : OpAttrDef {
    std::string name;
    Option option = IGNORE;
    bool integer = false;
};

struct Core : OpAICoreDef {
    ge::graphStatus (*tiling)(gert::TilingContext*) = nullptr;
    std::vector<std::string> units;
};

struct Definition {
    std::string type;
    std::vector<std::unique_ptr<Parameter>> inputs, outputs;
    std::vector<std::unique_ptr<Attribute>> attrs;
    Core core;
    ge::graphStatus (*infer_shape)(gert::InferShapeContext*) = nullptr;
    ge::graphStatus (*infer_type)(gert::InferDataTypeContext*) = nullptr;
};

std::vector<std::unique_ptr<Definition>>& registered() {
    static std::vector<std::unique_ptr<Definition>> all;
    return all;
}

template <typename T>
T& named(std::vector<std::unique_ptr<T>>& all, const char* name) {
    all.push_back(std::make_unique<T>());
    all.back()->name = name;
    return *all.back();
}

OpParamDef& OpParamDef::ParamType(Option option) { return static_cast<Parameter*>(this)->option = option, *this; }
OpParamDef& OpParamDef::DataType(std::initializer_list<ge::DataType> types) {
    return static_cast<Parameter*>(this)->types = types, *this;
}
OpParamDef& OpParamDef::Format(std::initializer_list<ge::Format> formats) {
    return static_cast<Parameter*>(this)->formats = formats, *this;
}
OpAttrDef& OpAttrDef::AttrType(Option option) { return static_cast<Attribute*>(this)->option = option, *this; }
OpAttrDef& OpAttrDef::Int() { return static_cast<Attribute*>(this)->integer = true, *this; }
OpAICoreDef& OpAICoreDef::SetTiling(ge::graphStatus (*function)(gert::TilingContext*)) {
    return static_cast<Core*>(this)->tiling = function, *this;
}
void OpAICoreDef::AddConfig(const char* unit) { static_cast<Core*>(this)->units.emplace_back(unit); }

OpDef::OpDef(const char* type) {
    registered().push_back(std::make_unique<Definition>());
    definition_ = registered().back().get();
    definition_->type = type;
}
OpParamDef& OpDef::Input(const char* name) { return named(definition_->inputs, name); }
OpParamDef& OpDef::Output(const char* name) { return named(definition_->outputs, name); }
OpAttrDef& OpDef::Attr(const char* name) { return named(definition_->attrs, name); }
OpAICoreDef& OpDef::AICore() { return definition_->core; }
OpDef& OpDef::SetInferShape(ge::graphStatus (*function)(gert::InferShapeContext*)) {
    return definition_->infer_shape = function, *this;
}
OpDef& OpDef::SetInferDataType(ge::graphStatus (*function)(gert::InferDataTypeContext*)) {
    return definition_->infer_type = function, *this;
}

}  // namespace ops

namespace gert {
namespace {
template <typename List>
auto* at(List& list, size_t index) {
    return index < list.size() ? &list[index] : nullptr;
}

struct ShapeCall : InferShapeContext {
    std::vector<Shape> inputs, outputs;
    RuntimeAttrs attrs;
    ShapeCall(std::vector<Shape> in, size_t out, RuntimeAttrs a) : inputs(std::move(in)), outputs(out), attrs(a) {}
};

struct TypeCall : InferDataTypeContext {
    std::vector<ge::DataType> inputs, outputs;
};

struct TilingCall : TilingContext {
    static constexpr size_t kCapacity = 2048;  // bytes of tiling data
    static constexpr uint8_t kPoison = 0xA5;   // fields that a tiling function forgets

    std::string type;
    std::vector<StorageShape> inputs, outputs;
    RuntimeAttrs attrs;
    std::vector<uint8_t> data = std::vector<uint8_t>(kCapacity, kPoison);
    std::vector<size_t> workspace;
    size_t used = 0;
    uint64_t key = 0;
    uint32_t blocks = 0, mode = 0;

    TilingCall(std::string t, const std::vector<Shape>& in, const std::vector<Shape>& out, RuntimeAttrs a)
        : type(std::move(t)), inputs(in.begin(), in.end()), outputs(out.begin(), out.end()), attrs(a) {}
};

TilingCall& call(TilingContext* c) { return *static_cast<TilingCall*>(c); }
const TilingCall& call(const TilingContext* c) { return *static_cast<const TilingCall*>(c); }
}  // namespace

const Shape* InferShapeContext::GetInputShape(size_t index) const {
    return at(static_cast<const ShapeCall*>(this)->inputs, index);
}
Shape* InferShapeContext::GetOutputShape(size_t index) { return at(static_cast<ShapeCall*>(this)->outputs, index); }
const RuntimeAttrs* InferShapeContext::GetAttrs() const { return &static_cast<const ShapeCall*>(this)->attrs; }

ge::DataType InferDataTypeContext::GetInputDataType(size_t index) const {
    return static_cast<const TypeCall*>(this)->inputs.at(index);
}
ge::graphStatus InferDataTypeContext::SetOutputDataType(size_t index, ge::DataType type) {
    return static_cast<TypeCall*>(this)->outputs.at(index) = type, ge::GRAPH_SUCCESS;
}

const char* TilingContext::GetNodeName() const { return call(this).type.c_str(); }
const StorageShape* TilingContext::GetInputShape(size_t index) const { return at(call(this).inputs, index); }
const StorageShape* TilingContext::GetOutputShape(size_t index) const { return at(call(this).outputs, index); }
const RuntimeAttrs* TilingContext::GetAttrs() const { return &call(this).attrs; }
fe::PlatFormInfos* TilingContext::GetPlatformInfo() const { return nullptr; }
void* TilingContext::Room(size_t bytes) {
    if (bytes > TilingCall::kCapacity) return nullptr;
    call(this).used = bytes;
    return call(this).data.data();
}
size_t* TilingContext::GetWorkspaceSizes(size_t count) {
    call(this).workspace.resize(count, 0);
    return call(this).workspace.data();
}
ge::graphStatus TilingContext::SetBlockDim(uint32_t blocks) { return call(this).blocks = blocks, ge::GRAPH_SUCCESS; }
ge::graphStatus TilingContext::SetTilingKey(uint64_t key) { return call(this).key = key, ge::GRAPH_SUCCESS; }
ge::graphStatus TilingContext::SetScheduleMode(uint32_t mode) { return call(this).mode = mode, ge::GRAPH_SUCCESS; }

}  // namespace gert

namespace {
int cores[2] = {24, 48};  // cube, vector

std::vector<gert::Shape> shapes(const int64_t*& at) {
    std::vector<gert::Shape> out(size_t(*at++));
    for (gert::Shape& shape : out) {
        for (int64_t rank = *at++; rank > 0; rank--) shape.AppendDim(*at++);
    }
    return out;
}

const ops::Definition* find(const char* type) {
    for (const auto& each : ops::registered()) {
        if (each->type == type) return each.get();
    }
    return nullptr;
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

template <typename Items, typename Text>
std::string list(const Items& items, Text text) {
    std::string out;
    for (const auto& each : items) out += (out.empty() ? "" : ",") + text(each);
    return "[" + out + "]";
}

std::string number(int64_t value) { return std::to_string(value); }

std::string parameter(const std::unique_ptr<ops::Parameter>& p) {
    return "{\"name\":" + quoted(p->name) + ",\"option\":" + number(p->option) + ",\"types\":" +
           list(p->types, number) + ",\"formats\":" + list(p->formats, number) + "}";
}

std::string attribute(const std::unique_ptr<ops::Attribute>& a) {
    return "{\"name\":" + quoted(a->name) + ",\"option\":" + number(a->option) + ",\"integer\":" + number(a->integer) +
           "}";
}
}  // namespace

namespace emu {
int core_count(bool cube) { return cores[cube ? 0 : 1]; }
uint64_t memory_bytes(int) { return 0; }  // tiling functions here do not ask
}  // namespace emu

extern "C" {
void dsv4c_op_cores(int cube, int vector) { cores[0] = cube, cores[1] = vector; }

const char* dsv4c_op_definitions() {
    static std::string text;
    text = list(ops::registered(), [](const std::unique_ptr<ops::Definition>& op) {
        return "{\"type\":" + quoted(op->type) + ",\"inputs\":" + list(op->inputs, parameter) + ",\"outputs\":" +
               list(op->outputs, parameter) + ",\"attrs\":" + list(op->attrs, attribute) + ",\"units\":" +
               list(op->core.units, quoted) + "}";
    });
    return text.c_str();
}

// Leaves the rank and the extents of each output, and then their element types.
uint32_t dsv4c_op_infer(const char* type, const int64_t* at, int64_t* out) {
    const ops::Definition* op = find(type);
    if (op == nullptr || op->infer_shape == nullptr || op->infer_type == nullptr) return ge::GRAPH_FAILED;
    std::vector<gert::Shape> inputs = shapes(at);
    shapes(at);  // outputs: not known here
    gert::ShapeCall call(std::move(inputs), op->outputs.size(), {at + 1, size_t(*at)});
    if (op->infer_shape(&call) != ge::GRAPH_SUCCESS) return ge::GRAPH_FAILED;
    gert::TypeCall types;
    for (const auto& each : op->inputs) types.inputs.push_back(each->types.at(0));
    types.outputs.resize(op->outputs.size(), ge::DT_UNDEFINED);
    if (op->infer_type(&types) != ge::GRAPH_SUCCESS) return ge::GRAPH_FAILED;
    for (const gert::Shape& shape : call.outputs) {
        *out++ = int64_t(shape.GetDimNum());
        for (size_t axis = 0; axis < shape.GetDimNum(); axis++) *out++ = shape.GetDim(axis);
    }
    for (const ge::DataType each : types.outputs) *out++ = int64_t(each);
    return ge::GRAPH_SUCCESS;
}

// Leaves blocks, bytes of workspace, schedule mode, and bytes of tiling data, which goes to `data`.
uint32_t dsv4c_op_tiling(const char* type, const int64_t* at, int64_t* out, uint8_t* data) {
    const ops::Definition* op = find(type);
    if (op == nullptr || op->core.tiling == nullptr) return ge::GRAPH_FAILED;
    const std::vector<gert::Shape> inputs = shapes(at), outputs = shapes(at);
    gert::TilingCall call(op->type, inputs, outputs, {at + 1, size_t(*at)});
    if (op->core.tiling(&call) != ge::GRAPH_SUCCESS) return ge::GRAPH_FAILED;
    out[0] = call.blocks;
    out[1] = 0;
    for (const size_t each : call.workspace) out[1] += int64_t(each);
    out[2] = call.mode;
    out[3] = int64_t(call.used);
    std::copy_n(call.data.begin(), call.used, data);
    return ge::GRAPH_SUCCESS;
}
}
