"""How a kernel op is defined: one function of core ops, from which shape rule, reference and cost all follow.

The function is the op's decomposition. Called with values while a function is being built, it writes core ops; the
models are made of such calls. ``trace`` runs it on types, and the result is at once the rule for the result types,
what the interpreter executes, what a target without the kernel runs, and the picture that ``fuse-kernels`` looks for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from ..builder import Builder
from ..core import Attr, Attrs, Function, Module, Op, Value
from ..dims import Extent
from ..interp import run
from ..registry import REGISTRY, Array, Kwargs, OpDef, Require, ShapeError, lookup
from ..types import DTYPES, TensorType

Decomposition = TypeVar("Decomposition", bound=Callable[..., Value | tuple[Value, ...]])
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def kernel(doc: str, **attrs: str) -> Callable[[Decomposition], Decomposition]:
    """Register a function of core ops as a kernel op of its name; ``attrs`` say what its keyword arguments mean."""

    def register(function: Decomposition) -> Decomposition:
        name = function.__name__
        if name in REGISTRY:
            raise ValueError(f"op {name} is defined twice")

        def infer(*operands: TensorType, require: Require, **given: Attr) -> tuple[TensorType, ...]:
            traced = trace(name, operands, tuple(sorted(given.items())))
            for left, right in traced.requires:
                require(left, right)
            return tuple(result.tensor for result in traced.results)

        infer.__annotations__ = {key: function.__annotations__[key] for key in attrs}
        REGISTRY[name] = OpDef(
            name, infer, lambda *arrays, **given: _reference(name, arrays, given), _work(name), doc, "other", attrs,
            tier="kernel", decompose=function,
        )  # fmt: skip
        return function

    return register


@lru_cache(maxsize=4096)
def trace(name: str, operands: tuple[TensorType, ...], attrs: tuple[tuple[str, Attr], ...]) -> Function:
    """The decomposition of a kernel op over operands of these types, as a function with parameters x0, x1, ..."""
    definition = lookup(name)
    assert definition.decompose is not None
    return trace_function(definition.decompose, operands, dict(attrs))


def trace_function(function: Callable[..., Any], operands: Sequence[TensorType], attrs: Attrs) -> Function:
    """Any function of core ops over operands of these types; ShapeError where they do not fit it."""
    scratch = Module("reference")
    with Builder(scratch, function.__name__, **{f"x{i}": type_ for i, type_ in enumerate(operands)}) as b:
        try:
            out = function(*b.params, **attrs)
        except TypeError as error:
            raise ShapeError(f"wrong operands or attributes ({error})") from None
        return b.done(*(out if isinstance(out, tuple) else (out,)))


def shaped(what: str, value: Value, *shape: Extent) -> None:
    """Refuse an operand of another shape, which broadcasting would let through: kernels index what the doc says."""
    if value.shape != shape:
        raise ShapeError(f"{what} is {value.type}, expected [{', '.join(map(str, shape))}]")


def traced(op: Op) -> Function:
    """The decomposition of one kernel op where it stands."""
    return trace(op.name, tuple(o.tensor for o in op.operands), tuple(sorted(op.attrs.items())))


def aliases(op: Op) -> Mapping[int, int]:
    """Which result of a kernel op is which operand, updated in place: result number -> operand number."""
    if not any(r.tensor.state for r in op.results):
        return {}
    function = traced(op)
    producers = {id(r): inner for inner in function.ops for r in inner.results}
    numbers = {id(p): number for number, p in enumerate(function.params)}
    out = {}
    for number, result in enumerate(function.results):
        value = result
        while result.tensor.state and id(value) in producers:
            value = producers[id(value)].operands[0]
        if result.tensor.state:
            out[number] = numbers[id(value)]
    return out


def _reference(name: str, arrays: Sequence[Array], attrs: Mapping[str, Any]) -> tuple[Array, ...]:
    types = tuple(TensorType(tuple(array.shape), _NAMES[array.dtype]) for array in arrays)
    function = trace(name, types, tuple(sorted(attrs.items())))
    return run(Module("reference", {function.name: function}, function.name), function.name, arrays, {})


def _work(name: str) -> Callable[[Sequence[TensorType], Sequence[TensorType], Kwargs], Mapping[str, Extent]]:
    def work(operands: Sequence[TensorType], results: Sequence[TensorType], attrs: Kwargs) -> Mapping[str, Extent]:
        total: dict[str, Extent] = {}
        for op in trace(name, tuple(operands), tuple(sorted(attrs.items()))).ops:
            cost = lookup(op.name).cost([o.tensor for o in op.operands], [r.tensor for r in op.results], op.attrs)
            for dtype, flops in cost.flops.items():
                total[dtype] = total.get(dtype, 0) + flops
        return total

    return work
