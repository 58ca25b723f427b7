"""Matrix products on the cube core: GM -> L1 (fractals) -> L0A, L0B -> L0C -> GM.

A fractal is 16 rows of 32 bytes. L1 and L0C hold fractals column by column (Nz), and an operand ``[N, K]`` of L1 is
already what L0B wants; what L0A wants, and how it gets there, is the architecture's (``cube2201``, ``cube3510``). L0
tiles are the depth of K that fits twice, so that loading the next overlaps the product at hand.
"""

from __future__ import annotations

from dsv4c.ir.types import BITS

from ..logical import Compute, Declare, Load, Mma, Store, Tile, Window
from ..physical import Region
from ..scalar import Int, add, aligned, both, less, mul, same
from . import cube2201, cube3510
from .scope import IllegalError, Scope

ROWS = 16  # of a fractal
L0_STAGES = 2
ARCHITECTURES = {"2201": cube2201, "3510": cube3510}


def depth(dtype: str) -> int:
    """Columns of a fractal."""
    return 32 * 8 // BITS[dtype]


def declare(s: Scope, d: Declare) -> None:
    """L1 for operands, L0C for sums."""
    tile = d.tile
    if tile.rows % ROWS:
        raise IllegalError(f"{tile.name}: {tile.rows} rows are no multiple of {ROWS}")
    scope = "L0C" if tile.kind == "acc" else "L1"
    columns = aligned(tile.cols, ROWS if tile.kind == "acc" else depth(tile.dtype))
    buffer = s.buffer(tile.name, scope, tile.rows * columns * BITS[tile.dtype] // 8, tile.stages)
    s.tiles[tile] = buffer, s.turns[-1] if tile.stages > 1 else 0


def load(s: Scope, ld: Load) -> None:
    """Rows of a window as fractals; a partial tile is cleared first, so that what is multiplied is defined."""
    tile, src = ld.dst.tile, ld.src
    dst, c0 = whole(s, ld.dst.tile), depth(tile.dtype)
    if ld.dst.rows != tile.rows:  # some rows of a tile that was cleared
        rows = dst.at(mul(ld.dst.row, c0), (aligned(tile.cols, c0) // c0, tile.rows * c0), (ld.dst.rows * c0, 1))
        _fractals(s, rows, src, tile.rows)
        return
    missing = less(mul(src.rows, aligned(src.cols, c0)), tile.rows * aligned(tile.cols, c0))
    with s.when(missing):
        s.emit("clear", "MTE2", (dst,), ())
    _fractals(s, dst, src, tile.rows)


def _fractals(s: Scope, dst: Region, src: Window, rows: int) -> None:
    """A window of memory as fractals, row by row where its pitch is more than the instruction can hold."""
    widest = s.chip.facts.get("widest_pitch")
    single = widest is not None and isinstance(src.pitch, int) and src.pitch > widest["value"]
    s.emit("nd2nz", "MTE2", (dst,), (src,), rows=rows, single=int(single))


def clear(s: Scope, c: Compute) -> None:
    """An operand that is 0 everywhere, whose rows are loaded one by one."""
    if c.op != "copy" or c.srcs != (0.0,):
        raise IllegalError(f"{c.op} on a matrix tile")
    s.emit("clear", "MTE2", (whole(s, c.dst.tile),), ())


def whole(s: Scope, tile: Tile) -> Region:
    """All of an operand or a sum, as a line."""
    buffer, turn = s.tiles[tile]
    return Region(buffer, tile.dtype, 0, ((buffer.size * 8 // BITS[tile.dtype], 1),), turn)


def mma(s: Scope, m: Mma) -> None:
    """A loop over slices of K that fit L0A and L0B twice."""
    a, b = m.a.tile, m.b.tile
    c0 = depth(a.dtype)
    k = aligned(a.cols, c0)
    if m.turned and (BITS[a.dtype] != 16 or b.rows != k or m.turned[1] % ROWS):
        raise IllegalError(f"{b.name}: [K, N] operands are of 16 bits and as deep as the other's K")
    step = _step(s, a.rows, m.turned[1] if m.turned else b.rows, k, a.dtype)
    if k == step:  # L0 takes turns with the loop at hand
        _product(s, m, 0, s.turns[-1] if s.turns else 0, step)
        return
    with s.loop(k // step) as i:
        _product(s, m, i, i, step)


def _product(s: Scope, m: Mma, i: Int, turn: Int, step: int) -> None:
    """Slice ``i`` of K."""
    a, b = m.a.tile, m.b.tile
    width, c0 = BITS[a.dtype] // 8, depth(a.dtype)
    n = m.turned[1] if m.turned else b.rows
    left = s.buffer(s.fresh("l0a"), "L0A", a.rows * step * width, L0_STAGES)
    right = s.buffer(s.fresh("l0b"), "L0B", n * step * width, L0_STAGES)
    x = Region(left, a.dtype, 0, ((a.rows * step, 1),), turn)
    w = Region(right, a.dtype, 0, ((n * step, 1),), turn)
    arch = ARCHITECTURES[s.chip.arch]
    arch.load_left(s, x, whole(s, a).line(a.rows * step, mul(i, step * a.rows)), a.rows, step)
    if m.turned:
        first = add(mul(i, step * c0), mul(m.turned[0], b.rows))
        from_b = whole(s, b).at(first, (n // c0, b.rows * c0), (step * c0, 1))
        arch.load_right_turned(s, w, from_b, b.rows, step, n)
    else:
        arch.load_right(s, w, whole(s, b).line(n * step, mul(i, step * n)), n, step)
    acc = whole(s, m.acc.tile)
    begins = both(m.first, same(i, 0))
    s.emit("mmad", "M", (acc,), (x, w, acc), m=a.rows, n=n, k=step, first=begins, left=arch.LEFT)


def _step(s: Scope, m: int, n: int, k: int, dtype: str) -> int:
    width, c0 = BITS[dtype] // 8, depth(dtype)
    fits = min(s.chip.scopes["L0A"] // (m * width), s.chip.scopes["L0B"] // (n * width)) // (L0_STAGES * s.shares)
    for step in range(min(fits // c0 * c0, k), 0, -c0):
        if k % step == 0:
            return step
    raise IllegalError(f"a product of {m} x {n} does not fit L0")


def store(s: Scope, st: Store) -> None:
    """The sum to memory, row-major, in the dtype of the tensor."""
    drain(s, st.src.tile, st.dst)


def drain(s: Scope, tile: Tile, dst: Window) -> None:
    """A sum to a window of global memory."""
    ARCHITECTURES[s.chip.arch].drain(s, dst, whole(s, tile), tile.rows)


def stage(s: Scope, tile: Tile, src: Window) -> None:
    """A whole window to an operand."""
    _fractals(s, whole(s, tile), src, tile.rows)
