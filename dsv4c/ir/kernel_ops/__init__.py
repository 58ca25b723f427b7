"""The kernel ops, one file a family: what targets have kernels for; and the collectives.

Importing this package fills the registry.
"""

from . import (
    activation,
    attention,
    collective,
    compress,
    dispatch,
    experts,
    grouped,
    hyper,
    indexer,
    norm,
    positions,
    quantised,
    rope,
    routing,
)

__all__ = [
    "activation", "attention", "collective", "compress", "dispatch", "experts", "grouped", "hyper", "indexer",
    "norm", "positions", "quantised", "rope", "routing",
]  # fmt: skip
