"""The smallest module on which a pass still fails: cut functions, results and ops, then shrink the dimensions.

An op is cut by making its results parameters. After every cut the pass must still fail in the same way. The order of
the attempts is fixed, so that the same input gives the same module.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from dsv4c.errors import UserError
from dsv4c.ir.builder import Builder
from dsv4c.ir.core import Attr, Function, IRError, Module, Op, Value
from dsv4c.ir.dims import Extent, substitute, symbols
from dsv4c.ir.types import TensorType, Type, map_tensors
from dsv4c.ir.verify import verify
from dsv4c.passes.base import Pass
from dsv4c.passes.rewriting import live, ordered, resolve, substituted

from .passes import Broken, PassError, run_pass
from .proof import Prover

Fails = Callable[[Module], bool]
ROUNDS = 4  # of all kinds of cuts; a module that still shrinks then is small enough
SHAPED = ("shape", "start", "stop", "value")  # attributes that hold extents


def how_it_fails(module: Module, step: Pass, tolerance: float | None = None) -> Broken | None:
    """What a pass does wrong on a module; None when nothing, or when the module itself is not valid."""
    try:
        verify(module)
        run_pass(module, step, Prover(tolerance=tolerance))
    except PassError as error:
        return error.broken
    except (IRError, KeyError):
        return None
    return None


def reduce_module(module: Module, step: Pass, tolerance: float | None = None) -> tuple[Module, Broken]:
    """The smallest module that was found, and how the pass fails on it. UserError when it does not fail at all."""
    first = how_it_fails(module, step, tolerance)
    if first is None:
        fix = "nothing to reduce; a smaller --tol, or passes before it with -p, may make it fail"
        raise UserError("the pass does not fail on this module", where=step.name, fix=fix)

    def fails(candidate: Module) -> bool:
        broken = how_it_fails(candidate, step, tolerance)
        return broken is not None and _kind(broken) == _kind(first)

    module = _one_function(module, fails)
    for _ in range(ROUNDS):
        before = module
        for cut in (_truncate, _cut_ops, _bypass, _earlier_results, _bind, _shrink):
            module = cut(module, fails)
        if module is before:
            break
    last = how_it_fails(module, step, tolerance)
    assert last is not None
    return module, last


def _kind(broken: Broken) -> tuple[str, str]:
    """Two failures are the same when they are of one kind; errors, when they are of one class."""
    return broken.kind, broken.what.partition(":")[0] if broken.kind == "raises" else ""


def _one_function(module: Module, fails: Fails) -> Module:
    """The first function, callees before callers, that fails on its own; the module as it is if none does."""
    for name, function in module.functions.items():
        if function.kind == "block":
            alone = _closure(module, name)
            if fails(alone):
                return alone
    return module


def _closure(module: Module, entry: str) -> Module:
    """The entry and the functions that it calls, directly or not."""
    wanted, todo = {entry}, [entry]
    while todo:
        new = set(module.functions[todo.pop()].callees()) - wanted
        wanted |= new
        todo += new
    return Module(module.name, {n: f for n, f in module.functions.items() if n in wanted}, entry)


def _with(module: Module, function: Function) -> Module:
    """The module with another body of its entry, without what that does not call, and without unused parameters."""
    used = {id(o) for op in function.ops for o in op.operands} | {id(r) for r in function.results}
    function = replace(function, params=tuple(p for p in function.params if id(p) in used))
    known = set(function.symbols)
    requires = tuple((a, b) for a, b in function.requires if {*symbols(a), *symbols(b)} <= known)
    function = replace(function, requires=requires)
    return _closure(replace(module, functions={**module.functions, function.name: function}), function.name)


def _entry(module: Module) -> Function:
    return module.functions[module.entry]


def _truncate(module: Module, fails: Fails) -> Module:
    """Return the results of the earliest op that shows the failure, found by halving; else as few results as do."""
    function = _entry(module)

    def until(count: int) -> Module:
        results = function.ops[count - 1].results
        return _with(module, replace(function, ops=tuple(live(function.ops[:count], results)), results=results))

    low, high = 0, len(function.ops)
    if not high:
        return module
    if not fails(until(high)):
        return _fewer_results(module, fails)
    while high - low > 1:  # `high` ops always fail; between them it need not be monotonic
        middle = (low + high) // 2
        low, high = (low, middle) if fails(until(middle)) else (middle, high)
    small = until(high)
    return small if _size(small) < _size(module) else _fewer_results(module, fails)


def _fewer_results(module: Module, fails: Fails) -> Module:
    function = _entry(module)
    for result in function.results if len(function.results) > 1 else ():
        small = _with(module, replace(function, ops=tuple(live(function.ops, [result])), results=(result,)))
        if fails(small):
            return small
    return module


def _earlier_results(module: Module, fails: Fails) -> Module:
    """Return what a result is made of in its place."""
    place = 0
    while place < len(_entry(module).results):
        function = _entry(module)
        made = {id(r): op for op in function.ops for r in op.results}
        op = made.get(id(function.results[place]))
        small = next((m for m in _with_operands(module, place, op) if fails(m)), None) if op else None
        module, place = (small, place) if small else (module, place + 1)
    return module


def _with_operands(module: Module, place: int, op: Op) -> Iterator[Module]:
    """The module with each operand of an op as result number ``place``."""
    function = _entry(module)
    for operand in op.operands:
        results = (*function.results[:place], operand, *function.results[place + 1 :])
        yield _with(module, replace(function, ops=tuple(live(function.ops, results)), results=results))


def _size(module: Module) -> tuple[int, int, int]:
    functions = module.functions.values()
    return sum(len(f.ops) for f in functions), sum(len(f.params) for f in functions), len(_entry(module).results)


def _cut_ops(module: Module, fails: Fails) -> Module:
    """Cut runs of ops, long ones first; of what is left each op was needed."""
    length = max(len(_entry(module).ops) // 2, 1)
    while True:
        start = 0
        while start < len(_entry(module).ops):
            small = _lifted(module, start, start + length)
            if _size(small) < _size(module) and fails(small):
                module = small
            else:
                start += length
        if length == 1:
            return module
        length = max(length // 2, 1)


def _lifted(module: Module, start: int, stop: int) -> Module:
    """The module with the results of some ops of the entry as parameters of their own."""
    function = _entry(module)
    taken = {p.name for p in function.params}
    fresh, instead = [], {}
    for op in function.ops[start:stop]:
        for result in op.results:
            name = next(n for n in (f"p{i}" for i in range(len(taken) + 1)) if n not in taken)
            taken.add(name)
            fresh.append(Value(result.type, name))
            instead[id(result)] = fresh[-1]
    return _renamed(module, (*function.params, *fresh), (*function.ops[:start], *function.ops[stop:]), instead)


def _renamed(module: Module, params: tuple[Value, ...], ops: tuple[Op, ...], instead: Mapping[int, Value]) -> Module:
    function = _entry(module)
    results = tuple(resolve(r, instead) for r in function.results)
    kept = live([substituted(op, instead) for op in ops], results)
    return _with(module, replace(function, params=params, ops=ordered(kept), results=results))


def _bypass(module: Module, fails: Fails) -> Module:
    """Use an operand in place of an op that gives the same type."""
    position = 0
    while position < len(_entry(module).ops):
        function = _entry(module)
        op = function.ops[position]
        others = [o for o in op.operands if len(op.results) == 1 and o.type == op.results[0].type]
        ops = (*function.ops[:position], *function.ops[position + 1 :])
        smaller = (_renamed(module, function.params, ops, {id(op.results[0]): other}) for other in others)
        small = next((m for m in smaller if fails(m)), None)
        module, position = (small, position) if small else (module, position + 1)
    return module


def _bind(module: Module, fails: Fails) -> Module:
    """Numbers for the symbols, the smallest that still fail."""
    for name in _entry(module).symbols:
        for size in (1, 2, 4):
            small = _replayed(module, lambda e, n=name, s=size: substitute(e, {n: s}))  # type: ignore[misc]
            if small is not None and fails(small):
                module = small
                break
    return module


def _shrink(module: Module, fails: Fails) -> Module:
    """Smaller numbers in place of each extent, wherever it occurs."""
    for size in sorted(_numbers(_entry(module)), reverse=True):
        for smaller in (1, 2, 4, size // 2):
            if smaller >= size:
                continue
            small = _replayed(module, lambda e, n=size, s=smaller: s if e == n else e)  # type: ignore[misc]
            if small is not None and fails(small):
                module = small
                break
    return module


def _numbers(function: Function) -> set[int]:
    """Extents that are numbers, of the tensors among the parameters."""
    types = [p.type for p in function.params if isinstance(p.type, TensorType)]
    return {e for t in types for e in t.shape if isinstance(e, int) and e > 1}


def _replayed(module: Module, change: Callable[[Extent], Extent]) -> Module | None:
    """The entry written again with other extents; None where its ops do not allow them, or where it calls."""
    function = _entry(module)
    if any(op.name == "call" for op in function.ops):
        return None

    def changed(type_: Type) -> Type:
        return map_tensors(type_, lambda t: replace(t, shape=tuple(map(change, t.shape))))

    scratch = Module(module.name, {}, module.entry)
    try:
        with Builder(scratch, function.name, **{p.name: changed(p.type) for p in function.params}) as b:
            values = {id(old): new for old, new in zip(function.params, b.params, strict=True)}
            for op in function.ops:
                with b.scope(op.loc):
                    new = b.emit(op.name, tuple(values[id(o)] for o in op.operands), _attrs(op, change))
                values |= {id(old): value for old, value in zip(op.results, new, strict=True)}
            b.done(*(values[id(r)] for r in function.results))
    except (IRError, ValueError, AssertionError):
        return None
    return scratch


def _attrs(op: Op, change: Callable[[Extent], Extent]) -> dict[str, Attr]:
    out: dict[str, Attr] = {}
    for name, value in op.attrs.items():
        out[name] = value
        if name in SHAPED:
            whole: Any = value
            out[name] = tuple(map(change, whole)) if isinstance(value, tuple) else change(whole)
    if op.name == "const":
        data: Any = op.attrs["data"]
        out["data"] = data[: _count(out["shape"])] if len(data) > 1 else data
    return out


def _count(shape: Any) -> int:
    total = 1
    for extent in shape:
        total *= int(str(extent))
    return total
