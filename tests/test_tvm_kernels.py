"""The hand-written CPU kernels against numpy; each module compiles all kernels of one family at once."""

from __future__ import annotations

import re
from functools import cache

import ml_dtypes
import numpy as np
import pytest
import tvm
from tvm import te
from tvm.s_tir import Schedule

import dsv4c.targets.tvm.kernels as kernels
from dsv4c.frontend.presets import load_preset
from dsv4c.models.build import build_module
from dsv4c.models.config import Indexer, Moe, Rope, V4Config, Yarn
from dsv4c.targets.tvm.host import cpu_features, host_target, missing_features, set_threads
from dsv4c.targets.tvm.kernels import NR, Kernel, argmax, cumsum, expr, gemm, grouped, merge, pack, scatter, topk
from dsv4c.targets.tvm.loops import Nest
from dsv4c.targets.tvm.lower import lower
from dsv4c.targets.tvm.table import KernelTable
from dsv4c.targets.tvm.templates import LOWER

BF16 = ml_dtypes.bfloat16
NUMPY = {"float32": np.float32, "float16": np.float16, "bfloat16": BF16, "int32": np.int32}
F32, HALF, MIXED = ("float32",) * 3, ("float16",) * 3, ("float32", "bfloat16", "bfloat16")
BRAIN = ("bfloat16",) * 3

GEMMS = (
    gemm("f32", n=100, k=70),
    gemm("f32_dynamic", n=None, k=None),
    gemm("f32_row", n=100, k=70, mr=1),
    gemm("f16", n=100, k=70, types=HALF),
    gemm("bf16", n=None, k=None, types=BRAIN),
    gemm("mixed_row", n=None, k=None, types=MIXED, mr=1),
    gemm("leading", n=None, k=70, batch="leading"),
    gemm("leading_row", n=100, k=None, batch="leading", mr=1),
    gemm("middle", n=100, k=70, batch="middle", groups=3, types=MIXED),
    gemm("middle_row", n=100, k=70, batch="middle", groups=3, mr=1),
)
PACKS = (
    pack("nk", order="nk", n=None, k=64),
    pack("nk_dynamic", order="nk", n=None, k=None, types=("bfloat16", "float32")),
    pack("kn", order="kn", n=70, k=None),
    pack("kn_dynamic", order="kn", n=None, k=None, types=("float32", "bfloat16")),
)
GROUPED = (
    grouped("experts", experts=5, n=100, k=70),
    grouped("experts_dynamic", experts=None, n=None, k=None, types=BRAIN),
)
TOPKS = (
    topk("top8", k=8, n=256),
    topk("top6", k=6, n=None),
    topk("top40", k=40, n=None),
    topk("top600", k=600, n=None),
)
SCATTERS = (
    scatter("wide", width=1100),
    scatter("wide16", width=None, dtype="bfloat16"),
    scatter("ints", width=1, dtype="int32"),
)
OTHERS = (
    cumsum("sums", n=None, inner=None),
    cumsum("counts", n=None, inner=1, dtype="int32"),
    argmax("best", n=None),
)
ALL = GEMMS + PACKS + GROUPED + TOPKS + SCATTERS + OTHERS


@cache
def compiled():
    set_threads(2)
    return tvm.compile(merge(ALL), host_target(2))


def aligned(values) -> np.ndarray:
    """A copy that starts at a multiple of 64 bytes, as in the arena."""
    values = np.asarray(values)
    raw = np.empty(values.nbytes + 64, np.uint8)
    out = raw[-raw.ctypes.data % 64 :][: values.nbytes].view(values.dtype).reshape(values.shape)
    out[...] = values
    return out


def tensor(x: np.ndarray):
    """numpy array as TVM tensor without a copy; DLPack has no bfloat16, so it travels as uint16."""
    if x.dtype != BF16:
        return tvm.runtime.from_dlpack(x)
    return tvm.runtime.from_dlpack(x.view(np.uint16))._create_view(x.shape, "bfloat16")


def run(name: str, arrays, *sizes: int) -> None:
    compiled()[name](*map(tensor, arrays), *sizes)


def normal(shape, dtype="float32", seed=0) -> np.ndarray:
    return aligned(np.random.default_rng(seed).standard_normal(shape).astype(NUMPY[dtype]))


def panels(b: np.ndarray) -> np.ndarray:
    """[..., K, N] to [..., P, K, NR]."""
    *lead, k, n = b.shape
    p = -(-n // NR)
    padded = np.zeros((*lead, k, p * NR), b.dtype)
    padded[..., :n] = b
    return aligned(padded.reshape(*lead, k, p, NR).swapaxes(-3, -2))


def close(got: np.ndarray, want: np.ndarray, dtype: str, terms: float) -> None:
    """`terms` = sum of |a| |b|: the float32 sum in another order moves by a few eps of it; then one rounding."""
    eps = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype]
    bound = 8 * 2.0**-24 * terms + eps * np.abs(want) * 1.001
    assert (np.abs(got.astype(np.float64) - want) <= bound).all()


def product(name: str, types, batch: str, b: int, m: int, n: int, k: int, *sizes: int) -> None:
    order = (1, 0, 2) if batch == "middle" else (0, 1, 2)
    x, w = normal((b, m, k), types[0], 1), normal((b, k, n), types[1], 2)
    out = aligned(np.full((b, m, n), np.nan, NUMPY[types[2]]).transpose(order))
    args = [aligned(x.transpose(order)), panels(w), out]
    run(name, [a[0] for a in args] if batch == "none" else args, *sizes)
    x, w = x.astype(np.float64), w.astype(np.float64)
    close(out.transpose(order), x @ w, types[2], np.abs(x) @ np.abs(w))


@pytest.mark.parametrize("m", [1, 7, 8, 9, 64])
def test_gemm(m):
    product("f32", F32, "none", 1, m, 100, 70, m)
    product("f16", HALF, "none", 1, m, 100, 70, m)
    product("f32_row", F32, "none", 1, m, 100, 70, m)
    product("middle", MIXED, "middle", 3, m, 100, 70, m)
    product("middle_row", F32, "middle", 3, m, 100, 70, m)


@pytest.mark.parametrize("m, n, k", [(1, 1, 1), (7, 31, 1), (8, 32, 5), (9, 33, 64), (64, 130, 300)])
def test_gemm_dynamic(m, n, k):
    product("f32_dynamic", F32, "none", 1, m, n, k, m, n, k)
    product("bf16", BRAIN, "none", 1, m, n, k, m, n, k)
    product("mixed_row", MIXED, "none", 1, m, n, k, m, n, k)
    for b in (1, 4):
        product("leading", F32, "leading", b, m, n, 70, b, m, n)
        product("leading_row", F32, "leading", b, m, 100, k, b, m, k)


def test_no_rows_is_no_work():
    product("f32", F32, "none", 1, 0, 100, 70, 0)


def test_bfloat16_rounds_once_to_nearest_even():
    """One term: the product of two bfloat16 is exact in float32 and is often a tie."""
    x, w = normal((9, 1), "bfloat16", 3), normal((1, 100), "bfloat16", 4)
    w[0, :8] = [1 + 2.0**-7, 1 + 3 * 2.0**-7, np.inf, 1e-40, -0.0, 3e38, 1, 2]
    x[:4, 0] = [1.5, 1 + 2.0**-7, 1, 1.5]
    out = aligned(np.zeros((9, 100), BF16))
    run("bf16", [x, panels(w), out], 9, 100, 1)
    with np.errstate(over="ignore"):
        exact = 0.0 + x.astype(np.float32) * w.astype(np.float32)
    assert (out.view(np.uint16) == exact.astype(BF16).view(np.uint16)).all()


def test_operands_may_start_anywhere():
    """Only element alignment is promised, so that a kernel can start at any row."""
    x, w, out = normal((9 * 70 + 1,))[1:].reshape(9, 70), normal((70, 100)), normal((9 * 100 + 1,))[1:].reshape(9, 100)
    compiled()["f32"](x, panels(w), out, 9)
    assert np.allclose(out, x @ w, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("b, n, k", [(1, 1, 1), (1, 37, 5), (3, 64, 17), (2, 100, 33)])
def test_pack(b, n, k):
    def check(name, source, want, *sizes):
        out = aligned(np.full(want.shape, 7, want.dtype))
        run(name, [source, out], *sizes)
        assert (out == want).all()

    x = normal((b, n, 64))
    check("nk", x, panels(x.swapaxes(1, 2)), b, n)
    x = normal((b, n, k), "bfloat16")
    check("nk_dynamic", x, panels(x.swapaxes(1, 2)).astype(np.float32), b, n, k)
    x = normal((b, k, 70))
    check("kn", x, panels(x), b, k)
    x = normal((b, k, n))
    check("kn_dynamic", x, panels(x).astype(BF16), b, n, k)


@pytest.mark.parametrize("sizes", [(0,) * 5, (3, 0, 8, 1, 9), (0, 0, 33, 0, 0), (1, 1, 1, 1, 1), (0, 0, 0, 0, 64)])
def test_grouped(sizes):
    offsets = aligned(np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32))
    rows = int(offsets[-1]) + 3
    for name, types, extra in (("experts", F32, ()), ("experts_dynamic", BRAIN, (5, 100, 70))):
        x, w = normal((rows, 70), types[0]), normal((5, 70, 100), types[1])
        out = aligned(np.full((rows, 100), np.nan, NUMPY[types[2]]))
        run(name, [x, offsets, panels(w), out], rows, *extra)
        want, terms = np.zeros((2, rows, 100))
        for e in range(5):
            span = slice(offsets[e], offsets[e + 1])
            a, b = x[span].astype(np.float64), w[e].astype(np.float64)
            want[span], terms[span] = a @ b, np.abs(a) @ np.abs(b)
        close(out, want, types[2], terms)


def topk_reference(x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-(x + np.float32(0)), axis=1, kind="stable")[:, :k]
    pad = ((0, 0), (0, k - order.shape[1]))
    values = np.take_along_axis(x, order, 1)
    return np.pad(values, pad, constant_values=-np.inf), np.pad(order, pad, constant_values=-1)


@pytest.mark.parametrize("kind", ["normal", "ties", "tail of -inf", "all -inf", "signed zeros"])
@pytest.mark.parametrize("rows, n", [(1, 1), (2, 5), (3, 64), (4, 65), (3, 256), (2, 3000)])
def test_topk(kind, rows, n):
    x = normal((rows, n))
    if kind == "ties":
        x[:] = np.round(x * 2)
    elif kind == "tail of -inf":
        x[:, n // 3 :] = -np.inf
    elif kind == "all -inf":
        x[:] = -np.inf
    elif kind == "signed zeros":
        x[:] = np.where(x > 0, np.float32(0), np.float32(-0.0))
    for name, k in (("top8", 8), ("top6", 6), ("top40", 40), ("top600", 600)):
        if name == "top8" and n != 256:
            continue
        values, indices = normal((rows, k)), aligned(np.full((rows, k), 77, np.int32))
        run(name, [x, values, indices], rows, *([] if name == "top8" else [n]))
        want, where = topk_reference(x, k)
        assert (indices == where).all() and (values == want).all()


@pytest.mark.parametrize(
    "name, width, dtype", [("wide", 1100, "float32"), ("wide16", 700, "bfloat16"), ("ints", 1, "int32")]
)
def test_scatter_later_row_wins(name, width, dtype):
    rng = np.random.default_rng(5)
    state = aligned((100 * rng.standard_normal((3, 10, width))).astype(NUMPY[dtype]))
    rows = aligned((100 * rng.standard_normal((3, 16, width))).astype(NUMPY[dtype]))
    idx = aligned(rng.integers(-3, 13, (3, 16)).astype(np.int32))
    want = state.copy()
    for b, s in np.ndindex(3, 16):
        if 0 <= idx[b, s] < 10:
            want[b, idx[b, s]] = rows[b, s]
    run(name, [state, idx, rows], 3, 10, 16, *([width] if name == "wide16" else []))
    assert (state == want).all()


@pytest.mark.parametrize("outer, n, inner", [(1, 1, 1), (1, 5, 1), (3, 7, 70), (2, 100, 129)])
def test_cumsum(outer, n, inner):
    x, y = normal((outer, n, inner)), normal((outer, n, inner))
    run("sums", [x, y], outer, n, inner)
    assert (y == np.cumsum(x, axis=1, dtype=np.float32)).all()
    i, j = aligned((x[:, :, :1] * 100).astype(np.int32)), aligned(np.zeros((outer, n, 1), np.int32))
    run("counts", [i, j], outer, n)
    assert (j == np.cumsum(i, axis=1)).all()


@pytest.mark.parametrize("rows, n", [(1, 1), (3, 63), (4, 64), (5, 200), (1, 129280)])
def test_argmax(rows, n):
    for x in (normal((rows, n)), np.round(normal((rows, n))), np.full((rows, n), -np.inf, np.float32)):
        index = aligned(np.full(rows, 77, np.int32))
        run("best", [aligned(x), index], rows, n)
        assert (index == x.argmax(axis=1)).all()


def vectorised_predicates(script: str, predicate: str = r"T\.where|\bif\b|if_then_else") -> list[str]:
    """Lines with a predicate inside a vectorised loop."""
    found, loops = [], []
    for line in script.splitlines():
        indent = len(line) - len(line.lstrip())
        loops = [depth for depth in loops if depth < indent]
        if loops and re.search(predicate, line):
            found.append(line.strip())
        if "T.vectorized(" in line:
            loops.append(indent)
    return found


def test_predicate_finder_finds():
    text = "for i in T.vectorized(8):\n    with b:\n        T.where(i < n)\nfor j in range(8):\n    T.where(j < n)"
    assert vectorised_predicates(text) == ["T.where(i < n)"]


@pytest.mark.parametrize("kernel", ALL, ids=lambda k: k.name)
def test_vector_loops_have_no_predicates(kernel: Kernel):
    assert vectorised_predicates(kernel.after.script()) == []


@pytest.mark.parametrize("kernel", ALL, ids=lambda k: k.name)
def test_trace_replays_from_text(kernel: Kernel):
    names: dict = {"s_tir": tvm.s_tir}
    exec(kernel.trace, names)
    sch = Schedule(tvm.script.from_source(kernel.before.script()))
    names["apply_trace"](sch)
    assert sch.mod["main"].script() == kernel.after.script()


def test_same_kernel_same_text():
    again = gemm("leading", n=None, k=70, batch="leading")
    assert again.after.script() == GEMMS[6].after.script() and again.trace == GEMMS[6].trace
    assert again.params == ("A", "B", "C", "batch", "M", "N")


def test_features():
    assert cpu_features() == sorted(cpu_features())
    assert missing_features([*cpu_features(), "nonesuch"]) == ["nonesuch"]


POINTS = 1 << 18
FUNCTIONS = ("exp", "exp_nonpositive", "log", "log1p", "sin", "cos", "sqrt", "rsqrt")


@cache
def elementwise():
    functions = {}
    for name in FUNCTIONS:
        function = getattr(expr, name)
        x = te.placeholder((POINTS,), "float32", "x")
        y = te.compute((POINTS,), lambda i: function(x[i]), "y")  # noqa: B023 - called at once
        sch = Schedule(te.create_prim_func([x, y]))
        _, lanes = sch.split(sch.get_loops(sch.get_sblock("y"))[0], [None, 16])
        sch.vectorize(lanes)
        functions[name] = sch.mod["main"].with_attr("global_symbol", name)
    return tvm.compile(tvm.IRModule(functions), host_target(2))


def apply(name: str, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Result of the kernel and of numpy in float64."""
    x, y = aligned(x.astype(np.float32)), aligned(np.zeros(POINTS, np.float32))
    elementwise()[name](tensor(x), tensor(y))
    wide = x.astype(np.float64)
    with np.errstate(all="ignore"):
        numpy = np.exp if name == "exp_nonpositive" else getattr(np, name, None)
        return y, 1 / np.sqrt(wide) if numpy is None else numpy(wide)


def by_bits(low: float, high: float) -> np.ndarray:
    """Points spread evenly over the float32 numbers of one sign between two bounds."""
    ends = np.array([low, high], np.float32).view(np.int32)
    return np.linspace(*ends, POINTS).astype(np.int32).view(np.float32)


@pytest.mark.parametrize(
    "name, points, limit",
    [
        ("exp", np.linspace(-87, 88.7, POINTS), 1.0),
        ("exp", np.linspace(-103.9, -87, POINTS), 1.0),
        ("exp", np.linspace(-1, 1, POINTS), 1.0),
        ("exp_nonpositive", np.linspace(-86.99, 0, POINTS), 1.0),
        ("log", by_bits(1e-45, 3e38), 1.0),
        ("log", np.linspace(0.5, 2, POINTS), 1.0),
        ("log1p", by_bits(1e-30, 1e38), 1.5),
        ("log1p", by_bits(-1e-30, -0.9999999), 1.5),
        ("sqrt", by_bits(1e-45, 3e38), 0.5),
        ("rsqrt", by_bits(1.2e-38, 3e38), 1.5),
        ("sin", np.linspace(-10, 10, POINTS), 1.5),
        ("cos", np.linspace(-10, 10, POINTS), 1.5),
    ],
)
def test_function_error_in_units_of_the_last_place(name, points, limit):
    got, want = apply(name, points)
    unit = np.spacing(np.maximum(np.abs(want.astype(np.float32)), np.finfo(np.float32).smallest_subnormal))
    assert (np.abs(got - want) / unit.astype(np.float64)).max() <= limit


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_angles_up_to_a_million(name):
    for points in (np.linspace(-1.1e6, 1.1e6, POINTS), np.arange(POINTS) * 4.0 + 1):
        got, want = apply(name, points)
        assert np.abs(got - want).max() < 1e-7


@pytest.mark.parametrize("name", ["exp", "log", "log1p", "sqrt"])
def test_special_values(name):
    special = [0, -0.0, np.inf, -np.inf, np.nan, -1, 1, 1e-45, -1e-45, 1e30, -1e30]
    special += [88.72, 88.73, 89, 104, -103.97, -104]  # around the ends of exp
    points = np.ones(POINTS)
    points[: len(special)] = special
    got, want = apply(name, points)
    with np.errstate(over="ignore"):
        assert np.allclose(got, want.astype(np.float32), rtol=3e-7, atol=0, equal_nan=True)


def test_functions_call_no_library():
    assembly = elementwise().mod.inspect_source("asm")
    assert not re.search(r"(callq|jmp)\s+(exp|log|log1p|sin|cos|sqrt|rsqrt)f?(@PLT)?$", assembly, re.M)
    assert "avx512f" not in cpu_features() or "zmm" in assembly


def test_package_exports_what_it_lists():
    assert all(hasattr(kernels, name) for name in kernels.__all__)


class Recorded(KernelTable):
    """A table that also keeps what each loop nest was built from."""

    def __init__(self) -> None:
        super().__init__()
        self.nests: dict[str, Nest] = {}

    def get(self, stem, text, build):
        name = super().get(stem, text, build)
        if isinstance(getattr(build, "__self__", None), Nest):
            self.nests[name] = build.__self__
        return name

    def keep(self, names):
        """All of them: what became a part of a joined kernel has a schedule of its own too."""


TINY = V4Config(
    "deepseek_v4", 128, 64, 5, 4, 32, 24, 8, ("window", "csa", "hca", "csa", "hca"), 4, 8, ("hash",) + ("learned",) * 4,
    Indexer(32, 16, 3), 2, 16, Moe(8, 3, 1, 32, 1.5, "sqrtsoftplus"), 10.0, 4, 20, 1e-6, Rope(8, 1e4),
    Rope(8, 160000.0, Yarn(4.0, 64)), 1e-6, 256,
)  # fmt: skip


@cache
def model_kernels(name: str) -> Recorded:
    table = Recorded()
    config, dtype = (TINY, "f32") if name == "tiny" else (load_preset(name), "bf16")
    lower(build_module(config, dtype), ("step", "step_all"), table, LOWER)
    return table


@pytest.mark.parametrize("model", ["tiny", "deepseek-v4-pro", "deepseek-v3.2"])
class TestModelSchedules:
    def test_products_use_vectors_and_threads(self, model):
        scripts = {
            n: k.after.script() for n, k in model_kernels(model).kernels.items() if n.startswith(("gemm", "grouped"))
        }
        assert scripts
        assert [n for n, s in scripts.items() if "T.vectorized(" not in s or "T.parallel(" not in s] == []

    def test_no_predicates_in_vector_loops(self, model):
        bad = {n: vectorised_predicates(k.after.script(), r"T\.where") for n, k in model_kernels(model).kernels.items()}
        assert {n: lines for n, lines in bad.items() if lines} == {}

    def test_static_inner_axes_are_vectors(self, model):
        table, plain = model_kernels(model), []
        for name, nest in table.nests.items():
            op = nest.op
            reduces = op.name in ("sum", "max")
            shapes = [o.shape for o in op.operands] if reduces or op.name == "concat" else [nest.out.shape]
            lanes = all(s and isinstance(s[-1], int) and s[-1] % 16 == 0 for s in shapes)
            if (
                lanes
                and not (reduces and shapes[0][-1] == 16)
                and "T.vectorized(" not in table.kernels[name].after.script()
            ):
                plain.append((name, nest.text))
        assert plain == []

    def test_large_work_is_parallel(self, model):
        table = model_kernels(model)
        large = {n for n, nest in table.nests.items() if any(not isinstance(e, int) for e in nest.out.shape)}
        assert [n for n in sorted(large) if "T.parallel(" not in table.kernels[n].after.script()] == []
