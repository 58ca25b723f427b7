"""Which tile programs an op becomes. One function per op."""

from __future__ import annotations

from collections.abc import Mapping

from ..lower import Template
from .attention import ATTENTION
from .plain import PLAIN
from .products import PRODUCTS
from .rows import ROWS
from .state import STATE

LOWER: Mapping[str, Template] = {**PLAIN, **ROWS, **PRODUCTS, **ATTENTION, **STATE}
