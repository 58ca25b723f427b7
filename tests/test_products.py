"""Products with packed weights against numpy: every form of the operands, one row and many, odd sizes, columns cut."""

from __future__ import annotations

from functools import cache
from math import inf
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import tvm

from dsv4c.ir.builder import Builder, concat, linear, slice_axis, split
from dsv4c.ir.core import Module
from dsv4c.ir.dims import symbol
from dsv4c.ir.interp import run_tensors
from dsv4c.ir.types import Bundle, TensorType
from dsv4c.plan import Launch
from dsv4c.targets.cpu.runner import aligned
from dsv4c.targets.tvm.host import cpu_features, host_target, set_threads
from dsv4c.targets.tvm.kernels import NR, merge
from dsv4c.targets.tvm.lower import lower
from dsv4c.targets.tvm.packing import pack_function, panels_form, unpack
from dsv4c.targets.tvm.products.experts import gated_experts, gated_linear, linear_experts
from dsv4c.targets.tvm.products.linear import linear as linear_kernel
from dsv4c.targets.tvm.products.registers import HELD, STEP
from dsv4c.targets.tvm.table import KernelTable
from dsv4c.targets.tvm.templates import LOWER

DTYPES = {"f32": np.float32, "bf16": ml_dtypes.bfloat16, "f16": np.float16, "dot": ml_dtypes.bfloat16}
FORMS = [f for f in DTYPES if f != "dot" or "avx512_bf16" in cpu_features()]
SHAPES = {
    "odd": (70, 36, 1, ()),
    "cut": (96, 64, 1, (32, 64)),
    "tail": (104, 70, 1, (64, 32, 8)),
    "groups": (32, 48, 3, ()),
}
ROWS = (0, 1, 2, 7, 8, 9, 17, 200)
EXPERTS, WIDE, INNER = 5, 64, 40
# Sums of up to 200 products in f32, in another order than numpy's.
CLOSE = 2e-6


@cache
def compiled() -> Any:
    set_threads(2)
    kernels = []
    for form in FORMS:
        for name, (n, k, groups, cut) in SHAPES.items():
            kernels.append(linear_kernel(f"{name}_{form}", n=n, k=k, form=form, out="f32", groups=groups, segments=cut))
        out = {"dot": "bf16"}.get(form, form)
        common = {"form": form, "out": out}
        kernels += [
            gated_linear(f"mlp_{form}", n=INNER, k=WIDE, limit=10.0, **common),
            gated_experts(f"gated_{form}", experts=EXPERTS, n=INNER, k=WIDE, limit=inf, **common),
            linear_experts(f"down_{form}", experts=EXPERTS, n=WIDE, k=INNER, **common),
        ]
    return tvm.compile(merge(kernels), host_target(2))


def tensor(values: np.ndarray, dtype: str) -> Any:
    """Memory as a kernel reads it: bf16 under its own name, or as int32 where pairs are read."""
    held = aligned((max(values.nbytes, 1),), "i8")
    held[: values.nbytes] = np.ascontiguousarray(values).reshape(-1).view(np.int8)
    shape = {"i32": (*values.shape[:-1], values.shape[-1] // 2)}.get(dtype, values.shape)
    names = {"i32": "int32", "f32": "float32", "bf16": "bfloat16", "f16": "float16"}
    return tvm.runtime.from_dlpack(held)._create_view(shape, names[dtype]), held


def packed(w: np.ndarray, form: str) -> np.ndarray:
    """Panels of ``w [groups, n, k]``, made by the weights function."""
    dtype = {"dot": "bf16"}.get(form, form)
    module, name = Module("m"), panels_form(w.shape, dtype, STEP[form])
    pack = pack_function(module, TensorType(w.shape, dtype), name)
    (out,) = run_tensors(module, pack.name, [w])
    assert np.array_equal(unpack(out, name).astype(np.float32), w.astype(np.float32))
    return np.ascontiguousarray(out).reshape(out.shape[0], out.shape[1], -1)


def draw(form: str, *shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(DTYPES[form])


def ints(values: Any) -> Any:
    held = aligned((len(values),), "i32")
    held[:] = values
    return tvm.runtime.from_dlpack(held)


@pytest.mark.parametrize("m", ROWS)
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("form", FORMS)
def test_linear(form: str, name: str, m: int) -> None:
    n, k, groups, cut = SHAPES[name]
    a, w = draw(form, m, groups, k), draw(form, groups, n, k)
    rows, _keep = tensor(a.reshape(m, groups * k), HELD[form])
    weights, _too = tensor(packed(w, form), HELD[form])
    out = aligned((m * groups * n,), "f32")
    out[:] = np.nan
    compiled()[f"{name}_{form}"](rows, weights, tvm.runtime.from_dlpack(out), m, m * groups * n)
    want = np.einsum("mgk,gnk->mgn", a.astype(np.float32), w.astype(np.float32)).reshape(m, groups * n)
    begin = 0
    for width in cut or (groups * n,):
        part = out[m * begin : m * (begin + width)].reshape(m, width)
        assert np.allclose(part, want[:, begin : begin + width], rtol=CLOSE, atol=CLOSE * 20)
        begin += width


def swiglu(gate: np.ndarray, up: np.ndarray, limit: float) -> np.ndarray:
    gate, up = np.minimum(gate, limit), np.clip(up, -limit, limit)
    return gate / (1 + np.exp(-gate)) * up


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("counts", [(0, 1, 0, 3, 0), (12, 0, 0, 0, 0), (1, 1, 1, 1, 1), (0, 0, 0, 0, 0)])
def test_experts_touch_only_their_own_rows(form: str, counts: tuple[int, ...]) -> None:
    pairs, dtype = 12, {"dot": "bf16"}.get(form, form)
    x, source = draw(form, 7, WIDE), np.arange(pairs) % 7
    gate, up, down = (
        draw(form, EXPERTS, INNER, WIDE),
        draw(form, EXPERTS, INNER, WIDE) * 2,
        draw(form, EXPERTS, WIDE, INNER),
    )
    offsets = ints(np.concatenate([[0], np.cumsum(counts)]))
    held = [tensor(packed(w, form), HELD[form]) for w in (gate, up, down)]
    (rows, _keep), (hidden, hidden_bytes) = tensor(x, HELD[form]), tensor(np.zeros((pairs, INNER), DTYPES[form]), dtype)
    compiled()[f"gated_{form}"](rows, ints(source), offsets, held[0][0], held[1][0], hidden, 7, pairs)
    got = hidden_bytes.view(DTYPES[form])[: pairs * INNER].reshape(pairs, INNER).astype(np.float32)
    expert = np.repeat(np.arange(EXPERTS), counts)
    # Rounding the products and the result to a narrow float: a few steps of 2^-8 (bf16) or 2^-11 (f16).
    close = {"f32": 1e-5, "f16": 2e-2, "bf16": 1e-1, "dot": 1e-1}[form]
    for pair, e in enumerate(expert):
        row = x[source[pair]].astype(np.float32)
        want = swiglu(gate[e].astype(np.float32) @ row, up[e].astype(np.float32) @ row, inf)
        assert np.allclose(got[pair], want, rtol=close, atol=close * 10)
    assert not got[len(expert) :].any()  # rows of nobody stay as they were
    again, _too = tensor(got.astype(DTYPES[form]), HELD[form])
    back, back_bytes = tensor(np.zeros((pairs, WIDE), DTYPES[form]), dtype)
    compiled()[f"down_{form}"](again, offsets, held[2][0], back, pairs)
    out = back_bytes.view(DTYPES[form])[: pairs * WIDE].reshape(pairs, WIDE).astype(np.float32)
    for pair, e in enumerate(expert):
        want = down[e].astype(np.float32) @ got[pair]
        assert np.allclose(out[pair], want, rtol=close, atol=close * np.abs(want).max())


@pytest.mark.parametrize("m", [1, 5, 12])
@pytest.mark.parametrize("form", FORMS)
def test_gated_linear(form: str, m: int) -> None:
    x, gate, up = draw(form, m, WIDE), draw(form, 1, INNER, WIDE), draw(form, 1, INNER, WIDE) * 2
    dtype = {"dot": "bf16"}.get(form, form)
    held = [tensor(packed(w, form), HELD[form]) for w in (gate, up)]
    (rows, _keep), (out, held_out) = tensor(x, HELD[form]), tensor(np.zeros((m, INNER), DTYPES[form]), dtype)
    compiled()[f"mlp_{form}"](rows, held[0][0], held[1][0], out, m)
    got = held_out.view(DTYPES[form])[: m * INNER].reshape(m, INNER).astype(np.float32)
    wide = [w[0].astype(np.float32) for w in (gate, up)]
    want = swiglu(x.astype(np.float32) @ wide[0].T, x.astype(np.float32) @ wide[1].T, 10.0)
    close = {"f32": 1e-5, "f16": 2e-2, "bf16": 1e-1, "dot": 1e-1}[form]
    assert np.allclose(got, want, rtol=close, atol=close * 10)


M = symbol("M")


def joined(sizes: tuple[int, ...]) -> Module:
    """A function that cuts a product with joined weights into columns."""
    module = Module("m", entry="f")
    parts = tuple((f"w{i}", TensorType((n, 16), "f32")) for i, n in enumerate(sizes))
    with Builder(module, "f", x=TensorType((M, 16), "f32"), w=Bundle("w", parts)) as b:
        x, w = b.params
        out = linear(x, concat(*(w[name] for name, _ in parts), axis=0))
        b.done(*(part * 2.0 for part in split(out, *sizes)))
    return module


def test_columns_get_memory_of_their_own_and_no_copy() -> None:
    module = joined((32, 64, 8))
    plan = lower(module, ("f",), KernelTable(), LOWER)
    first, rest = plan.functions["f"].steps
    assert isinstance(first, Launch) and first.kernel.startswith("linear") and isinstance(rest, Launch)
    parts = [str(view.ref.offset) for view in rest.args if view.ref.kind == "temp"]
    assert parts == ["0", "32 * M", "96 * M"]
    assert plan.weights("f", "w") == [("~w0", "panels.1x104x16.f32")]
    assert plan.made_of("layers.3.~w0") == ("concat_weights_1", ("layers.3.w0", "layers.3.w1", "layers.3.w2"))


def test_columns_that_begin_inside_a_panel_are_read_where_they_are() -> None:
    plan = lower(joined((20, 64)), ("f",), KernelTable(), LOWER)
    assert all(str(v.ref.offset) == "0" for s in plan.functions["f"].steps if isinstance(s, Launch) for v in s.args)


def test_weights_of_one_expression_are_packed_once() -> None:
    module = joined((32, 32))
    first = lower(module, ("f",), KernelTable(), LOWER)
    again = lower(module, ("f",), KernelTable(), LOWER)
    assert first.derived == again.derived
    assert [f.name for f in module.functions.values() if f.kind == "weights"] == ["concat_weights_1"]


def test_a_part_of_a_weight_is_a_weight() -> None:
    module = Module("m", entry="f")
    bundle = Bundle("w", (("both", TensorType((64, 16), "f32")),))
    with Builder(module, "f", x=TensorType((M, 16), "f32"), w=bundle) as b:
        x, w = b.params
        b.done(linear(x, slice_axis(w.both, 32, 64, axis=0)))
    plan = lower(module, ("f",), KernelTable(), LOWER)
    assert plan.weights("f", "w") == [("~w0", f"panels.1x{NR}x16.f32")]
