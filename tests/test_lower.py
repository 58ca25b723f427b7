"""The CPU lowering against the reference interpreter: every core op, and random graphs of them.

All cases of this file are functions of one module, lowered together and compiled into one library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from compiling import Compiled, compiled_module, held

from dsv4c.ir import builder as B
from dsv4c.ir.builder import Builder
from dsv4c.ir.core import IRError, Module, Value
from dsv4c.ir.dims import evaluate, symbol
from dsv4c.ir.interp import run, shape_of
from dsv4c.ir.registry import REGISTRY
from dsv4c.ir.types import DTYPES, Bundle, TensorType, type_symbols
from dsv4c.ir.verify import verify_function
from dsv4c.targets.cpu.runner import Runner, aligned
from dsv4c.targets.tvm.build import build_library
from dsv4c.targets.tvm.lower import lower
from dsv4c.targets.tvm.packing import pack_function
from dsv4c.targets.tvm.table import KernelTable
from dsv4c.targets.tvm.templates import LOWER

FLOATS, WHOLE = ("f32", "bf16", "f16"), ("i8", "i32", "i64")
CASES = 4  # per op
GRAPHS = 40
EPS = {"f32": 2.0**-23, "bf16": 2.0**-7, "f16": 2.0**-10}  # one unit in the last place, relative


@dataclass
class Case:
    """A function, numbers for its parameters, and how far from the interpreter it may be."""

    name: str
    dims: dict[str, int]
    data: dict[str, np.ndarray]
    units: float = 0  # of the last place of the result
    terms: Callable[..., np.ndarray] | None = None  # sum of magnitudes: sums in another order move by 4 eps of it


@dataclass
class Draw:
    """Random choices of one case, and the parameters it has drawn so far."""

    rng: np.random.Generator
    dims: dict[str, int] = field(default_factory=dict)
    params: dict[str, TensorType] = field(default_factory=dict)
    data: dict[str, np.ndarray] = field(default_factory=dict)

    def pick(self, *options):
        return options[self.rng.integers(len(options))]

    def extent(self, least: int = 0):
        """Fixed or symbolic; odd, a multiple of the lanes, 1, or (symbolic only) 0."""
        if self.rng.random() < 0.5:
            return self.pick(1, 3, 5, 16, 32, 33)
        name = f"N{len(self.dims)}"
        self.dims[name] = max(least, self.pick(0, 1, 2, 7, 16, 40))
        return symbol(name)

    def shape(self, rank: int, least: int = 0):
        return tuple(self.extent(least) for _ in range(rank))

    def number(self, extent) -> int:
        return evaluate(extent, self.dims)

    def tensor(self, shape, dtype: str, kind: str = "any", state: bool = False) -> None:
        """One more parameter of the case with random numbers."""
        name = f"p{len(self.params)}"
        self.params[name] = TensorType(shape, dtype, state)
        self.data[name] = self.numbers(tuple(map(self.number, shape)), dtype, kind)

    def numbers(self, shape, dtype: str, kind: str) -> np.ndarray:
        if dtype == "bool":
            x = self.rng.random(shape) < 0.5
        elif dtype in WHOLE:
            low, high = {"positive": (1, 9), "shift": (0, 8), "nonzero": (1, 9), "small": (-4, 5)}.get(kind, (-99, 99))
            x = self.rng.integers(low, high, shape)
            x = x * self.rng.choice([-1, 1], shape) if kind == "nonzero" else x
        else:
            x = self.rng.standard_normal(shape) * {"small": 1, "wide": 40}.get(kind, 3)
            x = np.abs(x) + 2.0**-10 if kind == "positive" else np.where(self.rng.random(shape) < 0.1, -0.0, x)
        out = aligned(shape, dtype)
        out[...] = np.asarray(x).astype(DTYPES[dtype])
        return out

    def finish(self, module: Module, name: str, body: Callable[..., object], **limits) -> Case:
        """Close the function over the drawn parameters, and one more for each symbol that they do not bind."""
        used = len(self.params)
        bound = {s for type_ in self.params.values() for s in type_symbols(type_)}
        for free in sorted(self.dims.keys() - bound):
            self.tensor((symbol(free),), "i8")
        with Builder(module, name, **self.params) as b:
            out = body(*b.params[:used])
            function = b.done(*(out if isinstance(out, tuple) else (out,)))
        verify_function(module, function)
        return Case(name, self.dims, self.data, **limits)


# --- one generator for each family of ops; it draws parameters and gives the body ---

BINARY = ("add", "sub", "mul", "maximum", "minimum", "eq", "lt", "le")
DTYPES_OF = {
    **dict.fromkeys(("neg", "abs", *BINARY), FLOATS + WHOLE),
    **dict.fromkeys(("exp", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "div"), FLOATS),
    **dict.fromkeys(("floordiv", "mod", "shl", "shr"), WHOLE),
    **dict.fromkeys(("and", "or", "xor"), (*WHOLE, "bool")),
    "not": ("bool",), "eq": (*FLOATS, *WHOLE, "bool"),
}  # fmt: skip
KINDS = {"log": "positive", "log1p": "positive", "sqrt": "positive", "rsqrt": "positive", "sin": "wide", "cos": "wide"}
RIGHT = {"floordiv": "nonzero", "mod": "nonzero", "div": "positive", "shl": "shift", "shr": "shift"}
# numpy's own float32 functions are within 2 units, ours within 1.5; after rounding to 16 bits a tie may go either way.
UNITS = {"exp": 3.5, "log": 3.5, "log1p": 3.5, "sin": 3.5, "cos": 3.5, "rsqrt": 2.5}
UNARY = ("neg", "abs", "exp", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "not")


def elementwise(name: str) -> Callable[[Draw], tuple]:
    def draw(d: Draw) -> tuple:
        dtype = d.pick(*DTYPES_OF[name])
        shape = d.shape(d.pick(0, 1, 2, 3))
        d.tensor(shape, dtype, KINDS.get(name, "any"))
        if name in UNARY:
            return lambda x: B.unary(name, x), {"units": UNITS.get(name, 0)}
        other = tuple(d.pick(1, e) for e in shape)[d.pick(0, 0, 1) if shape else 0 :]
        d.tensor(other, dtype, RIGHT.get(name, "any"))
        return lambda x, y: x._binary(name, y), {}

    return draw


def where(d: Draw) -> tuple:
    shape, dtype = d.shape(2), d.pick(*FLOATS, *WHOLE, "bool")
    d.tensor((shape[0], 1), "bool")
    d.tensor(shape, dtype)
    d.tensor(shape[1:], dtype)
    return B.where, {}


def const(d: Draw) -> tuple:
    dtype, n = d.pick(*FLOATS, *WHOLE, "bool"), d.extent()
    if d.pick(True, False):
        low = float("-inf") if dtype in FLOATS else 0
        return lambda: (B.const(d.pick(1, low), dtype, (3, 32)),), {}
    d.tensor((n, 5), dtype)
    data = tuple(d.numbers((5,), dtype, "any").astype(float if dtype in FLOATS else int).tolist())
    return lambda x: B.where(B.equal(x, x), B.broadcast_to(B.const(data, dtype), *x.shape), x), {}


def iota(d: Draw) -> tuple:
    shape = d.shape(3)
    d.tensor(shape, "i32")
    return lambda x: B.iota(*shape, axis=d.pick(0, 1, 2)) + x, {}


def extent(d: Draw) -> tuple:
    n = d.extent()
    d.tensor((n,), "i32")
    return lambda x: (x + B.extent(n * 3 + 1), B.extent(n)), {}


def cast(d: Draw) -> tuple:
    every = (*FLOATS, *WHOLE, "bool")
    source, target = d.pick(*every), d.pick(*every)
    d.tensor(d.shape(2), source)
    return lambda x: (B.cast(x, target), B.cast(x, d.pick(*FLOATS))), {}


def bitcast(d: Draw) -> tuple:
    source, target = d.pick(
        ("f32", "i32"), ("i32", "f32"), ("bf16", "f16"), ("f16", "bf16"), ("bool", "i8"), ("i64", "i64")
    )
    d.tensor(d.shape(2), source, "positive")
    return lambda x: B.bitcast(x, target), {}


def reshape(d: Draw) -> tuple:
    n, m = d.extent(), d.extent()
    d.tensor((n, 6, m, 4), d.pick("f32", "bf16", "bool"))
    shapes = ((n, 6 * m * 4), (n * 2, 3, m * 4), (n, 3, m, 8), (n * 6 * m * 4,), (n, 2, 3, m, 4, 1))
    return lambda x: B.reshape(d.pick(lambda v: v, lambda v: B.transpose(v, 2, 1, 0, 3))(x), *d.pick(*shapes)), {}


def transpose(d: Draw) -> tuple:
    d.tensor(d.shape(3), d.pick("f32", "f16", "i8"))
    return lambda x: B.transpose(x, *d.pick((0, 1, 2), (2, 1, 0), (1, 2, 0), (0, 2, 1))), {}


def broadcast_to(d: Draw) -> tuple:
    shape = d.shape(3)
    d.tensor((1, shape[2]), d.pick("f32", "bf16", "i64"))
    return lambda x: B.broadcast_to(x, *shape), {}


def slice_(d: Draw) -> tuple:
    n = d.extent()
    d.tensor((n + 3, 17, 16), d.pick("f32", "bf16", "bool"))
    return lambda x: (B.slice_axis(x, n, n + 2, 0), B.slice_axis(x, 1, 17, 1), B.slice_axis(x, 3, 3, 2)), {}


def concat(d: Draw) -> tuple:
    shape, axis, dtype = d.shape(3), d.pick(0, 1, 2), d.pick("f32", "bf16", "i8", "bool")
    for _ in range(d.pick(1, 2, 3)):
        d.tensor(tuple(d.extent() if i == axis else e for i, e in enumerate(shape)), dtype)

    def body(*xs: Value) -> Value:
        padding = B.const(0, dtype, tuple(16 if i == axis else e for i, e in enumerate(shape)))
        return B.concat(*xs, padding, axis=axis)

    return body, {}


def gather(d: Draw) -> tuple:
    batch, rows, rest = d.pick(0, 1), d.extent(), d.shape(d.pick(0, 1))
    lead = (d.extent(),) if batch else ()
    d.tensor((*lead, rows, *rest), d.pick("f32", "bf16", "i32", "bool"))
    d.tensor((*lead, *d.shape(d.pick(1, 2))), d.pick(*WHOLE), "small")
    return lambda x, i: B.gather(x, i, batch), {}


def scatter(d: Draw) -> tuple:
    batch, rows, rest, count = d.pick(0, 1), d.extent(), d.shape(d.pick(0, 1, 2)), d.extent()
    lead, dtype = ((d.extent(),) if batch else ()), d.pick("f32", "bf16", "i32", "bool")
    d.tensor((*lead, rows, *rest), dtype, state=d.pick(True, False))
    d.tensor((*lead, count), d.pick(*WHOLE), "small")
    d.tensor((*lead, count, *rest), dtype)
    return lambda x, i, r: B.scatter(x, i, r, batch), {}


def reduction(name: str) -> Callable[[Draw], tuple]:
    def draw(d: Draw) -> tuple:
        dtype, rank = d.pick(*FLOATS, "i32", "i64"), d.pick(1, 2, 3)
        axis, keep = int(d.rng.integers(rank)), d.pick(True, False)
        least = 1 if name in ("max", "argmax") else 0
        d.tensor(d.shape(rank, least), dtype)
        if name == "argmax":
            return lambda x: B.argmax(x, axis), {}
        if name == "max":
            return lambda x: B.largest(x, axis, keep), {}
        if name == "cumsum":
            return lambda x: B.cumsum(x, axis), {"terms": _sum_terms(dtype, lambda x: np.cumsum(x, axis))}
        return lambda x: B.total(x, axis, keep), {"terms": _sum_terms(dtype, lambda x: np.sum(x, axis, keepdims=keep))}

    return draw


def _sum_terms(dtype: str, total: Callable[..., np.ndarray]):
    if dtype in WHOLE:
        return None
    return lambda x: total(np.abs(x.astype(np.float64)))


def topk(d: Draw) -> tuple:
    d.tensor(d.shape(d.pick(1, 2, 3)), "f32", "small")
    return lambda x: B.topk(B.cast(B.cast(x, "bf16"), "f32"), d.pick(1, 3, 20)), {}


def matmul(d: Draw) -> tuple:
    n, k, dtype, trans = d.extent(), d.extent(), d.pick(*FLOATS), d.pick(True, False)
    lead = d.shape(d.pick(0, 1, 2))
    right = d.pick((), lead, tuple(1 for _ in lead))
    d.tensor((*lead, d.extent(), k), dtype)
    d.tensor((*right, n, k) if trans else (*right, k, n), dtype)

    def terms(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = np.abs(a.astype(np.float64)), np.abs(b.astype(np.float64))
        return a @ (np.swapaxes(b, -1, -2) if trans else b)

    return lambda a, b: B.matmul(a, b, trans_b=trans, out=d.pick("", "f32")), {"terms": terms}


DRAWERS: dict[str, Callable[[Draw], tuple]] = {
    **{name: elementwise(name) for name in DTYPES_OF},
    **{name: reduction(name) for name in ("sum", "max", "argmax", "cumsum")},
    "where": where, "const": const, "iota": iota, "extent": extent, "cast": cast, "bitcast": bitcast,
    "reshape": reshape, "transpose": transpose, "broadcast_to": broadcast_to, "slice": slice_, "concat": concat,
    "gather": gather, "scatter": scatter, "topk": topk, "matmul": matmul,
}  # fmt: skip
OWN_TESTS = {"call", "get", "bundle", "ragged_matmul"}


def test_every_core_op_is_drawn():
    assert set(DRAWERS) | OWN_TESTS == {name for name, op in REGISTRY.items() if op.tier == "core"}


# --- random graphs: integers in every dtype, so that the comparison is exact whatever is fused ---


@dataclass
class Graph:
    """A chain of random ops over a pool of values, whose numbers stay small enough to be exact in bf16."""

    d: Draw
    pool: list[Value] = field(default_factory=list)
    state: Value | None = None

    def any(self, rank: int | None = None, dtype: str | None = None) -> Value:
        fits = [v for v in self.pool if rank in (None, v.tensor.rank) and dtype in (None, v.dtype)]
        recent = fits[-4:] if self.d.rng.random() < 0.6 else fits
        return recent[self.d.rng.integers(len(recent))]

    def small(self, x: Value) -> Value:
        """Back to at most 64 in magnitude."""
        return B.maximum(B.minimum(x, 64), -64)

    def grow(self) -> None:
        step = self.d.pick(*STEPS)
        self.pool.append(step(self))


def _arithmetic(g: Graph) -> Value:
    x = g.any()
    y = g.d.pick(x, *(v for v in g.pool if v.type == x.type))
    name = g.d.pick("add", "sub", "mul", "maximum", "minimum")
    return g.small(x._binary(name, y))


def _select(g: Graph) -> Value:
    x = g.any()
    return B.where(x < g.d.pick(0, 3), B.unary("neg", x), x * 2 if g.d.pick(0, 1) else B.unary("abs", x))


def _recast(g: Graph) -> Value:
    return B.cast(g.any(), g.d.pick("f32", "bf16", "i32", "i64"))


def _regroup(g: Graph) -> Value:
    x = g.any()
    if x.tensor.rank == 3:
        b, s, w = x.shape
        return B.reshape(x, *g.d.pick((b * s, w), (b, s * w), (b, s, w)))
    b, w = x.shape
    return B.reshape(x, b, 1, w) if g.d.pick(0, 1) else B.reshape(x, 1, b, w)


def _permute(g: Graph) -> Value:
    x = g.any()
    return B.transpose(x, *g.d.rng.permutation(x.tensor.rank).tolist())


def _cut(g: Graph) -> Value:
    x = g.any()
    axis = int(g.d.rng.integers(x.tensor.rank))
    size = x.shape[axis]
    if not isinstance(size, int):
        return B.concat(x, x, axis=axis)
    return B.slice_axis(x, size // 3, size, axis)


def _join(g: Graph) -> Value:
    x = g.any()
    others = [v for v in g.pool if v.type == x.type]
    axis = int(g.d.rng.integers(x.tensor.rank))
    return B.concat(x, g.d.pick(*others), x + 1, axis=axis)


def _reduce(g: Graph) -> Value:
    x = g.any()
    axis, keep = int(g.d.rng.integers(x.tensor.rank)), x.tensor.rank == 2 or g.d.pick(True, False)
    out = B.total(x, axis, keep) if g.d.pick(0, 1) else B.largest(B.concat(x, x, axis=axis), axis, keep)
    return g.small(out)


def _spread(g: Graph) -> Value:
    x = g.any()
    line = B.slice_axis(x, 0, 1, 0)
    return g.small(B.broadcast_to(line, *x.shape) - x)


def _lookup(g: Graph) -> Value:
    x = g.any(rank=2)
    index = B.cast(g.any(rank=2), "i32")
    rows = B.gather(x, B.slice_axis(index, 0, 1, 1))
    return g.small(rows * 3)


def _running(g: Graph) -> Value:
    x = g.any()
    axis = int(g.d.rng.integers(x.tensor.rank))
    return g.small(B.cumsum(B.cast(x, "f32"), axis))


def _write(g: Graph) -> Value:
    """A temporary with rows of another written into it."""
    x = g.any(rank=2)
    rows = B.slice_axis(x, 0, 1, 0) + 1
    index = B.cast(B.slice_axis(B.reshape(B.cast(rows, "i32"), x.shape[1]), 0, 1, 0), "i32")
    return B.scatter(g.d.pick(x, x + 5), index, rows)


def _product(g: Graph) -> Value:
    x = B.cast(g.any(), "f32")
    return g.small(B.matmul(x, x, trans_b=True))


def _update(g: Graph) -> Value:
    """Read the state, write to it, and go on with what was read before or what is there now."""
    assert g.state is not None
    index, rows = g.pool[0], g.pool[1]
    view = g.d.pick(lambda s: s * 2, lambda s: B.gather(s, index, 1) + 1, lambda s: B.reshape(s, 2, -1 * -96))
    before = view(g.state)
    g.state = B.scatter(g.state, index, g.small(rows + B.cast(B.extent(7), rows.dtype)), 1)
    after = view(g.state)
    return g.small(g.d.pick(before, after, before - after))


STEPS = (
    _arithmetic, _arithmetic, _arithmetic, _select, _recast, _regroup, _permute, _cut, _join, _reduce, _spread, _lookup,
    _running, _write, _product, _update, _update,
)  # fmt: skip


def draw_graph(module: Module, seed: int) -> Case:
    d = Draw(np.random.default_rng(seed))
    s = d.pick(3, symbol("S"))
    d.dims["S"] = d.pick(1, 5)
    dtype = d.pick("f32", "bf16", "i32")
    d.tensor((2, s), "i32", "small")
    d.tensor((2, s, 16), dtype, "small")
    d.tensor((2, 6, 16), dtype, "small", state=True)
    d.tensor((s, 16), dtype, "small")
    for name, values in d.data.items():
        d.data[name][...] = np.round(values.astype(np.float32)).astype(values.dtype)

    def body(index: Value, rows: Value, state: Value, other: Value) -> tuple[Value, ...]:
        g = Graph(d, [index, rows, rows + 1, other], state)
        for _ in range(d.rng.integers(5, 13)):
            g.grow()
        assert g.state is not None
        last = g.pool[-1]
        return (last, g.any(), d.pick(last, other, g.any()), g.state, g.any())

    return d.finish(module, f"graph{seed}", body)


# --- compile everything, run one function ---


@cache
def drawn() -> tuple[Module, dict[str, Case]]:
    module = Module("cases")
    cases = {}
    for seed, (name, drawer) in enumerate(DRAWERS.items()):
        for number in range(CASES):
            d = Draw(np.random.default_rng([seed, number]))
            body, limits = drawer(d)
            cases[f"{name}_{number}"] = d.finish(module, f"{name}_{number}", body, **limits)
    for seed in range(GRAPHS):
        cases[f"graph{seed}"] = draw_graph(module, seed)
    special_functions(module)
    return module, cases


@cache
def compiled() -> Compiled:
    return compiled_module(drawn()[0])


def execute(name: str, data: dict[str, dict[str, np.ndarray]], dims: dict[str, int]) -> list[np.ndarray]:
    """Results of a compiled function; state parameters are updated in place."""
    return compiled().execute(name, data, dims)


def copy(x: np.ndarray) -> np.ndarray:
    return held(x, next(name for name, kind in DTYPES.items() if kind == x.dtype))


def agree(got: np.ndarray, want: np.ndarray, units: float, terms: np.ndarray | None) -> None:
    assert got.shape == want.shape and got.dtype == want.dtype
    if want.dtype.kind in "iub" or not (units or terms is not None):
        assert np.array_equal(got.astype(np.float64), want.astype(np.float64), equal_nan=want.dtype.kind not in "iub")
        return
    dtype = next(name for name, kind in DTYPES.items() if kind == want.dtype)
    unit = EPS[dtype] * np.maximum(np.abs(want.astype(np.float64)), 2.0**-14)  # f16 is subnormal below
    bound = units * EPS["f32"] * unit / EPS[dtype] + (unit if dtype != "f32" else 0)
    if terms is not None:
        bound = bound + 4 * EPS["f32"] * terms
    difference = np.abs(got.astype(np.float64) - want.astype(np.float64))
    assert (np.where(got == want, 0, difference) <= bound).all()


NAMES = [f"{name}_{number}" for name in DRAWERS for number in range(CASES)] + [f"graph{i}" for i in range(GRAPHS)]


@pytest.mark.parametrize("name", NAMES)
def test_against_interpreter(name: str):
    c = compiled()
    case = drawn()[1][name]
    want = run(c.module, name, list(case.data.values()), case.dims)
    got = execute(name, {key: {"": copy(x)} for key, x in case.data.items()}, case.dims)
    terms = case.terms(*list(case.data.values())[: case.terms.__code__.co_argcount]) if case.terms else None
    for mine, theirs in zip(got, want, strict=True):
        agree(mine, theirs, case.units, terms)


# --- functions that random drawing does not reach ---

STATE = TensorType((2, 8, 16), "f32", state=True)
WEIGHTS = Bundle(
    "Weights",
    (
        ("up", TensorType((3, 40, 24), "f32")),
        ("down", TensorType((40, 24), "f32")),
        ("scale", TensorType((24,), "f32")),
    ),
)


def special_functions(module: Module) -> None:
    rows = TensorType((2, 3, 16), "f32")
    with Builder(module, "append", state=STATE, index=TensorType((2, 3), "i32"), rows=rows) as b:
        append = b.done(B.scatter(*b.params, batch=1))
    with Builder(module, "reads_before_call", state=STATE, index=TensorType((2, 3), "i32"), rows=rows) as b:
        state, index, new = b.params
        before = state * 2.0
        (state,) = B.call(append, state, index, new)
        b.done(before + state, state)
    with Builder(module, "returned_twice", x=TensorType((5,), "bf16")) as b:
        (x,) = b.params
        y = x + x
        b.done(y, x, y, B.reshape(y, 5, 1))
    with Builder(
        module, "experts", x=TensorType((symbol("M"), 24), "f32"), w=WEIGHTS, counts=TensorType((3,), "i32")
    ) as b:
        x, w, counts = b.params
        b.done(B.ragged_matmul(x * w.scale, w.up, counts), B.linear(x, w.down))


def test_state_is_read_before_a_callee_updates_it():
    d = Draw(np.random.default_rng(1))
    for shape, dtype in (((2, 8, 16), "f32"), ((2, 3), "i32"), ((2, 3, 16), "f32")):
        d.tensor(shape, dtype, "small")
    state, index, rows = d.data.values()
    want = run(compiled().module, "reads_before_call", [state, index, rows], {})
    got = execute("reads_before_call", {"state": {"": copy(state)}, "index": {"": index}, "rows": {"": rows}}, {})
    assert all((g == w).all() for g, w in zip(got, want, strict=True))


TWICE = [0, 2, 4, 6, 8]


def test_results_returned_twice_and_parameters():
    x = aligned((5,), "bf16")
    x[...] = np.arange(5)
    got = execute("returned_twice", {"x": {"": x}}, {})
    assert [g.astype(int).reshape(-1).tolist() for g in got] == [TWICE, [0, 1, 2, 3, 4], TWICE, TWICE]


@pytest.mark.parametrize("counts", [(2, 0, 5), (0, 0, 0), (7, 0, 0), (1, 1, 1)])
def test_packed_weights(counts: tuple[int, ...]):
    c = compiled()
    d = Draw(np.random.default_rng(2))
    x = d.numbers((7, 24), "f32", "small")
    plain = {name: d.numbers(shape_of(type_, {}), "f32", "small") for name, type_ in WEIGHTS.fields}
    count = aligned((3,), "i32")
    count[...] = counts
    weights = {}
    for path, form in c.plan.weights("experts", "w"):
        w = plain[path]
        if form:
            pack = pack_function(c.module, WEIGHTS.field(path), form)
            names = {str(e): n for e, n in zip(pack.params[0].shape, w.shape, strict=True) if not isinstance(e, int)}
            w = copy(run(c.module, pack.name, [w], names)[0])
        weights[f"{path}@{form}" if form else path] = w
    want = run(c.module, "experts", [x, plain, count], {"M": 7})
    got = execute("experts", {"x": {"": x}, "w": weights, "counts": {"": count}}, {"M": 7})
    for mine, theirs in zip(got, want, strict=True):
        agree(mine, theirs, 0, np.full(theirs.shape, 24.0))


@pytest.mark.parametrize("dtype", ["f8e4m3", "f8e8m0", "f4e2m1"])
def test_storage_floats_are_refused(dtype: str):
    module = Module("m")
    with Builder(module, "f", x=TensorType((4,), dtype)) as b, b.scope("attn"):
        b.done(B.cast(b.params[0], "f32"))
    with pytest.raises(IRError, match=rf"f:attn: cast: {dtype} is for storage only; cast to f32, bf16, f16"):
        lower(module, ("f",), KernelTable(), LOWER)


def test_a_library_depends_on_nothing_but_its_kernels(tmp_path: Path):
    kernels = list(compiled().table.kernels.values())[:12]
    for folder, jobs, given in (("a", 1, kernels), ("b", 2, kernels[::-1])):
        (tmp_path / folder).mkdir()
        build_library(given, tmp_path / folder / f"{folder}.so", jobs)
    assert (tmp_path / "a" / "a.so").read_bytes() == (tmp_path / "b" / "b.so").read_bytes()


def test_a_max_over_vectors_of_minus_infinity():
    """No lowest finite number may stand in for -inf as the start of a maximum; x - x is one number for all lanes."""
    module = Module("m")
    with Builder(module, "f", x=TensorType((4, 64), "f32"), y=TensorType((4, 64), "bf16")) as b:
        x, y = b.params
        b.done(B.largest(x, 1), y - y)
    table = KernelTable()
    plan = lower(module, ("f",), table, LOWER)
    with TemporaryDirectory() as folder:
        build_library(list(table.kernels.values()), Path(folder) / "k.so", jobs=1)
        data = {"x": aligned((4, 64), "f32"), "y": aligned((4, 64), "bf16")}
        data["x"][...] = -np.inf
        results = {"0": aligned((4,), "f32"), "1": aligned((4, 64), "bf16")}
        results["1"][...] = 7
        spaces = {**{name: {"": array} for name, array in data.items()}, "result": results}
        Runner(Path(folder) / "k.so").bind(plan, "f", {}, {"x": "x", "y": "y"}, spaces).run()
    assert (results["0"] == -np.inf).all() and not results["1"].astype(np.float32).any()
