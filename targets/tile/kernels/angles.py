"""Sine and cosine, which vector cores lack, and the angles of rotary embedding (architectures.md §1.2)."""

from __future__ import annotations

from math import pi

from ..build import Kernel
from ..logical import Piece, Program, Window
from ..scalar import ceildiv, least, rest, sub

# pi / 2 in pieces of 13 and 12 bits and the rest: products with integers of 10 bits are exact in f32.
HIGH = round(pi / 2 * 2**12) / 2**12
MIDDLE = round((pi / 2 - HIGH) * 2**25) / 2**25
LOW = pi / 2 - HIGH - MIDDLE
SPLIT = 1024.0
# Minimax polynomials on [-pi/4, pi/4] in z = r^2, as in Cephes' single-precision sine and cosine.
SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)


def sine_cosine(k: Kernel, angle: Piece) -> tuple[Piece, Piece]:
    """Sine and cosine of f32 angles of at most 2^20 radians, each within 2e-7."""
    turns = k.cast(k.mul(angle, 2 / pi), "i32")
    count = k.cast(turns, "f32")
    high = k.cast(k.cast(k.mul(count, 1 / SPLIT), "i32"), "f32")
    low = k.sub(count, k.mul(high, SPLIT))
    r = angle
    for part in (HIGH, MIDDLE):
        r = k.sub(r, k.mul(high, SPLIT * part))
        r = k.sub(r, k.mul(low, part))
    r = k.sub(r, k.mul(count, LOW))
    z = k.mul(r, r)
    sine = k.add(k.mul(k.mul(_polynomial(k, z, SINE), z), r), r)
    cosine = k.add(k.sub(k.mul(_polynomial(k, z, COSINE), k.mul(z, z)), k.mul(z, 0.5)), 1.0)
    quadrant = k.cast(k.sub(turns, k.mul(k.shift_right(turns, 2), 4.0)), "f32")
    half = k.shift_right(turns, 1)
    odd = k.cast(k.sub(turns, k.mul(half, 2.0)), "f32")
    sines = k.where(odd, ">", 0.5, cosine, sine)
    cosines = k.where(odd, ">", 0.5, sine, cosine)
    middle = k.absolute(k.sub(quadrant, 1.5))  # quadrants 1 and 2
    return (
        k.where(quadrant, ">", 1.5, k.mul(sines, -1.0), sines),
        k.where(middle, "<", 1.0, k.mul(cosines, -1.0), cosines),
    )


def _polynomial(k: Kernel, z: Piece, coefficients: tuple[float, ...]) -> Piece:
    first, *others = coefficients
    out = k.mul(z, first)
    for c in others[:-1]:
        out = k.mul(k.add(out, c), z)
    return k.add(out, others[-1])


def rope_angles(*, half: int, factor: float, rows: int, stages: int) -> Program:
    """``cos`` and ``sin [M, half]``, times ``factor``, of ``positions`` i32 ``[M]`` times ``frequencies`` f32
    ``[half]``.
    """
    k = Kernel("rope_angles", stages)
    count = k.size("M")
    positions, frequencies = k.tensor("positions", "i32", count), k.tensor("frequencies", "f32", half)
    cos, sin = k.out("cos", "f32", count, half), k.out("sin", "f32", count, half)
    row = k.load(frequencies.row(0), 1, half)
    for task in k.tasks(ceildiv(count, rows)):
        begin, tall = task * rows, least(rows, sub(count, task * rows))
        at = k.cast(k.load(positions.window(begin, tall, 1, 1), rows, 1, fill=0.0), "f32")
        _write(k, row, at, factor, cos.block(begin, rows), sin.block(begin, rows))
    return k.done()


def window_angles(*, half: int, factor: float, rate: int, rows: int, stages: int) -> Program:
    """As ``rope_angles``, ``[B, W, half]``, for the first tokens of the windows of ``rate`` from the one on that token
    ``past`` i32 ``[B]`` lies in.
    """
    k = Kernel("window_angles", stages)
    batch, count = k.size("B"), k.size("W")
    past, frequencies = k.tensor("past", "i32", batch), k.tensor("frequencies", "f32", half)
    cos, sin = k.out("cos", "f32", batch, count, half), k.out("sin", "f32", batch, count, half)
    row = k.load(frequencies.row(0), 1, half)
    parts = ceildiv(count, rows)
    for task in k.tasks(batch * parts):
        b, begin = task // parts, task % parts * rows
        number = k.iota(rows, k.read(past, b) // rate + begin, "f32")
        at = k.mul(number, float(rate)).column
        tall, first = rest(count, begin, rows), (b * count + begin) * half
        windows = [t.window(first, tall, half, half) for t in (cos, sin)]
        _write(k, row, at, factor, windows[0], windows[1])
    return k.done()


def _write(k: Kernel, frequencies: Piece, at: Piece, factor: float, cos: Window, sin: Window) -> None:
    angle = k.mul(k.full(frequencies, at.rows, frequencies.cols), at)
    for window, value in zip((sin, cos), sine_cosine(k, angle), strict=True):
        k.store(window, value if factor == 1.0 else k.mul(value, factor))
