"""AscendC text of the instructions that only dav-3510 has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from dsv4c.ir.types import BITS

from ..tile.logical import Window
from ..tile.physical import Instr, Region
from ..tile.scalar import Int, Scalar, mul


class Writer(Protocol):
    """What spells operands."""

    def at(self, r: Region) -> str:
        """A region's first element."""

    def gm(self, window: Window) -> str:
        """A window's first element."""

    def scalar(self, value: Int) -> str:
        """An integer."""


def _operands(i: Instr) -> tuple[Region, Region]:
    (dst,), (src,) = i.outs, i.ins
    assert isinstance(dst, Region) and isinstance(src, Region)
    return dst, src


def _number(i: Instr, key: str) -> int:
    value = i.args[key]
    assert isinstance(value, int)
    return value


def _load(w: Writer, i: Instr, m: int, k: int, src_stride: int, dst_stride: int, turned: str) -> list[str]:
    """``m x k`` fractals from the first on; strides in fractals from one column of them to the next."""
    dst, src = _operands(i)
    fields = {
        "mStartPosition": 0, "kStartPosition": 0, "mStep": m, "kStep": k, "srcStride": src_stride,
        "dstStride": dst_stride, "ifTranspose": turned,
    }  # fmt: skip
    lines = [f"    load.{key} = {value};" for key, value in fields.items()]
    return ["{", "    LoadData2DParamsV2 load;", *lines, f"    LoadData({w.at(dst)}, {w.at(src)}, load);", "}"]


def _load_nz(w: Writer, i: Instr) -> list[str]:
    (dst, _), rows = _operands(i), _number(i, "rows") // 16
    return _load(w, i, rows, _number(i, "depth") * BITS[dst.dtype] // 256, rows, rows, "false")


def _load_nz_turned(w: Writer, i: Instr) -> list[str]:
    columns = _number(i, "n") // 16
    return _load(w, i, _number(i, "depth") // 16, columns, _number(i, "rows") // 16, columns, "true")


def _drain(w: Writer, src: Region, to: str, form: str, sizes: tuple[str, str, str], rows: int, cast: str) -> list[str]:
    fields = {
        "nSize": sizes[1], "mSize": sizes[0], "srcStride": rows, "dstStride": sizes[2],
        "quantPre": f"QuantMode_t::{cast}", "dualDstCtl": 0, "subBlockId": 0, "params.ndNum": 1,
        "params.srcNdStride": 0, "params.dstNdStride": 0,
    }  # fmt: skip
    lines = [f"    drain.{key} = {value};" for key, value in fields.items()]
    call = f"    Fixpipe<{form}>({to}, {w.at(src)}, drain);"
    return ["{", "    FixpipeParamsArch3510<CO2Layout::ROW_MAJOR> drain;", *lines, call, "}"]


OUT = {"f32": ("float", "NoQuant"), "bf16": ("bfloat16_t", "F322BF16"), "f16": ("half", "F322F16")}


def _fixpipe(w: Writer, i: Instr) -> list[str]:
    (dst,), (src,) = i.outs, i.ins
    assert isinstance(dst, Window) and isinstance(src, Region)
    kind, cast = OUT[dst.tensor.dtype]
    sizes = w.scalar(dst.rows), w.scalar(dst.cols), w.scalar(dst.pitch)
    return _drain(w, src, w.gm(dst), f"{kind}, float, CFG_ROW_MAJOR", sizes, _number(i, "rows"), cast)


def _fixpipe_ub(w: Writer, i: Instr) -> list[str]:
    """Into the UB of the group's vector core."""
    dst, src = _operands(i)
    (rows, pitch), (cols, _) = dst.dims
    sizes = str(rows), str(cols), str(pitch)
    return _drain(w, src, w.at(dst), "float, float, TO_UB", sizes, _number(i, "rows"), "NoQuant")


def _copy_nz(w: Writer, i: Instr) -> list[str]:
    """UB to L1, a column of fractals at a time."""
    dst, src = _operands(i)
    (rows, pitch), (cols, _) = src.dims
    c0, column = 256 // BITS[dst.dtype], Scalar("var", (), "column")
    to, of = w.at(dst.at(mul(column, rows * c0), (1, 1))), w.at(src.at(mul(column, c0), (1, 1)))
    params = f"DataCopyParams({rows}, 1, {pitch // c0 - 1}, 0)"
    return [
        f"for (int64_t column = 0; column < {cols // c0}; ++column) {{", f"    DataCopy({to}, {of}, {params});", "}",
    ]  # fmt: skip


SPELLING: Mapping[str, Callable[[Writer, Instr], list[str]]] = {
    "load_nz": _load_nz, "load_nz_turned": _load_nz_turned, "fixpipe_3510": _fixpipe, "fixpipe_ub": _fixpipe_ub,
    "copy_nz": _copy_nz,
}  # fmt: skip
