"""The kernels of one compilation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from .kernels.kernel import Kernel, Source
from .products.tuning import Tuning


@dataclass
class KernelTable:
    """Kernels by name; equal work is built once. Names come from a hash of what the kernel computes."""

    kernels: dict[str, Kernel] = field(default_factory=dict)
    tuning: Tuning = field(default_factory=Tuning)

    def get(self, stem: str, text: str, build: Callable[[str], Kernel]) -> str:
        """The name of the kernel that computes ``text``, built when it is new."""
        name = f"{stem}_{sha256(text.encode()).hexdigest()[:10]}"
        if name not in self.kernels:
            self.kernels[name] = build(name)
        return name

    def source(self, name: str) -> Source:
        """What a kernel was written from, where it is known."""
        source = self.kernels[name].source
        assert source is not None
        return source

    def keep(self, names: set[str]) -> None:
        """Forget the kernels that nothing launches, because they are parts of others."""
        self.kernels = {name: kernel for name, kernel in self.kernels.items() if name in names}
