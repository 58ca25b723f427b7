"""Graphs as exporters write them, by hand: ``IDIOMS`` maps a name to a function with its kernels and a bound."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import numpy as np

from dsv4c.ir.builder import (
    Builder,
    broadcast_to,
    cast,
    concat,
    const,
    exp,
    iota,
    largest,
    linear,
    matmul,
    reshape,
    slice_axis,
    topk,
    total,
    transpose,
    unary,
    where,
)
from dsv4c.ir.core import Function, Module, Value
from dsv4c.ir.dims import Extent, symbol
from dsv4c.ir.kernel_ops.routing import _weights
from dsv4c.ir.types import TensorType

B, S, T = symbol("B"), symbol("S"), symbol("T")
LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Idiom:
    """A function and the kernel ops that it should become."""

    function: Function
    kernels: Counter[str]
    bound: float


IDIOMS: dict[str, Idiom] = {}
Write = Callable[..., Value | tuple[Value, ...]]


def idiom(kernels: str, bound: float = 1e-6, **types: TensorType) -> Callable[[Write], Write]:
    """Register a function of core ops over operands of these types."""

    def register(write: Write) -> Write:
        name = write.__name__
        with Builder(Module("exported"), name, **types) as b:
            out = write(*b.params)
            function = b.done(*(out if isinstance(out, tuple) else (out,)))
        IDIOMS[name] = Idiom(function, Counter(kernels.split()), bound)
        return write

    return register


def f32(*shape: Extent) -> TensorType:
    return TensorType(shape, "f32")


def bf16(*shape: Extent) -> TensorType:
    return TensorType(shape, "bf16")


def i32(*shape: Extent) -> TensorType:
    return TensorType(shape, "i32")


def reduce_mean(x: Value) -> Value:
    """ReduceMean as sum over count."""
    return total(x, keep=True) / float(str(x.shape[-1]))


def reciprocal(x: Value) -> Value:
    return 1.0 / x


def square(x: Value) -> Value:
    """Pow(x, 2)."""
    return x * x


# Norms


@idiom("rms_norm", x=f32(B, S, 80), w=f32(80))
def pow_mean_sqrt_reciprocal(x: Value, w: Value) -> Value:
    return w * (reciprocal(unary("sqrt", reduce_mean(square(x)) + 1e-6)) * x)


@idiom("rms_norm", x=f32(B, S, 80), w=f32(80))
def pow_mean_sqrt_div(x: Value, w: Value) -> Value:
    return x / unary("sqrt", reduce_mean(square(x)) + float(np.float32(1e-6))) * w


@idiom("rms_norm", x=f32(B, S, 80), w=f32(80))
def mean_by_a_rounded_reciprocal(x: Value, w: Value) -> Value:
    mean = total(square(x), keep=True) * float(np.float32(1 / 80))
    return x * unary("rsqrt", mean + 1e-6) * w


@idiom("rms_norm", 1e-2, x=bf16(B, S, 80), w=bf16(80))
def weight_after_the_cast(x: Value, w: Value) -> Value:
    wide = cast(x, "f32")
    return w * cast(wide / unary("sqrt", reduce_mean(square(wide)) + 1e-6), "bf16")


@idiom("rms_norm", 1e-2, x=bf16(B, S, 80), w=bf16(80))
def weight_before_the_cast(x: Value, w: Value) -> Value:
    wide = cast(x, "f32")
    return cast(cast(w, "f32") * (wide * unary("rsqrt", reduce_mean(square(wide)) + 1e-6)), "bf16")


@idiom("layer_norm", x=f32(B, S, 80), w=f32(80), bias=f32(80))
def layer_norm_by_div(x: Value, w: Value, bias: Value) -> Value:
    centred = x - reduce_mean(x)
    return bias + w * (centred / unary("sqrt", reduce_mean(square(centred)) + 1e-5))


# Activations


@idiom("swiglu", gate=f32(B, 80), up=f32(B, 80))
def sigmoid_first(gate: Value, up: Value) -> Value:
    return up * (reciprocal(1.0 + exp(unary("neg", gate))) * gate)


@idiom("swiglu", gate=f32(B, 80), up=f32(B, 80))
def zero_minus(gate: Value, up: Value) -> Value:
    return gate * (1.0 / (exp(0.0 - gate) + 1.0)) * up


@idiom("swiglu", gate=f32(B, 80), up=f32(B, 80))
def silu_as_division(gate: Value, up: Value) -> Value:
    return up * (gate / (1.0 + exp(unary("neg", gate))))


@idiom("mlp", x=f32(B, 64), gate=f32(64, 80), up=f32(64, 80), down=f32(80, 64))
def mlp_of_transposed_weights(x: Value, gate: Value, up: Value, down: Value) -> Value:
    g = matmul(x, gate)
    return matmul(matmul(x, up) * (g * (1.0 / (1.0 + exp(unary("neg", g))))), down)


@idiom("route_topk", logits=f32(B, 32), bias=f32(32))
def softmax_without_a_shift(logits: Value, bias: Value) -> tuple[Value, Value]:
    powers = exp(logits)
    scores = powers / total(powers, keep=True)
    _, chosen = topk(scores + bias, 3)
    return chosen, _weights(scores, chosen, True, 2.5)


# Rotations


def rotate_half(x: Value) -> Value:
    half = int(str(x.shape[-1])) // 2
    return concat(unary("neg", slice_axis(x, half, 2 * half)), slice_axis(x, 0, half))


def rotary_tables(positions: Value, half: int, factor: float) -> tuple[Value, Value]:
    """The rotary embedding of transformers: [B, S, 2 half] each."""
    batch, length = positions.shape
    column = const(tuple(1e4 ** (-j / half) for j in range(half)), "f32")
    column = broadcast_to(reshape(column, 1, half, 1), batch, half, 1)
    row = cast(reshape(positions, batch, 1, length), "f32")
    angles = transpose(matmul(column, row), 0, 2, 1)
    both = concat(angles, angles)
    tables = unary("cos", both), unary("sin", both)
    return tables if factor == 1.0 else (tables[0] * factor, tables[1] * factor)


@idiom("rope_angles rope rope", 1e-6, q=f32(B, 3, S, 24), k=f32(B, 1, S, 8), positions=i32(B, S))
def rotary_embedding_of_transformers(q: Value, k: Value, positions: Value) -> tuple[Value, Value]:
    cos, sin = (reshape(t, B, 1, S, 8) for t in rotary_tables(positions, 4, 1.0))
    plain, turning = slice_axis(q, 0, 16), slice_axis(q, 16, 24)
    turned = turning * cos + rotate_half(turning) * sin
    return concat(plain, turned), rotate_half(k) * sin + cos * k


@idiom("rope_angles rope", 1e-6, x=f32(B, S, 3, 8), positions=i32(B, S))
def rotary_with_a_factor(x: Value, positions: Value) -> Value:
    cos, sin = (reshape(t, B, S, 1, 8) for t in rotary_tables(positions, 4, 1.25))
    return x * cos + rotate_half(x) * sin


@idiom("rope", 1e-6, x=f32(B, 3, 5, 8))
def rotary_with_folded_tables(x: Value) -> Value:
    angles = np.outer(np.arange(5), 1e4 ** (-np.arange(4) / 4)).astype(np.float32)
    cos, sin = (
        const(np.concatenate([t, t], 1).ravel().tolist(), "f32", (1, 1, 5, 8)) for t in (np.cos(angles), np.sin(angles))
    )
    return x * cos + rotate_half(x) * sin


@idiom("", 0.0, x=f32(B, S, 3, 8), cos=f32(B, S, 1, 8), sin=f32(B, S, 1, 8))
def rotary_with_tables_passed_in_whole(x: Value, cos: Value, sin: Value) -> Value:
    """Not met: nothing says that the halves of a table are equal."""
    return x * cos + rotate_half(x) * sin


# Attention

HEADS, NOPE, WIDTH, TURNED, RANK, LENGTH = 3, 16, 8, 6, 32, 5
MASKED_ADD = "mla_attention"


def mla(q: Value, latents: Value, rope_keys: Value, kv_b: Value, mask: Callable[[Value], Value], both: bool) -> Value:
    """Eager attention of transformers over latents, q [B, H, S, D]; ``both`` scales both sides, as for SDPA."""
    batch, _, count, _ = rope_keys.shape
    expanded = transpose(reshape(matmul(latents, kv_b), batch, count, HEADS, NOPE + WIDTH), 0, 2, 1, 3)
    plain, values = slice_axis(expanded, 0, NOPE), slice_axis(expanded, NOPE, NOPE + WIDTH)
    keys = concat(plain, broadcast_to(rope_keys, batch, HEADS, count, TURNED))
    across = transpose(keys, 0, 1, 3, 2)
    scores = matmul(q * 0.4, across * 0.4) if both else matmul(q, across) * 0.16
    masked = mask(scores)
    powers = exp(masked - largest(masked, keep=True))
    return transpose(matmul(powers / total(powers, keep=True), values), 0, 2, 1, 3)


def mla_types(length: Extent, count: Extent) -> dict[str, TensorType]:
    return {
        "q": f32(B, HEADS, length, NOPE + TURNED), "latents": f32(B, count, RANK),
        "rope_keys": f32(B, 1, count, TURNED), "kv_b": f32(RANK, HEADS * (NOPE + WIDTH)),
    }  # fmt: skip


def later(past: Value, length: Extent, count: Extent) -> Value:
    """Which keys come after a query, [B, 1, S, T]."""
    positions = reshape(past, B, 1) + reshape(iota(length), 1, length)
    return reshape(iota(count), 1, 1, 1, count) > reshape(positions, B, 1, length, 1)


def _masks() -> dict[str, Callable[[Value, Value], Value]]:
    """Ways to hide keys: from logits and which keys are later."""
    return {
        "where_lowest": lambda s, hide: where(unary("not", hide), s, LOWEST),
        "where_hidden_first": lambda s, hide: where(hide, const(-inf, "f32"), s),
        "add_infinity": lambda s, hide: s + where(hide, const(-inf, "f32"), 0.0),
        "add_lowest_seen": lambda s, hide: where(unary("not", hide), const(0.0, "f32"), LOWEST) + s,
        "add_product": lambda s, hide: s + cast(hide, "f32") * LOWEST,
        "add_one_minus": lambda s, hide: s + (1.0 - cast(unary("not", hide), "f32")) * -1e9,
        "add_expanded": lambda s, hide: s
        + broadcast_to(where(hide, const(-inf, "f32"), 0.0), B, HEADS, *s.shape[2:]),
    }


def _register_attention() -> None:
    for both in (False, True):
        for name, mask in _masks().items():

            def held(
                q: Value, latents: Value, rope_keys: Value, kv_b: Value, past: Value, mask: Write = mask,
                both: bool = both,
            ) -> Value:  # fmt: skip
                return mla(q, latents, rope_keys, kv_b, lambda s: mask(s, later(past, S, T)), both)  # type: ignore

            held.__name__ = f"attention_{name}" + "_both_sides" * both
            idiom(MASKED_ADD, 2e-6, **mla_types(S, T), past=i32(B))(held)


_register_attention()


def triangle(hidden: float | bool, seen: float | bool, dtype: str) -> Value:
    numbers = [seen if c <= r else hidden for r in range(LENGTH) for c in range(LENGTH)]
    return const(numbers, dtype, (1, 1, LENGTH, LENGTH))


@idiom(MASKED_ADD, 2e-6, **mla_types(LENGTH, LENGTH))
def attention_folded_additive_mask(q: Value, latents: Value, rope_keys: Value, kv_b: Value) -> Value:
    return mla(q, latents, rope_keys, kv_b, lambda s: s + triangle(LOWEST, 0.0, "f32"), True)


@idiom(MASKED_ADD, 2e-6, **mla_types(LENGTH, LENGTH))
def attention_folded_bool_mask(q: Value, latents: Value, rope_keys: Value, kv_b: Value) -> Value:
    return mla(q, latents, rope_keys, kv_b, lambda s: where(triangle(False, True, "bool"), s, -inf), False)


@idiom("", 0.0, **mla_types(S, T), mask=f32(B, 1, S, T))
def attention_mask_passed_in(q: Value, latents: Value, rope_keys: Value, kv_b: Value, mask: Value) -> Value:
    """Not met: nothing says that the mask is causal."""
    return mla(q, latents, rope_keys, kv_b, lambda s: s + mask, False)


@idiom("swiglu", 1e-6, x=f32(B, 64), w=f32(160, 64))
def gate_and_up_in_one_product(x: Value, w: Value) -> Value:
    both = linear(x, w)
    gate, up = slice_axis(both, 0, 80), slice_axis(both, 80, 160)
    return gate * (1.0 / (1.0 + exp(unary("neg", gate)))) * up
