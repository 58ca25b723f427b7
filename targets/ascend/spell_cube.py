"""AscendC text of products: operands into L1 and L0, Mmad, and sums out of L0C. Loads and drains are dav-2201's."""

from __future__ import annotations

from collections.abc import Mapping

from dsv4c.ir.types import BITS

from ..tile.logical import Window
from ..tile.physical import Instr
from ..tile.scalar import Scalar, add, mul
from .spell_operands import TYPES, Lines, Operands, Spelling, c_text, gm, int_arg, literal, regions, windows

QUANT = {"f32": "NoQuant", "bf16": "F322BF16", "f16": "F322F16"}  # what sums become on their way out of L0C


def _clear(w: Operands, i: Instr) -> Lines:
    (dst,) = regions(i.outs)
    kind = TYPES[dst.dtype]
    blocks = dst.count * BITS[dst.dtype] // 256
    return [f"InitConstValue({w.at(dst)}, InitConstValueParams<{kind}>(1, {blocks}, 0, {literal(0.0, dst.dtype)}));"]


def _nd2nz(w: Operands, i: Instr) -> Lines:
    (dst,), (src,) = regions(i.outs), windows(i.ins)
    wide = bool(i.args["single"])
    rows = i.args["rows"]
    fields = {
        "ndNum": "1", "nValue": "1" if wide else c_text(src.rows), "dValue": c_text(src.cols), "srcNdMatrixStride": "0",
        "srcDValue": c_text(src.cols if wide else src.pitch), "dstNzC0Stride": str(rows), "dstNzNStride": "1",
        "dstNzMatrixStride": "0",
    }  # fmt: skip
    lines = ["{", "    Nd2NzParams nd2nz;", *(f"    nd2nz.{key} = {value};" for key, value in fields.items())]
    if not wide:
        return [*lines, f"    DataCopy({w.at(dst)}, {gm(src)}, nd2nz);", "}"]
    c0 = 256 // BITS[dst.dtype]  # a pitch that the field cannot hold: row by row
    row = Window(src.tensor, add(src.offset, mul(Scalar("var", (), "row"), src.pitch)), 1, src.cols, src.pitch)
    here = w.at(dst.at(mul(Scalar("var", (), "row"), c0), (1, 1)))
    return [
        *lines, f"    for (int64_t row = 0; row < {c_text(src.rows)}; ++row) {{",
        f"        DataCopy({here}, {gm(row)}, nd2nz);", "    }", "}",
    ]  # fmt: skip


def _load_2d(destination: str, source: str, repeats: int, stride: int, turned: bool = False) -> Lines:
    fields = {
        "startIndex": 0, "repeatTimes": repeats, "srcStride": stride, "sid": 0, "dstGap": 0,
        "ifTranspose": "true" if turned else "false",
    }  # fmt: skip
    lines = ["LoadData2DParams load;", *(f"load.{key} = {value};" for key, value in fields.items())]
    return [*lines, f"LoadData({destination}, {source}, load);"]


def _load_a(w: Operands, i: Instr) -> Lines:
    """Nz to Zz: band by band of 16 rows."""
    (dst,), (src,) = regions(i.outs), regions(i.ins)
    rows, depth = int_arg(i, "rows"), int_arg(i, "depth")
    c0 = 256 // BITS[dst.dtype]
    band = Scalar("var", (), "band")
    to, of = w.at(dst.at(mul(band, 16 * depth), (1, 1))), w.at(src.at(mul(band, 16 * c0), (1, 1)))
    inner = _load_2d(to, of, depth // c0, rows // 16)
    return [f"for (int64_t band = 0; band < {rows // 16}; ++band) {{", *(f"    {x}" for x in inner), "}"]


def _load_b(w: Operands, i: Instr) -> Lines:
    """``[N, K]`` in L1 is already what L0B wants."""
    (dst,), (src,) = regions(i.outs), regions(i.ins)
    fractal = 16 * 256 // BITS[dst.dtype]
    lines: Lines = []
    for first in range(0, dst.count // fractal, 255):
        n = min(255, dst.count // fractal - first)
        inner = _load_2d(w.at(dst.at(first * fractal, (1, 1))), w.at(src.at(first * fractal, (1, 1))), n, 1)
        lines += ["{", *(f"    {x}" for x in inner), "}"]
    return lines


def _load_b_turned(w: Operands, i: Instr) -> Lines:
    """``[K, N]`` in L1: band by band of 16 rows, each fractal transposed on its way."""
    (dst,), (src,) = regions(i.outs), regions(i.ins)
    rows, depth, n = int_arg(i, "rows"), int_arg(i, "depth"), int_arg(i, "n")
    band = Scalar("var", (), "band")
    to, of = w.at(dst.at(mul(band, 16 * n), (1, 1))), w.at(src.at(mul(band, 16 * 16), (1, 1)))
    inner = _load_2d(to, of, n // 16, rows // 16, turned=True)
    return [f"for (int64_t band = 0; band < {depth // 16}; ++band) {{", *(f"    {x}" for x in inner), "}"]


def _mmad(w: Operands, i: Instr) -> Lines:
    (dst,), (a, b, _) = regions(i.outs), regions(i.ins)
    fields = {key: i.args[key] for key in ("m", "n", "k")}
    first = i.args["first"]
    assert not isinstance(first, float | str)
    lines = [f"    product.{key} = {value};" for key, value in fields.items()]
    lines += [f"    product.cmatrixInitVal = {c_text(first)};", "    product.cmatrixSource = false;"]
    return ["{", "    MmadParams product;", *lines, f"    Mmad({w.at(dst)}, {w.at(a)}, {w.at(b)}, product);", "}"]


def _fixpipe(w: Operands, i: Instr) -> Lines:
    (dst,), (src,) = windows(i.outs), regions(i.ins)
    fields = {
        "nSize": c_text(dst.cols), "mSize": c_text(dst.rows), "srcStride": str(i.args["rows"]),
        "dstStride": c_text(dst.pitch), "quantPre": f"QuantMode_t::{QUANT[dst.tensor.dtype]}", "ndNum": "1",
        "srcNdStride": "0", "dstNdStride": "0",
    }  # fmt: skip
    lines = [f"    drain.{key} = {value};" for key, value in fields.items()]
    call = f"    Fixpipe<{TYPES[dst.tensor.dtype]}, float, CFG_ROW_MAJOR>({gm(dst)}, {w.at(src)}, drain);"
    return ["{", "    FixpipeParamsV220 drain;", *lines, call, "}"]


SPELLING: Mapping[str, Spelling] = {
    "clear": _clear, "nd2nz": _nd2nz, "load_a": _load_a, "load_b": _load_b, "load_b_turned": _load_b_turned,
    "mmad": _mmad, "fixpipe": _fixpipe,
}  # fmt: skip
