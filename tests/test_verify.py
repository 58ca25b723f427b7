"""Every rule of the verifier is broken once; the message names the function, the place and the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dsv4c.ir import builder as b_
from dsv4c.ir.builder import Builder, bundle, call, scatter
from dsv4c.ir.core import Attrs, Function, IRError, Module, Op, Value
from dsv4c.ir.dims import symbol
from dsv4c.ir.interp import run
from dsv4c.ir.types import Bundle, ListType, TensorType
from dsv4c.ir.verify import verify

S, N, Q = symbol("S"), symbol("N"), symbol("Q")
VEC = TensorType((S,), "f32")
RING = TensorType((S, 4), "f32", state=True)
AT, ROWS = TensorType((2,), "i32"), TensorType((2, 4), "f32")
WRONG = "is of the wrong kind; it is"
STATE = Bundle("rings", (("a", RING), ("b", RING), ("count", TensorType((), "i32"))))


def module_of(*functions: Function) -> Module:
    return Module("m", {f.name: f for f in functions}, functions[-1].name)


def value(type_: TensorType = VEC, name: str = "") -> Value:
    return Value(type_, name)


def op(name: str, operands: tuple[Value, ...], result: Value, loc: str = "attn.q", **attrs: object) -> Op:
    typed: Attrs = attrs  # type: ignore[assignment]
    return Op(name, operands, typed, (result,), loc)


def refused(module: Module, message: str) -> None:
    with pytest.raises(IRError) as caught:
        verify(module)
    assert str(caught.value) == message


def test_a_good_module_passes() -> None:
    x, y = value(name="x"), value()
    verify(module_of(Function("f", (x,), (op("neg", (x,), y),), (y,))))


# Definitions


def test_use_before_definition() -> None:
    x, y, z = value(name="x"), value(), value()
    ops = (op("neg", (y,), z), op("exp", (x,), y))
    refused(module_of(Function("f", (x,), ops, (z,))), "f:attn.q: neg uses a value before its definition")


def test_value_defined_twice() -> None:
    x, y = value(name="x"), value()
    twice = Function("f", (x,), (op("neg", (x,), y), op("exp", (x,), y)), (y,))
    refused(module_of(twice), "f:attn.q: exp defines a value twice")


def test_returning_a_stray_value() -> None:
    refused(module_of(Function("f", (value(name="x"),), (), (value(),))), "f: returns a value that it does not define")


def test_two_parameters_of_one_name() -> None:
    refused(module_of(Function("f", (value(name="x"), value(name="x")), (), ())), "f: has two parameters 'x'")


def test_error_carries_the_op() -> None:
    x, y = value(name="x"), value()
    bad = op("neg", (value(),), y)
    with pytest.raises(IRError) as caught:
        verify(module_of(Function("f", (x,), (bad,), (y,))))
    assert caught.value.op is bad


# Types


def test_wrong_result_type() -> None:
    x, y = value(name="x"), value(TensorType((N,), "f32"))
    function = Function("f", (x,), (op("neg", (x,), y),), (y,))
    refused(module_of(function), "f:attn.q: neg: results are f32[N], expected f32[S]")


def test_wrong_operand_type() -> None:
    x, y = value(TensorType((S,), "bool"), "x"), value()
    function = Function("f", (x,), (op("exp", (x,), y),), (y,))
    refused(module_of(function), "f:attn.q: exp: does not work on bool; use f32, bf16, f16")


@pytest.mark.parametrize(
    ("name", "count", "attrs", "message"),
    [
        ("ngg", 1, {}, "ngg: unknown op 'ngg'; did you mean neg?"),
        ("neg", 2, {}, "neg: takes 1 operands, not 2"),
        ("add", 1, {}, "add: takes 2 operands, not 1"),
        ("rsqrt", 2, {}, "rsqrt: takes 1 operands, not 2"),
        ("concat", 0, {"axis": 0}, "concat: takes one operand or more"),
        ("sum", 1, {"axis": 0}, "sum: attribute keep is missing"),
        ("sum", 1, {"axis": 0, "keep": 1}, f"sum: attribute keep = 1 {WRONG} whether the axis stays, with extent 1"),
        ("sum", 1, {"axis": True, "keep": True}, f"sum: attribute axis = True {WRONG} the axis, counted from 0"),
        ("neg", 1, {"axis": 0}, "neg: no attribute axis; it has none"),
        ("extent", 0, {"value": "S"}, "extent: attribute value = 'S' is of the wrong kind; it is the dimension"),
        ("const", 0, {"data": ("1",), "shape": (), "dtype": "f32"},
         f"const: attribute data = ('1',) {WRONG} the numbers, row-major; a single one fills"),
        ("get", 1, {}, "get: takes one bundle or list and the attribute part"),
        ("get", 1, {"part": "a"}, "get: no part 'a' in f32[S]; it has none"),
        ("bundle", 2, {"type": "b", "fields": ("a",)}, "bundle: 2 parts for the fields a"),
        ("bundle", 2, {"type": "b", "fields": ("a", "a")}, "bundle: two fields have one name in a, a"),
    ],
)
def test_wrong_operands_and_attributes(name: str, count: int, attrs: dict[str, object], message: str) -> None:
    x, y = value(name="x"), value()
    refused(module_of(Function("f", (x,), (op(name, (x,) * count, y, "", **attrs),), (y,))), f"f: {message}")


def test_a_bundle_is_no_operand_of_arithmetic() -> None:
    w, y = Value(STATE, "w"), value()
    message = "f:attn.q: neg: an operand is a rings; take its tensors out with get"
    refused(module_of(Function("f", (w,), (op("neg", (w,), y),), (y,))), message)


def test_the_builder_refuses_an_axis_that_is_not_there() -> None:
    for axis, message in ((1, "axis 1 of f32"), (-2, "axis -1 of f32")):
        with pytest.raises(IRError, match=message), Builder(Module("m"), "f", x=VEC) as b:
            b_.total(b.params[0], axis=axis)


# Dimensions


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (op("iota", (), value(TensorType((Q,), "i32")), "", shape=(Q,), axis=0), "f: iota has dimension Q"),
        (op("extent", (), value(TensorType((), "i32")), "", value=Q), "f: extent has dimension Q"),
        (op("extent", (), value(TensorType((), "i32")), "", value=(2 * S + Q) // 2), "f: extent has dimension Q"),
    ],
)
def test_unbound_symbol(made: Op, message: str) -> None:
    refused(module_of(Function("f", (value(name="x"),), (made,), ())), f"{message}, which no parameter binds")


def test_unbound_symbol_that_the_result_does_not_show() -> None:
    x, y = value(name="x"), value(TensorType((2,), "f32"))
    cut = op("slice", (x,), y, "", axis=0, start=Q, stop=Q + 2)
    refused(module_of(Function("f", (x,), (cut,), ())), "f: slice has dimension Q, which no parameter binds")


def test_unbound_symbol_in_a_require() -> None:
    function = Function("f", (value(name="x"),), (), (), requires=((S, Q),))
    refused(module_of(function), "f: a require has dimension Q, which no parameter binds")


def unproven() -> Function:
    x, y, z = value(name="x"), value(TensorType((N,), "f32"), "y"), value()
    return Function("f", (x, y), (op("add", (x, y), z),), (z,))


def test_unproven_equality_needs_a_require() -> None:
    refused(module_of(unproven()), "f:attn.q: add: extents S and N are not known to be equal; add a require")


def test_a_require_makes_it_valid_and_is_checked_at_run_time() -> None:
    function = unproven()
    function.requires = ((S, N),)
    module, two, three = module_of(function), np.ones(2, np.float32), np.ones(3, np.float32)
    verify(module)
    assert run(module, "f", [two, two], {"S": 2, "N": 2})[0].tolist() == [2, 2]
    with pytest.raises(IRError, match=r"f: requires S == N, which fails for \{'S': 2, 'N': 3\}"):
        run(module, "f", [two, three], {"S": 2, "N": 3})


def test_refuted_equality_is_no_require() -> None:
    three, four = TensorType((3,), "f32"), TensorType((4,), "f32")
    with pytest.raises(IRError, match="f:here: add: extents 3 and 4 differ"), Builder(
        Module("m"), "f", x=three, y=four
    ) as b, b.scope("here"):
        b.params[0] + b.params[1]


def test_requires_of_a_callee_are_checked_with_its_dims() -> None:
    module = Module("m", entry="g")
    with Builder(module, "f", x=VEC, y=TensorType((N,), "f32")) as b:
        f = b.done(b.params[0] + b.params[1])
    with Builder(module, "g", x=TensorType((2 * S,), "f32"), y=VEC) as b:
        b.done(*call(f, *b.params, S=2 * S, N=S))
    verify(module)
    data = [np.ones(4, np.float32), np.ones(2, np.float32)]
    with pytest.raises(IRError, match="f: requires S == N"):
        run(module, "g", data, {"S": 2})


# Calls


def caller(callee: str, dims: tuple[tuple[str, object], ...] = (), type_: TensorType = VEC) -> Function:
    x, y = value(type_, "x"), value()
    return Function("g", (x,), (op("call", (x,), y, callee=callee, dims=dims),), (y,))


def identity(type_: TensorType = VEC) -> Function:
    x = value(type_, "x")
    return Function("f", (x,), (), (x,))


def test_calls() -> None:
    verify(module_of(identity(), caller("f")))
    refused(module_of(caller("f"), identity()), "g: calls f, which is not defined before it")
    refused(module_of(caller("g")), "g: calls g, which is not defined before it")
    wrong = "g:attn.q: call: f(x) is f32[S], given bf16[S]"
    refused(module_of(identity(), caller("f", type_=TensorType((S,), "bf16"))), wrong)
    refused(module_of(identity(), caller("f", (("N", S),))), "g:attn.q: call: f has no dimension N; it has S")
    refused(
        module_of(identity(), caller("f", (("S", Q),))),
        "g:attn.q: call: f(x): extents Q and S are not known to be equal; add a require",
    )


def test_filing_and_entry() -> None:
    module = module_of(identity())
    refused(replace(module, entry="h"), "m: has no entry function h")
    refused(Module("m", {"g": identity()}, "g"), "g: is filed under another name than its own, f")


# Linear state


def state_module(write: Callable[[Builder, Value, Value, Value], tuple[Value, ...]]) -> Module:
    module = Module("m", entry="f")
    with Builder(module, "take", ring=RING) as b:
        b.done(b.params[0])
    with Builder(module, "f", s=STATE, at=AT, rows=ROWS) as b:
        b.done(*write(b, *b.params))
    return module


def write_a(b: Builder, ring: Value, at: Value, rows: Value, loc: str) -> Value:
    with b.scope(loc):
        return scatter(ring, at, rows)


def again(b: Builder, state: Value) -> Value:
    with b.scope("again"):
        return state["a"]


GOOD: list[Callable[[Builder, Value, Value, Value], tuple[Value, ...]]] = [
    lambda b, s, at, rows: (bundle(STATE, scatter(s.a, at, rows), s.b, s.count),),
    lambda b, s, at, rows: (s.count, s.count + 1, s),  # reading what is not state is free
    lambda b, s, at, rows: ((ring := s.a) * 2.0, scatter(ring, at, rows)),  # read, then hand on
    lambda b, s, at, rows: (at,),  # dropping state is allowed
]


@pytest.mark.parametrize("index", range(len(GOOD)))
def test_good_use_of_state(index: int) -> None:
    verify(state_module(GOOD[index]))


BAD: list[tuple[Callable[[Builder, Value, Value, Value], tuple[Value, ...]], str]] = [
    (
        lambda b, s, at, rows: (write_a(b, ring := s.a, at, rows, "one"), write_a(b, ring, at, rows, "two")),
        "f:two (scatter): state is used after it was handed on at f:one (scatter)",
    ),
    (
        lambda b, s, at, rows: (write_a(b, ring := s.a, at, rows, "one"), b_.total(ring)),
        "f (sum): state is used after it was handed on at f:one (scatter)",
    ),
    (
        lambda b, s, at, rows: (write_a(b, ring := s.a, at, rows, "one"), ring),
        "f (return): state is used after it was handed on at f:one (scatter)",
    ),
    (
        lambda b, s, at, rows: (ring := s.a, ring),
        "f (return): state is used after it was handed on at return",
    ),
    (
        lambda b, s, at, rows: (bundle(None, ring := s.a, ring),),
        "f (bundle): state is used after it was handed on at f (bundle)",
    ),
    (
        lambda b, s, at, rows: (*call(b.module.functions["take"], ring := s.a), ring),
        "f (return): state is used after it was handed on at f (call)",
    ),
    (
        lambda b, s, at, rows: (s.a, again(b, s)),
        "f:again (get): state part 'a' was taken out already at f (get)",
    ),
    (
        lambda b, s, at, rows: (s.a, s),
        "f (return): state is handed on whole, but its part 'a' was taken out at f (get)",
    ),
    (
        lambda b, s, at, rows: (s.a, bundle(None, s)),
        "f (bundle): state is handed on whole, but its part 'a' was taken out at f (get)",
    ),
    (
        lambda b, s, at, rows: (bundle(None, s), s.a),
        "f (get): state is used after it was handed on at f (bundle)",
    ),
]


@pytest.mark.parametrize("index", range(len(BAD)))
def test_bad_use_of_state(index: int) -> None:
    write, message = BAD[index]
    refused(state_module(write), message)


def test_state_inside_lists_is_linear_too() -> None:
    module = Module("m", entry="f")
    with Builder(module, "f", s=ListType((STATE, STATE))) as b:
        (s,) = b.params
        b.done(s[0], s[1], s["0"])
    refused(module, "f (get): state part '0' was taken out already at f (get)")


def test_state_and_plain_tensors_do_not_mix_in_calls() -> None:
    module = Module("m", entry="f")
    with Builder(module, "take", ring=RING) as b:
        take = b.done(b.params[0])
    with pytest.raises(IRError, match=r"take\(ring\) is state f32\[S, 4\], given f32\[S, 4\]"), Builder(
        module, "f", x=TensorType((S, 4), "f32")
    ) as b:
        call(take, *b.params)
