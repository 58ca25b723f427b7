"""CPU kernels whose loops are special: each builder returns the kernel before and after scheduling."""

from .argmax import argmax
from .cumsum import cumsum
from .gemm import MR, NR, gemm
from .grouped import grouped
from .kernel import Kernel, merge
from .pack import pack
from .scatter import scatter
from .topk import topk

__all__ = ["MR", "NR", "Kernel", "argmax", "cumsum", "gemm", "grouped", "merge", "pack", "scatter", "topk"]
