"""From a config to the module of its family."""

from __future__ import annotations

from dsv4c.ir.core import Module

from .config import Config, V4Config
from .mla import build_mla
from .v4 import build_v4


def build_module(config: Config, dtype: str) -> Module:
    """The module of a model in core ops, computing in ``dtype`` (f32, bf16 or f16), accumulating in f32."""
    return build_v4(config, dtype) if isinstance(config, V4Config) else build_mla(config, dtype)
