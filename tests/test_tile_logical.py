"""The verifier of logical programs: a program that has every statement, and edits that each break one rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tile_texts import LOGICAL
from tiling import CHIP

from dsv4c.ir.types import DTYPES
from dsv4c.targets.tile import execute, interpret
from dsv4c.targets.tile import logical as ir
from dsv4c.targets.tile.davinci.legalize import legalize
from dsv4c.targets.tile.logical import Piece, Program, Tensor, Tile
from dsv4c.targets.tile.parse.file import parse
from dsv4c.targets.tile.scalar import var
from dsv4c.targets.tile.text import logical_text
from dsv4c.targets.tile.verify.error import TileError
from dsv4c.targets.tile.verify.logical import verify_logical

BROKEN = (
    # names, loops, tensors
    ("n = read w[t0 % 8]", "n = read x[t0 % 8]", "an integer from bf16; read i32"),
    ("for c in 2", "for c in 0", "a loop that never turns"),
    ("for i in 4", "tasks i in 4", "tasks inside tasks"),
    ("if p < 9", "if 0", "a condition that never holds"),
    ("in w: i32[8], ", "in w: i32[8], in w: i32[8], ", "two tensors are named w"),
    ("; M)", "; M, M)", "two sizes are named M"),
    ("out z: f32", "inout x2: f32[1], out q: f32[1], out z: f32", "nothing is stored to q"),
    # tiles
    ("half = vec f32[8, 32]", "half = vec i64[8, 32]", "a vec tile of i64; use f32, i32"),
    ("b = mat bf16", "b = mat i32", "a mat tile of i32; use f32, bf16, f16"),
    ("acc = acc f32", "acc = acc bf16", "a acc tile of bf16; use f32"),
    ("half = vec f32[8, 32]", "half = vec f32[8, 0]", "a tile of nothing"),
    # pieces
    ("wide[2, 0](1 x 64) = copy(row)", "wide[8, 0](1 x 64) = copy(row)", "576 elements of wide; it has 512"),
    ("wide[i * 2, 0](2 x 64) =", "wide[i * 3, 0](2 x 64) =", "704 elements of wide; it has 512"),
    ("wide[i * 2, 0](2 x 64) =", "wide[i - 1, 0](2 x 64) =", "wide from row -1 on; begin inside the tile"),
    ("wide[i * 2, 0](2 x 64) =", "wide[0, 8](2 x 64) =", "columns of 2 rows of wide; cut single rows only"),
    ("wide[i * 2, 0](2 x 64) =", "wide[0, 0](2 x 0) =", "no elements of wide"),
    ("exp(wide[i * 2, 0](2 x 64))", "exp(wide[i * 2, 0](2 x 64) as f16)", "f32 read as f16; use a dtype of the same"),
    # loads and stores
    ("min(8, M - t0 * 8) x 64, pitch 64) fill", "min(9, M - t0 * 8) x 64, pitch 64) fill", "9 rows (min(9, M - t0"),
    ("8) x 64, pitch 64) fill", "8) x 65, pitch 64) fill", "65 columns (65) for 64 of x1"),
    ("8) x 64, pitch 64) fill", "8) x 0, pitch 64) fill", "an extent of 0; use at least 1"),
    ("b = mat bf16", "b = mat f16", "b is f16; cast it to bf16 first"),
    ("<- x1\n", "<- f2\n", "f2 is f32; cast it to bf16 first"),
    ("store y[", "store x[", "x is an input; store to an output"),
    ("store z[t0 * 512](16 x 16, pitch 32) <- acc2", "store z[t0 * 512](16 x 16, pitch 32) <- m", "m is an operand"),
    ("for c in 2:\n", "load acc <- k[0](16 x 32, pitch 64)\n        for c in 2:\n", "acc is a sum; load into a vec"),
    ("out z: f32[M, 32]", "out z: i32[M, 32]", "sums to i32; store f32, bf16 or f16"),
    # arithmetic
    ("f2 = mul(f1, col)", "f2 = mul(f1)", "mul of 1; it takes 2"),
    ("f2 = mul(f1, col)", "f2 = mul(f1, x1)", "x1 is bf16; cast it to f32 first"),
    ("f2 = mul(f1, col)", "f2 = mul(2.0, 3.0)", "mul of two numbers"),
    ("f2 = mul(f1, col)", "x1 = mul(x1, x1)", "x1 is bf16; cast it to f32 or i32 first"),
    ("f2 = mul(f1, col)", "row = mul(row, col)", "col of 8 x 1 is no 1 x 64"),
    ("f2 = mul(f1, col)", "f2 = shift_right(f1, 1.0)", "shift_right of f32; it is for i32"),
    ("ids = shift_right(ids, 1.0)", "ids = shift_right(ids, ids)", "a shift by tiles; shift by a number"),
    ("ids = shift_right(ids, 1.0)", "ids = div(ids, 2.0)", "div of i32; i32 has add, sub"),
    ("ids = shift_right(ids, 1.0)", "ids = add(ids, 0.5)", "0.5 for i32; use a whole number"),
    ("a = copy(0.0)", "a = copy(1.0)", "copy on a; an operand can be cleared: copy(0.0)"),
    ("got = vec f32[16, 32]\n", "got = vec f32[16, 32]\n        got = copy(a)\n", "a is no vec tile"),
    ("x1 = cast bf16 f2", "x1 = cast bf16 col", "col is 8 x 1; use 8 x 64"),
    ("f1 where f2 < 1.0 else n", "f1 where 1.0 < n else n", "two numbers are compared"),
    ("f1 where f2 < 1.0 else n", "f1 where x1 < 1.0 else n", "x1 is bf16; cast it to f32 first"),
    ("f1 where f2 < 1.0 else n", "f1 where f2 < 1.0 else wide[0, 0](2 x 64)", "wide of 2 x 64 is no 8 x 64"),
    # reductions and arrangements
    ("col = sum(f1, axis=1)", "col = sum(f1, axis=0)", "col is 8 x 1; use 1 x 64"),
    ("half = even(f2)", "half = even(f2, f2)", "even of 2; it takes 1"),
    ("half = even(f2)", "half = even(row)", "half is 8 x 32; use 1 x 32"),
    ("half = even(f2)", "half = even(col)", "1 columns have no halves; use an even number"),
    ("f2 = interleave(half, half)", "f2 = interleave(half, f1)", "f1 is 8 x 64; use 8 x 32"),
    ("f2 = interleave(half, half)", "half = interleave(half, half)", "half is 8 x 32; use 8 x 64"),
    ("back = transpose(f2)", "back = transpose(back)", "back is 64 x 8; use 8 x 64"),
    ("start=3)", "start=45)", "20 columns from 45 on of 1 x 64; use columns of one row"),
    ("ids = iota(start=t0)", "row = iota(start=t0)", "row is f32; cast it to i32 first"),
    ("ids = iota(start=t0)", "back as i32 = iota(start=t0)", "several rows; use one"),
    ("where row > 0.5", "where some > 0.5", "some is 1 x 20; use 1 x 64"),
    ("compress kept <- ids where row", "compress kept <- row where row", "kept is i32; cast it to f32 first"),
    ("compress kept <- ids where row", "compress back as i32 <- ids where row", "several rows; use one"),
    ("peek kept at 3", "peek kept at 64", "column 64 of 64; look inside the tile"),
    ("peek kept at 3", "peek row at 3", "row is f32; cast it to i32 first"),
    ("peek kept at 3", "peek back as i32 at 3", "several rows; use one"),
    # products and channels
    ("mma acc <- a b first", "mma f2 <- a b first", "f2 is no acc tile"),
    ("mma acc <- a b first", "mma acc <- f2 b first", "f2 is no mat tile"),
    ("mma acc <- a b first", "mma acc <- b a first", "acc is 16 x 32; use 32 x 16"),
    ("mma acc <- a b first", "mma acc <- a b[0, 0](16 x 64) first", "b is 16 x 64; use 32 x 64"),
    ("a = mat bf16[16, 64]", "a = mat bf16[16, 32]", "depths of 32 and 64; make them equal"),
    ("a = mat bf16[16, 64]", "a = mat f16[16, 64]", "b is bf16; cast it to f16 first"),
    ("first=c == 0 rows", "first=c + 1 rows", "first=c + 1 may be neither 0 nor 1"),
    ("first=c == 0 rows=16", "first=c == 0 rows=17", "17 rows of 16; use fewer"),
    ("16 : +16]", "56 : +16]", "columns up to 72 of 64; use fewer"),
    ("mma acc2 <- m b", "mma acc2 <- a b", "depths of 64 and 32; make them equal"),
    ("16 : +16]", "16 : +32]", "acc2 is 16 x 16; use 16 x 32"),
    ("m <- sent", "m <- acc", "from acc to mat; use acc to vec, or vec to mat"),
    ("chan up depth=2", "chan up depth=0", "depth 0; use at least 1"),
    ("chan up depth=2", "chan down depth=2", "channel down carries other tiles as well"),
    ("m = mat bf16[16, 32]", "m = mat f16[16, 32]", "m is f16; cast it to bf16 first"),
    ("m = mat bf16[16, 32]", "m = mat bf16[32, 32]", "m is 32 x 32; use 16 x 32"),
    # what is read was written
    ("f2 = mul(f1, col)", "f2 = mul(f2, col)", "nothing was written to f2 on some way here; write it first"),
    ("        col = sum", "        if n < 3:\n            col = sum", "nothing was written to col on some way here"),
    ("        col = sum", "        for j in n:\n            col = sum", "nothing was written to col on some way here"),
    ("first=c == 0", "first=c == 1", "nothing was written to acc on some way here"),
    ("got = vec f32[16, 32]", "acc = acc f32[16, 32]\n        got = vec f32[16, 32]", "nothing was written to acc"),
)


def program(text: str) -> Program:
    return parse(text, "logical.tile").logical


def test_every_statement_is_legal():
    assert logical_text(program(LOGICAL)) == LOGICAL
    verify_logical(program(LOGICAL))


@pytest.mark.parametrize(("old", "new", "message"), BROKEN)
def test_each_rule_refuses(old: str, new: str, message: str):
    assert old in LOGICAL
    kernel = parse(LOGICAL.replace(old, new, 1), "logical.tile")
    with pytest.raises(TileError) as caught:
        verify_logical(kernel.logical)
    assert message in str(caught.value) and caught.value.kernel == "logical"

V, W = Tile("v", 1, 8, "f32"), Tile("w", 1, 8, "f32")
PIECE, OTHER = Piece(V, 0, 1, 8), Piece(W, 0, 1, 8)
X = Tensor("x", "f32", (8,), "inout")
BUILT = (
    # What no text can say, but a builder may make.
    ((ir.Compute("copy", OTHER, (0.0,)),), "w is not declared here"),
    ((ir.Declare(V),), "v is declared already"),
    ((ir.Declare(Tile("k", 1, 8, "f32", "reg")),), "a tile of kind reg; use vec, mat, acc"),
    ((ir.Load(PIECE, replace(X, name="z").row(0), None),), "there is no tensor z"),
    ((ir.Load(PIECE, X.window(var("q"), 1, 8, 8), None),), "q is not known here"),
    ((ir.Read("M", replace(X, dtype="i32"), 0),), "there is no tensor x"),
    ((ir.Compute("tan", PIECE, (PIECE,)),), "there is no tan; use exp"),
    ((ir.Where("<>", PIECE, PIECE, 1.0, 1.0, 0.0),), "<> is no comparison; use < >"),
    ((ir.Compress(PIECE, PIECE, "<>", PIECE, 1.0),), "<> is no comparison; use < >"),
    ((ir.Reduce("prod", Piece(V, 0, 1, 1), PIECE, 1),), "there is no prod of columns or rows"),
    ((ir.Reduce("sum", Piece(V, 0, 1, 1), PIECE, 2),), "axis 2; use 0 or 1"),
    ((ir.Rearrange("flip", PIECE, (PIECE,)),), "there is no flip; use transpose"),
    ((ir.Loop("M", 3, ()),), "M is counted already"),
)


@pytest.mark.parametrize(("body", "message"), BUILT)
def test_what_no_text_can_say(body: tuple[ir.Statement, ...], message: str):
    start = (ir.Declare(V), ir.Compute("copy", PIECE, (0.0,)))
    with pytest.raises(TileError) as caught:
        verify_logical(Program("built", (X,), ("M",), (*start, *body)))
    assert message in str(caught.value)


def test_an_integer_has_one_name():
    x = replace(X, dtype="i32")
    with pytest.raises(TileError, match="n is known already"):
        verify_logical(Program("built", (x,), (), (ir.Read("n", x, 0), ir.Read("n", x, 1))))


def test_of_two_conditions_one_holds():
    """A tile that is written where a < b, and where not, is written."""
    text = """\
kernel ways(out y: f32[8]; M)
    v = vec f32[1, 8]
    if M < 3:
        v = copy(0.0)
    if 3 - 1 < M:
        v = copy(1.0)
    store y[0](1 x 8, pitch 8) <- v
"""
    verify_logical(program(text))
    with pytest.raises(TileError, match="nothing was written to v"):
        verify_logical(program(text.replace("3 - 1", "3")))


def test_columns_behind_the_last_are_zero():
    """Operands of products are whole fractals: 14 columns count as 16 at both levels."""
    text = """\
kernel odd(in x: bf16[16, 16], in k: bf16[16, 14], out z: f32[16, 16]; M)
    a = mat bf16[16, 16]
    load a <- x[0](16 x 16, pitch 16) fill=0.0
    b = mat bf16[16, 14]
    load b <- k[0](16 x 14, pitch 14) fill=0.0
    acc = acc f32[16, 16]
    mma acc <- a b[:, 0 : +16]^T first=1 rows=16
    store z[0](16 x 16, pitch 16) <- acc
"""
    made = program(text)
    verify_logical(made)
    rng = np.random.default_rng(1)
    x, k = (rng.integers(-4, 5, shape).astype(DTYPES["bf16"]) for shape in ((16, 16), (16, 14)))
    want = np.pad(x.astype("f") @ k.astype("f"), ((0, 0), (0, 2)))
    for level in ("logical", "physical"):
        arrays = {"x": x, "k": k, "z": np.full((16, 16), 9, "f")}
        if level == "logical":
            interpret.run(made, arrays, {"M": 1})
        else:
            execute.run(legalize(made, CHIP), CHIP.scopes, arrays, {"M": 1}, 1)
        np.testing.assert_array_equal(arrays["z"], want)
    with pytest.raises(TileError, match="columns up to 17 of 14; use fewer"):
        verify_logical(program(text.replace("0 : +16", "1 : +16")))
