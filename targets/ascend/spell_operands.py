"""Operands of AscendC instructions as text: types, numbers, places in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from ..tile import physical as ph
from ..tile.logical import Window
from ..tile.physical import Instr, Region
from ..tile.scalar import Int, text

TYPES = {
    "f32": "float", "bf16": "bfloat16_t", "f16": "half", "i32": "int32_t", "i8": "uint8_t", "bool": "uint8_t",
    "i64": "int64_t", "f8e4m3": "uint8_t",
}  # fmt: skip
# What bytes that are moved as such are taken for when they are cast.
CODES = {"i8": "int8_t", "f8e4m3": "fp8_e4m3fn_t", "f4e2m1": "fp4x2_e2m1_t"}
SIGNS = {"//": "/", "and": "&&", "min": "Least", "max": "Most"}

Lines = list[str]


class Operands(Protocol):
    """What knows the names of a kernel's buffers."""

    def at(self, r: Region) -> str:
        """A region's first element."""


Spelling = Callable[[Operands, Instr], Lines]


def c_text(a: Int) -> str:
    """A scalar in C++."""
    return text(a, 0, SIGNS)


def literal(value: ph.Value, dtype: str) -> str:
    """A number as an argument of that type."""
    if isinstance(value, float):
        if dtype == "i32":
            return f"int32_t({int(value)})"
        infinite = value in (float("inf"), float("-inf"))
        number = f"{'-' if value < 0 else ''}Infinity()" if infinite else f"{value!r}f"
        return number if dtype == "f32" else f"{TYPES[dtype]}({number})"
    assert not isinstance(value, str)
    return f"{TYPES[dtype]}({c_text(value)})"


def gm(window: Window) -> str:
    """A window's first element."""
    return f"{window.tensor.name}[{c_text(window.offset)}]"


def codes(w: Operands, src: Region, kind: str) -> str:
    """A region of bytes as codes."""
    return f"{w.at(src)}.ReinterpretCast<{CODES[kind]}>()"


def regions(places: tuple[ph.Place, ...]) -> list[Region]:
    """Those on the chip."""
    return [p for p in places if isinstance(p, Region)]


def windows(places: tuple[ph.Place, ...]) -> list[Window]:
    """Those in global memory."""
    return [p for p in places if isinstance(p, Window)]


def int_arg(i: Instr, key: str) -> int:
    """An argument that is known when the kernel is written."""
    value = i.args[key]
    assert isinstance(value, int)
    return value
