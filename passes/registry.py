"""The passes that have a name on the command line, in the order in which a pipeline runs them."""

from __future__ import annotations

from .base import Pass

PASSES: tuple[type[Pass], ...] = ()
