"""The numpy references where their meaning is subtle, and what the registry promises of every op."""

from __future__ import annotations

import inspect
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dsv4c.ir.core import Attr, Module
from dsv4c.ir.dims import Dim, evaluate, symbol
from dsv4c.ir.infer import infer
from dsv4c.ir.interp import concrete, shape_of
from dsv4c.ir.ops import data as _data  # noqa: F401  (fills the registry)
from dsv4c.ir.registry import REGISTRY, ShapeError, define, lookup
from dsv4c.ir.types import BITS, DTYPES, TensorType

BF16, F16 = DTYPES["bf16"], DTYPES["f16"]
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def apply(name: str, *operands: np.ndarray, **attrs: Attr) -> Any:
    """The reference, with its results checked against the shape rule."""
    types = [TensorType(x.shape, NAMES[x.dtype]) for x in operands]

    def require(left: object, right: object) -> None:
        if left != right:
            raise ShapeError(f"{left} and {right} differ")

    want = infer(Module("m"), name, types, attrs, require)
    out = lookup(name).reference(*operands, **attrs)
    for result, type_ in zip(out if isinstance(out, tuple) else (out,), want, strict=True):
        assert (result.shape, result.dtype) == (type_.shape, DTYPES[type_.dtype])
    return out


def f32(*numbers: float) -> np.ndarray:
    return np.array(numbers, np.float32)


def i32(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int32)


# Top-k


def test_topk_ties_go_to_the_lower_index() -> None:
    values, indices = apply("topk", f32(1, 3, 3, 2, 3), k=3)
    assert values.tolist() == [3, 3, 3] and indices.tolist() == [1, 2, 4]


def test_topk_counts_both_zeros_as_one_value() -> None:
    values, indices = apply("topk", f32(-0.0, 0.0, -0.0), k=3)
    assert indices.tolist() == [0, 1, 2]
    assert np.signbit(values).tolist() == [True, False, True]  # the values themselves are not changed


def test_topk_pads_when_there_are_fewer() -> None:
    values, indices = apply("topk", np.array([[2, 5], [-inf, 1]], np.float32), k=4)
    assert values.tolist() == [[5, 2, -inf, -inf], [1, -inf, -inf, -inf]]
    assert indices.tolist() == [[1, 0, -1, -1], [1, 0, -1, -1]]


def test_topk_of_nothing() -> None:
    values, indices = apply("topk", np.zeros((2, 0), np.float32), k=2)
    assert (values == -inf).all() and (indices == -1).all()


@given(hnp.arrays(np.float32, (2, 7), elements=st.sampled_from([-inf, -1.0, -0.0, 0.0, 1.0, inf])), st.integers(1, 9))
def test_topk_is_a_stable_sort(x: np.ndarray, k: int) -> None:
    _, indices = apply("topk", x, k=k)
    for row, found in zip(x.tolist(), indices.tolist(), strict=True):
        want = sorted(range(7), key=lambda i: (-row[i], i))[:k]
        assert found == want + [-1] * (k - len(want))


def test_argmax_takes_the_lowest_of_ties() -> None:
    assert apply("argmax", np.array([[0, 4], [4, 4]], np.float32), axis=1).tolist() == [1, 0]


# Indexing


def test_gather_out_of_range_is_zero() -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2) + 1
    out = apply("gather", x, i32(2, -1, 3, 0), batch=0)
    assert out.tolist() == [[5, 6], [0, 0], [0, 0], [1, 2]]
    assert apply("gather", x[:0], i32(0, 5), batch=0).tolist() == [[0, 0], [0, 0]]


def test_gather_in_step() -> None:
    x = np.arange(12, dtype=np.int32).reshape(2, 3, 2)
    index = np.array([[[0], [2]], [[1], [-1]]], np.int32)
    assert apply("gather", x, index, batch=1).tolist() == [[[[0, 1]], [[4, 5]]], [[[8, 9]], [[0, 0]]]]


def test_scatter_drops_and_the_last_wins() -> None:
    x = f32(10, 11, 12)
    out = apply("scatter", x, i32(1, -1, 3, 1, 0), f32(1, 2, 3, 4, 5), batch=0)
    assert out.tolist() == [5, 4, 12]
    assert x.tolist() == [10, 11, 12]  # the operand stays


@given(
    hnp.arrays(np.int32, (2, 5), elements=st.integers(-2, 5)),
    hnp.arrays(np.float32, (2, 5, 3), elements=st.integers(1, 99)),
)
def test_scatter_is_a_loop(index: np.ndarray, rows: np.ndarray) -> None:
    want = np.zeros((2, 4, 3), np.float32)
    for b in range(2):
        for i, at in enumerate(index[b]):
            if 0 <= at < 4:
                want[b, at] = rows[b, i]
    assert (apply("scatter", np.zeros((2, 4, 3), np.float32), index, rows, batch=1) == want).all()


# Rounding


def test_bf16_sum_accumulates_in_f32_and_rounds_once() -> None:
    x = np.full(1000, 1.0, BF16)  # in bf16, 256 + 1 stays 256
    assert float(apply("sum", x, axis=0, keep=False)) == 1000
    x = np.array([256, 1, 1, 1], BF16)
    assert float(apply("sum", x, axis=0, keep=False)) == 260  # 259 rounds up, once


def test_bf16_cumsum_accumulates_in_f32() -> None:
    assert apply("cumsum", np.array([256, 1, 1, 1], BF16), axis=0).astype(float).tolist() == [256, 256, 258, 260]


def test_bf16_matmul_accumulates_in_f32_and_rounds_once() -> None:
    a, b = np.array([[256, 1, 1, 1]], BF16), np.ones((1, 4), BF16)
    assert float(apply("matmul", a, b, trans_b=True, out="")[0, 0]) == 260
    exact = apply("matmul", a, b, trans_b=True, out="f32")
    assert exact.dtype == np.float32 and exact[0, 0] == 259


@given(
    hnp.arrays(np.float32, 20, elements=st.floats(-100, 100, width=16)), st.sampled_from(("add", "mul", "div", "sub"))
)
def test_bf16_arithmetic_is_f32_arithmetic_rounded(x: np.ndarray, name: str) -> None:
    a, b = x[:10].astype(BF16), x[10:].astype(BF16)
    wide = apply(name, a.astype(np.float32), b.astype(np.float32))
    assert apply(name, a, b).tobytes() == wide.astype(BF16).tobytes()


@pytest.mark.parametrize("name", ["neg", "abs", "exp", "log", "log1p", "sqrt", "rsqrt", "sin", "cos"])
@pytest.mark.parametrize("dtype", [BF16, F16])
def test_functions_round_once_on_all_numbers(name: str, dtype: np.dtype) -> None:
    """Not so in ml_dtypes' own exp: 940 for bf16 6.84375, where f32 rounds to 936."""
    x = np.arange(2**16).astype(np.uint16).view(dtype)
    x = x[~np.isnan(x.astype(np.float32))]
    with np.errstate(all="ignore"):
        want = apply(name, x.astype(np.float32)).astype(dtype)
    assert np.array_equal(apply(name, x), want, equal_nan=True)


# Casts


@pytest.mark.parametrize(
    ("dtype", "numbers", "want"),
    [
        ("f8e4m3", (0.0, 1.0625, 1.1875, -448, 2.0**-9, 2.0**-10, 300), (0, 1, 1.25, -448, 2.0**-9, 0, 288)),
        ("f4e2m1", (0.24, 0.25, 0.75, 1.75, 2.5, 5, -3.5), (0, 0, 1, 2, 2, 4, -4)),
        ("f8e8m0", (1, 2, 0.5, 2.0**-127, 2.0**127), (1, 2, 0.5, 2.0**-127, 2.0**127)),
        ("bf16", (1 + 2.0**-8, 1 + 3 * 2.0**-8, 3e38), (1, 1 + 2.0**-6, 3e38)),
        ("f16", (65504, 1e6, 2.0**-25), (65504, inf, 0)),
        ("i32", (1.9, -1.9, 0.5), (1, -1, 0)),
        ("bool", (0.0, -0.0, 0.5, nan), (0, 0, 1, 1)),
    ],
)
def test_casts(dtype: str, numbers: tuple[float, ...], want: tuple[float, ...]) -> None:
    out = apply("cast", f32(*numbers), dtype=dtype).astype(np.float32)
    stored = BF16 if dtype == "bf16" else np.float32
    assert out.tolist() == f32(*want).astype(stored).astype(np.float32).tolist()


def test_f4_covers_its_sixteen_codes() -> None:
    codes = np.arange(16, dtype=np.int8).view(np.uint8).astype(DTYPES["i8"]).view(DTYPES["f4e2m1"])
    wide = apply("cast", codes, dtype="f32").tolist()
    assert wide == [0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6]
    assert apply("cast", apply("cast", codes, dtype="bf16"), dtype="f4e2m1").tobytes() == codes.tobytes()


def test_casts_of_one_byte_floats_go_both_ways() -> None:
    codes = np.arange(-128, 128).astype(np.int8)
    for dtype in ("f8e4m3", "f8e8m0"):
        stored = apply("bitcast", codes, dtype=dtype)
        back = apply("cast", apply("cast", stored, dtype="f32"), dtype=dtype)
        good = ~np.isnan(stored.astype(np.float32))
        assert good.sum() >= 254 and (back.view(np.int8) == codes)[good].all()


def test_bitcast_keeps_bits() -> None:
    x = f32(1.0, -0.0, nan)
    assert apply("bitcast", x, dtype="i32").tobytes() == x.tobytes()
    with pytest.raises(ShapeError, match="widths differ"):
        apply("bitcast", x, dtype="bf16")


# Integers


@given(st.integers(-50, 50), st.integers(-9, 9).filter(bool))
def test_floordiv_and_mod_are_pythons(x: int, y: int) -> None:
    assert apply("floordiv", i32(x), i32(y)).tolist() == [x // y]
    assert apply("mod", i32(x), i32(y)).tolist() == [x % y]


def test_integers_wrap_and_shifts_keep_the_sign() -> None:
    top = np.iinfo(np.int32).max
    assert apply("add", i32(top), i32(1)).tolist() == [-top - 1]
    assert apply("mul", i32(top), i32(2)).tolist() == [-2]
    assert apply("shr", i32(-8, 9), i32(2, 2)).tolist() == [-2, 2]
    assert apply("shl", i32(3), i32(4)).tolist() == [48]


def test_logic() -> None:
    yes = np.array([True, True, False])
    assert apply("and", yes, ~yes).tolist() == [False, False, False]
    assert apply("xor", yes, yes[::-1].copy()).tolist() == [True, False, True]
    assert apply("and", i32(12), i32(10)).tolist() == [8] and apply("or", i32(12), i32(10)).tolist() == [14]


# The rest


def test_ragged_matmul_with_empty_groups_and_rows_beyond() -> None:
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    w = np.stack([np.eye(2), 2 * np.eye(2), 3 * np.eye(2), 4 * np.eye(2)]).astype(np.float32)
    out = apply("ragged_matmul", x, w, i32(0, 2, 0, 1))
    assert out.tolist() == [[0, 2], [4, 6], [16, 20], [0, 0], [0, 0]]


def test_ragged_matmul_multiplies_by_rows_of_w_and_rounds_once() -> None:
    w = np.array([[[1, 1, 1, 1], [0, 0, 0, 2]]], BF16)
    out = apply("ragged_matmul", np.array([[256, 1, 1, 1]], BF16), w, i32(1))
    assert out.astype(float).tolist() == [[260, 2]]


def test_matmul_broadcasts_its_batch() -> None:
    a, b = np.ones((2, 1, 3, 4), np.float32), np.ones((5, 6, 4), np.float32)
    assert apply("matmul", a, b, trans_b=True, out="").shape == (2, 5, 3, 6)


def test_where_and_maximum_with_nan_and_broadcast() -> None:
    assert apply("where", np.array([[True], [False]]), f32(1, 2), f32(nan, 4)).tolist()[0] == [1, 2]
    assert np.isnan(apply("maximum", f32(nan), f32(1)))[0] and np.isnan(apply("minimum", f32(1), f32(nan)))[0]


def test_division_by_zero_is_quiet() -> None:
    with np.errstate(all="raise"):
        assert apply("div", f32(1, -1), f32(0, 0)).tolist() == [inf, -inf]
        assert apply("log", f32(0)).tolist() == [-inf] and apply("exp", f32(1000)).tolist() == [inf]


def test_const_keeps_large_integers() -> None:
    big = 2**53 + 1
    assert apply("const", data=(big,), shape=(2,), dtype="i64").tolist() == [big, big]
    assert apply("const", data=(1, 0, 2), shape=(3,), dtype="bool").tolist() == [True, False, True]
    assert apply("const", data=(0.3,), shape=(), dtype="bf16") == np.array(0.3, BF16)
    with pytest.raises(ShapeError, match="3 numbers for 4 elements"):
        apply("const", data=(1.0, 2.0, 3.0), shape=(2, 2), dtype="f32")


def test_slices_views_and_positions() -> None:
    x = np.arange(6, dtype=np.int32).reshape(2, 3)
    assert apply("slice", x, axis=1, start=1, stop=3).tolist() == [[1, 2], [4, 5]]
    assert apply("slice", x, axis=0, start=1, stop=1).shape == (0, 3)
    assert apply("transpose", x, perm=(1, 0)).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert apply("broadcast_to", x[:, :1], shape=(2, 2, 2)).tolist() == [[[0, 0], [3, 3]]] * 2
    assert apply("iota", shape=(2, 3), axis=1).tolist() == [[0, 1, 2]] * 2
    assert apply("concat", x, x[:1], axis=0).shape == (3, 3)
    with pytest.raises(ShapeError, match="elements 2 to 4"):
        apply("slice", x, axis=1, start=2, stop=4)


# The registry

B, S = symbol("B"), symbol("S")
X, XI = TensorType((B, S, 8), "f32"), TensorType((B, S, 8), "i32")
EXAMPLES: dict[str, tuple[list[TensorType], dict[str, Attr]]] = {
    "const": ([], {"data": (1.0,), "shape": (B, 2), "dtype": "f32"}),
    "iota": ([], {"shape": (B, S), "axis": 0}),
    "extent": ([], {"value": 2 * S}),
    "where": ([TensorType((B, S, 8), "bool"), X, X], {}),
    "cast": ([X], {"dtype": "bf16"}),
    "bitcast": ([X], {"dtype": "i32"}),
    "not": ([TensorType((B, S), "bool")], {}),
    "matmul": ([X, TensorType((16, 8), "f32")], {"trans_b": True, "out": ""}),
    "ragged_matmul": ([TensorType((S, 8), "bf16"), TensorType((4, 16, 8), "bf16"), TensorType((4,), "i32")], {}),
    "sum": ([X], {"axis": 1, "keep": True}),
    "max": ([X], {"axis": 1, "keep": False}),
    "argmax": ([X], {"axis": 2}),
    "cumsum": ([X], {"axis": 1}),
    "topk": ([X], {"k": 4}),
    "reshape": ([X], {"shape": (B * S, 8)}),
    "transpose": ([X], {"perm": (2, 0, 1)}),
    "broadcast_to": ([TensorType((1, 8), "f32")], {"shape": (S, 8)}),
    "slice": ([X], {"axis": 1, "start": 0, "stop": S // 2}),
    "concat": ([X, X], {"axis": 1}),
    "gather": ([TensorType((100, 8), "f32"), TensorType((B, S), "i32")], {"batch": 0}),
    "scatter": ([X, TensorType((B, 3), "i32"), TensorType((B, 3, 8), "f32")], {"batch": 1}),
}
STRUCTURAL = ("call", "get", "bundle")
CORE = sorted(name for name, d in REGISTRY.items() if d.tier == "core" and name not in STRUCTURAL)


def example(name: str) -> tuple[list[TensorType], dict[str, Attr]]:
    """Operand types and attributes; elementwise ops take as many tensors of a fitting dtype as they want."""
    if name in EXAMPLES:
        return EXAMPLES[name]
    for operands in ([X], [X, X], [XI], [XI, XI]):
        try:
            infer(Module("m"), name, operands, {}, lambda a, b: None)
        except ShapeError:
            continue
        return operands, {}
    raise AssertionError(f"add an example of {name}")


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_op_is_documented(name: str) -> None:
    op = REGISTRY[name]
    assert op.doc and op.doc[0] == op.doc[0].strip() and not op.doc.endswith(".")
    assert all(meaning for meaning in op.attrs.values())
    if name not in STRUCTURAL:
        keywords = inspect.signature(op.decompose or op.infer).parameters.values()
        assert set(op.attrs) <= {p.name for p in keywords if p.name != "require"}
    assert op.kind in ("elementwise", "view", "other")


def test_structural_ops_have_the_attributes_that_the_builder_gives() -> None:
    assert {name: set(REGISTRY[name].attrs) for name in STRUCTURAL} == {
        "call": {"callee", "dims"}, "get": {"part"}, "bundle": {"type", "fields"},
    }
    with pytest.raises(ShapeError, match="handled by the builder"):
        REGISTRY["get"].reference()


@pytest.mark.parametrize("name", CORE)
def test_cost_is_symbolic_and_reference_fits_the_shape_rule(name: str) -> None:
    operands, attrs = example(name)
    results = infer(Module("m"), name, operands, attrs, lambda a, b: None)
    cost, dims = REGISTRY[name].cost(operands, results, attrs), {"B": 2, "S": 6}
    crossing = 0 if REGISTRY[name].kind == "view" else sum(
        int(np.prod(shape_of(t, dims))) * BITS[t.dtype] for t in (*operands, *results)
    )
    assert evaluate(cost.bytes, dims) == crossing // 8
    assert all(dtype in DTYPES and isinstance(flops, int | Dim) for dtype, flops in cost.flops.items())
    assert all(evaluate(flops, dims) > 0 for flops in cost.flops.values())
    data = [np.ones(shape_of(t, dims), DTYPES[t.dtype]) for t in operands]
    out = REGISTRY[name].reference(*data, **{k: concrete(v, dims) for k, v in attrs.items()})
    for array, type_ in zip(out if isinstance(out, tuple) else (out,), results, strict=True):
        assert (array.shape, array.dtype) == (shape_of(type_, dims), DTYPES[type_.dtype])


def test_flops_of_products() -> None:
    operands, attrs = EXAMPLES["matmul"]
    results = infer(Module("m"), "matmul", operands, attrs, lambda a, b: None)
    cost = REGISTRY["matmul"].cost(operands, results, attrs)
    assert cost.flops == {"f32": 2 * B * S * 16 * 8} and cost.bytes == 4 * (B * S * 8 + 16 * 8 + B * S * 16)


def test_a_name_is_defined_once_and_unknown_names_are_near() -> None:
    with pytest.raises(ValueError, match="op neg is defined twice"):
        define("neg", REGISTRY["neg"].infer, np.negative, "again")
    with pytest.raises(ShapeError, match="unknown op 'reshap'; did you mean reshape"):
        lookup("reshap")
