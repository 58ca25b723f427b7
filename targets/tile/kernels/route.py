"""Which experts, with which weights (architectures.md §6.1, §6.2)."""

from __future__ import annotations

from ..build import Kernel
from ..logical import Piece, Program
from ..scalar import ceildiv, least, sub

NEVER = float("-inf")
SMALLEST = 1e-20  # added to a sum of weights, as in the reference


def route_topk(
    *, experts: int, scoring: str, per_token: int, groups: int, groups_kept: int, normalise: bool, scale: float,
    rows: int, stages: int,
) -> Program:  # fmt: skip
    """``chosen`` i32 and ``mix`` f32 ``[T, per_token]`` of ``logits`` f32 ``[T, E]``; ``bias`` f32 ``[E]`` counts for
    the choice only. Ties go to the lower expert.
    """
    k = Kernel("route_topk", stages)
    count = k.size("T")
    logits, bias = k.tensor("logits", "f32", count, experts), k.tensor("bias", "f32", experts)
    chosen, mix = k.out("chosen", "i32", count, per_token), k.out("mix", "f32", count, per_token)
    added, numbers = k.load(bias.row(0), 1, experts), k.iota(experts, 0, "f32")
    for task in k.tasks(ceildiv(count, rows)):
        row, tall = task * rows, least(rows, sub(count, task * rows))
        given = k.load(logits.window(row * experts, tall, experts, experts), rows, experts, fill=0.0)
        scores = _scores(k, given, scoring)
        biased = k.add(scores, added)
        if groups > 1:
            biased = _kept_groups(k, biased, numbers, groups, groups_kept)
        ids, weights = k.copy(0.0, k.vec(rows, per_token)), k.copy(0.0, k.vec(rows, per_token))
        places = k.iota(per_token, 0, "f32")
        for turn in k.loop(per_token):
            best, hit = _best(k, biased, numbers)
            weight = k.sum(k.where(hit, ">", 0.5, scores, 0.0))
            _put(k, ids, places, turn, best)
            _put(k, weights, places, turn, weight)
            k.copy(k.where(hit, ">", 0.5, k.copy(NEVER, k.vec(rows, experts)), biased), biased)
        k.store(chosen.window(row * per_token, tall, per_token, per_token), k.cast(ids, "i32"))
        k.store(mix.window(row * per_token, tall, per_token, per_token), _normalised(k, weights, normalise, scale))
    return k.done()


def route_hash(
    *, experts: int, scoring: str, per_token: int, normalise: bool, scale: float, rows: int, stages: int
) -> Program:
    """``mix`` f32 ``[T, per_token]`` of ``logits`` f32 ``[T, E]`` for experts ``chosen`` i32 ``[T, per_token]``."""
    k = Kernel("route_hash", stages)
    count = k.size("T")
    logits, chosen = k.tensor("logits", "f32", count, experts), k.tensor("chosen", "i32", count, per_token)
    mix = k.out("mix", "f32", count, per_token)
    numbers, places = k.iota(experts, 0, "f32"), k.iota(per_token, 0, "f32")
    for task in k.tasks(ceildiv(count, rows)):
        row, tall = task * rows, least(rows, sub(count, task * rows))
        given = k.load(logits.window(row * experts, tall, experts, experts), rows, experts, fill=0.0)
        scores = _scores(k, given, scoring)
        window = chosen.window(row * per_token, tall, per_token, per_token)
        ids = k.cast(k.load(window, rows, per_token, fill=0.0), "f32")
        weights = k.copy(0.0, k.vec(rows, per_token))
        for turn in k.loop(per_token):
            mine = k.sum(k.where(_spread(k, places, ids), "==", turn, ids, 0.0))
            hit = k.where(_spread(k, numbers, scores), "==", k.copy(mine, k.vec(rows, experts)), scores, 0.0)
            _put(k, weights, places, turn, k.sum(hit))
        k.store(mix.window(row * per_token, tall, per_token, per_token), _normalised(k, weights, normalise, scale))
    return k.done()


def _spread(k: Kernel, row: Piece, like: Piece) -> Piece:
    return k.copy(row, k.vec(like.rows, like.cols))


def _scores(k: Kernel, logits: Piece, scoring: str) -> Piece:
    if scoring == "softmax":
        powers = k.exp(k.sub(logits, k.largest(logits)))
        return k.div(powers, k.sum(powers))
    if scoring == "sigmoid":
        return k.div(1.0, k.add(k.exp(k.mul(logits, -1.0)), 1.0))
    # sqrt(softplus): log1p(e) for small e = exp(-|x|) by its series would differ in the last bits only.
    small = k.exp(k.mul(k.absolute(logits), -1.0))
    return k.sqrt(k.add(k.maximum(logits, 0.0), k.ln(k.add(small, 1.0))))


def _best(k: Kernel, values: Piece, numbers: Piece) -> tuple[Piece, Piece]:
    """The number of each row's largest, the lowest of several, ``[R, 1]``; and 1 there, 0 elsewhere."""
    top = k.copy(k.largest(values), k.vec(values.rows, values.cols))
    ids = _spread(k, numbers, values)
    first = k.smallest(k.where(values, "==", top, ids, float(values.cols)))
    ones = k.copy(1.0, k.vec(values.rows, values.cols))
    return first, k.where(ids, "==", k.copy(first, k.vec(values.rows, values.cols)), ones, 0.0)


def _put(k: Kernel, out: Piece, places: Piece, turn: object, column: Piece) -> None:
    """``out[:, turn] = column``."""
    full = k.copy(column, k.vec(out.rows, out.cols))
    k.copy(k.where(_spread(k, places, out), "==", turn, full, out), out)  # type: ignore[arg-type]


def _kept_groups(k: Kernel, biased: Piece, numbers: Piece, groups: int, kept: int) -> Piece:
    """Experts of the best groups; a group is worth the sum of its two best, the others are never chosen."""
    rows, experts = biased.shape
    size = experts // groups
    worth = k.copy(NEVER, k.vec(rows, groups))
    slots = k.iota(groups, 0, "f32")
    ids = _spread(k, numbers, biased)
    for group in k.loop(groups):
        inside = _inside(k, ids, group * size, size, biased)
        _, hit = _best(k, inside, numbers)
        total = k.largest(inside)
        if size > 1:
            rest = k.where(hit, ">", 0.5, k.copy(NEVER, k.vec(rows, experts)), inside)
            total = k.add(total, k.largest(rest))
        _put(k, worth, slots, group, total)
    out = k.copy(NEVER, k.vec(rows, experts, name="kept"))
    for _ in k.loop(kept):
        best, hit = _best(k, worth, slots)
        begin = k.copy(k.mul(best, float(size)), k.vec(rows, experts))
        low = k.where(ids, ">=", begin, biased, NEVER)
        k.copy(k.where(ids, "<", k.add(begin, float(size)), k.maximum(low, out), out), out)
        k.copy(k.where(hit, ">", 0.5, k.copy(NEVER, k.vec(rows, groups)), worth), worth)
    return out


def _inside(k: Kernel, ids: Piece, begin: object, size: int, values: Piece) -> Piece:
    low = k.where(ids, ">=", begin, values, NEVER)  # type: ignore[arg-type]
    return k.where(ids, "<", begin + size, low, NEVER)  # type: ignore[operator]


def _normalised(k: Kernel, weights: Piece, normalise: bool, scale: float) -> Piece:
    if normalise:
        weights = k.div(weights, k.add(k.sum(weights), SMALLEST))
    return k.mul(weights, scale)
