"""The intermediate representation: typed tensors with symbolic dimensions, functions in SSA form, one op registry.

This package imports nothing else of the project.
"""

from . import kernel_ops

__all__ = ["kernel_ops"]
