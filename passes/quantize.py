"""``quantize``: weights of products stay as the checkpoint stores them, codes with scales, where a target can."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from dsv4c.ir.core import ACTIVE, Attrs, Function, IRError, Module, Op, Value, located
from dsv4c.ir.dims import Extent
from dsv4c.ir.types import Bundle, TensorType, Type, children, leaves

from .base import Log, Pair, Pass
from .graph import Graph
from .reemit import Retype, reemit

SCALE = "_scale"  # a field beside its weight's
# Operands that are weights [.., N, K] of products.
PRODUCTS = {"matmul": (1,), "grouped_linear": (1,), "mlp": (1, 2, 3), "experts": (4, 5, 6)}


@dataclass(frozen=True)
class Storage:
    """How a weight is stored: what its codes are, the dtype of scales, and the block that shares one."""

    codes: str
    scale: str
    rows: int
    columns: int

    @classmethod
    def parse(cls, text: str) -> tuple[str, Storage]:
        """A path and what is stored there, from ``layers.*.attn.q_a=f8e4m3:f8e8m0:128x128``; ValueError if not so."""
        found = re.fullmatch(r"([\w.*]+)=(\w+):(\w+):(\d+)x(\d+)", text)
        if not found:
            raise ValueError(f"stored = {text!r}; write for instance layers.*.attn.q_a=f8e4m3:f8e8m0:128x128")
        return found[1], cls(found[2], found[3], int(found[4]), int(found[5]))

    def text(self, path: str) -> str:
        """What ``parse`` takes."""
        return f"{path}={self.codes}:{self.scale}:{self.rows}x{self.columns}"

    def types(self, whole: TensorType) -> tuple[TensorType, TensorType]:
        """Of codes and scales, for a weight of this type."""
        *lead, n, k = whole.shape
        width: Extent = k // 2 if self.codes == "f4e2m1" else k
        dtype = "i8" if self.codes == "f4e2m1" else self.codes
        blocks = (*lead, (n + self.rows - 1) // self.rows, (k + self.columns - 1) // self.columns)
        return TensorType((*lead, n, width), dtype), TensorType(blocks, self.scale)


Kept = Mapping[tuple[Bundle, str], Storage]


@dataclass(frozen=True)
class Quantize(Pass):
    """product(x, w)  ->  product(x, dequantize(codes, scale)), w stored as codes and scales, in the layer's record.

    A weight stays whole where layers that share a record store it differently, or where something else than a product
    ``[.., N, K]`` uses it: it is then dequantised when weights are packed.

    Options:
        stored: ``path=codes:scale:ROWSxCOLUMNS`` for weights to keep; ``*`` stands for any layer.
    """

    name = "quantize"
    doc = "product(x, w) -> product(x, dequantize(codes, scale)) where the target keeps weights as they are stored"
    reads = "kernel"
    writes = "kernel"
    stored: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for text in self.stored:
            Storage.parse(text)

    def run(self, module: Module, log: Log) -> Module:
        """Every block, with other records of weights."""
        kept = self._kept(module, log)
        if not kept:
            return module
        instead: dict[Bundle, Bundle] = {}
        for function in module.functions.values():
            for param in function.params:
                _replace(param.type, kept, instead)
        retype, out = Retype(instead), Module(module.name, entry=module.entry)
        for function in module.functions.values():
            if function.kind == "weights":
                out.functions[function.name] = function
            else:
                types = {p.name: retype(p.type) for p in function.params}
                old = {id(r): op.operands[0].type for op in function.ops if op.name == "get" for r in op.results}
                reemit(out, function, types, partial(_change, kept, old))
        log.applied[self.name] += len(kept)
        return out

    def pairs(self, before: Module, after: Module) -> tuple[Pair, ...]:
        """Every block; those with other records of weights cannot be executed on the same operands."""
        blocks = (name for name, function in before.functions.items() if function.kind == "block")
        return tuple(Pair(name, name) for name in blocks)

    def _kept(self, module: Module, log: Log) -> Kept:
        patterns = [(_pattern(path), storage) for path, storage in map(Storage.parse, self.stored)]
        found: dict[tuple[Bundle, str], set[Storage | None]] = {}
        for bundle, field, path in _weights(module):
            match = next((storage for pattern, storage in patterns if pattern.fullmatch(path)), None)
            found.setdefault((bundle, field), set()).add(match)
        used = _used(module, {key for key, storages in found.items() if storages != {None}})
        kept = {}
        for (bundle, field), storages in found.items():
            (storage, *others) = sorted(storages, key=str)
            why = used.get((bundle, field), "nothing uses it") or ("its layers store it differently" if others else "")
            if storage is not None and not why:
                kept[bundle, field] = storage
            elif storages != {None}:
                log.refuse(self.name, f"{bundle.name}.{field}", f"is dequantised when packed: {why}")
        return kept


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.escape(path).replace(r"\*", r"\d+"))


def _weights(module: Module) -> Iterator[tuple[Bundle, str, str]]:
    """Every weight of the entry: the record it is a field of, its name there, and its path."""

    def visit(type_: Type, path: str) -> Iterator[tuple[Bundle, str, str]]:
        for name, part in children(type_):
            place = f"{path}.{name}" if path else name
            if not isinstance(part, TensorType):
                yield from visit(part, place)
            elif isinstance(type_, Bundle) and not part.state:
                yield type_, name, place

    for param in module.functions[module.entry].params:
        yield from visit(param.type, "")


def _used(module: Module, wanted: set[tuple[Bundle, str]]) -> dict[tuple[Bundle, str], str]:
    """For each of these weights that something uses, empty, or what else than a product does."""
    out: dict[tuple[Bundle, str], str] = {}
    for function in module.functions.values():
        graph = Graph(function)
        for op in graph.by_name.get("get", ()):
            key: tuple[object, str] = op.operands[0].type, str(op.attrs["part"])
            if key in wanted:
                bundle, field = key
                assert isinstance(bundle, Bundle)
                out[bundle, field] = out.get((bundle, field)) or _other_use(graph, function, op.results[0])
    return out


def _other_use(graph: Graph, function: Function, w: Value) -> str:
    """Empty if only products use a weight, or the first use that is none."""
    for op in graph.users(w):
        if op.name == "reshape" and op.results[0].shape[-1] == w.shape[-1]:
            if other := _other_use(graph, function, op.results[0]):
                return other
        elif any(o is w and n not in PRODUCTS.get(op.name, ()) for n, o in enumerate(op.operands)) or (
            op.name == "matmul" and not op.attrs["trans_b"]
        ):
            return f"{op.name} of {located(function.name, op.loc)} is no product with it"
    return "the function returns it" if id(w) in graph.returned else ""


def _replace(type_: Type, kept: Kept, instead: dict[Bundle, Bundle]) -> Type:
    """The type with codes and scales for what is kept; records that change go to ``instead``."""
    if isinstance(type_, TensorType):
        return type_
    parts: list[tuple[str, Type]] = []
    for name, part in children(type_):
        storage = kept.get((type_, name)) if isinstance(type_, Bundle) else None
        if storage is not None and isinstance(part, TensorType):
            codes, scale = storage.types(part)
            if name + SCALE in dict(children(type_)):
                raise IRError(str(type_), f"has a field {name}{SCALE} already")
            parts += [(name, codes), (name + SCALE, scale)]
        else:
            parts.append((name, _replace(part, kept, instead)))
    if not isinstance(type_, Bundle):
        return type_
    if tuple(parts) != type_.fields:
        instead[type_] = replace(type_, fields=tuple(parts))
    return instead.get(type_, type_)


def _change(
    kept: Kept, old: Mapping[int, Type], op: Op, operands: tuple[Value, ...]
) -> tuple[Value, ...] | None:
    if op.name != "get":
        return None
    bundle, field = old[id(op.results[0])], str(op.attrs["part"])
    storage = kept.get((bundle, field)) if isinstance(bundle, Bundle) else None
    if storage is None:
        return None
    w, scale = operands[0][field], operands[0][field + SCALE]
    attrs: Attrs = {
        "codes": storage.codes, "rows": storage.rows, "columns": storage.columns, "out": op.results[0].dtype,
    }  # fmt: skip
    return ACTIVE[-1].emit("dequantize", (w, scale), attrs)


def scales_of(weights: Type) -> dict[str, str]:
    """The paths of weights that are kept as codes, each with that of its scales."""
    paths = {path for path, _ in leaves(weights)}
    return {p: p + SCALE for p in sorted(paths) if p + SCALE in paths}
