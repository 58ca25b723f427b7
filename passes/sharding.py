"""What a partitioned module has beside its blocks: where a token's pairs go, and what weights a rank holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

from dsv4c.ir.builder import (
    Builder,
    broadcast_to,
    call,
    cast,
    const,
    cumsum,
    equal,
    gather,
    iota,
    reshape,
    total,
    where,
)
from dsv4c.ir.core import Attr, Function, IRError, Module, Op, Value
from dsv4c.ir.dims import product, symbol
from dsv4c.ir.kernel_ops.collective import rank
from dsv4c.ir.types import Bundle, TensorType

from .placement import Placement

HELD = "held_experts"  # weights function (rank) -> the expert in each of its slots, -1 for none
SHARD = "shard_experts_"  # weights functions (w, rank) -> the part of w that the rank holds
PLACING = "place_pairs"  # function (chosen, live) -> the slot of each pair


@dataclass(frozen=True)
class Mesh:
    """An axis of ranks, and the experts that each holds."""

    name: str
    ranks: int
    placement: Placement

    @property
    def attrs(self) -> dict[str, Attr]:
        """What every collective over the axis carries."""
        return {"mesh": self.name, "ranks": self.ranks}

    def windows(self, waves: int) -> Iterator[tuple[int, int]]:
        """(first slot, how many) of each wave: a rank's slots in ``waves`` groups, as equal as can be."""
        stops = [self.placement.slots * wave // waves for wave in range(waves + 1)]
        return ((start, stop - start) for start, stop in pairwise(stops))


def expert_bundle(function: Function, op: Op) -> Bundle:
    """The record that the weights of an ``experts`` op are parts of."""
    makers = {id(r): maker for maker in function.ops for r in maker.results}
    found = [makers[id(w)] for w in op.operands[4:] if id(w) in makers]
    records = {maker.operands[0].type for maker in found if maker.name == "get"}
    if len(found) != 3 or len(records) != 1 or not isinstance(record := records.pop(), Bundle):
        what = "the weights of experts are not parts of one bundle, as the models have them"
        raise IRError(f"{function.name}:{op.loc}", what, op)
    return record


def shard_bundle(record: Bundle, slots: int) -> Bundle:
    """The same record for the experts of one rank: the first axis of every tensor has ``slots``."""

    def part(tensor: TensorType) -> TensorType:
        return replace(tensor, shape=(slots, *tensor.shape[1:]))

    return replace(record, fields=tuple((name, part(t)) for name, t in _tensors(record)))


def _tensors(record: Bundle) -> Iterator[tuple[str, TensorType]]:
    for name, type_ in record.fields:
        if not isinstance(type_, TensorType):
            raise IRError(record.name, f"{name} is a {type_}; the record of the experts holds tensors only")
        yield name, type_


def add_shards(module: Module, mesh: Mesh, records: Iterable[Bundle]) -> None:
    """Add the weights functions that cut the tensors of the experts: one for each dtype and number of axes."""
    placement = mesh.placement
    with Builder(module, HELD, rank=TensorType((), "i32")) as b:
        numbers = tuple(expert for held in placement.held for expert in held)
        table = const(numbers, "i32", (placement.ranks, placement.slots))
        held = b.done(reshape(gather(table, b.params[0]), placement.slots), kind="weights")
    for tensor in dict.fromkeys(t for record in records for _, t in _tensors(record)):
        name = f"{SHARD}{tensor.dtype}_{tensor.rank}d"
        if name in module.functions:
            continue
        whole = replace(tensor, shape=(tensor.shape[0], *(symbol(f"N{i}") for i in range(1, tensor.rank))))
        with Builder(module, name, w=whole, rank=TensorType((), "i32")) as b:
            w, number = b.params
            b.done(gather(w, call(held, number)[0]), kind="weights")


def add_placing(module: Module, mesh: Mesh, op: Op) -> Function:
    """The function from the chosen experts ``[tokens, k]`` and live tokens of an ``experts`` op to slots.

    A pair that reaches no expert gets the number after the last slot. The pairs of an expert with copies take turns
    among them; a rank begins at the copy of its own number, so that single tokens on all ranks spread too.
    """
    chosen_type, experts = op.operands[1].tensor, op.operands[4].shape[0]
    live_type = TensorType(chosen_type.shape[:1], "bool")
    assert isinstance(experts, int)
    types = {"chosen": chosen_type, "live": live_type}
    made = [f for f in module.functions.values() if f.name.startswith(PLACING)]
    same = [f for f in made if {p.name: p.type for p in f.params} == types]
    if same:
        return same[0]
    homes = mesh.placement.homes(experts)
    width = max(map(len, homes))
    with Builder(module, f"{PLACING}{len(made) + 1}" if made else PLACING, **types) as b:
        chosen, live = b.params
        known = broadcast_to(reshape(live, live.shape[0], 1), *chosen.shape) & (chosen >= 0) & (chosen < experts)
        expert = at = where(known, chosen, 0)
        if width > 1:
            copies = gather(const(tuple(map(len, homes)), "i32"), expert)
            at = expert * width + (_earlier(chosen, known, experts) + rank(mesh.name, mesh.ranks)) % copies
        table = const(tuple(slot for own in homes for slot in (*own, *[-1] * (width - len(own)))), "i32")
        return b.done(where(known, gather(table, at), mesh.ranks * mesh.placement.slots))


def _earlier(chosen: Value, known: Value, experts: int) -> Value:
    """How many pairs before this one, on this rank, go to the same expert; i32 ``[tokens, k]``."""
    pairs = product(chosen.shape)
    expert = reshape(where(known, chosen, experts), pairs, 1)
    hit = cast(equal(expert, reshape(iota(experts), 1, experts)), "i32")
    return reshape(total(hit * (cumsum(hit, 0) - 1)), *chosen.shape)
