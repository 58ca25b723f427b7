"""Which tile programs an op becomes. One function per op."""

from __future__ import annotations

from collections.abc import Mapping

from ..lower import Template
from .attention import ATTENTION
from .products import PRODUCTS
from .rows import ROWS

LOWER: Mapping[str, Template] = {**ROWS, **PRODUCTS, **ATTENTION}
