"""What ``verify`` feeds to a function: drawn inputs and state, and the weights of the first layer that calls it.

Inputs are drawn so that the branches are taken: ragged lengths, a state that holds something, windows that complete and
windows that do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from dsv4c.artefact import Artefact
from dsv4c.ir.core import Function, Module, Op, Value
from dsv4c.ir.interp import run_tensors, shape_of
from dsv4c.ir.types import DTYPES, TensorType, Type, is_linear, leaves
from dsv4c.plan import CallSite, Plan, Ref, RefTree, resolve
from dsv4c.targets.target import Target

from .inputs import drawn_codes

Array = np.ndarray[Any, Any]
Flat = dict[str, Array]
Draws = Callable[[tuple[int, ...]], Array]


class Draw:
    """Random operands by the role that names and types give them."""

    def __init__(self, rng: np.random.Generator, dims: Mapping[str, int], vocab: int) -> None:
        self.rng, self.dims, self.vocab = rng, dims, vocab
        length, capacity = dims.get("S", 1), dims.get("T", 1)
        self._ints: dict[str, Callable[[tuple[int, ...]], Array]] = {
            "tokens": lambda shape: rng.integers(0, vocab, shape),
            "past": lambda shape: rng.integers(0, max(capacity - length, 0) + 1, shape),
            "new": lambda shape: np.maximum(length - 2 * np.arange(shape[0]), 1),
        }

    def tensor(self, name: str, tensor: TensorType, experts: int) -> Array:
        """One array; ``experts`` bounds a table of expert ids and is 0 for what is not a weight."""
        shape = shape_of(tensor, self.dims)
        codes = drawn_codes(self.rng, shape, tensor.dtype)
        if codes is not None:
            return codes
        if tensor.dtype == "i32":
            draw: Callable[[tuple[int, ...]], Array] = self._ints.get(
                name, lambda s: self.rng.integers(0, max(experts, 1), s)
            )
            return draw(shape).astype(np.int32)
        scale = 1.0 if experts == 0 else 0.05 if len(shape) > 1 else 0.5
        centre = 1.0 if "norm" in name and "bias" not in name and len(shape) == 1 else 0.0
        return (centre + scale * self.rng.standard_normal(shape)).astype(DTYPES[tensor.dtype])


def _of_integers(function: Function) -> Function:
    """The same function on i64, for functions that only move elements."""
    values: dict[int, Value] = {}

    def retyped(value: Value) -> Value:
        return values.setdefault(id(value), Value(TensorType(value.shape, "i64"), value.name))

    params = tuple(map(retyped, function.params))
    ops = tuple(
        Op(op.name, tuple(map(retyped, op.operands)), op.attrs, tuple(map(retyped, op.results)))
        for op in function.ops
    )
    return Function("origin", params, ops, tuple(map(retyped, function.results)), kind="weights")


MOVES = frozenset({"reshape", "concat", "slice", "transpose"})  # ops that compute nothing


class Packer:
    """Weights of functions in the forms that a target's kernels read."""

    def __init__(self, target: Target, module: Module) -> None:
        self._target, self._module = target, module

    def packed(
        self, plan: Plan, function: Function, flats: Mapping[str, Flat]
    ) -> dict[str, dict[str, tuple[Array, str]]]:
        """Packed weights that the kernels of a function read, by parameter and key."""
        out: dict[str, dict[str, tuple[Array, str]]] = {}
        for param in function.params:
            types = dict(leaves(param.type))
            for path, form in plan.weights(function.name, param.name):
                if form:
                    array, stored = self._unpacked(plan, path, flats[param.name], types)
                    pack = self._target.pack(self._module, stored, form)
                    (array,) = run_tensors(self._module, pack.name, [array])
                    out.setdefault(param.name, {})[f"{path}@{form}"] = (array, pack.results[0].dtype)
        return out

    def _unpacked(
        self, plan: Plan, path: str, flat: Flat, types: Mapping[str, TensorType]
    ) -> tuple[Array, TensorType]:
        """A weight before it is packed, and its type: a leaf, or what its weights function makes of some."""
        made = plan.made_of(path)
        if made is None:
            return flat[path], types[path]
        (array,) = run_tensors(self._module, made[0], [flat[leaf] for leaf in made[1]])
        return array, self._module.functions[made[0]].results[0].tensor


class WeightStore(Packer):
    """Weights for each function: those of the first layer that calls it."""

    def __init__(self, artefact: Artefact, target: Target, module: Module) -> None:
        super().__init__(target, module)
        self.vocab: int = artefact.manifest["model"]["vocab"]
        self._plan = artefact.plan
        self._weights = artefact.weights() if artefact.has_weights else {}
        self._prefix: dict[tuple[str, str], str] = {}
        for name in artefact.plan.entries:
            self._walk(artefact.plan, name, {"weights": Ref("param", "weights")})

    def _walk(self, plan: Plan, name: str, bound: Mapping[str, RefTree]) -> None:
        for param, where in bound.items():
            if isinstance(where, Ref) and where.kind == "param" and where.base == "weights":
                self._prefix.setdefault((name, param), where.path)
        for step in plan.functions[name].steps:
            if isinstance(step, CallSite) and not any(key[0] == step.callee for key in self._prefix):
                inner = {p: resolve(t, bound) for p, t in step.args.items() if isinstance(t, Ref)}
                self._walk(plan, step.callee, inner)

    def operand(self, function: str, param: str, type_: Type, draw: Draw) -> Flat:
        """Arrays by path for one parameter."""
        prefix = self._prefix.get((function, param))
        if is_linear(type_) or prefix is None or not self._weights:
            return self._drawn(param, type_, draw)
        return {path: self._weight(f"{prefix}.{path}" if prefix else path, tensor) for path, tensor in leaves(type_)}

    def _drawn(self, param: str, type_: Type, draw: Draw) -> Flat:
        shapes = {path: tensor.shape for path, tensor in leaves(type_)}
        out = {}
        for path, tensor in leaves(type_):
            router = shapes.get(f"{path.rpartition('.')[0]}.router".lstrip("."), (1,))[0]
            # Activations and state are of order 1; weights, which come in bundles, are small.
            experts = int(str(router)) if path and not tensor.state else 0
            out[path] = draw.tensor(path.rpartition(".")[2] or param, tensor, experts)
        return out

    def _weight(self, path: str, tensor: TensorType) -> Array:
        """A weight as the model sees it, unpacked where only its packed form was kept."""
        if path in self._weights:
            return self._weights[path]
        for key, packed in self._weights.items():
            where, _, form = key.partition("@")
            if where == path:
                return self._target.unpack(packed, form, tensor)
            made = self._plan.made_of(where)
            if made and path in made[1]:
                part = self._part(packed, form, made, path)
                if part is not None:
                    return part.reshape(shape_of(tensor, {})).astype(DTYPES[tensor.dtype])
        return self._recovered(path, tensor)

    def _recovered(self, path: str, tensor: TensorType) -> Array:
        """A leaf put together from the derived weights that moved its elements; 0 where no kernel reads it."""
        out: Array = np.zeros(shape_of(tensor, {}), DTYPES[tensor.dtype])
        for key, packed in self._weights.items():
            where, _, form = key.partition("@")
            made = self._plan.made_of(where)
            if made and path in made[1] and (origin := self._origin(made, path)) is not None:
                whole = self._target.unpack(packed, form, self._module.functions[made[0]].results[0].tensor)
                mine = origin >= 0
                out.reshape(-1)[origin[mine]] = whole.reshape(origin.shape)[mine].astype(out.dtype)
        return out

    def _origin(self, made: tuple[str, tuple[str, ...]], path: str) -> Array | None:
        """Which element of a leaf each one of a derived weight is, -1 for those of other leaves; None where elements
        are computed, not moved.
        """
        function = self._module.functions[made[0]]
        if not {op.name for op in function.ops} <= MOVES:
            return None
        shapes = [shape_of(p.tensor, {}) for p in function.params]
        numbers = [
            np.arange(np.prod(shape)).reshape(shape) if leaf == path else np.full(shape, -1)
            for shape, leaf in zip(shapes, made[1], strict=True)
        ]
        made_of = Module("origin", {"origin": _of_integers(function)}, "origin")
        origin: Array = run_tensors(made_of, "origin", numbers)[0]
        return origin

    def _part(self, packed: Array, form: str, made: tuple[str, tuple[str, ...]], path: str) -> Array | None:
        """A leaf as it lies in a joined weight; None where the weight is not just leaves one after the other."""
        function = self._module.functions[made[0]]
        (result,) = function.results
        if [op.name for op in function.ops] != ["concat"]:
            return None
        whole = self._target.unpack(packed, form, result.tensor)
        begin = 0
        for param, leaf in zip(function.params, made[1], strict=True):
            end = begin + int(str(param.shape[0]))
            if leaf == path:
                return whole[begin:end]
            begin = end
        return None
