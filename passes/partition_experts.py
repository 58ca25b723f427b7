"""One program for all ranks: experts are placed on ranks, tokens travel to them and back (architectures.md §13.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from dsv4c.ir.builder import call, cast, reshape, slice_axis
from dsv4c.ir.core import ACTIVE, Function, IRError, Module, Op, Value
from dsv4c.ir.kernel_ops.dispatch import combine, dispatch
from dsv4c.ir.spmd import mesh_of
from dsv4c.ir.types import Type, is_linear, substitute_type

from .base import Log, Pair, Pass
from .find_experts import with_kernel_op
from .placement import Placement, place
from .reemit import Retype, reemit
from .sharding import Mesh, add_placing, add_shards, expert_bundle, shard_bundle
from .split_heads import BATCH, CHANNELS, HEADS, SHARED, Splitter, attends, outlined
from .traffic import notes


@dataclass(frozen=True)
class PartitionExperts(Pass):
    """experts(x, chosen, ..)  ->  place_pairs, and for each wave dispatch, grouped_experts, combine.

    The result is one program that every rank runs, on tensors of its own: B is the number of sequences of *one* rank,
    each rank attends for its own and sends tokens to the experts that other ranks hold. Weights of experts become those
    of a rank's slots; which these are stands in the weights function ``held_experts``, and ``shard_..`` cuts them.

    Options:
        ranks: the size of the mesh axis.
        mesh: its name.
        loads: the expected load of each expert; empty for equal loads, neighbours together.
        copies: how many redundant copies of experts to add, hottest first; tokens take turns among the copies.
        waves: groups of a rank's slots, each with a dispatch, product and combine that need nothing of the others.
        attention: heads to split attention over heads: every rank then attends for all sequences with its heads and
            keeps the state of all; a token's rows are gathered before and summed after.
        shared: split to split the shared expert over its channels in the same way.
        wire: f8e4m3 to send rows in FP8, which rounds them; results return in the model's dtype.
    """

    name = "partition-experts"
    doc = "experts(x, chosen, mix, ..) -> dispatch to the ranks that hold them, grouped_experts, combine; in waves"
    reads = "kernel"
    writes = "collective"
    exact = False  # rows meet others in a product, and waves are summed one after the other
    ranks: int = 8
    mesh: str = "ep"
    loads: tuple[float, ...] = ()
    copies: int = 0
    waves: int = 1
    attention: Literal["replicated", "heads"] = "replicated"
    shared: Literal["replicated", "split"] = "replicated"
    wire: Literal["", "f8e4m3"] = ""

    def __post_init__(self) -> None:
        for option in ("ranks", "waves"):
            if getattr(self, option) < 1:
                raise ValueError(f"{option} = {getattr(self, option)}; it is at least 1")
        if self.copies < 0 or not self.mesh.isidentifier():
            raise ValueError(f"copies = {self.copies}, mesh = {self.mesh!r}; not negative, and a name")

    def run(self, module: Module, log: Log) -> Module:
        """The partitioned module; an IRError where the module or its number of experts does not allow it."""
        whole = with_kernel_op(module)
        if self.shared == "split":
            whole = outlined(whole)
        sites = [(f, op) for f in whole.functions.values() for op in f.ops if op.name == "experts"]
        if not sites:
            raise IRError(module.name, self._nothing(module))
        placement = self._placement(module, {op.operands[4].shape[0] for _, op in sites})
        mesh = Mesh(self.mesh, self.ranks, placement)
        out = Module(module.name, entry=module.entry)
        add_shards(out, mesh, [expert_bundle(function, op) for function, op in sites])
        splitter, tables = Splitter(out, self.mesh, self.ranks), self._tables(whole, log)
        retype = Retype(
            {(b := expert_bundle(f, op)): shard_bundle(b, placement.slots) for f, op in sites}
            | dict(splitter.bundle(whole.functions[name], table) for name, table in tables.items())
        )
        for function in whole.functions.values():
            if function.kind == "weights":
                out.functions[function.name] = function
            elif function.name in tables:
                splitter.add(function, retype, tables[function.name])
            else:
                placing = {id(op): add_placing(out, mesh, op) for f, op in sites if f is function}
                types = {p.name: self._state(retype(p.type)) for p in function.params}
                reemit(out, function, types, partial(self._change, mesh, placing, splitter))
        log.applied[self.name] += len(sites)
        if self.copies and not self.loads:
            log.notes.append(f"no loads are given, so that the copies are of the first experts, {self.copies} in all")
        log.notes += notes(out, mesh, self.loads)
        return out

    def pairs(self, before: Module, after: Module) -> tuple[Pair, ...]:
        """Every block: all ranks together compute what it computed, though weights have other shapes."""
        blocks = (name for name, function in before.functions.items() if function.kind == "block")
        return tuple(Pair(name, name) for name in blocks if name in after.functions)

    def _tables(self, module: Module, log: Log) -> dict[str, Mapping[str, int]]:
        """The functions to split, and by which weights."""
        split: dict[str, Mapping[str, int]] = {}
        if self.attention == "heads":
            split |= {f.name: HEADS for f in module.functions.values() if attends(f)}
        if self.shared == "split":
            split |= {name: CHANNELS for name in module.functions if name.startswith(SHARED)}
        for option, table in (("attention", HEADS), ("shared", CHANNELS)):
            if getattr(self, option) != "replicated" and table not in split.values():
                log.refuse(self.name, module.name, f"{option}={getattr(self, option)}, but nothing was found to split")
        return split

    def _state(self, type_: Type) -> Type:
        """Where attention is split over heads, a rank keeps the state of all sequences."""
        if self.attention == "replicated" or not is_linear(type_):
            return type_
        return substitute_type(type_, {"B": self.ranks * BATCH})

    def _nothing(self, module: Module) -> str:
        if mesh_of(module):
            return "is partitioned already; start from the module before that"
        return "has no experts; run fuse-kernels first (-p fuse-kernels,partition-experts)"

    def _placement(self, module: Module, counts: set[Any]) -> Placement:
        if len(counts) != 1 or not all(isinstance(c, int) for c in counts):
            raise IRError(module.name, f"has layers of {', '.join(sorted(map(str, counts)))} experts; one number only")
        try:
            placement = place(counts.pop(), self.ranks, self.loads, self.copies)
        except ValueError as error:
            raise IRError(module.name, str(error)) from None
        if self.waves > placement.slots:
            slots = placement.slots
            raise IRError(module.name, f"{self.waves} waves, but a rank holds {slots} experts; use waves <= {slots}")
        return placement

    def _change(
        self, mesh: Mesh, placing: dict[int, Function], splitter: Splitter, op: Op, operands: tuple[Value, ...]
    ) -> tuple[Value, ...] | None:
        if op.name == "call" and op.attrs["callee"] in splitter.dtypes:
            return splitter.call(op, operands)
        return self._site(mesh, placing[id(op)], op, operands) if id(op) in placing else None

    def _site(self, mesh: Mesh, placing: Function, op: Op, operands: tuple[Value, ...]) -> tuple[Value, ...]:
        x, chosen, mix, live, *weights = operands
        (slot,) = call(placing, chosen, reshape(live, chosen.shape[0]))  # fused from [B, S] as well
        total = None
        for first, count in mesh.windows(self.waves):
            window = mesh.attrs | {"slots": mesh.placement.slots, "first": first, "count": count}
            rows, counts, place = dispatch(x, slot, wire=self.wire, **window)
            own = [w if self.waves == 1 else slice_axis(w, first, first + count, axis=0) for w in weights]
            (done,) = ACTIVE[-1].emit("grouped_experts", (rows, counts, *own), op.attrs)
            part = combine(done, slot, place, mix, **window)
            total = part if total is None else total + part
        assert total is not None
        return (cast(total, x.dtype),)
