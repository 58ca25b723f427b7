"""The text form: what is printed parses back to the same module, and bad text is refused at its place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from math import inf, nan

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsv4c.frontend.presets import load_preset
from dsv4c.ir import builder as b_
from dsv4c.ir.builder import Builder, bundle, call, const
from dsv4c.ir.core import Attr, Function, IRError, Module, Op, Value
from dsv4c.ir.dims import Extent, product, symbol
from dsv4c.ir.interp import run, shape_of, tree
from dsv4c.ir.parser import ParseError, parse
from dsv4c.ir.printer import to_text
from dsv4c.ir.types import Bundle, ListType, TensorType, Type, children, is_linear, leaves, substitute_type
from dsv4c.ir.verify import verify
from dsv4c.models.build import build_module
from dsv4c.models.config import Config, Indexer, MlaConfig, Moe, Rope, V4Config, Yarn

B, S, N = symbol("B"), symbol("S"), symbol("N")
F32 = TensorType((B, S), "f32")


def tiny(family: str) -> Config:
    """A config with few and small layers of every kind of its family."""
    yarn, experts = Yarn(4.0, 64), Moe(8, 3, 1, 32, 1.5, "sqrtsoftplus")
    if family == "v4":
        kinds, hashed = ("window", "csa", "hca"), ("hash", "learned", "learned")
        rope, other = Rope(8, 1e4), Rope(8, 160000.0, yarn)
        return V4Config(
            "deepseek_v4", 128, 64, 3, 4, 32, 24, 8, kinds, 4, 8, hashed, Indexer(32, 16, 3), 2, 16, experts, 10.0, 4,
            4, 1e-6, rope, other, 1e-6, 256,
        )
    indexer = Indexer(32, 16, 6) if family == "v32" else None
    grouped = Moe(8, 3, 1, 32, 2.5, "sigmoid", 4, 2)
    return MlaConfig(
        family, 128, 64, 3, 4, 24, 32, 16, 16, Rope(8, 1e4, yarn), True, 0.2, 1, 96, grouped, indexer, 1e-6, 256
    )


def module_of(write: Callable[[Builder], None], **params: Type) -> Module:
    """A module with the one function ``f``."""
    module = Module("m", entry="f")
    with Builder(module, "f", **params) as b:
        write(b)
    return module


def attr_key(attr: Attr) -> object:
    """Equal exactly when two attributes are: 1, 1.0 and True differ, nan equals itself, -0.0 is not 0.0."""
    return tuple(map(attr_key, attr)) if isinstance(attr, tuple) else (type(attr).__name__, repr(attr))


def signature(function: Function) -> object:
    """Everything that a function says, values replaced by their order of definition."""
    order: dict[int, int] = {}
    for value in [*function.params, *(r for op in function.ops for r in op.results)]:
        order[id(value)] = len(order)
    ops = [
        (op.name, [order[id(o)] for o in op.operands], {k: attr_key(v) for k, v in op.attrs.items()},
         [r.type for r in op.results], op.loc)
        for op in function.ops
    ]
    params = [(p.name, p.type) for p in function.params]
    results = [order[id(r)] for r in function.results]
    return function.name, params, ops, results, function.requires, function.kind


def assert_round_trip(module: Module) -> str:
    text = to_text(module)
    again = parse(text)
    verify(again)
    assert to_text(again) == text
    assert (again.name, again.entry) == (module.name, module.entry)
    assert [signature(f) for f in again.functions.values()] == [signature(f) for f in module.functions.values()]
    return text


# Models


@pytest.mark.parametrize("family", ["v3", "v32", "v4"])
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_models_round_trip(family: str, dtype: str) -> None:
    assert_round_trip(build_module(tiny(family), dtype))


def test_parsed_function_computes_the_same_numbers() -> None:
    module = build_module(tiny("v4"), "f32")
    again, rng, dims = parse(to_text(module)), np.random.default_rng(0), {"B": 2, "S": 3}

    def random(type_: Type) -> object:
        return tree(type_, {path: rng.standard_normal(shape_of(t, dims)).astype("f4") for path, t in leaves(type_)})

    operands = [random(p.type) for p in module.functions["hyper_pre"].params]
    results = (run(m, "hyper_pre", operands, dims) for m in (module, again))
    for one, other in zip(*results, strict=True):
        assert one.tobytes() == other.tobytes()


def test_the_largest_preset_is_short() -> None:
    text = to_text(build_module(load_preset("deepseek-v4-pro"), "bf16"))
    assert text.count("\n") <= 1500
    assert to_text(parse(text)) == text


# The syntax

SMALL = """\
module small entry f

type inner = { v: f32[S, 2], n: i32[] }
type outer = { a: inner, layers: [f32[4], inner], ring: state f32[B, S // 2] }

func twice(%x: f32[S, 2]) {
  %0: f32[S, 2] = add(%x, %x)
  return %0
}

weights func pack(%up: bf16[2, 4], %down: bf16[4, 2]) {
  %0: bf16[2, 2] = matmul(%up, %down, out="", trans_b=false) @gemm
  return %0
}

func f(%w: outer, %at: i32[B, 1], %rows: f32[B, 1], %t: f32[T, 2]) {
  require B == 2 * (S // 2) - 1
  require S == T
  %0: f32[S, 2] = mul(%w.a.v, 2.0:f32) @attn.0
  %1: f32[S, 2] = add(%0, %t) @attn.0
  %2: f32[S, 2] = mul(%1, 2.0:f32) @"a b"
  %3: f32[2 * S, 2] = concat(%2, %0, axis=0)
  %4: f32[2 * S, 2] = call twice(%3, S=2 * S)
  %5: state f32[B, S // 2] = get(%w, part="ring")
  %6: f32[B, S // 2] = mul(-inf:f32, %5)
  %7: state f32[B, S // 2] = scatter(%5, %at, %rows, batch=1)
  %8: f32[4] = const(data=[1, -0.0, 1e-20, nan], dtype="f32", shape=[4])
  %9: inner { v: f32[2 * S, 2], n: i32[] } = bundle inner { v=%4, n=%w.a.n }
  %10: [f32[4], f32[4]] = bundle [%8, %w.layers.0]
  return %9, %7, %6, %10, 2.0:f32
}
"""


def test_every_form_in_one_text() -> None:
    assert to_text(parse(SMALL)) == SMALL


def test_layout_comments_and_names_of_results_are_free() -> None:
    lines = [line if line.startswith("type") else line.replace("%4", "%turned") for line in SMALL.split("\n")]
    messy = "# a comment, with 'quotes' and { braces\n" + "  # and one more\n".join(f"{line}\n\n" for line in lines)
    assert to_text(parse(messy)) == SMALL
    assert to_text(parse(" ".join(SMALL.split()))) == SMALL


def test_keywords_are_names_where_names_stand() -> None:
    names = ("state", "func", "call", "bundle", "return", "module", "true", "inf", "weights", "type", "entry")
    record = Bundle("state", tuple((name, TensorType((symbol(name),), "f32")) for name in names))

    def write(b: Builder) -> None:
        (w,) = b.params
        with b.scope("return"):
            parts = [w[name] * 1.0 for name in names]
        b.done(bundle(record, *parts))

    assert_round_trip(module_of(write, module=record))


def test_numbers_stay_what_they_were() -> None:
    numbers = (1, 1.0, -0.0, 0.0, inf, -inf, nan, 1e300, 5e-324, 0.1, -7, 2**40, 1e16, 123456789012345680.0)

    def write(b: Builder) -> None:
        (x,) = b.params
        for number in numbers:
            x = x + number
        b.done(x, const(numbers, "f32"), const((True, False), "bool"), const((True, 1), "i32"))

    text = assert_round_trip(module_of(write, x=F32))
    assert "data=[1, 1.0, -0.0, 0.0, inf, -inf, nan, 1e+300, 5e-324, 0.1, -7, 1099511627776, 1e+16," in text
    assert "1:f32" in text and "1.0:f32" in text and "-0.0:f32" in text and "nan:f32" in text


def test_a_literal_is_one_constant_in_a_function() -> None:
    def write(b: Builder) -> None:
        (x,) = b.params
        y = x * 2.0 + 2.0
        other = const(2.0, "f32")  # not the memoised one: keeps its own line
        b.done(y + other, y * 2.0)

    text = assert_round_trip(module_of(write, x=F32))
    assert text.count("2.0:f32") == 3 and text.count("= const(data=[2.0]") == 1


def test_ops_that_do_not_stand_at_their_use_keep_a_line() -> None:
    record = Bundle("pair", (("a", F32), ("b", F32)))

    def write(b: Builder) -> None:
        w, x = b.params
        early, unused = w["a"], w["b"]  # noqa: F841
        late = b.scalar(3.0, "f32")
        x = x + 1.0  # between their definitions and uses
        with b.scope("else"):
            y = w["a"]
        b.done(x * early + late, b_.maximum(y, x), w["b"])

    text = assert_round_trip(module_of(write, w=record, x=F32))
    assert text.count("get(") == 3 and text.count("const(") == 1 and "return %6, %7, %w.b" in text


def test_operand_order_decides_what_is_inline() -> None:
    pair = Bundle("pair", (("a", F32), ("b", F32)))

    def write(b: Builder) -> None:
        (w,) = b.params
        second, first = w["b"], w["a"]
        out = first + second  # %w.a + %w.b would define them in the other order
        low = out < 0.0
        one = b.scalar(1.0, "f32")
        part = w["a"]
        (out,) = b.emit("where", (low, part, one), {})  # likewise
        half = b.scalar(0.5, "f32")
        part = w["b"]
        (out,) = b.emit("where", (low, half, part), {})
        (out,) = b.emit("where", (out < 0.0, b.scalar(7.0, "f32"), b.scalar(7.0, "f32")), {})
        part, nine = w["a"], b.scalar(9.0, "f32")
        b.done(bundle(None, nine, part, nine))  # the first mention of 9.0 would define it before the part

    text = assert_round_trip(module_of(write, w=pair))
    assert "add(%w.a, %0)" in text and "where(%2, %w.a, %3)" in text
    assert "where(%2, 0.5:f32, %w.b)" in text and "7.0:f32, 7.0:f32)" in text
    assert "bundle [9.0:f32, %8, 9.0:f32]" in text


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: setattr(m, "name", "a b"), "'a b' cannot be written as a name"),
        (lambda m: setattr(m.functions["f"], "kind", "kernel"), "kind 'kernel'"),
        (lambda m: setattr(m.functions["f"].params[0], "name", "0"), "'0' cannot be written as a name"),
    ],
)
def test_what_text_cannot_hold_is_refused(spoil: Callable[[Module], None], message: str) -> None:
    module = module_of(lambda b: (b.done(*b.params), None)[1], x=F32)
    spoil(module)
    with pytest.raises(IRError, match=message):
        to_text(module)


def test_a_broken_function_can_be_looked_at() -> None:
    x, stray = Value(F32, "x"), Value(F32)
    function = Function("f", (x,), (Op("neg", (stray,), {}, (Value(F32),)),), ())
    assert "%0: f32[B, S] = neg(%?)" in to_text(Module("m", {"f": function}, "f"))


# Random modules

DIMS: tuple[Extent, ...] = (1, 2, 3, B, S, B * S, S // 2, (S + 3) // 4 * B, S - B, 2 * S + B - 1, -1 * (S // 2) + 7 * B)
DTYPE_NAMES = ("f32", "bf16", "i32", "bool", "f8e4m3")
NUMBERS = {
    "f32": st.one_of(st.floats(), st.integers(-5, 5)), "bf16": st.floats(width=16), "i32": st.integers(-100, 100),
    "bool": st.booleans(), "f8e4m3": st.sampled_from((0.5, 1, 2.0)),
}
LOCS = st.sampled_from(("", "attn", "layers.3.attn.q", "a-b/c:d", "a b", 'quo"te', "#hash", "ünï", "a@b", "t\tab"))
SHAPES = st.lists(st.sampled_from(DIMS), max_size=3).map(tuple)
TENSORS = st.builds(TensorType, SHAPES, st.sampled_from(DTYPE_NAMES))
Draw = Callable[..., object]


@st.composite
def types(draw: st.DrawFn, tag: str, depth: int = 2) -> Type:
    """A tensor, a state tensor, a bundle with a name of its own, or a list."""
    kind = draw(st.sampled_from(("tensor", "tensor", "state", "bundle", "list") if depth else ("tensor", "state")))
    if kind in ("tensor", "state"):
        plain = draw(TENSORS)
        return TensorType(plain.shape, plain.dtype, kind == "state")
    parts = [draw(types(f"{tag}_{i}", depth - 1)) for i in range(draw(st.integers(0, 3)))]
    if kind == "list":
        return ListType(tuple(parts))
    return Bundle(f"b{tag}", tuple((f"p{i}", part) for i, part in enumerate(parts)))


class Grower:
    """Grows a random function; moves that do not fit are skipped, as the builder refuses them."""

    def __init__(self, draw: Draw, module: Module) -> None:
        self.draw, self.module = draw, module
        self.pool: list[Value] = []
        self.states: list[Value] = []

    def pick(self, strategy: st.SearchStrategy) -> object:
        return self.draw(strategy)

    def grow(self, name: str) -> None:
        ring = TensorType((B, S), "i32", state=True)
        record = Bundle("record", (("x", TensorType((B, S // 2), "f32")), ("ring", ring)))
        params: dict[str, Type] = {"s": TensorType((B, S), "f32"), "w": record}  # binds both symbols
        params |= {f"p{i}": self.pick(types(f"{name}{i}")) for i in range(self.pick(st.integers(0, 3)))}
        callee, dims = self.callee()
        if callee:
            params |= {f"c{i}": substitute_type(p.type, dims) for i, p in enumerate(callee.params)}
        with Builder(self.module, name, **params) as b:
            self.pool, self.states = [], []
            given = [p for p in b.params if p.name.startswith("c")]
            for param in b.params:
                self.add(*([] if param in given else [param]))
            if callee:
                self.add(*call(callee, *given, **dims))
            for _ in range(self.pick(st.integers(0, 12))):
                with b.scope(self.pick(LOCS)), suppress(IRError):
                    self.add(*self.move(b))
            results = self.pick(st.lists(st.sampled_from(self.pool), max_size=3)) + self.states
            kind = self.pick(st.sampled_from(("block", "weights")))
            b.done(*results, kind=kind)

    def callee(self) -> tuple[Function | None, dict[str, Extent]]:
        if not self.module.functions or self.pick(st.booleans()):
            return None, {}
        function = self.module.functions[self.pick(st.sampled_from(list(self.module.functions)))]
        dims = {name: self.pick(st.sampled_from((B, S, 4, B * S, S + 1))) for name in self.pick(
            st.lists(st.sampled_from(function.symbols), unique=True))}
        return function, dims

    def add(self, *values: Value) -> None:
        for value in values:
            (self.states if is_linear(value.type) else self.pool).append(value)

    def move(self, b: Builder) -> tuple[Value, ...]:
        x = self.pick(st.sampled_from(self.pool))
        if self.states and self.pick(st.booleans()):
            return self.hand_on(b)
        if not isinstance(x.type, TensorType):
            parts = [name for name, _ in children(x.type)]
            return (x[self.pick(st.sampled_from(parts))],) if parts else (bundle(None, x, x),)
        y = self.pick(st.sampled_from(self.pool))
        moves: list[Callable[[], tuple[Value, ...]]] = [
            lambda: b.emit(self.pick(st.sampled_from(("add", "mul", "maximum", "eq", "and", "div"))), (x, y), {}),
            lambda: (x * self.pick(NUMBERS[x.dtype]),),
            lambda: (b_.where(b_.equal(x, y), x, self.pick(NUMBERS[x.dtype])),),
            lambda: (b_.iota(*self.pick(SHAPES.filter(len))),),
            lambda: (b_.extent(self.pick(st.sampled_from(DIMS))),),
            lambda: (const(self.pick(NUMBERS[x.dtype]), x.dtype, x.shape),),
            lambda: (const(self.pick(st.lists(NUMBERS[x.dtype], min_size=1, max_size=4)), x.dtype),),
            lambda: (b_.reshape(x, product(x.shape), 1),),
            lambda: (b_.transpose(x, *reversed(range(x.tensor.rank))),),
            lambda: (b_.total(x, keep=self.pick(st.booleans())),),
            lambda: (b_.slice_axis(x, self.pick(st.sampled_from(DIMS)), self.pick(st.sampled_from(DIMS)), 0),),
            lambda: (b_.concat(x, x, axis=0),),
            lambda: b_.topk(x, self.pick(st.integers(1, 3))),
            lambda: (b_.cast(x, self.pick(st.sampled_from(DTYPE_NAMES))),),
            lambda: (bundle(None, x, y),),
            lambda: (bundle(Bundle("made", (("first", x.type), ("second", y.type))), x, y),),
        ]
        return self.pick(st.sampled_from(moves))()

    def hand_on(self, b: Builder) -> tuple[Value, ...]:
        state = self.states.pop(self.pick(st.integers(0, len(self.states) - 1)))
        if isinstance(state.type, TensorType) and state.tensor.rank == 2:
            size = state.shape[0]
            index, rows = b_.iota(size, 1), b_.cast(const(0.5, "f32", (size, 1)), state.dtype)
            return (b_.scatter(state, index, rows, batch=1),)
        parts = [name for name, _ in children(state.type)]
        return tuple(state[name] for name in parts) if parts else (bundle(None, state),)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_random_modules_round_trip(data: st.DataObject) -> None:
    module = Module("random", entry="f0")
    grower = Grower(data.draw, module)
    for index in range(data.draw(st.integers(1, 3))):
        grower.grow(f"f{index}")
    verify(module)
    assert_round_trip(module)


# Errors

HEAD = "module m entry f\n\ntype w = { a: f32[N], b: f32[4] }\n\nfunc f(%x: f32[S, 4], %w: w, %s: state f32[S, 4]) {\n"


@pytest.mark.parametrize(
    ("body", "place", "message"),
    [
        ("  %0: f32[S, 4] = ad(%x, %x)\n return %0\n}", "6:19", "unknown op 'ad'; did you mean and, add?"),
        ("  return %xx\n}", "6:10", "unknown value %xx; did you mean %x?"),
        ("  %0: f32[S, 4] = add(%x, %0)\n  return %0\n}", "6:27", "unknown value %0"),
        ("  %0: f32[S, 4] = add(%x, %w.a)\n}", "7:1", "unexpected '}'; expected"),
        (" %0: f32[S, 4] =\n add(%x, %w.a) return %0 }", "7:2", "not known to be equal; add `require 4 == N`"),
        (" %0: f32[S, 4] = add(%x, %w.c) return %0 }", "6:26", "no part 'c' in w; it has a, b"),
        (" %0: f32[4] = neg(%w.b)\n %0: f32[4] = neg(%0) return %0 }", "7:2", "value %0 is defined already"),
        (" %0: f32[S, 5] = neg(%x) return %0 }", "6:2", "%0 is of another type; neg gives f32[S, 4]"),
        (" %0: f33[S, 4] = neg(%x) return %0 }", "6:6", "unknown dtype f33; use one of f32, bf16"),
        (" %0: ww = neg(%x) return %0 }", "6:6", "unknown type ww; did you mean w?"),
        (" %0: f32[S // N] = iota() return }", "6:12", "cannot divide by N; divisors are positive integers"),
        (" %0: f32[S % 0] = iota() return }", "6:12", "cannot divide by 0; divisors are positive integers"),
        (" %0: f32[S, 4] = neg(%x %x) return %0 }", "6:25", "unexpected '%x'; expected ')' or ','"),
        (" %0: f32[S, 4] = add(%x, 1.0) return %0 }", "6:26", "unexpected '1.0'; expected"),
        (" %0: f32[S, 4] = add(%x, 1.0:f33) return %0 }", "6:26", "unknown dtype 'f33'"),
        (" %0: f32[S, 4] = add(%x, 1.x:f32) return %0 }", "6:26", "1.x is no number"),
        (" %0: f32[S, 4] = cast(%x, dtype=3) return %0 }", "6:18", "attribute dtype = 3 is of the wrong kind"),
        (" %0: f32[S, 4] = cast(%x) return %0 }", "6:18", "attribute dtype is missing"),
        (" %0: f32[S, 4] = neg(%x, axis=1) return %0 }", "6:18", "no attribute axis; it has none"),
        (' %0: f32[S, 4] = cast(%x, dtype="f32", dtype="f16") return %0 }', "6:40", "attribute dtype is defined"),
        (' %0: f32[S, 4] = cast(%x, dtype="\\q") return %0 }', "6:33", "is no string"),
        (" %0: f32[S, 4] = topk(%x, k=4) return %0 }", "6:18", "topk has 2 results, 1 are named"),
        (" %0: f32[S, 4] = call g(%x) return %0 }", "6:23", "no function 'g' before this one"),
        (" %0: i32[] = extent(value=Q) return %0 }", "6:14", "extent has dimension Q, which no parameter binds"),
        (" require S == Q return %x }", "6:17", "a require has dimension Q, which no parameter binds"),
        (" return %x } func f(%x: f32[3]) { return %x }", "6:19", "function f is defined already in line 5"),
        (" return %x", "6:11", "the text ends here; expected ',' or '}'"),
        (" $ return %x }", "6:2", "unexpected '$'"),
        (" %0: [state f32[S, 4]] = bundle [%s]\n %1: [state f32[S, 4]] = bundle [%s] return %0 }", "7:26", "handed on"),
        (" %0: f32[S, 4] = neg(%x) return %s, %s }", "6:26", "state is used after it was handed on"),
        (" %a.b: f32[S, 4] = neg(%x) return %x }", "6:2", "%a.b names a part"),
    ],
)
def test_bad_text(body: str, place: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(HEAD + body, "model.dsir")
    assert str(caught.value).startswith(f"model.dsir:{place}: ")
    assert message in str(caught.value)
    assert f"{caught.value.line}:{caught.value.column}" == place


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "<text>:1:1: the text ends here; expected 'module'"),
        ("modul m", "<text>:1:1: unexpected 'modul'; expected 'module'"),
        ("module m entry g func f() { return }", "<text>:1:16: there is no function g"),
        ("module m entry f type a = { x: f32[2], x: f32[3] }", "<text>:1:40: field x is defined already"),
        ("module m entry f type a = { x: b } type b = { }", "<text>:1:32: unknown type b"),
        ("module m entry f type a = { }\ntype a = { }", "<text>:2:6: type a is defined already in line 1"),
        ("module m entry f func f(%x: f32[], %x: f32[]) { return }", "<text>:1:36: value %x is defined already"),
        ("module m entry f func f(%0: f32[]) { return }", "<text>:1:25: %0 is no name of a parameter"),
        ("module m entry f func f(%x: steady f32[2]) { return }", "<text>:1:29: unexpected 'steady' before a tensor"),
    ],
)
def test_bad_header(text: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_text_parses_or_is_refused_with_a_place(data: st.DataObject) -> None:
    words = SMALL.split(" ")
    at, other = (data.draw(st.integers(0, len(words) - 1)) for _ in range(2))
    damage = data.draw(st.sampled_from(("drop", "swap", "copy", "cut")))
    if damage == "drop":
        del words[at]
    elif damage == "swap":
        words[at], words[other] = words[other], words[at]
    elif damage == "copy":
        words[at] = words[other]
    else:
        words[at] = words[at][: len(words[at]) // 2]
    with suppress(ParseError):
        verify(parse(" ".join(words)))
