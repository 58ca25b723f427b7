"""The text form of tile programs: what is printed is read back as the same programs, and other text is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TINY
from hypothesis import given, settings
from hypothesis import strategies as st
from mutation_cases import CASES
from tiling import BLOCKS, Arrays

from dsv4c.cli import main
from dsv4c.errors import UserError
from dsv4c.targets.ascend.spell import spell
from dsv4c.targets.tile import execute, interpret
from dsv4c.targets.tile.chip import load_chip
from dsv4c.targets.tile.parse.file import parse
from dsv4c.targets.tile.scalar import Int, Scalar, var
from dsv4c.targets.tile.search import Fitted, fitted
from dsv4c.targets.tile.text import logical_text, physical_text

CHIPS = {name: load_chip("dsv4c.targets.ascend", name) for name in ("910b3", "950pr")}
MODELS = {"v4": TINY} | {
    name: ROOT / f"tests/data/tiny-{name}" for name in ("v32", "v3-odd", "v32-odd", "v4-odd")
}  # fmt: skip


def made(name: str, chip: str) -> Fitted:
    case = CASES[name]
    return fitted(lambda **sizes: case.build(**case.options, **sizes), CHIPS[chip], case.tiles)


def printed(kernel: Fitted) -> str:
    return logical_text(kernel.logical) + "\n" + physical_text(kernel.physical)


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("model", MODELS)
def test_every_kernel_of_a_model_is_read_back(model: str, chip: str, tmp_path: Path):
    out = tmp_path / "out"
    assert main(["compile", str(MODELS[model]), "--target", f"ascend:{chip}", "--no-weights", "-o", str(out)]) == 0
    files = sorted((out / "kernels").glob("*.tile"))
    assert len(files) > 30
    for file in files:
        text = file.read_text()
        kernel = parse(text, file.name)
        assert kernel.physical is not None
        assert logical_text(kernel.logical) + "\n" + physical_text(kernel.physical) == text
        spelled = spell(kernel.physical)
        assert spelled.kernel == file.with_suffix(".cpp").read_text()
        assert spelled.tiling == file.with_name(f"{file.stem}_tiling.h").read_text()


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("name", CASES)
def test_what_is_read_back_computes_the_same(name: str, chip: str):
    kernel, case = made(name, chip), CASES[name]
    read = parse(printed(kernel))
    assert read.physical is not None and spell(read.physical) == spell(kernel.physical)
    sizes = case.sizes[0]
    inputs = case.inputs(np.random.default_rng(3), sizes)
    want = case.want(inputs, sizes)

    def ran(level: str, program: object) -> Arrays:
        arrays = {t.name: inputs.get(t.name, np.zeros_like(want.get(t.name, 0))).copy() for t in kernel.logical.tensors}
        if level == "logical":
            interpret.run(program, arrays, sizes)  # type: ignore[arg-type]
        else:
            execute.run(program, CHIPS[chip].scopes, arrays, sizes, BLOCKS)  # type: ignore[arg-type]
        return arrays

    for level in ("logical", "physical"):
        first, second = ran(level, getattr(kernel, level)), ran(level, getattr(read, level))
        for key, array in first.items():
            assert array.tobytes() == second[key].tobytes(), (level, key)


SMALL = """\
kernel small(in x: f32[M, 16], out y: f32[M, 16]; M)
    tasks t0 in M:
        v1 = vec f32[1, 16] stages=2
        load v1 <- x[t0 * 16](1 x 16, pitch 16) fill=0.0
        v2 = vec f32[1, 16]
        v2 = mul(v1, 2.0)
        store y[t0 * 16](1 x 16, pitch 16) <- v2
"""
BAD = (
    ("kernel small(in", "kernel small[in", "1:13: unexpected '['; expected '('"),
    ("in x: f32", "of x: f32", "1:14: unexpected of; a tensor is in, out, inout"),
    ("x: f32[M", "x: f33[M", "1:20: there is no dtype f33; use one of"),
    ("x: f32[M", "x: f32[N", "1:24: there is no integer N here"),
    ("tasks t0", "task t0", "2:10: unexpected 't0'; expected '='"),
    ("M:\n", "M\n", "2:18: the line ends here; expected "),
    ("        v1 = vec", "         v1 = vec", "3:1: a line that begins in no block; indent blocks by 4 spaces"),
    ("v1 = vec", "v1 = vek", "3:18: unexpected 'f32'; expected '+' or"),
    ("load v1", "load v11", "4:14: there is no tile v11 here; did you mean v1?"),
    ("<- x[", "<- z[", "4:20: there is no tensor z"),
    ("fill=0.0", "fil=0.0", "4:49: unexpected fil=; write fill="),
    ("fill=0.0", "fill=M", "4:49: fill=M is not known; write a number"),
    ("mul(v1", "mull(v1", "6:14: there is no mull; did you mean mul"),
    ("mul(v1, 2.0)", "mul()", "6:14: mul does not take these"),
    ("mul(v1, 2.0)", "v1", "6:14: nothing is computed here"),
    ("mul(v1, 2.0)", "sum(v1, axis=2)", "6:27: there is no such axis; use 0 or 1"),
    ("mul(v1, 2.0)", "cast bf16 v1", "6:19: a cast to bf16 into f32; cast to f32"),
    ("y[t0 * 16]", "y[t0 * 1.5]", "7:22: this is no integer"),
    ("y[t0 * 16]", "y[16 // 0]", "7:17: this divides by nothing"),
    ("v2 = vec", "t0 = vec", "5:9: t0 is an integer already"),
    ("<- v2\n", "<- v2 <-\n", "7:50: unexpected '<-'; expected "),
    ("<- v2\n", "<-", "7:46: the line ends here; expected a name"),
)


@pytest.mark.parametrize(("old", "new", "message"), BAD)
def test_bad_text_is_refused(old: str, new: str, message: str):
    assert SMALL.count(old) >= 1
    with pytest.raises(UserError, match=f"^{re.escape('small.tile:' + message)}"):
        parse(SMALL.replace(old, new, 1), "small.tile")


def test_a_kernel_alone_is_enough():
    kernel = parse(SMALL)
    assert kernel.physical is None and logical_text(kernel.logical) == SMALL


PHYSICAL = physical_text(made("rms_norm", "910b3").physical)
BAD_PHYSICAL = (
    ("physical rms_norm", "physical other", "a program of other below rms_norm; name it rms_norm"),
    ("(dav-2201)", "(2201)", "expected an architecture such as dav-2201"),
    ("copy_in w", "copy_in nothing", "there is no buffer nothing"),
    ("MTE2 copy_in", "MTE9 copy_in", "unexpected 'MTE9'"),
    ("mul v", "mul = v", "unexpected '<-'; expected the end of the line"),
    (".f32[0](", ".f12[0](", "there is no dtype f12"),
)


@pytest.mark.parametrize(("old", "new", "message"), BAD_PHYSICAL)
def test_bad_physical_text_is_refused(old: str, new: str, message: str):
    text = printed(made("rms_norm", "910b3"))
    assert old in text
    with pytest.raises(UserError, match=rf"^<text>:\d+:\d+: .*{re.escape(message)}"):
        parse(text.replace(old, new, 1))


def integers() -> st.SearchStrategy[Int]:
    leaves: st.SearchStrategy[Int] = st.one_of(st.integers(-40, 40), st.sampled_from([var("M"), var("t0")]))
    signs = st.sampled_from(["+", "-", "*", "//", "%", "min", "max", "<", "==", "and"])

    def of(inner: st.SearchStrategy[Int]) -> st.SearchStrategy[Int]:
        # Of two known integers there is no operation: it would be known as well.
        pairs = st.tuples(signs, inner, inner).filter(lambda x: not (isinstance(x[1], int) and isinstance(x[2], int)))
        return pairs.map(lambda x: Scalar(x[0], (x[1], x[2])))

    return st.recursive(leaves, of, max_leaves=12)


@given(integers())
def test_integers_are_read_back(number: Int):
    text = SMALL.replace("x[t0 * 16]", f"x[{number}]")
    load = parse(text).logical.body[0].body[1]  # type: ignore[union-attr]
    assert load.src.offset == number  # type: ignore[union-attr]


@settings(max_examples=300)
@given(st.integers(0, 10**6), st.sampled_from([*"()[]:,.#=x0M \n", "<-", "where", " 1", "->"]), st.booleans())
def test_no_text_crashes_the_parser(place: int, put: str, instead: bool):
    text = SMALL + "\n" + PHYSICAL.replace("rms_norm", "small")
    at = place % len(text)
    try:
        parse(text[:at] + put + text[at + instead :])
    except UserError as error:
        assert re.match(r"<text>:\d+:\d+: ", str(error))
