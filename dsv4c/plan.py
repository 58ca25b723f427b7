"""The plan: one launch list per unique function, calls that bind weights and state, buffers chosen at compile time.

One class for every target; a target decides only what the kernel named by a launch is. Sizes stay expressions over
the dimension symbols; a runtime evaluates them when the dimensions are bound and then knows every address.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dsv4c.ir.dims import Extent, Shape

DERIVED = "~"  # begins the last part of the path of a weight that is derived from others


@dataclass(frozen=True)
class Ref:
    """Where a tensor lies: in a parameter (``base`` is its name, ``path`` the leaf), in a temporary, or in a result
    that the caller provides (``base`` is its number).

    ``form`` names the layout a weight was packed into; empty for the checkpoint's own ``[out, in]``. ``offset`` is
    where the tensor begins in a temporary, in elements.
    """

    kind: str  # "param" | "temp" | "result"
    base: str
    path: str = ""
    form: str = ""
    offset: Extent = 0

    def part(self, name: str) -> Ref:
        """The reference to one part of a bundle."""
        return Ref(self.kind, self.base, f"{self.path}.{name}" if self.path else name, self.form)


RefTree = Ref | dict[str, "RefTree"]  # a bundle built from parts has a reference for each


@dataclass(frozen=True)
class View:
    """A tensor argument: the whole tensor at ``ref``, row-major under ``shape``."""

    ref: Ref
    shape: Shape
    dtype: str


@dataclass(frozen=True)
class Launch:
    """Run a kernel on tensors, then scalars; ``loc`` is the place in the model."""

    kernel: str
    args: tuple[View, ...]
    scalars: tuple[Extent, ...]
    loc: str


@dataclass(frozen=True)
class CallSite:
    """Run another plan function. ``results`` are trees for its results; parts that it updates in place are aliases."""

    callee: str
    args: Mapping[str, RefTree]
    results: tuple[RefTree, ...]
    dims: Mapping[str, Extent]
    loc: str


@dataclass(frozen=True)
class Buffer:
    """A temporary of ``count`` elements that lies in slot number ``slot``."""

    count: Extent
    dtype: str
    slot: int


@dataclass
class PlanFunction:
    """The launches of one function.

    ``results`` says for every result where it is: a ``result`` reference is written by this function, a ``param``
    reference is a state leaf that was updated in place.
    """

    name: str
    symbols: tuple[str, ...]
    steps: tuple[Launch | CallSite, ...]
    buffers: Mapping[str, Buffer]
    slots: tuple[tuple[Extent, ...], ...]  # per slot: sizes in bytes, the largest of which it needs
    results: tuple[RefTree, ...]
    requires: tuple[tuple[Extent, Extent], ...] = ()


@dataclass(frozen=True)
class Derived:
    """A weight that a weights function of the module makes of others: their paths, relative to where it lies."""

    function: str
    leaves: tuple[str, ...]


@dataclass
class Plan:
    """All plan functions, callees first, and the entries a runtime may start at."""

    functions: dict[str, PlanFunction] = field(default_factory=dict)
    entries: tuple[str, ...] = ()
    derived: dict[str, Derived] = field(default_factory=dict)

    def derive(self, function: str, leaves: tuple[str, ...]) -> str:
        """The name of the weight that ``function`` makes of the leaves at these paths; one name for equal ones."""
        made = Derived(function, leaves)
        for name, known in self.derived.items():
            if known == made:
                return name
        name = f"w{len(self.derived)}"
        self.derived[name] = made
        return name

    def made_of(self, path: str) -> tuple[str, tuple[str, ...]] | None:
        """For the path of a derived weight, the weights function and the paths of its operands; None for a leaf."""
        prefix, _, last = path.rpartition(".")
        if not last.startswith(DERIVED):
            return None
        made = self.derived[last.removeprefix(DERIVED)]
        return made.function, tuple(f"{prefix}.{leaf}" if prefix else leaf for leaf in made.leaves)

    def weights(self, entry: str, param: str = "weights") -> list[tuple[str, str]]:
        """(path, form) of every weight the entry reaches, sorted; paths are relative to ``param``."""
        found: set[tuple[str, str]] = set()
        self._collect(entry, {param: Ref("param", param)}, param, found)
        return sorted(found)

    def _collect(self, name: str, bound: Mapping[str, RefTree], param: str, found: set[tuple[str, str]]) -> None:
        for step in self.functions[name].steps:
            if isinstance(step, Launch):
                for view in step.args:
                    ref = resolve(view.ref, bound)
                    if ref.kind == "param" and ref.base == param:
                        found.add((ref.path, ref.form))
            else:
                inner = {key: _resolve_tree(tree, bound) for key, tree in step.args.items()}
                self._collect(step.callee, inner, param, found)


def resolve(ref: Ref, bound: Mapping[str, RefTree]) -> Ref:
    """Where a callee's reference lies in the caller, given what its parameters are bound to."""
    if ref.kind != "param" or ref.base not in bound:
        return ref
    tree = bound[ref.base]
    parts = ref.path.split(".") if ref.path else []
    while isinstance(tree, dict):
        tree = tree[parts.pop(0)]
    path = ".".join([p for p in (tree.path, *parts) if p])
    return Ref(tree.kind, tree.base, path, ref.form or tree.form)


def _resolve_tree(tree: RefTree, bound: Mapping[str, RefTree]) -> RefTree:
    if isinstance(tree, dict):
        return {key: _resolve_tree(part, bound) for key, part in tree.items()}
    if tree.kind == "param" and tree.base in bound and not tree.path:
        whole = bound[tree.base]
        return whole
    return resolve(tree, bound)
