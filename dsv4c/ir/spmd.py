"""The reference interpreter for programs of many ranks: all of them in one process, in lockstep.

A partitioned module is one program that every rank runs on operands of its own. As functions have no branches, the
ranks meet at each op; a collective takes the operands of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .core import Function, IRError, Module, Op
from .interp import Data, bind, compute, concrete, inner_dims, last_uses
from .registry import lookup

# Called after each op with the function, the op, and operands and results of every rank.
Observe = Callable[[Function, Op, list[list[Data]], list[tuple[Data, ...]]], None]


def mesh_of(module: Module) -> dict[str, int]:
    """Size of each mesh axis that the module's collectives name; IRError when they differ on one."""
    found: dict[str, int] = {}
    for function in module.functions.values():
        for op in function.ops:
            if lookup(op.name).exchange:
                axis, ranks = str(op.attrs["mesh"]), op.attrs["ranks"]
                assert isinstance(ranks, int)
                if found.setdefault(axis, ranks) != ranks:
                    where = f"{function.name}:{op.loc}"
                    raise IRError(where, f"{op.name} has {ranks} ranks on {axis}, another op {found[axis]}", op)
    return found


def run_ranks(
    module: Module,
    name: str,
    operands: Sequence[Sequence[Data]],
    dims: Mapping[str, int],
    observe: Observe | None = None,
) -> list[tuple[Data, ...]]:
    """Run one function on all ranks.

    Args:
        module: a verified module; its collectives span one mesh axis, of as many ranks as there are operands.
        name: the function.
        operands: for each rank what ``interp.run`` takes.
        dims: a number for each dimension symbol, the same on every rank.
        observe: sees every op of this function and of those that it calls.

    Returns:
        The results of each rank.
    """
    mesh = mesh_of(module)
    if any(size != len(operands) for size in mesh.values()) or len(mesh) > 1:
        axes = ", ".join(f"{size} on {axis}" for axis, size in mesh.items())
        raise IRError(name, f"is given operands of {len(operands)} ranks; its collectives have {axes}")
    return _run(module, module.functions[name], operands, dims, observe)


def _run(
    module: Module, function: Function, operands: Sequence[Sequence[Data]], dims: Mapping[str, int],
    observe: Observe | None,
) -> list[tuple[Data, ...]]:  # fmt: skip
    ranks = [bind(function, given, dims) for given in operands]
    last = last_uses(function)
    for index, op in enumerate(function.ops):
        arguments = [[bound[id(o)] for o in op.operands] for bound in ranks]
        results = _apply(module, op, arguments, dims, observe)
        if observe:
            observe(function, op, arguments, results)
        for bound, out in zip(ranks, results, strict=True):
            bound.update((id(r), data) for r, data in zip(op.results, out, strict=True))
            for value in last.get(index, ()):
                del bound[id(value)]
    return [tuple(bound[id(r)] for r in function.results) for bound in ranks]


def _apply(
    module: Module, op: Op, arguments: list[list[Data]], dims: Mapping[str, int], observe: Observe | None
) -> list[tuple[Data, ...]]:
    if op.name == "call":
        callee = module.functions[str(op.attrs["callee"])]
        return _run(module, callee, arguments, inner_dims(op, dims), observe)
    exchange = lookup(op.name).exchange
    if exchange:
        return list(exchange(arguments, **{key: concrete(value, dims) for key, value in op.attrs.items()}))
    return [compute(op, given, dims) for given in arguments]
