"""Vector instructions of the AscendC emulator against numpy: every op, form and type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from ascend import compiled, needs_compiler

from dsv4c.targets.ascend.emulate import Emulator, Library, Unwritten

pytestmark = needs_compiler
Array = np.ndarray[Any, Any]

TYPES: dict[str, Any] = {"float": np.float32, "half": np.float16, "int16_t": np.int16, "int32_t": np.int32}
TYPES |= {"uint16_t": np.uint16, "uint32_t": np.uint32, "int8_t": np.int8, "uint8_t": np.uint8, "int64_t": np.int64}
TYPES |= {"bfloat16_t": ml_dtypes.bfloat16}
FLOATS, NUMBERS = ("float", "half"), ("float", "half", "int16_t", "int32_t")


def wide(f: Any) -> Any:
    """In double, then rounded once; integers saturate."""

    def run(*arrays: Array) -> Array:
        with np.errstate(all="ignore"):
            value = f(*(a.astype(np.float64) for a in arrays))
        if arrays[0].dtype.kind in "iu":
            info = np.iinfo(arrays[0].dtype)
            value = np.clip(value, info.min, info.max)
        return value.astype(arrays[0].dtype)  # type: ignore[no-any-return]

    return run


BINARY = {
    "Add": (NUMBERS, wide(np.add)),
    "Sub": (NUMBERS, wide(np.subtract)),
    "Mul": (NUMBERS, wide(np.multiply)),
    "Max": (NUMBERS, np.maximum),
    "Min": (NUMBERS, np.minimum),
    "Div": (FLOATS, wide(np.divide)),
    "And": (("int16_t", "uint16_t"), np.bitwise_and),
    "Or": (("int16_t", "uint16_t"), np.bitwise_or),
    "AddRelu": (FLOATS, wide(lambda a, b: np.maximum(a + b, 0))),
    "SubRelu": (FLOATS, wide(lambda a, b: np.maximum(a - b, 0))),
}
UNARY = {
    "Exp": (FLOATS, wide(np.exp)),
    "Ln": (FLOATS, wide(np.log)),
    "Abs": (FLOATS, np.abs),
    "Sqrt": (FLOATS, wide(np.sqrt)),
    "Relu": (("float", "half", "int32_t"), lambda a: np.maximum(a, a.dtype.type(0))),
    "Not": (("int16_t", "uint16_t"), np.invert),
}
SCALAR = {  # with the scalar 3
    "Adds": (NUMBERS, wide(lambda a: a + 3)),
    "Muls": (NUMBERS, wide(lambda a: a * 3)),
    "Maxs": (NUMBERS, wide(lambda a: np.maximum(a, 3))),
    "Mins": (NUMBERS, wide(lambda a: np.minimum(a, 3))),
    "LeakyRelu": (FLOATS, wide(lambda a: np.where(a >= 0, a, a * 3))),
    "ShiftLeft": (("int16_t", "uint16_t", "int32_t", "uint32_t"), lambda a: a << 3),
    "ShiftRight": (("int16_t", "uint16_t", "int32_t", "uint32_t"), lambda a: a >> 3),
}
TERNARY = {
    "MulAddDst": (FLOATS, wide(lambda a, b, c: a * b + c)),
    "FusedMulAdd": (FLOATS, wide(lambda a, b, c: a * c + b)),
}


def moved(t: str, op: str) -> str:
    """The op between copies of x, y and z in, and of z out."""
    return f"""
    auto x = ub<{t}>(X, n), y = ub<{t}>(Y, n), z = ub<{t}>(Z, n);
    in(x, a, n); in(y, b, n); in(z, c, n);
    ORDER(MTE2_V);
    {op};
    ORDER(V_MTE3);
    out(c, z, n);
"""


def element_cases() -> dict[str, tuple[str, str, Any, int]]:
    """Kernel name -> body, type, expectation, number of operands."""
    cases = {}
    for table, call, operands in (
        (BINARY, "{op}(z, x, y, n)", 2),
        (UNARY, "{op}(z, x, n)", 1),
        (SCALAR, "{op}(z, x, ({t})3, n)", 1),
        (TERNARY, "{op}(z, x, y, n)", 3),
    ):
        for op, (types, expected) in table.items():
            for t in types:
                cases[f"{op}_{t}"] = (moved(t, call.format(op=op, t=t)), t, expected, operands)
    for t in FLOATS:
        cases[f"Axpy_{t}"] = (moved(t, f"Axpy(z, x, ({t})3, n)"), t, wide(lambda a, b, c: a * 3 + c), 3)
        cases[f"Duplicate_{t}"] = (moved(t, f"Duplicate(z, ({t})3, n)"), t, lambda a: np.full_like(a, 3), 1)
    return cases


FORMS = {
    # two repeats of the first 40, rows of 9 blocks
    "form_mask": moved("float", "Add(z, x, y, 40, 2, BinaryRepeatParams{1, 1, 1, 9, 9, 9})"),
    "form_bits": moved("float", "uint64_t m[2] = {0x8000000000000005ull, 0}; Add(z, x, y, m, 2, {1, 1, 1, 8, 8, 8})"),
    "form_half_bits": moved("half", "uint64_t m[2] = {1, 1ull << 63}; Exp(z, x, m, 2, {1, 1, 8, 8})"),
    "form_row": moved("float", "Mul(z, x, y, 64, 3, {1, 1, 1, 8, 8, 0})"),
    "form_column": moved("float", "Mul(z, x, y, 64, 3, {1, 1, 0, 8, 8, 1})"),
    "form_counter": moved(
        "float",
        "SetMaskCount(); SetVectorMask<float, MaskMode::COUNTER>(100);"
        " Adds<float, false>(z, x, 3.0f, MASK_PLACEHOLDER, 1, {1, 1, 8, 8}); SetMaskNorm(); ResetMask()",
    ),
    "form_register": moved(
        "float",
        "SetVectorMask<float>(0, 3); Adds<float, false>(z, x, 3.0f, MASK_PLACEHOLDER, 2, {1, 1, 8, 8}); ResetMask()",
    ),
    "form_copy": moved("float", "Copy(z, x, 64, 2, {1, 1, 8, 9})"),
    "form_duplicate": moved("float", "Duplicate(z, 7.0f, 32, 2, 1, 8)"),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> Library:
    bodies = {name: case[0] for name, case in element_cases().items()} | FORMS | CASTS | OTHERS | REDUCTIONS
    return compiled(bodies, tmp_path_factory.mktemp("vector"), machine_folder)


def numbers(t: str, n: int, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    dtype = np.dtype(TYPES[t])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min // 2, info.max // 2, n).astype(dtype)
    return (rng.standard_normal(n) * 3).astype(dtype)


def launch(library: Library, name: str, *arguments: Any) -> None:
    with Emulator(library) as emulator:
        emulator.launch(name, 1, *arguments)


@pytest.mark.parametrize("name", element_cases())
@pytest.mark.parametrize("n", [1, 64, 100, 1000])
def test_elements(library: Library, name: str, n: int) -> None:
    _, t, expected, operands = element_cases()[name]
    x, y, z = (numbers(t, n, s) for s in range(3))
    if name.startswith(("Ln", "Sqrt")):
        x = np.abs(x)
    want = expected(*(x, y, z)[:operands])
    launch(library, name, x, y, z, n, 0.0)
    np.testing.assert_array_equal(z, want)


def test_forms(library: Library) -> None:
    n = 256
    x, y, z = (numbers("float", n, s) for s in range(3))

    def run(name: str) -> Array:
        out = z.copy()
        launch(library, name, x, y, out, n, 0.0)
        return out

    want = z.copy()
    want[:40], want[72:112] = (x + y)[:40], (x + y)[72:112]
    np.testing.assert_array_equal(run("form_mask"), want)
    want = z.copy()
    for e in (0, 2, 63, 64, 66, 127):
        want[e] = x[e] + y[e]
    np.testing.assert_array_equal(run("form_bits"), want)
    want = z.copy()
    want[:192] = (x[:192].reshape(3, 64) * y[:64]).reshape(-1)
    np.testing.assert_array_equal(run("form_row"), want)
    want[:192] = (x[:192].reshape(3, 8, 8) * y[:24].reshape(3, 1, 8)).reshape(-1)
    np.testing.assert_array_equal(run("form_column"), want)
    want = z.copy()
    want[:100] = x[:100] + 3
    np.testing.assert_array_equal(run("form_counter"), want)
    want = z.copy()
    for e in (0, 1, 64, 65):
        want[e] = x[e] + 3
    np.testing.assert_array_equal(run("form_register"), want)
    want = z.copy()
    want[:64], want[64:128] = x[:64], x[72:136]
    np.testing.assert_array_equal(run("form_copy"), want)
    want = z.copy()
    want[:32] = want[64:96] = 7
    np.testing.assert_array_equal(run("form_duplicate"), want)


def test_half_bit_mask(library: Library) -> None:
    x, y, z = (numbers("half", 256, s) for s in range(3))
    want = z.copy()
    for e in (0, 127, 128, 255):
        want[e] = np.exp(x[e].astype(np.float64))
    launch(library, "form_half_bits", x, y, z, 256, 0.0)
    np.testing.assert_array_equal(z, want)


# --- casts ---------------------------------------------------------------------------------------------------------
def cast_body(to: str, source: str, mode: str, before: str = "") -> str:
    return f"""
    auto x = ub<{source}>(X, n); auto z = ub<{to}>(Z, n);
    in(x, a, n);
    ORDER(MTE2_V);
    {before} Cast(z, x, RoundMode::CAST_{mode}, n);
    ORDER(V_MTE3);
    out(b, z, n);
"""


ROUNDINGS = {"RINT": np.rint, "FLOOR": np.floor, "CEIL": np.ceil, "TRUNC": np.trunc}
ROUNDINGS["ROUND"] = lambda a: np.where(a < 0, np.ceil(a - 0.5), np.floor(a + 0.5))
CASTS = {
    **{f"cast_f32_i32_{m}": cast_body("int32_t", "float", m) for m in ROUNDINGS},
    **{f"cast_f32_i16_{m}": cast_body("int16_t", "float", m) for m in ROUNDINGS},
    **{f"cast_f16_i8_{m}": cast_body("int8_t", "half", m) for m in ROUNDINGS},
    **{f"cast_f32_f32_{m}": cast_body("float", "float", m) for m in ROUNDINGS},
    "cast_f32_f16": cast_body("half", "float", "RINT"),
    "cast_f32_f16_TRUNC": cast_body("half", "float", "TRUNC"),
    "cast_f32_f16_ODD": cast_body("half", "float", "ODD"),
    "cast_f32_bf16": cast_body("bfloat16_t", "float", "RINT"),
    "cast_f32_bf16_FLOOR": cast_body("bfloat16_t", "float", "FLOOR"),
    "cast_f16_f32": cast_body("float", "half", "NONE"),
    "cast_bf16_f32": cast_body("float", "bfloat16_t", "NONE"),
    "cast_i32_f32": cast_body("float", "int32_t", "NONE"),
    "cast_i32_i64": cast_body("int64_t", "int32_t", "NONE"),
    "cast_i64_i32": cast_body("int32_t", "int64_t", "NONE"),
    "cast_i32_f16": cast_body("half", "int32_t", "NONE", "SetDeqScale((half)0.5f);"),
    "cast_u8_f16": cast_body("half", "uint8_t", "NONE"),
    "cast_repeat": cast_body("half", "float", "RINT").replace(
        ", n);\n    ORDER(V", ", 64, 2, {1, 1, 4, 8});\n    ORDER(V"
    ),
}


def cast(library: Library, name: str, x: Array, to: Any) -> Array:
    z = np.zeros(x.size, to)
    launch(library, name, x, Unwritten(z), None, x.size, 0.0)
    return z


@pytest.mark.parametrize("mode", ROUNDINGS)
def test_round_to_integers(library: Library, mode: str) -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, -2.6, 1e9, 3e9, -3e9, 40000.0, 0.0], np.float32)
    r = ROUNDINGS[mode](x.astype(np.float64))
    np.testing.assert_array_equal(cast(library, f"cast_f32_i32_{mode}", x, np.int32), np.clip(r, -(2**31), 2**31 - 1))
    np.testing.assert_array_equal(cast(library, f"cast_f32_i16_{mode}", x, np.int16), np.clip(r, -(2**15), 2**15 - 1))
    np.testing.assert_array_equal(cast(library, f"cast_f32_f32_{mode}", x, np.float32), r.astype(np.float32))
    h = np.array([0.5, 1.5, -0.5, 127.5, 300.0, -300.0, 2.25], np.float16)
    r = np.clip(ROUNDINGS[mode](h.astype(np.float64)), -128, 127)
    np.testing.assert_array_equal(cast(library, f"cast_f16_i8_{mode}", h, np.int8), r)


def test_round_to_floats(library: Library) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal(2000) * np.exp(rng.uniform(-20, 12, 2000))).astype(np.float32)
    x[:4] = 0, np.inf, 65519, 65520
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(cast(library, "cast_f32_f16", x, np.float16), x.astype(np.float16))
    np.testing.assert_array_equal(
        cast(library, "cast_f32_bf16", x, ml_dtypes.bfloat16).view(np.uint16),
        x.astype(ml_dtypes.bfloat16).view(np.uint16),
    )
    x = x[np.abs(x) < 60000]
    cut = cast(library, "cast_f32_f16_TRUNC", x, np.float16)
    assert (np.abs(cut.astype(np.float32)) <= np.abs(x)).all()
    odd = cast(library, "cast_f32_f16_ODD", x, np.float16)
    inexact = cut.astype(np.float32) != x
    assert (odd.view(np.uint16)[inexact] & 1 == 1).all()
    floor = cast(library, "cast_f32_bf16_FLOOR", x, ml_dtypes.bfloat16)
    assert (floor.astype(np.float32) <= x).all()
    assert (np.abs(floor.astype(np.float32) - x) <= np.abs(x) / 64 + 1e-38).all()


def test_exact_casts(library: Library) -> None:
    h = numbers("half", 100)
    np.testing.assert_array_equal(cast(library, "cast_f16_f32", h, np.float32), h.astype(np.float32))
    b = numbers("bfloat16_t", 100)
    np.testing.assert_array_equal(cast(library, "cast_bf16_f32", b, np.float32), b.astype(np.float32))
    i = numbers("int32_t", 100)
    np.testing.assert_array_equal(cast(library, "cast_i32_f32", i, np.float32), i.astype(np.float32))
    np.testing.assert_array_equal(cast(library, "cast_i32_i64", i, np.int64), i)
    wide_ones = np.array([2**40, -(2**40), 2**53 + 1, 5], np.int64)
    np.testing.assert_array_equal(
        cast(library, "cast_i64_i32", wide_ones, np.int32), np.clip(wide_ones, -(2**31), 2**31 - 1)
    )
    np.testing.assert_array_equal(
        cast(library, "cast_i32_f16", i % 100, np.float16), (i % 100 * 0.5).astype(np.float16)
    )
    u = numbers("uint8_t", 100)
    np.testing.assert_array_equal(cast(library, "cast_u8_f16", u, np.float16), u.astype(np.float16))
    x = numbers("float", 128)
    np.testing.assert_array_equal(cast(library, "cast_repeat", x, np.float16), x.astype(np.float16))


PACKED = {  # of 3510 only
    "late_fp8": """
    auto x = ub<uint8_t>(X, n); auto z = ub<float>(Z, n);
    in(x, a, n); ORDER(MTE2_V);
    Cast(z, x.ReinterpretCast<fp8_e4m3fn_t>(), RoundMode::CAST_NONE, n);
    ORDER(V_MTE3); out(b, z, n);
""",
    "late_fp4": """
    auto x = ub<uint8_t>(X, n); auto z = ub<bfloat16_t>(Z, 2 * n);
    in(x, a, n); ORDER(MTE2_V);
    Cast(z, x.ReinterpretCast<fp4x2_e2m1_t>(), f < 1 ? RoundMode::CAST_NONE : RoundMode::CAST_RINT, 2 * n - int(f < 0));
    ORDER(V_MTE3); out(b, z, 2 * n);
""",
}


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> Library:
    return compiled(PACKED, tmp_path_factory.mktemp("packed"), machine_folder, 3510)


def test_codes_become_numbers(late: Library) -> None:
    every = np.arange(256, dtype=np.uint8)
    wide, pairs = np.zeros(256, np.float32), np.zeros(512, ml_dtypes.bfloat16)
    with Emulator(late, "3510") as emulator:
        emulator.launch("late_fp8", 1, every, Unwritten(wide), None, 256, 0.0)
        emulator.launch("late_fp4", 1, every, Unwritten(pairs), None, 256, 0.0)
    np.testing.assert_array_equal(wide, every.view(ml_dtypes.float8_e4m3fn).astype(np.float32))
    halves = np.stack([every & 15, every >> 4], -1).reshape(-1)  # the low half first
    want = halves.view(ml_dtypes.float4_e2m1fn).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(pairs.view(np.uint16), want.view(np.uint16))


@pytest.mark.parametrize(
    ("f", "kind", "says"),
    [(1.0, "dtype", "fp4x2_e2m1 to bfloat16 with CAST_RINT"), (-1.0, "count", "511 numbers of two")],
)
def test_fp4_is_cast_in_pairs_without_rounding(late: Library, f: float, kind: str, says: str) -> None:
    with Emulator(late, "3510") as emulator:
        args = (np.zeros(256, np.uint8), Unwritten(np.zeros(512, ml_dtypes.bfloat16)), None, 256, f)
        found = emulator.launch("late_fp4", 1, *args, check=False)
    assert any(x.kind == kind and says in x.text for x in found)


# --- compare, select, fill -----------------------------------------------------------------------------------------
COMPARES = {
    "LT": np.less,
    "GT": np.greater,
    "EQ": np.equal,
    "LE": np.less_equal,
    "GE": np.greater_equal,
    "NE": np.not_equal,
}
OTHERS = {
    **{
        f"compare_{m}": f"""
    auto x = ub<float>(X, n), y = ub<float>(Y, n); auto z = ub<uint8_t>(Z, n / 8);
    in(x, a, n); in(y, b, n); ORDER(MTE2_V);
    Compare(z, x, y, CMPMODE::{m}, n);
    ORDER(V_MTE3); out(c, z, n / 8);
"""
        for m in COMPARES
    },
    "compare_int": """
    auto x = ub<int32_t>(X, n), y = ub<int32_t>(Y, n); auto z = ub<uint8_t>(Z, n / 8);
    in(x, a, n); in(y, b, n); ORDER(MTE2_V);
    Compare(z, x, y, CMPMODE::EQ, n);
    ORDER(V_MTE3); out(c, z, n / 8);
""",
    "compare_scalar": """
    auto x = ub<half>(X, n); auto z = ub<uint8_t>(Z, n / 8);
    in(x, a, n); ORDER(MTE2_V);
    CompareScalar(z, x, (half)f, CMPMODE::GE, n);
    ORDER(V_MTE3); out(c, z, n / 8);
""",
    "select_tensors": """
    auto x = ub<float>(X, n), y = ub<float>(Y, n), z = ub<float>(Z, n); auto m = ub<uint8_t>(W, n / 8);
    in(x, a, n); in(y, b, n); ORDER(MTE2_V);
    CompareScalar(m, x, f, CMPMODE::GT, n);
    PipeBarrier<PIPE_V>();
    Select(z, m, x, y, SELMODE::VSEL_TENSOR_TENSOR_MODE, n);
    ORDER(V_MTE3); out(c, z, n);
""",
    "select_scalar": """
    auto x = ub<float>(X, n), z = ub<float>(Z, n); auto m = ub<uint8_t>(W, n / 8);
    in(x, a, n); ORDER(MTE2_V);
    CompareScalar(m, x, f, CMPMODE::GT, n);
    PipeBarrier<PIPE_V>();
    Select(z, m, x, -1.0f, SELMODE::VSEL_TENSOR_SCALAR_MODE, n);
    ORDER(V_MTE3); out(c, z, n);
""",
    "select_one_mask": """
    auto x = ub<float>(X, n), y = ub<float>(Y, n), z = ub<float>(Z, n); auto m = ub<uint8_t>(W, 32);
    in(x, a, n); in(y, b, n); ORDER(MTE2_V);
    CompareScalar(m, x, f, CMPMODE::GT, 64);
    PipeBarrier<PIPE_V>();
    Select(z, m, x, y, SELMODE::VSEL_CMPMASK_SPR, n);
    ORDER(V_MTE3); out(c, z, n);
""",
    "brcb": """
    auto x = ub<float>(X, 16); auto z = ub<float>(Z, 128);
    in(x, a, 16); ORDER(MTE2_V);
    Brcb(z, x, 2, {1, 8});
    ORDER(V_MTE3); out(c, z, 128);
""",
    "index": """
    auto z = ub<int32_t>(Z, n);
    CreateVecIndex(z, (int32_t)5, n);
    ORDER(V_MTE3); out(c, z, n);
""",
}


@pytest.mark.parametrize("n", [64, 640])
@pytest.mark.parametrize("mode", COMPARES)
def test_compare(library: Library, mode: str, n: int) -> None:
    x, y = numbers("float", n, 1).round(), numbers("float", n, 2).round()
    z = np.zeros(n // 8, np.uint8)
    launch(library, f"compare_{mode}", x, y, Unwritten(z), n, 0.0)
    np.testing.assert_array_equal(z, np.packbits(COMPARES[mode](x, y), bitorder="little"))


def test_compare_others(library: Library) -> None:
    x, y = np.arange(128, dtype=np.int32) % 3, np.arange(128, dtype=np.int32) % 2
    z = np.zeros(16, np.uint8)
    launch(library, "compare_int", x, y, Unwritten(z), 128, 0.0)
    np.testing.assert_array_equal(z, np.packbits(x == y, bitorder="little"))
    h = numbers("half", 128)
    launch(library, "compare_scalar", h, None, Unwritten(z), 128, 0.5)
    np.testing.assert_array_equal(z, np.packbits(h >= 0.5, bitorder="little"))


def test_select(library: Library) -> None:
    n = 128
    x, y, z = numbers("float", n, 1), numbers("float", n, 2), np.zeros(n, np.float32)
    launch(library, "select_tensors", x, y, Unwritten(z), n, 0.25)
    np.testing.assert_array_equal(z, np.where(x > 0.25, x, y))
    launch(library, "select_scalar", x, y, Unwritten(z), n, 0.25)
    np.testing.assert_array_equal(z, np.where(x > 0.25, x, np.float32(-1)))
    launch(library, "select_one_mask", x, y, Unwritten(z), n, 0.25)
    np.testing.assert_array_equal(z, np.where(np.tile(x[:64] > 0.25, 2), x, y))


def test_fill(library: Library) -> None:
    x, z = numbers("float", 16), np.zeros(128, np.float32)
    launch(library, "brcb", x, None, Unwritten(z), 16, 0.0)
    np.testing.assert_array_equal(z, np.repeat(x, 8))
    i = np.zeros(77, np.int32)
    launch(library, "index", None, None, Unwritten(i), 77, 0.0)
    np.testing.assert_array_equal(i, np.arange(5, 82))


# --- reductions ----------------------------------------------------------------------------------------------------
def reduction(op: str, t: str = "float") -> str:
    return f"""
    auto x = ub<{t}>(X, n), z = ub<{t}>(Z, 512), w = ub<{t}>(W, n);
    in(x, a, n); Duplicate(z, ({t})0, 512); ORDER(MTE2_V); PipeBarrier<PIPE_V>();
    {op};
    ORDER(V_MTE3); out(c, z, 512);
"""


REDUCTIONS = {
    "reduce_sum": reduction("ReduceSum(z, x, w, n)"),
    "reduce_max": reduction("ReduceMax(z, x, w, n, true)"),
    "reduce_min": reduction("ReduceMin(z, x, w, n, true)"),
    "reduce_half": reduction("ReduceSum(z, x, w, n)", "half"),
    "whole_sum": reduction("WholeReduceSum(z, x, 50, n / 64, 1, 1, 8)"),
    "whole_max": reduction("WholeReduceMax(z, x, 64, n / 64, 1, 1, 8)"),
    "whole_min_value": reduction("WholeReduceMin(z, x, 64, n / 64, 1, 1, 8, ReduceOrder::ORDER_ONLY_VALUE)"),
    "block_sum": reduction("BlockReduceSum(z, x, n / 64, 64, 1, 1, 8)"),
    "block_max": reduction("BlockReduceMax(z, x, n / 64, 64, 1, 1, 8)"),
    "new_names": reduction(
        "ReduceRepeat<ReduceType::SUM>(z, x, 64, n / 64, 1, 1, 8); PipeBarrier<PIPE_V>();"
        "ReduceDataBlock<ReduceType::MIN>(z[64], x, n / 64, 64, 1, 1, 8);"
        "ReduceRepeat<ReduceType::MAX>(z[256], x, 64, n / 64, 1, 1, 8, ReduceOrder::ORDER_ONLY_VALUE)"
    ),
    "pair_sum": reduction("PairReduceSum(z, x, n / 64, 64, 1, 1, 8)"),
}


@pytest.mark.parametrize("n", [64, 256, 1024])
def test_reductions(library: Library, n: int) -> None:
    x = numbers("float", n)
    rows, blocks = x.reshape(-1, 64), x.reshape(-1, 8)

    def run(name: str) -> Array:
        z = np.zeros(512, np.float32)
        launch(library, name, x, None, Unwritten(z), n, 0.0)
        return z

    np.testing.assert_allclose(run("reduce_sum")[0], x.sum(dtype=np.float64), rtol=1e-5, atol=1e-5)
    most, least = run("reduce_max"), run("reduce_min")
    assert (most[0], most.view(np.uint32)[1]) == (x.max(), x.argmax())
    assert (least[0], least.view(np.uint32)[1]) == (x.min(), x.argmin())
    np.testing.assert_allclose(run("whole_sum")[: n // 64], rows[:, :50].sum(1), rtol=1e-5, atol=1e-5)
    pairs = run("whole_max")[: n // 32].reshape(-1, 2)
    np.testing.assert_array_equal(pairs[:, 0], rows.max(1))
    np.testing.assert_array_equal(pairs[:, 1].copy().view(np.uint32), rows.argmax(1))
    np.testing.assert_array_equal(run("whole_min_value")[: n // 64], rows.min(1))
    np.testing.assert_allclose(run("block_sum")[: n // 8], blocks.sum(1), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(run("block_max")[: n // 8], blocks.max(1))
    new = run("new_names")
    np.testing.assert_allclose(new[: n // 64], rows.sum(1), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(new[64 : 64 + n // 8], blocks.min(1))
    np.testing.assert_array_equal(new[256 : 256 + n // 64], rows.max(1))
    np.testing.assert_array_equal(run("pair_sum")[: n // 2], x.reshape(-1, 2).sum(1))


def test_half_sums_round_at_every_node(library: Library) -> None:
    x = np.full(256, 0.1, np.float16)
    z = np.zeros(512, np.float16)
    launch(library, "reduce_half", x, None, Unwritten(z), 256, 0.0)
    level = x
    while level.size > 1:
        level = (level[::2].astype(np.float32) + level[1::2].astype(np.float32)).astype(np.float16)
    assert z[0] == level[0]
