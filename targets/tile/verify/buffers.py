"""Where buffers lie: inside their memory, at addresses that it allows, with sizes of whole blocks."""

from __future__ import annotations

from ..chip import Chip
from ..physical import Part, Program
from ..text import buffer_text, ring_text
from .error import TileError
from .shapes import BLOCK, refuse, size
from .table import Arch


def check_buffers(program: Program, part: Part, chip: Chip, arch: Arch) -> None:
    """TileError for a buffer or a ring that cannot lie where it does."""
    names: set[str] = set()
    for b in part.buffers:
        if b.address < 0:
            continue  # never used
        try:
            refuse(b.name in names, f"another buffer is named {b.name}", "use another name")
            names.add(b.name)
            known = ", ".join(sorted(chip.scopes))
            refuse(b.scope not in chip.scopes, f"{chip.name} has no memory {b.scope}", f"it has {known}")
            wrong = arch.homes[b.scope] != part.core and not b.shared
            refuse(wrong, f"{part.core} has no {b.scope}", f"it is a memory of {arch.homes[b.scope]}")
            refuse(b.size < BLOCK or b.size % BLOCK != 0, f"{b.size} B", f"use whole blocks of {BLOCK} B")
            refuse(b.stages < 1, f"{b.stages} copies", "use at least 1")
            unit = arch.align[b.scope]
            refuse(b.address % unit != 0, f"address {b.address}", f"{b.scope} needs multiples of {unit}")
            refuse(
                b.stages > 1 and b.size % unit != 0, f"copies of {b.size} B", f"{b.scope} needs multiples of {unit}"
            )
            room = chip.scopes[b.scope]
            refuse(b.address + b.total > room, f"its end is at {b.address + b.total}", f"{b.scope} has {room} B")
            for c in part.buffers:
                both = c is not b and b.shared and c.scope == b.scope and c.address >= 0
                meets = c.address < b.address + b.total and b.address < c.address + c.total
                refuse(both and meets, f"{c.name} overlaps what both cores reach", "give them different addresses")
        except TileError as error:
            raise error.at(program.name, buffer_text(b), b) from None


def check_rings(program: Program) -> None:
    """TileError for rings that overlap in the workspace."""
    end = 0
    for ring in sorted(program.rings, key=lambda r: r.offset):
        try:
            refuse(ring.depth < 1 or ring.size < 1, "a ring without slots", "use at least 1")
            refuse(ring.offset % BLOCK != 0, f"offset {ring.offset}", f"use a multiple of {BLOCK}")
            refuse(ring.offset < end, f"it begins before another ends at {end}", "give it memory of its own")
        except TileError as error:
            raise error.at(program.name, ring_text(ring), ring) from None
        end = ring.offset + ring.size * ring.depth * size(ring.tensor.dtype)


def used(part: Part) -> dict[str, int]:
    """Bytes of each memory up to the last that a buffer has."""
    out: dict[str, int] = {}
    for b in part.buffers:
        if b.address >= 0:
            out[b.scope] = max(out.get(b.scope, 0), b.address + b.total)
    return out
