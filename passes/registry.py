"""The passes that have a name on the command line, in the order in which a pipeline runs them."""

from __future__ import annotations

from .absorb_mla import AbsorbMla
from .base import Pass
from .canonicalize import Canonicalize
from .fuse_hyper_connections import FuseHyperConnections
from .fuse_kernels import FuseKernels
from .fuse_mla_projections import FuseMlaProjections
from .inline import Inline
from .partition_experts import PartitionExperts
from .quantize import Quantize
from .rewrite_sparse_attention import RewriteSparseAttention
from .specialize import Specialize

PASSES: tuple[type[Pass], ...] = (
    Canonicalize,
    FuseKernels,
    RewriteSparseAttention,
    FuseHyperConnections,
    Specialize,
    AbsorbMla,
    Quantize,
    FuseMlaProjections,
    PartitionExperts,
    Inline,
)
