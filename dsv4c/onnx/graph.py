"""An ONNX graph that grows node by node: names, shared constants, and dimensions computed from input shapes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from dsv4c.errors import UserError
from dsv4c.ir.core import Attrs
from dsv4c.ir.dims import Dim, Extent, FloorDiv, Shape, symbol
from dsv4c.ir.registry import Array
from dsv4c.ir.types import TensorType

ELEMENT: Mapping[str, int] = {
    "f32": TensorProto.FLOAT,
    "bf16": TensorProto.BFLOAT16,
    "f16": TensorProto.FLOAT16,
    "f8e4m3": TensorProto.FLOAT8E4M3FN,
    "f8e8m0": TensorProto.FLOAT8E8M0,
    "f4e2m1": TensorProto.FLOAT4E2M1,
    "i8": TensorProto.INT8,
    "i32": TensorProto.INT32,
    "i64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}
OPSET = 21  # every model starts here, so that older runtimes read it; the two tables below raise it
NEWER_DTYPES = {"f4e2m1": 23, "f8e8m0": 24}
NEWER_NODES = {"BitCast": 26}


@dataclass(frozen=True)
class Site:
    """One op to emit: names and types of its operands, types of its results, attributes in the caller's symbols."""

    op: str
    where: str
    args: tuple[str, ...]
    ins: tuple[TensorType, ...]
    outs: tuple[TensorType, ...]
    attrs: Attrs

    def refuse(self, what: str, fix: str) -> UserError:
        """The error for what ONNX cannot say."""
        return UserError(f"{self.op}: {what}", where=self.where, fix=fix)


Emitter = Callable[["Graph", Site], "str | tuple[str, ...]"]


class Graph:
    """Nodes and initializers in order.

    ``sources`` says where extents are read: an extent (``S``, or an expression such as ``T // 4``) to the input and
    axis that have it. A symbol that no input shows plainly becomes an int64 scalar input ``dim_<symbol>``.
    """

    def __init__(self, sources: Mapping[Extent, tuple[str, int]]) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.dim_inputs: list[ValueInfoProto] = []
        self.values: list[ValueInfoProto] = []
        self.opset = OPSET
        self.constants: dict[str, Array] = {}
        self._sources = sources
        self._names: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._known: dict[str, str] = {}
        self._place, self._serial, self._dim_serial = "", 0, 0

    # nodes

    def node(self, kind: str, *inputs: str, **attrs: Any) -> str:
        """Append a node of one output; its name is the place of the op at work and a serial number."""
        (out,) = self.spread(kind, inputs, 1, **attrs)
        return out

    def spread(self, kind: str, inputs: Sequence[str], count: int, **attrs: Any) -> tuple[str, ...]:
        """Append a node of ``count`` outputs."""
        name = f"{self._place}/{kind}_{self._serial}"
        self._serial += 1
        return self._append(kind, inputs, name, count, attrs)

    def _append(
        self, kind: str, inputs: Sequence[str], name: str, count: int, attrs: Mapping[str, Any]
    ) -> tuple[str, ...]:
        outputs = [name] + [f"{name}.{i}" for i in range(1, count)]
        self.opset = max(self.opset, NEWER_NODES.get(kind, 0))
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, **attrs))
        return tuple(outputs)

    def emit(self, emitter: Emitter, site: Site, place: str) -> tuple[str, ...]:
        """Append the nodes of one op; the one that makes the result, and the result, take the name ``place``."""
        self._place, self._serial, first = place, 0, len(self.nodes)
        out = emitter(self, site)
        results = (out,) if isinstance(out, str) else out
        renamed = {r: place if i == 0 else f"{place}.{i}" for i, r in enumerate(results) if r.startswith(f"{place}/")}
        for node in self.nodes[first:]:
            node.name = renamed.get(node.name, node.name)
            for names in (node.input, node.output):
                for i, name in enumerate(names):
                    if name in renamed:
                        names[i] = renamed[name]
        for result, type_ in zip(results, site.outs, strict=True):
            if result in renamed:
                self.values.append(self.declare(renamed[result], type_))
        return tuple(renamed.get(r, r) for r in results)

    @contextmanager
    def body(self) -> Iterator[list[NodeProto]]:
        """Nodes appended inside go to the list it gives, which becomes the body of a Loop."""
        outer, inner = self.nodes, list[NodeProto]()
        self.nodes = inner
        try:
            yield inner
        finally:
            self.nodes = outer

    def declare(self, name: str, type_: TensorType) -> ValueInfoProto:
        """The declaration of a value, symbolic extents as text."""
        shape = [e if isinstance(e, int) else str(e) for e in type_.shape]
        return helper.make_tensor_value_info(name, self.element(type_.dtype), shape)

    def element(self, dtype: str) -> int:
        """ONNX's number of a dtype; asking raises the opset to the first one that has it."""
        self.opset = max(self.opset, NEWER_DTYPES.get(dtype, 0))
        return ELEMENT[dtype]

    # constants

    def const(self, array: Array) -> str:
        """An initializer; equal arrays share one."""
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._names:
            name = self._names[key] = f"const/{len(self._names)}"
            self.initializers.append(numpy_helper.from_array(array, name))
            self.constants[name] = array
        return self._names[key]

    def number(self, value: float, dtype: str = "i64") -> str:
        """A rank-0 constant of one of the dtypes that numpy has."""
        kinds = {"f32": np.float32, "i8": np.int8, "i32": np.int32, "i64": np.int64, "bool": np.bool_}
        return self.const(np.array(value, kinds[dtype]))

    def ints(self, *values: int) -> str:
        """An int64 vector, as shapes and axes are."""
        return self.const(np.array(values, np.int64))

    # dimensions

    def dim(self, extent: Extent) -> str:
        """An extent as an int64 vector of one element."""
        return self.ints(extent) if isinstance(extent, int) else self._once(extent, lambda: self._compute(extent))

    def scalar_dim(self, extent: Extent, dtype: str = "i64") -> str:
        """An extent as a scalar."""
        if isinstance(extent, int):
            return self.number(extent, dtype)
        scalar = self.node("Squeeze", self.dim(extent), self.ints(0))
        return scalar if dtype == "i64" else self.cast(scalar, dtype)

    def shape(self, shape: Shape) -> str:
        """A shape as an int64 vector."""
        if all(isinstance(e, int) for e in shape):
            return self.ints(*(int(str(e)) for e in shape))
        if len(shape) == 1:
            return self.dim(shape[0])
        parts = [self.dim(e) for e in shape]
        return self._once(f"[{', '.join(map(str, shape))}]", lambda: self._dim_node("Concat", *parts, axis=0))

    def _once(self, what: Extent | str, make: Callable[[], str]) -> str:
        if str(what) not in self._known:
            self._known[str(what)] = make()
        return self._known[str(what)]

    def _dim_node(self, kind: str, *inputs: str, **attrs: Any) -> str:
        self._dim_serial += 1
        (out,) = self._append(kind, inputs, f"dims/{kind}_{self._dim_serial}", 1, attrs)
        return out

    def _compute(self, extent: Dim) -> str:
        if extent in self._sources:
            name, axis = self._sources[extent]
            return self._dim_node("Shape", name, start=axis, end=axis + 1)
        if len(extent.terms) == 1:
            ((monomial, coefficient),) = extent.terms
            factors = [self._atom(atom) for atom in monomial] + ([self.ints(coefficient)] if coefficient != 1 else [])
            return self._fold("Mul", factors)
        return self._fold("Add", [self.dim(Dim((term,)) if term[0] else term[1]) for term in extent.terms])

    def _atom(self, atom: str | FloorDiv) -> str:
        extent = symbol(atom) if isinstance(atom, str) else Dim((((atom,), 1),))
        if extent in self._sources:
            return self.dim(extent)
        return self._once(f"atom {atom}", lambda: self._unread(atom))

    def _unread(self, atom: str | FloorDiv) -> str:
        if isinstance(atom, FloorDiv):
            # Div truncates, which is the floor: in normal form no coefficient of the numerator is negative.
            return self._dim_node("Div", self.dim(atom.numerator), self.ints(atom.divisor))
        name = f"dim_{atom}"
        self.dim_inputs.append(self.declare(name, TensorType((), "i64")))
        return self._dim_node("Unsqueeze", name, self.ints(0))

    def _fold(self, kind: str, parts: Sequence[str]) -> str:
        total = parts[0]
        for part in parts[1:]:
            total = self._dim_node(kind, total, part)
        return total

    # what many ops need

    def cast(self, x: str, dtype: str, **attrs: Any) -> str:
        """One Cast node."""
        return self.node("Cast", x, to=self.element(dtype), **attrs)

    def filled(self, value: float, shape: Shape, dtype: str) -> str:
        """One number in every element."""
        plain = dtype if dtype in ("f32", "i8", "i32", "i64", "bool") else "f32"
        kinds = {"f32": np.float32, "i8": np.int8, "i32": np.int32, "i64": np.int64, "bool": np.bool_}
        value_proto = numpy_helper.from_array(np.array([value], kinds[plain]))
        out = self.node("ConstantOfShape", self.shape(shape), value=value_proto)
        return out if plain == dtype else self.cast(out, dtype)

    def via(self, dtype: str, carrier: str, make: Callable[..., str], *xs: str) -> str:
        """``make(*xs)`` computed in another dtype that holds every value of ``dtype``."""
        return self.cast(make(*(self.cast(x, carrier) for x in xs)), dtype)

    def where(self, dtype: str, condition: str, x: str, y: str) -> str:
        """Where, also for the dtypes that runtimes lack."""

        def make(a: str, b: str) -> str:
            return self.node("Where", condition, a, b)

        if dtype == "bool":
            return self.via(dtype, "i8", make, x, y)
        return make(x, y) if dtype in ("f32", "i8", "i32", "i64") else self.via(dtype, "f32", make, x, y)
