"""Collectives: ops that exchange data between the ranks of a mesh axis (architectures.md §13.3).

Every rank runs the same program. ``mesh`` names the axis of ranks and ``ranks`` is its size; a rank's operands are its
own. A reference sees the operands of all ranks at once, so only ``spmd.run_ranks`` can run these ops. ``link`` counts
the bytes that one rank sends when the load is even; what stays on the rank is counted too, as in §13.3.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core import ACTIVE, Attr, Value
from ..dims import Extent, product
from ..registry import REGISTRY, Array, Exchange, Infer, LinkRule, OpDef, Require, ShapeError, checked, no_work
from ..types import BITS, COMPUTE_FLOATS, TensorType

Operands = Sequence[Sequence[Array]]  # one sequence of arrays a rank
_MESH = {"mesh": "the axis of ranks", "ranks": "its size"}


def collective(name: str, infer: Infer, exchange: Exchange, link: LinkRule, doc: str, **attrs: str) -> None:
    """Add an op that all ranks take part in. ``exchange(ranks' operands, **attrs)`` gives the results of each rank."""

    def alone(*_: Array, **__: Attr) -> None:
        raise ShapeError(f"{name} needs all ranks, this is one; use spmd.run_ranks")

    REGISTRY[name] = OpDef(
        name, infer, alone, no_work, doc, "other", {**_MESH, **attrs}, "collective", exchange=exchange, link=link
    )


def check_mesh(mesh: str, ranks: int) -> None:
    """ShapeError unless the axis has a name and a size."""
    checked(bool(mesh) and ranks >= 1, f"mesh {mesh!r} of {ranks} ranks; it has a name and one rank or more")


# rank


def _rank_infer(require: Require, mesh: str, ranks: int) -> tuple[TensorType, ...]:
    check_mesh(mesh, ranks)
    return (TensorType((), "i32"),)


def _rank(operands: Operands, mesh: str, ranks: int) -> list[tuple[Array, ...]]:
    return [(np.array(number, np.int32),) for number in range(len(operands))]


collective("rank", _rank_infer, _rank, lambda *_: 0, "The number of this rank, i32")


def rank(mesh: str, ranks: int) -> Value:
    """The number of this rank on an axis, i32 scalar."""
    (out,) = ACTIVE[-1].emit("rank", (), {"mesh": mesh, "ranks": ranks})
    return out


# all_gather, reduce_scatter


def _gather_infer(x: TensorType, require: Require, mesh: str, ranks: int) -> tuple[TensorType, ...]:
    check_mesh(mesh, ranks)
    checked(x.rank >= 1, f"{x} has no axis to join along")
    return (TensorType((ranks * x.shape[0], *x.shape[1:]), x.dtype),)


def _gather(operands: Operands, mesh: str, ranks: int) -> list[tuple[Array, ...]]:
    whole = np.concatenate([x for (x,) in operands])
    return [(whole,) for _ in operands]


def _part_link(part: TensorType, ranks: int) -> Extent:
    """Bytes of a ring: the part of one rank passes ``ranks - 1`` links."""
    return product(part.shape) * (ranks - 1) * BITS[part.dtype] // 8


collective(
    "all_gather", _gather_infer, _gather, lambda operands, _, attrs: _part_link(operands[0], attrs["ranks"]),
    "The parts of all ranks one after the other along the first axis",
)  # fmt: skip


def all_gather(x: Value, mesh: str, ranks: int) -> Value:
    """``x [n, ..]`` of each rank to ``[ranks * n, ..]`` on every rank. Bytes: ``ranks - 1`` times those of ``x``."""
    (out,) = ACTIVE[-1].emit("all_gather", (x,), {"mesh": mesh, "ranks": ranks})
    return out


def _reduce_infer(x: TensorType, require: Require, mesh: str, ranks: int) -> tuple[TensorType, ...]:
    check_mesh(mesh, ranks)
    checked(x.rank >= 1 and x.dtype in COMPUTE_FLOATS, f"{x} is no float tensor with an axis to split")
    part = x.shape[0] // ranks
    require(ranks * part, x.shape[0])
    return (TensorType((part, *x.shape[1:]), x.dtype),)


def _reduce(operands: Operands, mesh: str, ranks: int) -> list[tuple[Array, ...]]:
    whole = np.sum([x.astype(np.float32) for (x,) in operands], axis=0, dtype=np.float32)
    return [(part.astype(operands[0][0].dtype),) for part in np.split(whole, ranks)]


collective(
    "reduce_scatter", _reduce_infer, _reduce, lambda _, results, attrs: _part_link(results[0], attrs["ranks"]),
    "The sum over all ranks, in f32, of which each rank keeps its own part along the first axis",
)  # fmt: skip


def reduce_scatter(x: Value, mesh: str, ranks: int) -> Value:
    """``x [ranks * n, ..]`` of each rank to the sum's ``[n, ..]``. Bytes: ``ranks - 1`` times those of the result."""
    (out,) = ACTIVE[-1].emit("reduce_scatter", (x,), {"mesh": mesh, "ranks": ranks})
    return out
