"""Attention split over heads, the shared expert over channels: a rank has a part of the weights and meets all tokens.

    y = f(x, w)  ->  y = reduce_scatter(f(all_gather(x), part of w))
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dsv4c.ir.builder import Builder, call, cast, gather, iota, transpose
from dsv4c.ir.core import ACTIVE, Function, IRError, Module, Op, Value
from dsv4c.ir.dims import symbol
from dsv4c.ir.kernel_ops.collective import all_gather, reduce_scatter
from dsv4c.ir.types import Bundle, TensorType, is_linear

from .reemit import Retype, reemit
from .rewriting import live
from .spread import Part, Partial, Split, SplitError, Spread

# The axis of a weight that heads (§2, §4.2) or channels (§1.3) lie on; all other weights stay whole.
HEADS = {"q": 0, "q_b": 0, "kv_b": 0, "o": 1, "sinks": 0, "o_a": 0, "o_b": 1}
CHANNELS = {"gate": 0, "up": 0, "down": 1}
SHARED = "shared_expert"
BATCH = symbol("B")


def attends(function: Function) -> bool:
    """Whether a function is one layer's attention: it keeps a state, calls nothing, and has weights by head."""
    state = any(is_linear(p.type) for p in function.params)
    return state and not any(function.callees()) and _weights(function, HEADS) is not None


def _weights(function: Function, table: Mapping[str, int]) -> Value | None:
    found = [p for p in function.params if isinstance(p.type, Bundle) and not is_linear(p.type)]
    return next((p for p in found if any(name in table for name, _ in p.type.fields)), None)  # type: ignore[union-attr]


@dataclass
class Splitter:
    """Builds the functions that ranks split, and the calls of them."""

    module: Module  # the partitioned one
    mesh: str
    ranks: int
    dtypes: dict[str, str] = field(default_factory=dict)  # split function -> the dtype of its result

    def bundle(self, function: Function, table: Mapping[str, int]) -> tuple[Bundle, Bundle]:
        """The record of the weights of a function, whole and of one rank."""
        param = _weights(function, table)
        assert param is not None and isinstance(param.type, Bundle)
        fields = dict(param.type.fields)
        for name, axis in table.items():
            if isinstance(tensor := fields.get(name), TensorType):
                extent = tensor.shape[axis]
                if not isinstance(extent, int) or extent % self.ranks:
                    raise self._error(function.name, f"{self.ranks} ranks do not divide {name} {tensor}", None)
                part = (*tensor.shape[:axis], extent // self.ranks, *tensor.shape[axis + 1 :])
                fields[name] = replace(tensor, shape=part)
                self._add_shard(tensor, axis)
        return param.type, replace(param.type, fields=tuple(fields.items()))

    def _error(self, where: str, why: str, op: Op | None) -> IRError:
        option = "shared" if where.startswith(SHARED) else "attention"
        return IRError(where, f"cannot be split: {why}; use fewer ranks or {option}=replicated", op)

    def _add_shard(self, tensor: TensorType, axis: int) -> None:
        """The weights function (w, rank) -> the rank's part along an axis."""
        name = f"shard_axis{axis}_{tensor.dtype}_{tensor.rank}d"
        if name in self.module.functions:
            return
        extents = tuple(symbol(f"N{i}") for i in range(tensor.rank))
        perm = (axis, *(i for i in range(tensor.rank) if i != axis))
        back = tuple(perm.index(i) for i in range(tensor.rank))
        whole, size = TensorType(extents, tensor.dtype), extents[axis] // self.ranks
        with Builder(self.module, name, w=whole, rank=TensorType((), "i32")) as b:
            w, number = b.params
            part = gather(transpose(w, *perm) if axis else w, iota(size) + number * _extent(size))
            b.done(transpose(part, *back) if axis else part, kind="weights")

    def add(self, function: Function, retype: Retype, table: Mapping[str, int]) -> None:
        """Add the function that computes a rank's part: its first result is a sum to be completed over ranks."""
        param = _weights(function, table)
        assert param is not None
        taken = {id(op.results[0]): str(op.attrs["part"]) for op in function.ops if op.name == "get"}
        gets = {id(op.results[0]): op.operands[0] for op in function.ops if op.name == "get"}
        parts: dict[int, Part] = {
            key: Split(table[name]) for key, name in taken.items() if gets[key] is param and name in table
        }
        spread, now = Spread(function, self.ranks, parts), dict[int, Value]()

        def change(op: Op, operands: tuple[Value, ...]) -> tuple[Value, ...] | None:
            now.update((id(old), new) for old, new in zip(op.operands, operands, strict=True))
            if op.name == "get":
                return None
            try:
                attrs, local = spread.visit(op)
                cut = [_repeated(spread, now, op, n) if n in local else o for n, o in enumerate(operands)]
            except SplitError as error:
                raise self._error(f"{function.name}:{op.loc}", str(error), op) from None
            return ACTIVE[-1].emit(op.name, tuple(cut), attrs)

        made = reemit(self.module, function, {param.name: retype(param.type)}, change)
        wrong = [r for r in function.results[1:] if parts.get(id(r))]
        if wrong or not isinstance(parts.get(id(function.results[0])), Partial):
            raise self._error(function.name, "its first result, and no other, has to be a sum over heads", None)
        self.module.functions[made.name] = replace(made, ops=tuple(live(made.ops, made.results)))
        self.dtypes[made.name] = function.results[0].dtype

    def call(self, op: Op, operands: tuple[Value, ...]) -> tuple[Value, ...]:
        """A call of a split function: all ranks' sequences in, this rank's share of the sum out."""
        callee = self.module.functions[str(op.attrs["callee"])]
        whole = [
            all_gather(o, self.mesh, self.ranks) if isinstance(o.type, TensorType) and not o.type.state else o
            for o in operands
        ]
        first, *others = call(callee, *whole, B=self.ranks * BATCH)
        return cast(reduce_scatter(first, self.mesh, self.ranks), self.dtypes[callee.name]), *others


def _extent(size: object) -> Value:
    (out,) = ACTIVE[-1].emit("extent", (), {"value": size})  # type: ignore[dict-item]
    return out


def _repeated(spread: Spread, now: Mapping[int, Value], op: Op, number: int) -> Value:
    """An operand that only repeats something, repeated for the heads of one rank."""
    old, out = op.operands[number], op.results[0].tensor
    part = spread.parts[id(op.results[0])]
    assert isinstance(part, Split)
    axis = part.axis - out.rank + old.tensor.rank
    shape = tuple(spread.part_of(e) if i == axis else e for i, e in enumerate(old.shape))
    maker = spread.producers[id(old)]
    operands = tuple(now[id(o)] for o in maker.operands)
    (value,) = ACTIVE[-1].emit(maker.name, operands, {**maker.attrs, "shape": shape})
    return value


def outlined(module: Module) -> Module:
    """experts(x, ..) + shared(x)  ->  experts(x, ..) + call shared_expert(x): the shared expert as a function."""
    functions: dict[str, Function] = {}
    for function in module.functions.values():
        for added in _shared_values(function):
            ops = live(function.ops, [added])
            used = {id(o) for op in ops for o in op.operands}
            params = tuple(p for p in function.params if id(p) in used)
            name = SHARED if SHARED not in functions else f"{SHARED}{len(functions)}"
            functions[name] = Function(name, params, tuple(ops), (added,), function.requires)
            made = Op("call", params, {"callee": name, "dims": ()}, (added,), "shared")
            rest = [op for op in function.ops if added not in op.results]
            at = next(i for i, op in enumerate(rest) if added in op.operands)
            function = replace(function, ops=tuple(live([*rest[:at], made, *rest[at:]], function.results)))
        functions[function.name] = function
    return replace(module, functions=functions)


def _shared_values(function: Function) -> list[Value]:
    """What is added to the result of ``experts`` and is computed from weights of its own."""
    routed = {id(r) for op in function.ops if op.name == "experts" for r in op.results}
    sums = [op for op in function.ops if op.name == "add" and any(id(o) in routed for o in op.operands)]
    found = [o for op in sums for o in op.operands if id(o) not in routed]
    return [v for v in found if _weights_behind(function, v)]


def _weights_behind(function: Function, value: Value) -> bool:
    used = {id(o) for op in live(function.ops, [value]) for o in op.operands}
    return any(isinstance(p.type, Bundle) and id(p) in used for p in function.params)
