"""The routed experts where a module still has them in core ops: the ops of the kernel op ``experts``, one by one."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

from dsv4c.ir.core import ACTIVE, Function, Module, Op, Value
from dsv4c.ir.dims import product
from dsv4c.ir.kernel_ops.define import trace
from dsv4c.ir.types import TensorType

from .base import map_functions
from .rewriting import Splice


def with_kernel_op(module: Module) -> Module:
    """core ops of the experts  ->  ``experts``; functions without them, and those that have the kernel op, stay."""
    return map_functions(module, lambda function: _rewritten(module, function))


def _rewritten(module: Module, function: Function) -> Function:
    products = [op for op in function.ops if op.name == "ragged_matmul"]
    if len(products) != 3:
        return function
    by_result = {id(r): op for op in function.ops for r in op.results}
    for types, limit in _guesses(function, products, by_result):
        pattern = trace("experts", types, (("limit", limit),))
        for op in function.ops:
            bound = _match(pattern, op.results[0], by_result) if op.results else None
            if bound:
                return _replaced(module, function, op, bound, limit)
    return function


def _replaced(module: Module, function: Function, root: Op, operands: tuple[Value, ...], limit: float) -> Function:
    splice = Splice(module, function)
    splice.replace(root, root.results, lambda: ACTIVE[-1].emit("experts", operands, {"limit": limit}))
    return splice.done()


def _guesses(
    function: Function, products: list[Op], by_result: dict[int, Op]
) -> Iterator[tuple[tuple[TensorType, ...], float]]:
    """Operand types and limits that the three products may belong to."""
    gate, up, down = (op.operands[1].tensor for op in products)
    rows = by_result.get(id(products[0].operands[0]))
    if rows is None or rows.name != "gather":
        return
    x, pairs = rows.operands[0].tensor, rows.results[0].shape[0]
    tokens = x.shape[0]
    values = [*function.params, *(r for op in function.ops for r in op.results)]
    shapes = [v.type.shape for v in values if isinstance(v.type, TensorType) and v.type.rank == 2]
    picks = dict.fromkeys(s[1] for s in shapes if s[0] == tokens and product(s) == pairs)
    limits = dict.fromkeys(_numbers(function))
    for k in picks:
        chosen, mix = TensorType((tokens, k), "i32"), TensorType((tokens, k), "f32")
        for limit in (inf, *limits):
            yield (x, chosen, mix, TensorType((tokens,), "bool"), gate, up, down), limit


def _numbers(function: Function) -> Iterator[float]:
    for op in function.ops:
        if op.name == "const" and op.attrs["shape"] == () and op.attrs["dtype"] == "f32":
            data: Any = op.attrs["data"]
            (number,) = data
            if isinstance(number, float) and number > 0:
                yield number


def _match(pattern: Function, root: Value, by_result: dict[int, Op]) -> tuple[Value, ...] | None:
    """What stands for the pattern's parameters when its result is ``root``; None if the ops differ anywhere."""
    inside = {id(r): op for op in pattern.ops for r in op.results}
    bound: dict[int, Value] = {}

    def same(want: Value, have: Value) -> bool:
        if id(want) in bound:
            return bound[id(want)] is have
        if want.type != have.type:
            return False
        bound[id(want)] = have
        if id(want) not in inside:
            return True
        first, second = inside[id(want)], by_result.get(id(have))
        if second is None or first.name != second.name or dict(first.attrs) != dict(second.attrs):
            return False
        pairs = list(zip(first.operands, second.operands, strict=False))
        return len(first.operands) == len(second.operands) and all(same(a, b) for a, b in pairs)

    if not same(pattern.results[0], root):
        return None
    return tuple(bound[id(p)] for p in pattern.params)
