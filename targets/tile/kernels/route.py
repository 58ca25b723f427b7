"""Which experts, with which weights (architectures.md §6.1, §6.2)."""

from __future__ import annotations

from ..build import Kernel
from ..logical import Piece, Program
from ..scalar import ceildiv

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
    added = k.load(bias.row(0), 1, experts)
    numbers, places = _numbers(k, rows, experts), _numbers(k, rows, per_token)
    for task in k.tasks(ceildiv(count, rows)):
        scores = _scores(k, k.load(logits.block(task * rows, rows), rows, experts, fill=0.0), scoring)
        biased = k.add(scores, added)
        if groups > 1:
            biased = _kept_groups(k, biased, numbers, groups, groups_kept)
        ids, weights = k.full(0.0, rows, per_token), k.full(0.0, rows, per_token)
        for turn in k.loop(per_token):
            best, at = _best(k, biased, numbers)
            k.where(places, "==", turn, k.full(best, rows, per_token), ids, out=ids)
            weight = k.sum(k.where(numbers, "==", at, scores, 0.0))
            k.where(places, "==", turn, k.full(weight, rows, per_token), weights, out=weights)
            k.where(numbers, "!=", at, biased, NEVER, out=biased)
        k.store(chosen.block(task * rows, rows), k.cast(ids, "i32"))
        k.store(mix.block(task * rows, rows), _normalised(k, weights, normalise, scale))
    return k.done()


def route_hash(
    *, experts: int, scoring: str, per_token: int, normalise: bool, scale: float, rows: int, stages: int
) -> Program:
    """``mix`` f32 ``[T, per_token]`` of ``logits`` f32 ``[T, E]`` for experts ``chosen`` i32 ``[T, per_token]``."""
    k = Kernel("route_hash", stages)
    count = k.size("T")
    logits, chosen = k.tensor("logits", "f32", count, experts), k.tensor("chosen", "i32", count, per_token)
    mix = k.out("mix", "f32", count, per_token)
    numbers, places = _numbers(k, rows, experts), _numbers(k, rows, per_token)
    for task in k.tasks(ceildiv(count, rows)):
        scores = _scores(k, k.load(logits.block(task * rows, rows), rows, experts, fill=0.0), scoring)
        ids = k.cast(k.load(chosen.block(task * rows, rows), rows, per_token, fill=0.0), "f32")
        weights = k.full(0.0, rows, per_token)
        for turn in k.loop(per_token):
            mine = k.sum(k.where(places, "==", turn, ids, 0.0))
            weight = k.sum(k.where(numbers, "==", k.full(mine, rows, experts), scores, 0.0))
            k.where(places, "==", turn, k.full(weight, rows, per_token), weights, out=weights)
        k.store(mix.block(task * rows, rows), _normalised(k, weights, normalise, scale))
    return k.done()


def _numbers(k: Kernel, rows: int, cols: int) -> Piece:
    """0, 1, ... in each row."""
    return k.full(k.iota(cols, 0, "f32"), rows, cols)


def _scores(k: Kernel, logits: Piece, scoring: str) -> Piece:
    if scoring == "softmax":
        powers = k.exp(k.sub(logits, k.largest(logits)))
        return k.div(powers, k.sum(powers))
    if scoring == "sigmoid":
        return sigmoid(k, logits)
    small = k.exp(k.mul(k.absolute(logits), -1.0))
    return k.sqrt(k.add(k.maximum(logits, 0.0), _log1p(k, small)))


def sigmoid(k: Kernel, x: Piece) -> Piece:
    """1 / (1 + exp(-x))."""
    return k.div(1.0, k.add(k.exp(k.mul(x, -1.0)), 1.0))


def _log1p(k: Kernel, x: Piece) -> Piece:
    """ln(1 + x) for x from 0 to 1: what 1 + x loses in rounding is put right by the ratio of x to what is left."""
    more = k.add(x, 1.0)
    left = k.sub(more, 1.0)
    return k.where(left, ">", 0.0, k.div(k.mul(k.ln(more), x), left), x)


def _best(k: Kernel, values: Piece, numbers: Piece) -> tuple[Piece, Piece]:
    """The number of each row's largest, the lowest of several: ``[R, 1]``, and as often as the row is long."""
    top = k.full(k.largest(values), *values.shape)
    first = k.smallest(k.where(values, "==", top, numbers, float(values.cols)))
    return first, k.full(first, *values.shape)


def _kept_groups(k: Kernel, biased: Piece, numbers: Piece, groups: int, kept: int) -> Piece:
    """Experts of the best groups; a group is worth the sum of its two best, the others are never chosen."""
    rows, experts = biased.shape
    size = experts // groups
    worth, slots = k.full(NEVER, rows, groups), _numbers(k, rows, groups)
    for group in k.loop(groups):
        begin = group * size
        inside = k.where(numbers, "<", begin + size, k.where(numbers, ">=", begin, biased, NEVER), NEVER)
        total = k.largest(inside)
        if size > 1:
            _, at = _best(k, inside, numbers)
            total = k.add(total, k.largest(k.where(numbers, "!=", at, inside, NEVER)))
        k.where(slots, "==", group, k.full(total, rows, groups), worth, out=worth)
    out = k.vec(rows, experts, name="kept")
    k.copy(NEVER, out)
    for _ in k.loop(kept):
        best, at = _best(k, worth, slots)
        low = k.full(k.mul(best, float(size)), rows, experts)
        mine = k.where(numbers, "<", k.add(low, float(size)), biased, NEVER)
        k.maximum(out, k.where(numbers, ">=", low, mine, NEVER), out=out)
        k.where(slots, "!=", at, worth, NEVER, out=worth)
    return out


def _normalised(k: Kernel, weights: Piece, normalise: bool, scale: float) -> Piece:
    if normalise:
        weights = k.div(weights, k.add(k.sum(weights), SMALLEST))
    return k.mul(weights, scale)
