"""Weights that are computed from the checkpoint's: joined, cut, turned, once, when they are packed.

An expression of weights in a function becomes a weights function of the module, and its value a weight of its own,
``~name``, beside the leaves that it is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dsv4c.ir.core import Function, Module, Op, Value
from dsv4c.ir.types import TensorType, is_linear
from dsv4c.plan import DERIVED, Ref

from .lowering import FunctionLowering, Keeping

ARITHMETIC = frozenset({"reshape", "cast", "concat", "slice", "transpose", "dequantize"})
PLAIN = frozenset({"reshape", "cast"})  # packing undoes these: what they give is the checkpoint's weight itself


def is_weight(keeping: Keeping, value: Value) -> bool:
    """Whether a value is made of checkpoint weights only."""
    op = keeping.producers.get(id(value))
    if op is None:
        return False
    if op.name == "get":
        return isinstance(value.type, TensorType) and not is_linear(value.type)
    return op.name in ARITHMETIC and all(is_weight(keeping, o) for o in op.operands)


def weight_ref(f: FunctionLowering, value: Value, form: str, transposed: bool = False) -> Ref:
    """A weight, leaf or derived, packed into a form; ``transposed`` if it is ``[K, N]``."""
    return replace(_source(f, value, transposed), form=form)


def _source(f: FunctionLowering, value: Value, transposed: bool) -> Ref:
    """Where a value made of weights lies: a leaf, or a derived weight; ``transposed`` in its last two axes."""
    ops, leaves = _expression(f.keeping, value)
    if not transposed and all(op.name in PLAIN for op in ops):
        (leaf,) = leaves
        return f.place(leaf)
    refs = [f.place(leaf) for leaf in leaves]
    prefix = _common([ref.path.split(".") for ref in refs])
    paths = tuple(".".join(ref.path.split(".")[len(prefix) :]) for ref in refs)
    function = _function(f.module, ops, leaves, value, transposed)
    name = f.plan.derive(function.name, paths)
    return replace(refs[0], path=".".join([*prefix, f"{DERIVED}{name}"]))


def _expression(keeping: Keeping, value: Value) -> tuple[list[Op], list[Value]]:
    """The ops that make a value, in order, and the weights they begin with, each once."""
    op = keeping.producers[id(value)]
    if op.name == "get":
        return [], [value]
    ops: list[Op] = []
    leaves: list[Value] = []
    for operand in op.operands:
        more, begins = _expression(keeping, operand)
        ops += [o for o in more if o not in ops]
        leaves += [leaf for leaf in begins if leaf not in leaves]
    return [*ops, op], leaves


def _common(paths: Sequence[Sequence[str]]) -> list[str]:
    """The first parts that all paths share; the last part of a path never counts."""
    out: list[str] = []
    for parts in zip(*(path[:-1] for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        out.append(parts[0])
    return out


def _function(
    module: Module, ops: Sequence[Op], leaves: Sequence[Value], value: Value, transposed: bool
) -> Function:
    """The weights function of an expression; the one the module has, if it is the same."""
    params = {id(leaf): Value(leaf.type, f"w{number}") for number, leaf in enumerate(leaves)}
    values = dict(params)
    body = []
    for op in ops:
        (result,) = op.results
        values[id(result)] = Value(result.type)
        operands = tuple(values[id(o)] for o in op.operands)
        body.append(Op(op.name, operands, op.attrs, (values[id(result)],)))
    out = values[id(value)]
    if transposed:
        out, turn = _turned(out)
        body.append(turn)
    made = Function("", tuple(params.values()), tuple(body), (out,), kind="weights")
    for known in module.functions.values():
        if known.kind == "weights" and _text(known) == _text(made):
            return known
    made.name = f"{body[-1].name}_weights_{1 + sum('_weights_' in name for name in module.functions)}"
    module.functions[made.name] = made
    return made


def _turned(value: Value) -> tuple[Value, Op]:
    rank = value.tensor.rank
    perm = (*range(rank - 2), rank - 1, rank - 2)
    out = Value(TensorType(tuple(value.shape[p] for p in perm), value.dtype))
    return out, Op("transpose", (value,), {"perm": perm}, (out,))


def _text(function: Function) -> object:
    """What two functions have in common that compute the same."""
    numbers = {id(v): n for n, v in enumerate([*function.params, *(r for op in function.ops for r in op.results)])}
    ops = [(op.name, [numbers[id(o)] for o in op.operands], sorted(op.attrs.items())) for op in function.ops]
    return [p.type for p in function.params], repr(ops), [numbers[id(r)] for r in function.results]
