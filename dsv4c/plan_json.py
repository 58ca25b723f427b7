"""The plan as JSON and back: ``plan.json`` of an artefact. References are strings such as ``param:w:attn.q_a@form``."""

from __future__ import annotations

from typing import Any

from dsv4c.ir.dims import Extent, parse_extent
from dsv4c.plan import Buffer, CallSite, Derived, Launch, Plan, PlanFunction, Ref, RefTree, View

Json = Any


def plan_to_json(plan: Plan) -> Json:
    """A plan as lists and dicts in a fixed order."""
    return {
        "entries": list(plan.entries),
        "functions": [_function(f) for f in plan.functions.values()],
        "derived": {name: [d.function, list(d.leaves)] for name, d in plan.derived.items()},
    }


def plan_from_json(data: Json) -> Plan:
    """The inverse of ``plan_to_json``; KeyError or ValueError when the data is not a plan."""
    functions = [_read_function(f) for f in data["functions"]]
    derived = {name: Derived(function, tuple(leaves)) for name, (function, leaves) in data["derived"].items()}
    return Plan({f.name: f for f in functions}, tuple(data["entries"]), derived)


def _extent(x: Extent) -> Json:
    return x if isinstance(x, int) else str(x)


def _read_extent(x: Json) -> Extent:
    return x if isinstance(x, int) else parse_extent(x)


def _ref(ref: Ref) -> str:
    form = f"@{ref.form}" if ref.form else ""
    return f"{ref.kind}:{ref.base}:{ref.path}{form}" + (f"#{ref.offset}" if ref.offset else "")


def _read_ref(text: str) -> Ref:
    kind, base, rest = text.split(":")
    rest, _, offset = rest.partition("#")
    path, _, form = rest.partition("@")
    return Ref(kind, base, path, form, parse_extent(offset or "0"))


def _tree(tree: RefTree) -> Json:
    return _ref(tree) if isinstance(tree, Ref) else {name: _tree(part) for name, part in tree.items()}


def _read_tree(data: Json) -> RefTree:
    return _read_ref(data) if isinstance(data, str) else {name: _read_tree(part) for name, part in data.items()}


def _step(step: Launch | CallSite) -> Json:
    if isinstance(step, Launch):
        args = [[_ref(v.ref), v.dtype, [_extent(x) for x in v.shape]] for v in step.args]
        return {"launch": step.kernel, "args": args, "scalars": [_extent(s) for s in step.scalars], "loc": step.loc}
    return {
        "call": step.callee,
        "args": {name: _tree(tree) for name, tree in step.args.items()},
        "results": [_tree(tree) for tree in step.results],
        "dims": {name: _extent(x) for name, x in step.dims.items()},
        "loc": step.loc,
    }


def _read_step(data: Json) -> Launch | CallSite:
    if "launch" in data:
        views = tuple(View(_read_ref(r), tuple(map(_read_extent, shape)), dtype) for r, dtype, shape in data["args"])
        return Launch(data["launch"], views, tuple(map(_read_extent, data["scalars"])), data["loc"])
    return CallSite(
        data["call"],
        {name: _read_tree(tree) for name, tree in data["args"].items()},
        tuple(_read_tree(tree) for tree in data["results"]),
        {name: _read_extent(x) for name, x in data["dims"].items()},
        data["loc"],
    )


def _function(f: PlanFunction) -> Json:
    return {
        "name": f.name,
        "symbols": list(f.symbols),
        "requires": [[_extent(a), _extent(b)] for a, b in f.requires],
        "slots": [[_extent(size) for size in sizes] for sizes in f.slots],
        "buffers": {name: [_extent(b.count), b.dtype, b.slot] for name, b in f.buffers.items()},
        "steps": [_step(step) for step in f.steps],
        "results": [_tree(tree) for tree in f.results],
    }


def _read_function(data: Json) -> PlanFunction:
    return PlanFunction(
        data["name"],
        tuple(data["symbols"]),
        tuple(_read_step(s) for s in data["steps"]),
        {name: Buffer(_read_extent(count), dtype, slot) for name, (count, dtype, slot) in data["buffers"].items()},
        tuple(tuple(map(_read_extent, sizes)) for sizes in data["slots"]),
        tuple(_read_tree(tree) for tree in data["results"]),
        tuple((_read_extent(a), _read_extent(b)) for a, b in data["requires"]),
    )
