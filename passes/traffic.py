"""What a partitioned module sends over links and keeps in buffers, summed from the costs of its ops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dsv4c.ir.core import Function, Module, Op
from dsv4c.ir.dims import Extent, product, substitute, symbol
from dsv4c.ir.registry import lookup
from dsv4c.ir.types import BITS, leaves

from .sharding import Mesh


def link_bytes(module: Module, name: str) -> Extent:
    """Bytes that one rank sends in one run of a function and those it calls, over the symbols of the function.

    As ``Cost.link``: an even load is assumed, and pairs that stay on their rank count like all others (§13.3).
    """
    return _link_bytes(module, name, {})


def _link_bytes(module: Module, name: str, known: dict[str, Extent]) -> Extent:
    if name not in known:
        total: Extent = 0
        for op, dims in _ops(module.functions[name]):
            if op.name == "call":
                total = total + substitute(_link_bytes(module, str(op.attrs["callee"]), known), dims)
            elif lookup(op.name).link:
                operands, results = [o.tensor for o in op.operands], [r.tensor for r in op.results]
                total = total + lookup(op.name).cost(operands, results, op.attrs).link
        known[name] = total
    return known[name]


def _ops(function: Function) -> Iterator[tuple[Op, Mapping[str, Extent]]]:
    """Ops, and the extents of the callee's symbols where an op is a call."""
    for op in function.ops:
        pairs: Any = op.attrs["dims"] if op.name == "call" else ()
        yield op, dict(pairs)


def notes(module: Module, mesh: Mesh, loads: tuple[float, ...]) -> list[str]:
    """What the pass has to say aloud: placement, bytes on links, and what the worst case costs in memory."""
    placement = mesh.placement
    empty = sum(expert < 0 for held in placement.held for expert in held)
    out = [
        f"B is the number of sequences of one rank, {mesh.ranks} ranks on {mesh.name}; where ranks do not divide them, "
        "add sequences without new tokens",
        f"a rank holds {placement.slots} experts" + (f"; {empty} slots are empty" if empty else ""),
    ]
    if loads:
        share = [part * mesh.ranks / (sum(loads) or 1.0) for part in placement.expected(loads)]
        out.append(f"expected load of the ranks, 1 = equal: {', '.join(f'{part:.3f}' for part in share)}")
    entry = module.functions[module.entry]
    out.append(f"{entry.name}: one rank sends {link_bytes(module, entry.name)} bytes")
    everyone = mesh.ranks * symbol("B")
    if any(t.state and everyone in t.shape for p in entry.params for _, t in leaves(p.type)):
        out.append(f"attention is split over heads: a rank keeps the state of all {everyone} sequences")
    for function in module.functions.values():
        dispatched = [op for op in function.ops if op.name == "dispatch"]
        if not dispatched:
            continue
        rows = dispatched[0].results[0].tensor
        size = product(rows.shape) * (BITS[rows.dtype] // 8)
        out.append(f"{function.name}: one rank sends {link_bytes(module, function.name)} bytes")
        out.append(
            f"{function.name}: no pair is ever dropped, so the rows that a rank receives have room for all pairs of "
            f"all ranks: {size} bytes, twice (before and after the experts), {mesh.ranks} times the even load; work "
            f"stops at the counts" + (f"; with {len(dispatched)} waves in flight, as often" if dispatched[1:] else "")
        )
    return out
