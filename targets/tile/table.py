"""The kernels of one compilation for one chip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from .chip import Chip
from .logical import Program
from .search import Fitted, fitted


@dataclass
class TileTable:
    """Kernels by name; equal work is built once. Names come from a hash of what the kernel computes."""

    chip: Chip
    kernels: dict[str, Fitted] = field(default_factory=dict)
    asked: dict[str, tuple[str, Mapping[str, object]]] = field(default_factory=dict)  # what each computes: op, options

    def get(
        self,
        build: Callable[..., Program],
        options: Mapping[str, object],
        candidates: Iterable[Mapping[str, int]],
    ) -> str:
        """The name of the kernel that ``build`` makes with these options, in the first tile sizes that fit."""
        text = f"{build.__name__}({', '.join(f'{key}={value!r}' for key, value in sorted(options.items()))})"
        name = f"{build.__name__}_{sha256(text.encode()).hexdigest()[:10]}"
        if name not in self.kernels:
            self.asked[name] = build.__name__, dict(options)
            made = fitted(lambda **sizes: build(**options, **sizes), self.chip, candidates)
            self.kernels[name] = replace(
                made, logical=replace(made.logical, name=name), physical=replace(made.physical, name=name)
            )
        return name
