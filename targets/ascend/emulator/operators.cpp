// Calls the host's side of operators, for Python: compiled and linked with the files of op_host/.
//
// A call is integers: the number of inputs, the rank and extents of each, the same for outputs, the number of
// attributes, their values.
#include <algorithm>

#include "register/op_def_registry.h"
#include "tiling/platform/platform_ascendc.h"

namespace ops {
std::vector<OpDef>& registered() {
    static std::vector<OpDef> all;
    return all;
}
}  // namespace ops

namespace {
int cores[2] = {24, 48};  // cube, vector

class Call {
public:
    explicit Call(const int64_t* at) : inputs(shapes(at)), outputs(shapes(at)), attrs(at + 1, size_t(*at)) {}

private:
    static std::vector<gert::Shape> shapes(const int64_t*& at) {
        std::vector<gert::Shape> out(size_t(*at++));
        for (gert::Shape& shape : out) {
            for (int64_t rank = *at++; rank > 0; rank--) shape.AppendDim(*at++);
        }
        return out;
    }

public:
    std::vector<gert::Shape> inputs, outputs;
    gert::RuntimeAttrs attrs;
};

const ops::OpDef* find(const char* type) {
    for (const ops::OpDef& each : ops::registered()) {
        if (each.type == type) return &each;
    }
    return nullptr;
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

std::string list(const std::vector<std::string>& items) {
    std::string out;
    for (const std::string& each : items) out += (out.empty() ? "" : ",") + each;
    return "[" + out + "]";
}

std::string parameters(const std::vector<ops::OpParamDef>& all) {
    std::vector<std::string> out;
    for (const ops::OpParamDef& p : all) {
        std::vector<std::string> types, formats;
        for (const ge::DataType each : p.types) types.push_back(std::to_string(int(each)));
        for (const ge::Format each : p.formats) formats.push_back(std::to_string(int(each)));
        out.push_back("{\"name\":" + quoted(p.name) + ",\"option\":" + std::to_string(int(p.option)) +
                      ",\"types\":" + list(types) + ",\"formats\":" + list(formats) + "}");
    }
    return list(out);
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
    std::vector<std::string> out;
    for (const ops::OpDef& op : ops::registered()) {
        std::vector<std::string> attrs, units;
        for (const ops::OpAttrDef& each : op.attrs) attrs.push_back(quoted(each.name));
        for (const std::string& each : op.core.units) units.push_back(quoted(each));
        out.push_back("{\"type\":" + quoted(op.type) + ",\"inputs\":" + parameters(op.inputs) + ",\"outputs\":" +
                      parameters(op.outputs) + ",\"attrs\":" + list(attrs) + ",\"units\":" + list(units) + "}");
    }
    text = list(out);
    return text.c_str();
}

// Leaves the rank and the extents of each output, and then their element types.
uint32_t dsv4c_op_infer(const char* type, const int64_t* call, int64_t* out) {
    const ops::OpDef* op = find(type);
    if (op == nullptr || op->infer_shape == nullptr || op->infer_type == nullptr) return ge::GRAPH_FAILED;
    const Call c(call);
    const size_t count = op->outputs.size();
    gert::InferShapeContext shapes(c.inputs, count, c.attrs);
    if (op->infer_shape(&shapes) != ge::GRAPH_SUCCESS) return ge::GRAPH_FAILED;
    std::vector<ge::DataType> given;
    for (const ops::OpParamDef& each : op->inputs) given.push_back(each.types.at(0));
    gert::InferDataTypeContext types(given, count);
    if (op->infer_type(&types) != ge::GRAPH_SUCCESS) return ge::GRAPH_FAILED;
    for (size_t i = 0; i < count; i++) {
        const gert::Shape& shape = *shapes.GetOutputShape(i);
        *out++ = int64_t(shape.GetDimNum());
        for (size_t axis = 0; axis < shape.GetDimNum(); axis++) *out++ = shape.GetDim(axis);
    }
    for (size_t i = 0; i < count; i++) *out++ = int64_t(types.GetOutputDataType(i));
    return ge::GRAPH_SUCCESS;
}

// Leaves blocks, bytes of workspace, schedule mode, and bytes of tiling data, which goes to `data`.
uint32_t dsv4c_op_tiling(const char* type, const int64_t* call, int64_t* out, uint8_t* data) {
    const ops::OpDef* op = find(type);
    if (op == nullptr || op->core.tiling == nullptr) return ge::GRAPH_FAILED;
    const Call c(call);
    gert::TilingContext context(op->type.c_str(), c.inputs, c.outputs, c.attrs);
    if (op->core.tiling(&context) != ge::GRAPH_SUCCESS) return ge::GRAPH_FAILED;
    out[0] = context.GetBlockDim();
    out[1] = int64_t(context.workspace());
    out[2] = context.GetScheduleMode();
    out[3] = int64_t(context.used());
    std::copy_n(context.data().begin(), context.used(), data);
    return ge::GRAPH_SUCCESS;
}
}
