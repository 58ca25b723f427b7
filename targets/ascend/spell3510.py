"""AscendC text of the instructions that only dav-3510 has."""

from __future__ import annotations

from collections.abc import Mapping

from dsv4c.ir.types import BITS

from ..tile.logical import Window
from ..tile.physical import Instr, Region
from ..tile.scalar import Scalar, mul
from .spell_cube import QUANT
from .spell_operands import TYPES, Lines, Operands, Spelling, c_text, gm, int_arg


def _operands(i: Instr) -> tuple[Region, Region]:
    (dst,), (src,) = i.outs, i.ins
    assert isinstance(dst, Region) and isinstance(src, Region)
    return dst, src


def _load(w: Operands, i: Instr, m: int, k: int, src_stride: int, dst_stride: int, turned: str) -> Lines:
    """``m x k`` fractals from the first on; strides in fractals from one column of them to the next."""
    dst, src = _operands(i)
    fields = {
        "mStartPosition": 0, "kStartPosition": 0, "mStep": m, "kStep": k, "srcStride": src_stride,
        "dstStride": dst_stride, "ifTranspose": turned,
    }  # fmt: skip
    lines = [f"    load.{key} = {value};" for key, value in fields.items()]
    return ["{", "    LoadData2DParamsV2 load;", *lines, f"    LoadData({w.at(dst)}, {w.at(src)}, load);", "}"]


def _load_nz(w: Operands, i: Instr) -> Lines:
    (dst, _), rows = _operands(i), int_arg(i, "rows") // 16
    return _load(w, i, rows, int_arg(i, "depth") * BITS[dst.dtype] // 256, rows, rows, "false")


def _load_nz_turned(w: Operands, i: Instr) -> Lines:
    columns = int_arg(i, "n") // 16
    return _load(w, i, int_arg(i, "depth") // 16, columns, int_arg(i, "rows") // 16, columns, "true")


def _drain(w: Operands, src: Region, to: str, form: str, sizes: tuple[str, str, str], rows: int, cast: str) -> Lines:
    fields = {
        "nSize": sizes[1], "mSize": sizes[0], "srcStride": rows, "dstStride": sizes[2],
        "quantPre": f"QuantMode_t::{cast}", "dualDstCtl": 0, "subBlockId": 0, "params.ndNum": 1,
        "params.srcNdStride": 0, "params.dstNdStride": 0,
    }  # fmt: skip
    lines = [f"    drain.{key} = {value};" for key, value in fields.items()]
    call = f"    Fixpipe<{form}>({to}, {w.at(src)}, drain);"
    return ["{", "    FixpipeParamsArch3510<CO2Layout::ROW_MAJOR> drain;", *lines, call, "}"]


def _fixpipe(w: Operands, i: Instr) -> Lines:
    (dst,), (src,) = i.outs, i.ins
    assert isinstance(dst, Window) and isinstance(src, Region)
    form = f"{TYPES[dst.tensor.dtype]}, float, CFG_ROW_MAJOR"
    sizes = c_text(dst.rows), c_text(dst.cols), c_text(dst.pitch)
    return _drain(w, src, gm(dst), form, sizes, int_arg(i, "rows"), QUANT[dst.tensor.dtype])


def _fixpipe_ub(w: Operands, i: Instr) -> Lines:
    """Into the UB of the group's vector core."""
    dst, src = _operands(i)
    (rows, pitch), (cols, _) = dst.dims
    sizes = str(rows), str(cols), str(pitch)
    return _drain(w, src, w.at(dst), "float, float, TO_UB", sizes, int_arg(i, "rows"), "NoQuant")


def _copy_nz(w: Operands, i: Instr) -> Lines:
    """UB to L1, a column of fractals at a time."""
    dst, src = _operands(i)
    (rows, pitch), (cols, _) = src.dims
    c0, column = 256 // BITS[dst.dtype], Scalar("var", (), "column")
    to, of = w.at(dst.at(mul(column, rows * c0), (1, 1))), w.at(src.at(mul(column, c0), (1, 1)))
    params = f"DataCopyParams({rows}, 1, {pitch // c0 - 1}, 0)"
    return [
        f"for (int64_t column = 0; column < {cols // c0}; ++column) {{", f"    DataCopy({to}, {of}, {params});", "}",
    ]  # fmt: skip


SPELLING: Mapping[str, Spelling] = {
    "load_nz": _load_nz, "load_nz_turned": _load_nz_turned, "fixpipe_3510": _fixpipe, "fixpipe_ub": _fixpipe_ub,
    "copy_nz": _copy_nz,
}  # fmt: skip
