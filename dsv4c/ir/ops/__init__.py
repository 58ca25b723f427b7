"""The core ops, one file a family. Importing this package fills the registry."""

from . import data, elementwise, matmul, reduction, shape

__all__ = ["data", "elementwise", "matmul", "reduction", "shape"]
