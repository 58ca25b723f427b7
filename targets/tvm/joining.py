"""Neighbouring launches of row kernels as one: what stands between two products is small, and a launch costs more.

A row kernel goes on in the nearest launch before it that nothing between forbids, or that can wait for it. The joined
kernel is written anew, one member after the other on the same arguments, so that sums and roundings are what they were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dsv4c.ir.dims import Extent
from dsv4c.plan import CallSite, Launch, Ref, RefTree, View

from .rows.join import build_joined
from .table import KernelTable

# Stems of kernels that treat rows one by one or a few numbers; products and attention stay launches of their own.
ROW_KERNELS = frozenset({
    "map", "rms_norm", "layer_norm", "rope", "norm_rope", "rope_angles", "swiglu", "append", "compress_kv",
    "route_topk", "route_hash", "expert_order", "combine", "hyper_pre", "hyper_post", "hyper_head",
})  # fmt: skip
LONGEST = 48  # characters of a joined name, without its hash
Key = tuple[str, str, str]  # kind, base, path of a reference


@dataclass(frozen=True)
class Marked:
    """A step with the memory that it may write; it reads at most what it is given."""

    step: Launch | CallSite
    writes: frozenset[Key]

    @cached_property
    def touches(self) -> frozenset[Key]:
        """All memory that the step is given."""
        trees: Sequence[RefTree] = (
            [view.ref for view in self.step.args] if isinstance(self.step, Launch)
            else [*self.step.args.values(), *self.step.results]
        )  # fmt: skip
        return frozenset(key(ref) for tree in trees for ref in flat(tree))


@dataclass
class _Group:
    """Row kernels that become one launch, or one other step."""

    members: list[Marked]
    open: bool
    writes: set[Key] = field(default_factory=set)
    touches: set[Key] = field(default_factory=set)

    def add(self, one: Marked) -> None:
        self.members.append(one)
        self.writes |= one.writes
        self.touches |= one.touches

    def hinders(self, one: Marked | _Group) -> bool:
        """Whether the order of both matters."""
        return _meet(self.writes, one.touches) or _meet(one.writes, self.touches)


def key(ref: Ref) -> Key:
    """What two references to the same memory have in common."""
    return ref.kind, ref.base, ref.path


def flat(tree: RefTree) -> Iterator[Ref]:
    """The references of a tree."""
    if isinstance(tree, dict):
        for part in tree.values():
            yield from flat(part)
    else:
        yield tree


def _meet(left: set[Key] | frozenset[Key], right: set[Key] | frozenset[Key]) -> bool:
    """Whether two sets have memory in common; a bundle holds its parts."""
    return any(
        a[:2] == b[:2] and (a[2] == b[2] or not a[2] or not b[2] or a[2].startswith(b[2] + ".")
                            or b[2].startswith(a[2] + "."))
        for a in left for b in right
    )  # fmt: skip


def groups(steps: Sequence[Marked], table: KernelTable) -> list[list[Marked]]:
    """The steps in an order that keeps every dependence, row kernels side by side."""
    out: list[_Group] = []
    for one in steps:
        rows = isinstance(one.step, Launch) and _by_rows(one.step.kernel, table)
        home = (_home(out, one) or _sunk(out, one)) if rows else None
        if home is None:
            home = _Group([], rows)
            out.append(home)
        home.add(one)
    return [group.members for group in out]


def _by_rows(kernel: str, table: KernelTable) -> bool:
    return _stem(kernel) in ROW_KERNELS and table.kernels[kernel].source is not None


def _home(before: Sequence[_Group], one: Marked) -> _Group | None:
    for group in reversed(before):
        if group.open and _one_view(group, one):
            return group
        if group.hinders(one):
            return None
    return None


def _sunk(before: list[_Group], one: Marked) -> _Group | None:
    """The last launch of row kernels that can wait until now."""
    for number in range(len(before) - 1, -1, -1):
        group = before[number]
        if group.open and _one_view(group, one) and not any(later.hinders(group) for later in before[number + 1 :]):
            before.append(before.pop(number))
            return group
    return None


def _one_view(group: _Group, one: Marked) -> bool:
    """Whether memory that both use has one dtype: arguments of two dtypes may not be the same memory."""
    seen = {_place(view): view.dtype for member in group.members for view in _views(member)}
    return all(seen.get(_place(view), view.dtype) == view.dtype for view in _views(one))


def _views(one: Marked) -> tuple[View, ...]:
    assert isinstance(one.step, Launch)
    return one.step.args


def _place(view: View) -> str:
    return repr(view.ref)


def joined(members: Sequence[Marked], table: KernelTable) -> Launch:
    """One launch that is all members, in their order."""
    views: dict[str, View] = {}
    scalars: dict[str, Extent] = {}
    launches = [one.step for one in members if isinstance(one.step, Launch)]
    for launch in launches:
        views |= {_place(view): view for view in launch.args if _place(view) not in views}
        scalars |= {str(extent): extent for extent in launch.scalars}
    buffers, sizes = list(views), list(scalars)
    parts = [
        (launch.kernel, [buffers.index(_place(v)) for v in launch.args], [sizes.index(str(s)) for s in launch.scalars])
        for launch in launches
    ]
    stem = "_".join(dict.fromkeys(map(_stem, (launch.kernel for launch in launches))))[:LONGEST]
    name = table.get(
        stem, repr(parts), lambda name: build_joined(name, [(table.source(k), b, s) for k, b, s in parts])
    )
    return Launch(name, tuple(views.values()), tuple(scalars.values()), launches[0].loc)


def _stem(kernel: str) -> str:
    return kernel.rpartition("_")[0]
