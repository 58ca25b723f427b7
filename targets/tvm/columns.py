"""Products whose result is only ever cut into columns: each part gets memory of its own, and no slice is copied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dsv4c.ir.core import Function, Op, Value

from ..weights import is_weight
from .kernels.gemm import NR

if TYPE_CHECKING:
    from .fusion import Fusion


def cuts(fusion: Fusion, function: Function) -> Mapping[int, tuple[Value, ...]]:
    """By the id of a product with a weight, the slices that cut it, in order; each begins where a panel does."""
    returned = {id(r) for r in function.results}
    out: dict[int, tuple[Value, ...]] = {}
    for op in function.ops:
        if op.name != "matmul" or op.operands[1].tensor.rank != 2 or not is_weight(fusion, op.operands[1]):
            continue
        (whole,) = op.results
        users = fusion.users.get(id(whole), [])
        parts = sorted(users, key=_start)
        known = bool(users) and all(_columns(user, whole) for user in users)
        if known and _partition(parts, whole) and not returned & {id(whole), *(id(p.results[0]) for p in parts)}:
            out[id(whole)] = tuple(part.results[0] for part in parts)
    return out


def _columns(user: Op, whole: Value) -> bool:
    return user.name == "slice" and user.attrs["axis"] == whole.tensor.rank - 1


def _start(user: Op) -> int:
    start: Any = user.attrs.get("start", 0)
    return start if isinstance(start, int) else 0


def _partition(parts: list[Op], whole: Value) -> bool:
    """Whether the parts are all columns, each once, each from a panel's first column on."""
    end: Any = 0
    for part in parts:
        if part.attrs["start"] != end or end % NR:
            return False
        end = part.attrs["stop"]
        if not isinstance(end, int):
            return False
    return bool(end == whole.shape[-1])
