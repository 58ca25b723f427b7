"""Functions of core ops as standard ONNX models: one way out of the project, and an independent reference.

Imports ``dsv4c.ir``, ``dsv4c.errors``, onnx and numpy only.
"""

from .export import Exported, export

__all__ = ["Exported", "export"]
