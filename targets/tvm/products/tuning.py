"""Parameters of the products, by the form of the weights; measured on 2 cores with AVX-512."""

from __future__ import annotations

from dataclasses import dataclass

LANES = 16  # f32 lanes of a 512-bit register
SERIAL_BELOW = 1 << 16  # bytes of weights that one thread reads sooner than a second one wakes up

RUN = 1 << 17  # bytes of an expert that one task reads in a row


@dataclass(frozen=True)
class Tile:
    """Rows of a register tile, chains of sums of a single row, steps of K that are fetched ahead, rows of a task."""

    rows: int
    chains: int
    ahead: int
    block: int


# 16 accumulators, two panel vectors and broadcasts from memory fill the registers: more rows spill.
TILES = {
    "f32": Tile(rows=8, chains=2, ahead=16, block=64),
    "bf16": Tile(rows=8, chains=2, ahead=32, block=64),
    "f16": Tile(rows=8, chains=2, ahead=32, block=64),
    "dot": Tile(rows=8, chains=2, ahead=32, block=128),
}
