"""What each rank of a partitioned module gets of the whole module's operands, and results put together again.

Which part that is, the types of the two modules say. A tensor with the extent B on an axis is split there, sequence by
sequence; one that has ``ranks * B`` in the partitioned module is given to every rank whole. A weight of another shape
is cut by the weights function ``shard_..`` whose types fit. All else is the same on every rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .core import IRError, Module
from .dims import Extent, symbol
from .infer import infer
from .interp import Data, flatten, run, tree
from .registry import Array, ShapeError
from .spmd import Observe, mesh_of, run_ranks
from .types import TensorType, Type, leaves

BATCH = symbol("B")


def share(before: Type, after: Type, data: Data, module: Module, ranks: int) -> list[Data]:
    """Each rank's part of an operand: ``before`` is its type in the whole module, ``after`` in the partitioned one.

    Where ranks do not divide the sequences, all-zero ones are added: they hold no new token.
    """
    whole, types = dict(leaves(before)), dict(leaves(after))
    parts: list[dict[str, Array]] = [{} for _ in range(ranks)]
    for path, array in flatten(before, data).items():
        for rank, part in enumerate(_parts(path, whole[path], types[path], array, module, ranks)):
            parts[rank][path] = part
    return [tree(after, part) for part in parts]


def _parts(
    path: str, before: TensorType, after: TensorType, array: Array, module: Module, ranks: int
) -> Sequence[Array]:
    axis = _batch_axis(before)
    if axis is not None:
        extra = [(0, -array.shape[axis] % ranks if i == axis else 0) for i in range(array.ndim)]
        padded = np.pad(array, extra)
        return [padded] * ranks if after.shape[axis] == ranks * BATCH else np.split(padded, ranks, axis)
    if before.shape == after.shape:
        return [array] * ranks
    name = shard_function(module, before, after)
    if name is None:
        raise IRError(path, f"no weights function shard_.. makes {after} of {before}")
    dims = _bind_symbols(module.functions[name].params[0].tensor, array)
    return [run(module, name, [array, np.array(rank, np.int32)], dims)[0] for rank in range(ranks)]


def _batch_axis(tensor: TensorType) -> int | None:
    return tensor.shape.index(BATCH) if BATCH in tensor.shape else None


def shard_function(module: Module, before: TensorType, after: TensorType) -> str | None:
    """The weights function (w, rank) that makes a rank's part ``after`` of a weight ``before``."""
    for function in module.functions.values():
        if function.kind == "weights" and function.name.startswith("shard_") and len(function.params) == 2:
            dims = _unify(function.params[0].tensor, before)
            pairs = tuple(sorted(dims.items()))
            try:
                attrs: dict[str, Any] = {"callee": function.name, "dims": pairs}
                (made,) = infer(module, "call", [before, TensorType((), "i32")], attrs, _refuse)
            except ShapeError:
                continue
            if made == after:
                return function.name
    return None


def _refuse(left: Extent, right: Extent) -> None:
    if left != right:
        raise ShapeError(f"{left} is not {right}")


def _unify(param: TensorType, given: TensorType) -> dict[str, Extent]:
    if param.rank != given.rank:
        return {}
    return {str(p): g for p, g in zip(param.shape, given.shape, strict=True) if not isinstance(p, int)}


def _bind_symbols(param: TensorType, array: Array) -> dict[str, int]:
    return {str(p): n for p, n in zip(param.shape, array.shape, strict=True) if not isinstance(p, int)}


def join(before: Type, after: Type, parts: Sequence[Data], batch: int) -> Data:
    """A result of the whole module from those of the ranks, without the sequences that ``share`` added."""
    flat = [flatten(after, part) for part in parts]
    types, out = dict(leaves(after)), {}
    for path, tensor in leaves(before):
        axis = _batch_axis(tensor)
        arrays = [f[path] for f in flat]
        if axis is None:
            out[path] = arrays[0]
            continue
        split = types[path].shape[axis] == BATCH
        out[path] = np.take(np.concatenate(arrays, axis) if split else arrays[0], np.arange(batch), axis)
    return tree(before, out)


def run_shared(
    before: Module, after: Module, name: str, operands: Sequence[Data], dims: Mapping[str, int],
    observe: Observe | None = None,
) -> tuple[Data, ...]:  # fmt: skip
    """What ``run(before, name, operands, dims)`` gives, computed by all ranks of the partitioned module ``after``."""
    ((_, ranks),) = mesh_of(after).items()
    whole, part = before.functions[name], after.functions[name]
    given = zip(whole.params, part.params, operands, strict=True)
    shares = [share(p.type, q.type, data, after, ranks) for p, q, data in given]
    inner = dict(dims) | {"B": -(-dims["B"] // ranks)}
    results = run_ranks(after, name, [list(rank) for rank in zip(*shares, strict=True)], inner, observe)
    pairs = zip(whole.results, part.results, zip(*results, strict=True), strict=True)
    return tuple(join(p.type, q.type, parts, dims["B"]) for p, q, parts in pairs)
