"""From a function of core ops to a standard ONNX model.

* Calls are inlined and bundles flattened to dotted names: ``state.layers.3.window``. Results are called
  ``new_<parameter>`` where they hand on a state parameter and ``result``, ``result_1``, ... otherwise, or as asked.
* Symbolic dimensions stay: inputs declare them as text (``T // 4``), and nodes read them from the inputs' shapes, an
  expression directly where an input has it. A symbol that no input shows plainly and that is needed by itself
  becomes an int64 scalar input ``dim_<symbol>``.
* Nodes are called after their place in the model: ``layers.3.attn.indexer/matmul_12`` makes the result of the 13th op
  there, its helpers have one more part.
* A function's ``requires`` are dropped: ONNX has no assertion. Most runtimes fail on their own where extents clash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onnx import ModelProto, ValueInfoProto, helper

from dsv4c.ir.core import Attrs, Function, Module, Op, located
from dsv4c.ir.dims import Dim, Extent, substitute
from dsv4c.ir.types import TensorType, Type, children, is_linear, leaves, same_layout

from . import contraction, elementwise, movement
from .graph import Emitter, Graph, Site
from .store import Weights, write

EMIT: Mapping[str, Emitter] = elementwise.EMIT | movement.EMIT | contraction.EMIT

Tree = Any  # the name of a tensor, or a dict of Trees keyed by part for bundles and lists
Dims = Mapping[str, Extent]


@dataclass(frozen=True)
class Exported:
    """What was written: the files, the opset they need, and the names and counts a reader wants to know."""

    files: tuple[Path, ...]
    opset: int
    nodes: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def export(
    module: Module, function_name: str, path: Path, weights: Weights | None = None, results: Sequence[str] = ()
) -> Exported:
    """Write a function as ``path``, and weights of 1 KiB and more as ``<path>.data`` beside it.

    Args:
        module: a verified module of core ops.
        function_name: the function.
        path: the file; written under another name first, so that it is whole or absent.
        weights: arrays by path (``layers.3.attn.q_a``) for the parameter called ``weights``, a mapping or a function,
            asked for one at a time and not kept; without it the weights are inputs.
        results: names for the function's results.

    Raises:
        UserError: an op or dtype that ONNX lacks, a weight that does not fit its type, or a path where something
            stands that is no regular file.
    """
    function = module.functions[function_name]
    held = [p for p in function.params if p.name == "weights"] if weights is not None else []
    fed = [p for p in function.params if p not in held]
    graph = Graph(_sources([(p.name, p.type) for p in fed]))
    arguments = [_names(p.type, p.name) for p in function.params]
    values = _Inliner(module, graph).run(function, arguments, {}, "")
    names = tuple(results) or _result_names(function)
    outputs = [pair for n, r, v in zip(names, function.results, values, strict=True) for pair in _flat(r.type, n, v)]
    declared = [graph.declare(name, type_) for name, type_, _ in outputs]
    for name, _, value in outputs:
        graph.nodes.append(helper.make_node("Identity", [value], [name], name=f"result/{name}"))
    inputs = [graph.declare(n, t) for p in fed for n, t in leaves(p.type, p.name)] + graph.dim_inputs
    tensors = [(n, t) for p in held for n, t in leaves(p.type, p.name)]
    model = _model(graph, f"{module.name}.{function_name}", inputs, declared)
    files = write(model, tensors, weights, path)
    return Exported(
        files, graph.opset, len(graph.nodes), tuple(i.name for i in inputs), tuple(o.name for o in declared)
    )


def _model(
    graph: Graph, name: str, inputs: Sequence[ValueInfoProto], outputs: Sequence[ValueInfoProto]
) -> ModelProto:
    body = helper.make_graph(graph.nodes, name, inputs, outputs, graph.initializers, value_info=graph.values)
    opsets = [helper.make_opsetid("", graph.opset)]
    version = helper.find_min_ir_version_for(opsets)
    return helper.make_model(body, opset_imports=opsets, ir_version=version, producer_name="dsv4c")


def _sources(params: Sequence[tuple[str, Type]]) -> dict[Extent, tuple[str, int]]:
    """Where each symbolic extent of the inputs can be read: the first input that has it."""
    out: dict[Extent, tuple[str, int]] = {}
    for prefix, type_ in params:
        for name, tensor in leaves(type_, prefix):
            for axis, extent in enumerate(tensor.shape):
                if isinstance(extent, Dim):
                    out.setdefault(extent, (name, axis))
    return out


def _result_names(function: Function) -> tuple[str, ...]:
    out: list[str] = []
    plain = 0
    states = [p for p in function.params if is_linear(p.type)]
    for result in function.results:
        name = next((f"new_{p.name}" for p in states if same_layout(p.type, result.type)), "")
        if not name or name in out:
            name, plain = f"result_{plain}" if plain else "result", plain + 1
        out.append(name)
    return tuple(out)


def _names(type_: Type, prefix: str) -> Tree:
    if isinstance(type_, TensorType):
        return prefix
    return {part: _names(inner, f"{prefix}.{part}") for part, inner in children(type_)}


def _flat(type_: Type, name: str, value: Tree) -> Iterator[tuple[str, TensorType, str]]:
    if isinstance(type_, TensorType):
        yield name, type_, value
    for part, inner in children(type_):
        yield from _flat(inner, f"{name}.{part}", value[part])


class _Inliner:
    """Walks a function and the functions it calls, and emits the ops with dimensions in the outermost symbols."""

    def __init__(self, module: Module, graph: Graph) -> None:
        self.module, self.graph = module, graph
        self._counts: dict[str, int] = {}

    def run(self, function: Function, arguments: Sequence[Tree], dims: Dims, place: str) -> list[Tree]:
        """Names of the function's results."""
        bound = {id(p): a for p, a in zip(function.params, arguments, strict=True)}
        for op in function.ops:
            where = ".".join(filter(None, (place, op.loc)))
            results = self._apply(function, op, [bound[id(o)] for o in op.operands], dims, where)
            for value, result in zip(op.results, results, strict=True):
                bound[id(value)] = result
        return [bound[id(r)] for r in function.results]

    def _apply(
        self, function: Function, op: Op, arguments: Sequence[Tree], dims: Dims, place: str
    ) -> Sequence[Tree]:
        if op.name == "get":
            return (arguments[0][str(op.attrs["part"])],)
        if op.name == "bundle":
            return ({name: a for (name, _), a in zip(children(op.results[0].type), arguments, strict=True)},)
        if op.name == "call":
            pairs: Any = op.attrs["dims"]
            inner = {**dims, **{symbol: substitute(extent, dims) for symbol, extent in pairs}}
            return self.run(self.module.functions[str(op.attrs["callee"])], arguments, inner, place)
        site = _site(function, op, arguments, dims)
        if op.name not in EMIT:
            raise site.refuse("is not a core op", "export the module before kernels are fused")
        serial = self._counts[place] = self._counts.get(place, -1) + 1
        return self.graph.emit(EMIT[op.name], site, f"{place}/{op.name}_{serial}")


def _site(function: Function, op: Op, arguments: Sequence[Tree], dims: Dims) -> Site:
    ins, outs = (tuple(_bind(v.tensor, dims) for v in values) for values in (op.operands, op.results))
    attrs: Attrs = {key: _substituted(value, dims) for key, value in op.attrs.items()} if dims else op.attrs
    return Site(op.name, located(function.name, op.loc), tuple(arguments), ins, outs, attrs)


def _bind(tensor: TensorType, dims: Dims) -> TensorType:
    return replace(tensor, shape=tuple(substitute(e, dims) for e in tensor.shape)) if dims else tensor


def _substituted(attr: Any, dims: Dims) -> Any:
    if isinstance(attr, tuple):
        return tuple(_substituted(a, dims) for a in attr)
    return substitute(attr, dims) if isinstance(attr, Dim) else attr



