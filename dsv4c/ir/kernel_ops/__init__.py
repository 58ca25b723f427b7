"""The kernel ops, one file a family: what targets have kernels for. Importing this package fills the registry."""

from . import activation, attention, compress, experts, grouped, hyper, indexer, norm, positions, rope, routing

__all__ = [
    "activation", "attention", "compress", "experts", "grouped", "hyper", "indexer", "norm", "positions", "rope",
    "routing",
]  # fmt: skip
