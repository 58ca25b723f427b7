"""Routing: which experts a token goes to and with which weights, one token after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..kernels import expr
from ..kernels.kernel import Arg, Kernel
from ..scalar import Expr, int64
from .activation import sigmoid
from .emit import build, choose, each, f32, largest, local, loop, scalar, total, vectors
from .tuning import HEAVY

NONE = -3.0e38  # below every score that can be chosen


@dataclass(frozen=True)
class Routing:
    """The attributes of route_topk and route_hash."""

    scoring: str
    per_token: int
    normalise: bool
    scale: float


def route_topk(
    name: str, *, experts: int, scoring: str, per_token: int, groups: int, groups_kept: int, normalise: bool,
    scale: float, tokens: int | None,
) -> Kernel:  # fmt: skip
    """logits ``[tokens, experts]``, bias ``[experts]``, chosen i32 and mix ``[tokens, per_token]``; tokens if None."""
    routing = Routing(scoring, per_token, normalise, scale)
    args = [
        Arg("logits", ("tokens", experts), "f32"), Arg("bias", (experts,), "f32"),
        Arg("chosen", ("tokens", per_token), "i32"), Arg("mix", ("tokens", per_token), "f32"),
    ]  # fmt: skip

    def body(k: Any) -> None:
        def token(t: Expr) -> None:
            scores, biased = _scores(k, experts, scoring, t), local(experts)
            vectors(experts, lambda e: T.buffer_store(biased, scores[e] + k.bias[e], [e]))
            if groups > 1:
                _keep_groups(biased, experts // groups, groups, groups_kept)
            with loop(0, per_token) as i:
                T.buffer_store(k.chosen, _take(biased, experts)[0].astype("int32"), [t, i])
            _weigh(k, routing, scores, t)

        each(k.tokens, experts * HEAVY, token)

    return build(name, args, {"tokens": tokens}, body)


def route_hash(
    name: str, *, experts: int, scoring: str, per_token: int, normalise: bool, scale: float, tokens: int | None
) -> Kernel:
    """logits ``[tokens, experts]``, chosen i32 and mix ``[tokens, per_token]``; tokens if None."""
    routing = Routing(scoring, per_token, normalise, scale)
    args = [
        Arg("logits", ("tokens", experts), "f32"), Arg("chosen", ("tokens", per_token), "i32"),
        Arg("mix", ("tokens", per_token), "f32"),
    ]  # fmt: skip

    def body(k: Any) -> None:
        each(k.tokens, experts * HEAVY, lambda t: _weigh(k, routing, _scores(k, experts, scoring, t), t))

    return build(name, args, {"tokens": tokens}, body)


def _scores(k: Any, experts: int, scoring: str, t: Expr) -> Any:
    scores = local(experts)
    if scoring == "softmax":
        peak = largest(experts, lambda e: k.logits[t, e])
        vectors(experts, lambda e: T.buffer_store(scores, expr.exp(k.logits[t, e] - peak[0]), [e]))
        whole = total(experts, lambda e: scores[e])
        vectors(experts, lambda e: T.buffer_store(scores, scores[e] / whole[0], [e]))
        return scores

    if scoring == "sigmoid":
        vectors(experts, lambda e: T.buffer_store(scores, sigmoid(k.logits[t, e]), [e]))
        return scores
    # Softplus in steps: nested in one expression, TVM takes half a minute to simplify it.
    vectors(experts, lambda e: T.buffer_store(scores, expr.exp(f32(-1) * tirx.abs(k.logits[t, e])), [e]))
    vectors(experts, lambda e: T.buffer_store(scores, expr.log1p(scores[e]), [e]))
    vectors(experts, lambda e: T.buffer_store(scores, tirx.sqrt(tirx.max(k.logits[t, e], f32(0)) + scores[e]), [e]))
    return scores


def _take(values: Any, count: int) -> Any:
    """The position of the largest value, the lowest one on ties, which is taken out."""
    best, at = scalar(f32(NONE)), scalar(int64(0))
    with loop(0, count) as e:

        def keep(e: Expr = e) -> None:
            T.buffer_store(best, values[e], [0])
            T.buffer_store(at, e, [0])

        choose(values[e] > best[0], keep)
    T.buffer_store(values, f32(-float("inf")), [at[0]])
    return at


def _keep_groups(biased: Any, size: int, groups: int, kept: int) -> None:
    """-inf for experts outside the best groups, by the sum of the two largest scores of each."""
    sums, inside = local(groups), local(groups, dtype="int32")
    with loop(0, groups) as g:
        first, second = scalar(f32(-float("inf"))), scalar(f32(-float("inf")))
        with loop(0, size) as i:
            value = biased[g * int64(size) + i]
            T.buffer_store(second, tirx.max(second[0], tirx.min(first[0], value)), [0])
            T.buffer_store(first, tirx.max(first[0], value), [0])
        T.buffer_store(sums, first[0] + second[0] if size > 1 else first[0], [g])
        T.buffer_store(inside, tirx.const(0, "int32"), [g])
    with loop(0, kept):
        T.buffer_store(inside, tirx.const(1, "int32"), [_take(sums, groups)[0]])
    with loop(0, groups) as g, loop(0, size) as i:
        at = g * int64(size) + i
        kept_value = tirx.Select(inside[g] == tirx.const(1, "int32"), biased[at], f32(-float("inf")))
        T.buffer_store(biased, kept_value, [at])


def _weigh(k: Any, r: Routing, scores: Any, t: Expr) -> None:
    """Weights of the chosen experts from their unbiased scores."""
    picked = local(r.per_token)
    with loop(0, r.per_token) as i:
        expert = k.chosen[t, i].astype("int64")
        inside = tirx.all(expert >= int64(0), expert < int64(int(scores.shape[0])))
        T.buffer_store(picked, tirx.if_then_else(inside, scores[expert], f32(0)), [i])
    whole = scalar(f32(0))
    with loop(0, r.per_token) as i:
        T.buffer_store(whole, whole[0] + picked[i], [0])
    with loop(0, r.per_token) as i:
        value = picked[i] / (whole[0] + f32(1e-20)) if r.normalise else picked[i]
        T.buffer_store(k.mix, value * f32(r.scale), [t, i])
