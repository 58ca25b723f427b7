"""Products with weights that stay codes with scales, on both chips: tile programs at four levels (tiling.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from ascend import needs_compiler
from quantise import fp4_rows, fp8_blocks, pack_nibbles
from tiling import Arrays, Bench, Case, Sizes, counts, normal, reference

from dsv4c.ir.core import Module
from dsv4c.ir.interp import run_tensors
from dsv4c.ir.types import DTYPES, TensorType
from dsv4c.targets.ascend.spell import spell
from dsv4c.targets.ascend.target import unpack_weight
from dsv4c.targets.tile.chip import load_chip
from dsv4c.targets.tile.davinci.legalize import legalize
from dsv4c.targets.tile.davinci.scope import IllegalError
from dsv4c.targets.tile.kernels.linear import linear, linear_experts
from dsv4c.targets.tile.kernels.packed import GROUP, Codes
from dsv4c.targets.tile.packing import Scales, pack_function
from dsv4c.targets.tile.parse.file import parse
from dsv4c.targets.tile.text import logical_text, physical_text
from dsv4c.targets.tile.verify.error import TileError
from dsv4c.targets.tile.verify.physical import verify_physical

pytestmark = needs_compiler
Cases = Iterator[tuple[str, Case]]
F8 = Codes("f8e4m3", "bf16", 128)
F4 = Codes("f4e2m1", "bf16", 32)
I8 = Codes("i8", "f32", 4096)


def stored(rng: np.random.Generator, codes: Codes, rows: int, k: int) -> Arrays:
    """What a kernel reads of a weight."""
    w = normal(rng, "f32", rows, k)
    if codes.kind == "f4e2m1":
        nibbles, scale, _ = fp4_rows(w)
        kept = np.zeros((rows, codes.across(k)), np.float32)
        kept[:, : scale.shape[1]] = scale
        kept = kept if codes.fine(k) else np.ascontiguousarray(kept.T)
        return {"w": pack_nibbles(nibbles), "scale": kept.astype(DTYPES[codes.scale])}
    if codes.kind == "f8e4m3":
        numbers, scale, _ = fp8_blocks(w, (1, codes.columns), ue8m0=codes.scale == "bf16")
    else:
        scale = np.abs(w).max(1, keepdims=True) / np.float32(127)
        numbers = np.rint(w / scale).astype(np.int8)
    return {"w": numbers, "scale": np.ascontiguousarray(scale.T).astype(DTYPES[codes.scale])}


def linears(kinds: tuple[Codes, ...]) -> Cases:
    for codes in kinds:
        for n, k, groups, dtype, out, rows, sizes in (
            (40, 96, 1, "bf16", "bf16", 32, (1, 37)),
            (33, 160, 3, "f32", "f32", 16, (5,)),
            (128, 1024, 1, "bf16", "f32", 64, (70,)),
            (48, 32, 1, "bf16", "bf16", 16, (3,)),
        ):  # fmt: skip
            def inputs(rng: np.random.Generator, s: Sizes, n=n, k=k, groups=groups, dtype=dtype, c=codes) -> Arrays:
                return {"x": normal(rng, dtype, s["M"], groups, k)} | stored(rng, c, groups * n, k)

            def want(a: Arrays, s: Sizes, n=n, k=k, groups=groups, out=out, c=codes) -> Arrays:
                meant = means(a, c, groups * n, k).astype(a["x"].dtype).reshape(groups, n, k)
                y = np.einsum("mgk,gnk->mgn", a["x"].astype("d"), meant.astype("d"))
                return {"y": y.astype("f").astype(a["x"].dtype if out == "bf16" else "f")}

            options = {"n": n, "k": k, "dtype": dtype, "out": out, "groups": groups, "codes": codes}
            tiles = [{"rows": rows, "cols": cols, "depth": d} for cols in (32, 16) for d in codes.depths(k)]
            name = f"{codes.kind}_{n}_{k}_{groups}"
            yield name, Case(linear, options, tiles, counts("M", *sizes), inputs, want, 64)


def means(a: Arrays, codes: Codes, rows: int, k: int) -> np.ndarray[Any, Any]:
    """A weight in f32, by the reference of ``dequantize``."""
    scale = a["scale"][:, : -(-k // codes.columns)] if codes.fine(k) else a["scale"].T
    shape = {"codes": codes.kind, "rows": 1, "columns": min(codes.columns, k), "out": "f32"}
    return reference("dequantize", a["w"].reshape(rows, -1), np.ascontiguousarray(scale), **shape)[0]


def experts(kinds: tuple[Codes, ...]) -> Cases:
    n, k, number = 24, 128, 3
    for codes in kinds:

        def inputs(rng: np.random.Generator, s: Sizes, c=codes) -> Arrays:
            out = {"x": normal(rng, "bf16", s["M"], k)} | stored(rng, c, number * n, k)
            return out | {"offsets": np.array([0, 0, 20, s["M"] - 3], np.int32), "y": normal(rng, "bf16", s["M"], n)}

        def want(a: Arrays, s: Sizes, c=codes) -> Arrays:
            y = a["y"].copy()
            meant = means(a, c, number * n, k).astype(ml_dtypes.bfloat16).astype("f").reshape(number, n, k)
            for e, (begin, end) in enumerate(zip(a["offsets"], a["offsets"][1:], strict=False)):
                y[begin:end] = a["x"][begin:end].astype("f") @ meant[e].T
            return {"y": y}

        options = {"n": n, "k": k, "dtype": "bf16", "out": "bf16", "experts": number, "codes": codes}
        tiles = [{"rows": 16, "cols": 16, "depth": codes.depths(k)[0] if codes.fine(k) else 64}]
        yield f"experts_{codes.kind}", Case(linear_experts, options, tiles, counts("M", 45), inputs, want, 64)


KINDS = {"950pr": (F8, F4, I8), "910b3": (I8,)}
CASES = {chip: dict((*linears(kinds), *experts(kinds))) for chip, kinds in KINDS.items()}
NAMES = [(chip, name) for chip, cases in CASES.items() for name in cases]


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory, machine_folder: Path) -> dict[str, Bench]:
    return {
        chip: Bench(CASES[chip], tmp_path_factory.mktemp(chip), machine_folder, load_chip("dsv4c.targets.ascend", chip))
        for chip in KINDS
    }


@pytest.mark.parametrize(("chip", "name"), NAMES)
def test_four_levels(benches: dict[str, Bench], chip: str, name: str):
    benches[chip].prove(name)


def test_codes_are_cast_on_the_chip(benches: dict[str, Bench]):
    text = {name: spell(kernel.physical).kernel for name, kernel in benches["950pr"].kernels.items()}
    assert "ReinterpretCast<fp8_e4m3fn_t>(), RoundMode::CAST_NONE" in text["f8e4m3_40_96_1"]
    assert "ReinterpretCast<fp4x2_e2m1_t>(), RoundMode::CAST_NONE" in text["experts_f4e2m1"]
    other = spell(benches["910b3"].kernels["i8_40_96_1"].physical).kernel
    assert "ReinterpretCast<int8_t>(), RoundMode::CAST_NONE" in other


def test_the_text_form_is_read_back(benches: dict[str, Bench]):
    for bench in benches.values():
        for kernel in bench.kernels.values():
            text = logical_text(kernel.logical) + "\n" + physical_text(kernel.physical)
            read = parse(text)
            assert read.physical is not None and spell(read.physical) == spell(kernel.physical)
            assert logical_text(read.logical) + "\n" + physical_text(read.physical) == text


def test_numbers_of_a_byte_are_two(benches: dict[str, Bench]):
    kernel = benches["950pr"].kernels["experts_f4e2m1"]
    text = logical_text(kernel.logical) + "\n" + physical_text(kernel.physical)
    (line,) = {line.strip() for line in text.splitlines() if " unpack v" in line}
    wrong = parse(text.replace(line, line.replace("unpack", "cast", 1) + " mode=NONE")).physical
    assert wrong is not None
    with pytest.raises(TileError, match="no cast from i8 to bf16"):
        verify_physical(wrong, load_chip("dsv4c.targets.ascend", "950pr"))


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize(("lead", "n", "across", "rows"), [((), 300, 5, 128), ((3,), 70, 16, 32), ((), 40, 1, 1)])
def test_scales_are_packed_and_unpacked(lead: tuple[int, ...], n: int, across: int, rows: int, fine: bool):
    layout, down = Scales(fine, rows, n, "bf16"), -(-n // rows)
    stored = TensorType((*lead, down, across), "f8e8m0")
    assert Scales.parse(layout.form) == layout
    exponents = np.random.default_rng(0).integers(-20, 20, (*lead, down, across))
    scale = np.exp2(exponents).astype(DTYPES["f8e8m0"])
    module = Module("scales")
    (packed,) = run_tensors(module, pack_function(module, stored, layout.form).name, [scale])
    each = np.repeat(scale.astype("f"), rows, axis=-2)[..., :n, :].reshape(-1, across)
    got = packed.astype("f")
    assert ((got[:, :across] if fine else got.T) == each).all() and (got.shape[1] % GROUP == 0 or not fine)
    assert (unpack_weight(packed, layout.form, stored).view("u1") == scale.view("u1")).all()


@pytest.mark.parametrize("codes", [F8, F4])
def test_a_chip_without_the_casts_refuses(codes: Codes):
    tiles = {"rows": 16, "cols": 16, "depth": codes.depths(512)[0], "stages": 2}
    program = linear(n=32, k=512, dtype="bf16", out="bf16", groups=1, codes=codes, **tiles)
    with pytest.raises(IllegalError, match=f"910b3 has no casts of {codes.kind}; it has those of i8"):
        legalize(program, load_chip("dsv4c.targets.ascend", "910b3"))
