"""How the operands of copies and of products must fit each other."""

from __future__ import annotations

from ..logical import Window
from ..physical import Instr, Region
from ..scalar import text
from .ranges import interval
from .shapes import BLOCK, FRACTAL, Context, dense, equal, no_more, refuse, regions, size


def _moved(c: Context, window: Window, r: Region) -> None:
    """Rows of a window, each in whole blocks on the chip (3.10)."""
    refuse(len(r.dims) != 2 or r.dims[1][1] != 1, f"{r.buffer.name} is not in rows", "give rows and columns")
    (rows, pitch), (cols, _) = r.dims
    block = BLOCK // size(r.dtype)
    no_more(c, window.rows, min(rows, c.arch.fields["rows"]), "the number of rows")
    no_more(c, window.cols, min(cols, c.arch.fields["length"] // size(r.dtype)), "the number of columns")
    refuse(
        rows > 1 and (pitch % block != 0 or pitch < cols), f"{r.buffer.name}: rows of {cols} that are {pitch} apart",
        f"use a multiple of {block}, and no fewer than there are columns",
    )  # fmt: skip


def copy_in(c: Context, i: Instr) -> None:
    """Memory to UB; a row's last block is filled up, and buffers end with whole ones."""
    (dst,), (src,) = i.outs, i.ins
    assert isinstance(dst, Region) and isinstance(src, Window)
    _moved(c, src, dst)


def copy_out(c: Context, i: Instr) -> None:
    """UB to memory."""
    (dst,), (src,) = i.outs, i.ins
    assert isinstance(dst, Window) and isinstance(src, Region)
    _moved(c, dst, src)


def _units(i: Instr, **units: int) -> dict[str, int]:
    """Integer arguments, each a positive multiple of its unit."""
    out = {}
    for name, unit in units.items():
        value = i.args[name]
        assert isinstance(value, int)
        refuse(value < 1 or value % unit != 0, f"{name} = {value}", f"use a positive multiple of {unit}")
        out[name] = value
    return out


def nd2nz(c: Context, i: Instr) -> None:
    """Rows of memory to fractals (3.11); on 2201 in fields of 16 bits (0): L1 has no room for too many rows."""
    (dst,), (src,) = i.outs, i.ins
    assert isinstance(dst, Region) and isinstance(src, Window)
    rows = _units(i, rows=FRACTAL)["rows"]
    single = i.args["single"]
    refuse(single not in (0, 1), f"single = {single}", "use 0 or 1")
    c0 = BLOCK // size(dst.dtype)
    if len(dst.dims) == 1:
        height, width = rows, dst.count // rows
        refuse(dst.count % (rows * c0) != 0, f"{dst.count} elements are no fractals of {rows} rows", "use whole ones")
    else:
        (columns, apart), (part, step) = dst.dims
        height, width = part // c0, columns * c0
        refuse(step != 1 or apart != rows * c0, f"columns of fractals {apart} apart", f"use {rows * c0}")
    no_more(c, src.rows, height, "the number of rows")
    no_more(c, src.cols, width, "the number of columns")
    limit = c.arch.fields.get("nd2nz pitch")
    if limit is not None:
        pitch = src.cols if single else src.pitch
        wide = c.least(pitch) > limit or (isinstance(pitch, int) and pitch > limit)
        refuse(wide, f"a pitch of {text(pitch)}, the field holds {limit}", "load row by row: single=1")


def load(c: Context, i: Instr) -> None:
    """Fractals to L0, ``rows x depth`` of them (3.11)."""
    dst, src = regions(i)
    dense(dst, src)
    args = _units(i, rows=FRACTAL, depth=BLOCK // size(dst.dtype))
    equal("elements", dst.count, src.count, args["rows"] * args["depth"])


def load_turned(c: Context, i: Instr) -> None:
    """``n`` columns of ``depth`` of ``rows`` rows to L0B, turned (3.11)."""
    dst, src = regions(i)
    dense(dst)
    args = _units(i, rows=FRACTAL, depth=FRACTAL, n=FRACTAL)
    c0 = BLOCK // size(dst.dtype)
    equal("elements", dst.count, args["depth"] * args["n"])
    want = ((args["n"] // c0, args["rows"] * c0), (args["depth"] * c0, 1))
    found = src.dims if len(src.dims) == 2 else ((1, args["rows"] * c0), *src.dims)
    refuse(found != want, f"{src.buffer.name} is taken as {found}", f"use {want[0]} columns of fractals")
    refuse(args["depth"] > args["rows"], f"depth {args['depth']} of {args['rows']} rows", "use fewer")


def mmad(c: Context, i: Instr) -> None:
    """``m x n`` sums over ``k`` (3.11)."""
    dst, a, b, acc = regions(i)
    dense(dst, a, b, acc)
    args = _units(i, m=FRACTAL, n=FRACTAL, k=BLOCK // size(a.dtype))
    for name, value in args.items():
        most = c.arch.fields["product"]
        refuse(value > most, f"{name} = {value}", f"use at most {most}")
    equal("elements of the left operand", a.count, args["m"] * args["k"])
    equal("elements of the right operand", b.count, args["n"] * args["k"])
    equal("sums", dst.count, args["m"] * args["n"])
    refuse(dst != acc, "sums are added to other sums", "read what is written")
    refuse(i.args["left"] != c.arch.left, f"left={i.args['left']}", f"L0A of dav-{c.arch.name} is {c.arch.left}")
    first = i.args["first"]
    assert not isinstance(first, float | str)
    low, high = interval(first, c.known)
    refuse(low < 0 or high > 1, f"first={text(first)} may be neither 0 nor 1", "use a condition")


def _sums(c: Context, i: Instr, src: Region) -> tuple[int, int]:
    dense(src)
    rows = _units(i, rows=FRACTAL)["rows"]
    refuse(src.count % (rows * FRACTAL) != 0, f"{src.count} sums are no fractals of {rows} rows", "use whole ones")
    return rows, src.count // rows


def fixpipe(c: Context, i: Instr) -> None:
    """Sums to memory (3.11)."""
    (dst,), (src,) = i.outs, i.ins
    assert isinstance(dst, Window) and isinstance(src, Region)
    rows, cols = _sums(c, i, src)
    no_more(c, dst.rows, rows, "the number of rows")
    no_more(c, dst.cols, cols, "the number of columns")


def fixpipe_ub(c: Context, i: Instr) -> None:
    """Sums to the vector core's memory (1.3)."""
    dst, src = regions(i)
    rows, cols = _sums(c, i, src)
    refuse(len(dst.dims) != 2, f"{dst.buffer.name} is not in rows", "give rows and columns")
    (height, pitch), (width, step) = dst.dims
    fits = height <= rows and width <= cols and step == 1 and pitch >= width
    refuse(not fits, f"{height} x {width} of {rows} x {cols} sums", "use no more than there are")


def copy_nz(c: Context, i: Instr) -> None:
    """Rows of UB to fractals of L1 (1.3)."""
    dst, src = regions(i)
    dense(dst)
    rows = _units(i, rows=FRACTAL)["rows"]
    refuse(len(src.dims) != 2, f"{src.buffer.name} is not in rows", "give rows and columns")
    (height, pitch), (width, _) = src.dims
    c0 = BLOCK // size(src.dtype)
    equal("rows", rows, height)
    equal("elements", dst.count, height * width)
    refuse(width % c0 != 0 or pitch % c0 != 0, f"rows of {width}, {pitch} apart", f"use multiples of {c0}")
    refuse(rows > c.arch.fields["rows"], f"{rows} rows", f"use at most {c.arch.fields['rows']}")
