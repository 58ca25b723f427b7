"""The host's side of an operator as C++: its definition, shapes of results, and what a launch needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...tile.logical import Tensor
from ...tile.scalar import Int, names, substitute, var
from ..spell import struct_name
from ..spell_operands import c_text
from .signature import Operator, attribute_name

DTYPES = {
    "f32": "DT_FLOAT", "bf16": "DT_BF16", "f16": "DT_FLOAT16", "i32": "DT_INT32", "i64": "DT_INT64", "bool": "DT_BOOL",
    "i8": "DT_INT8", "f8e4m3": "DT_FLOAT8_E4M3FN",
}  # fmt: skip
UNITS: Mapping[str, tuple[str, ...]] = {"2201": ("ascend910b", "ascend910_93"), "3510": ("ascend950",)}

SOURCE = """\
// {kernel} as an operator; written by dsv4c.
#include "register/op_def_registry.h"
#include "tiling/platform/platform_ascendc.h"

#include "../op_kernel/{name}_tiling.h"
#include "dsv4c_shapes.h"

namespace {{
constexpr const char* kType = "{type}";

// The sizes of a call; false, and a message, where its inputs do not fit together.
bool Solve([[maybe_unused]] const dsv4c::Inputs<{count}>& in, [[maybe_unused]] const gert::RuntimeAttrs* attrs,
           {struct}& s)
{{
{solve}
    return {fits};
}}
}}  // namespace

namespace ge {{
static graphStatus InferShape(gert::InferShapeContext* context)
{{
    const dsv4c::Inputs<{count}> in(context);
    if (in.Unknown()) {{  // a graph is being compiled for any shape
{unknown}
        return GRAPH_SUCCESS;
    }}
    {struct} s{{}};
    if (!Solve(in, context->GetAttrs(), s)) return GRAPH_FAILED;
{shapes}
    return GRAPH_SUCCESS;
}}

static graphStatus InferDataType(gert::InferDataTypeContext* context)
{{
{dtypes}
    return GRAPH_SUCCESS;
}}
}}  // namespace ge

namespace optiling {{
static ge::graphStatus TilingFunc(gert::TilingContext* context)
{{
    const dsv4c::Inputs<{count}> in(context);
    {struct}* s = context->GetTilingData<{struct}>();
    size_t* workspace = context->GetWorkspaceSizes(1);
    if (s == nullptr || workspace == nullptr) return dsv4c::Fail(kType, "no room for tiling data");
    if (!Solve(in, context->GetAttrs(), *s)) return ge::GRAPH_FAILED;
{outputs}
    const platform_ascendc::PlatformAscendC platform(context->GetPlatformInfo());
    const uint32_t blocks = platform.{cores}();
    context->SetBlockDim(blocks);
    workspace[0] = platform.GetLibApiWorkSpaceSize(){ours};
    return ge::GRAPH_SUCCESS;
}}
}}  // namespace optiling

namespace ops {{
class {type} : public OpDef {{
public:
    explicit {type}(const char* name) : OpDef(name)
    {{
{definition}
    }}
}};

OP_ADD({type});
}}  // namespace ops
"""


def host_source(op: Operator) -> str:
    """The file ``op_host/<name>.cpp``."""
    p = op.program
    checks = [f'dsv4c::Fits(kType, "{t.name}", in[{i}], {_shape(op, t)})' for i, t in enumerate(op.inputs)]
    group = f" + {p.workspace}UL * blocks" if p.workspace else ""
    return SOURCE.format(
        kernel=p.name,
        name=op.name,
        type=op.type,
        struct=struct_name(op.name),
        count=len(op.inputs),
        solve="\n".join(_solve(op)),
        fits=" &&\n           ".join(checks) or "true",
        unknown="\n".join(
            f"        dsv4c::Give(context->GetOutputShape({i}), {_unknown(t)});" for i, t in enumerate(op.outputs)
        ),
        shapes="\n".join(
            f"    dsv4c::Give(context->GetOutputShape({i}), {_shape(op, t)});" for i, t in enumerate(op.outputs)
        ),
        dtypes="\n".join(
            f"    context->SetOutputDataType({i}, {DTYPES[t.dtype]});" for i, t in enumerate(op.outputs)
        ),
        outputs="\n".join(_output(op, i, t) for i, t in enumerate(op.outputs)),
        cores="GetCoreNumAiv" if [part.core for part in p.parts] == ["AIV"] else "GetCoreNumAic",
        ours=group,
        definition="\n".join(_definition(op)),
    )


def _solve(op: Operator) -> list[str]:
    """Lines that find each size, in an order in which they can be found."""
    lines = []
    for one in op.solved:
        tensor = op.inputs[one.tensor]
        by = _of(op, one.by, "s.")
        call = f'kType, "{tensor.name}", in[{one.tensor}], {len(tensor.shape)}, {one.axis}, {by}, s.{one.size}'
        lines.append(f"    if (!dsv4c::Extent({call})) return false;")
    for number, size in enumerate(op.attributes):
        lines.append(
            f'    if (!dsv4c::Attribute(kType, "{attribute_name(size)}", attrs, {number}, s.{size})) return false;'
        )
    return lines if op.program.sizes else ["    s.unused = 0;"]


def _of(op: Operator, extent: Int, struct: str) -> str:
    return c_text(substitute(extent, {size: var(f"{struct}{size}") for size in op.program.sizes}))


def _shape(op: Operator, tensor: Tensor, struct: str = "s.") -> str:
    return "{" + ", ".join(_of(op, extent, struct) for extent in tensor.shape) + "}"


def _unknown(tensor: Tensor) -> str:
    return "{" + ", ".join("-1" if names(extent) else c_text(extent) for extent in tensor.shape) + "}"


def _output(op: Operator, number: int, tensor: Tensor) -> str:
    shape = f"dsv4c::Storage(context->GetOutputShape({number}))"
    check = f'dsv4c::Fits(kType, "{tensor.name}", {shape}, {_shape(op, tensor, "s->")})'
    return f"    if (!{check}) return ge::GRAPH_FAILED;"


def _definition(op: Operator) -> list[str]:
    lines = [
        *_parameters("Input", op.inputs),
        *_parameters("Output", op.outputs),
        *(f'this->Attr("{attribute_name(size)}").AttrType(REQUIRED).Int();' for size in op.attributes),
        "this->SetInferShape(ge::InferShape).SetInferDataType(ge::InferDataType);",
        "this->AICore().SetTiling(optiling::TilingFunc);",
        *(f'this->AICore().AddConfig("{unit}");' for unit in UNITS[op.program.arch]),
    ]
    return [f"        {line}" for line in lines]


def _parameters(kind: str, tensors: Sequence[Tensor]) -> list[str]:
    return [
        f'this->{kind}("{t.name}").ParamType(REQUIRED).DataType({{ge::{DTYPES[t.dtype]}}}).Format({{ge::FORMAT_ND}});'
        for t in tensors
    ]
