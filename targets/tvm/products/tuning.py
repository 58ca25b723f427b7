"""Parameters of the products: by the form of the weights, measured on 2 cores with AVX-512, or as ``tune`` found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
    "dot": Tile(rows=8, chains=2, ahead=64, block=128),
}


@dataclass(frozen=True)
class Product:
    """A shape class: which kernel, columns N and inner extent K of one matrix, form of the weights, matrices."""

    op: str
    n: int
    k: int
    form: str
    experts: int = 1

    def __str__(self) -> str:
        """As tuning files name it."""
        return f"{self.op} {self.experts}x{self.n}x{self.k} {self.form}"


@dataclass(frozen=True)
class Tuning:
    """Tiles that were found better than ``TILES``, by product."""

    tiles: Mapping[str, Tile] = field(default_factory=dict)

    def tile(self, product: Product) -> Tile:
        """The parameters of a product."""
        return self.tiles.get(str(product), TILES[product.form])
