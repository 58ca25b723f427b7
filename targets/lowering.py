"""From a function to a plan function: what every target does alike. A target says which kernels an op becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dsv4c.ir.core import Function, IRError, Module, Op, Value
from dsv4c.ir.dims import Extent, Shape, product
from dsv4c.ir.kernel_ops.define import aliases
from dsv4c.ir.registry import lookup
from dsv4c.ir.types import BITS, TensorType, children, is_linear
from dsv4c.plan import CallSite, Launch, Plan, PlanFunction, Ref, RefTree, View

from .slots import assign_slots

STRUCTURAL = frozenset({"get", "bundle", "call"})


class Keeping(Protocol):
    """Which values of a function have memory; ``producers`` maps the id of a value to the op that defines it."""

    producers: dict[int, Op]

    def kept(self, value: Value) -> bool:
        """Whether the value has memory of its own."""

    def add_kept(self, op: Op) -> None:
        """Register an op that lowering itself adds; its result is kept."""


def plan_functions(
    module: Module, entries: tuple[str, ...], lowering: Callable[[Function, Plan], FunctionLowering]
) -> Plan:
    """The plan of every function that the entries reach."""
    plan = Plan(entries=entries)
    wanted = module.reachable(*entries)
    for name, function in list(module.functions.items()):  # lowering adds weights functions
        if name in wanted:
            _refuse_collectives(function)
            plan.functions[name] = lowering(function, plan).run()
    return plan


def _refuse_collectives(function: Function) -> None:
    for op in function.ops:
        if lookup(op.name).exchange:
            what = f"{op.name} needs {op.attrs['ranks']} ranks, this target runs one; compile the unpartitioned module"
            raise IRError(f"{function.name}:{op.loc}", what, op)


class FunctionLowering:
    """Lowers one function, op by op; a target adds ``compute``, the launches of an op that computes."""

    def __init__(self, module: Module, function: Function, plan: Plan, keeping: Keeping) -> None:
        self.module, self.function, self.plan, self.keeping = module, function, plan, keeping
        self.steps: list[Launch | CallSite] = []
        self.temps: dict[str, tuple[Extent, str]] = {}
        self.places: dict[int, RefTree] = {id(p): Ref("param", p.name) for p in function.params}
        self.loc = ""
        self._alive: list[Value] = []  # places are filed under ids, so no value of a template's own may die

    def run(self) -> PlanFunction:
        """All steps, then memory."""
        self._reserve_results()
        for op in self.function.ops:
            self.loc = op.loc
            self.lower_op(op)
        results = tuple(self._result(i, r) for i, r in enumerate(self.function.results))
        return self._planned(self.steps, results)

    def _planned(self, steps: list[Launch | CallSite], results: tuple[RefTree, ...]) -> PlanFunction:
        sizes = {n: (c * BITS[d] // 8, c, d) for n, (c, d) in self.temps.items()}
        buffers, slots = assign_slots(steps, sizes)
        f = self.function
        return PlanFunction(f.name, f.symbols, tuple(steps), buffers, slots, results, f.requires)

    def _reserve_results(self) -> None:
        """A tensor result is written straight into the memory that the caller provides."""
        for number, result in enumerate(self.function.results):
            op = self.keeping.producers.get(id(result))
            plain = isinstance(result.type, TensorType) and not is_linear(result.type)
            if plain and op is not None and op.name != "get" and id(result) not in self.places:
                self.places[id(result)] = Ref("result", str(number))

    def _result(self, number: int, result: Value) -> RefTree:
        place = self.places[id(result)]
        if is_linear(result.type):
            return place
        if not isinstance(result.type, TensorType):
            raise IRError(self.function.name, f"result {number} is a bundle of plain tensors; return its tensors")
        mine = Ref("result", str(number))
        if place != mine:
            self.copy(result, mine)
        return mine

    def lower_op(self, op: Op) -> None:
        """Launch what one op needs."""
        if op.name == "get":
            tree = self.places[id(op.operands[0])]
            part = str(op.attrs["part"])
            self.places[id(op.results[0])] = tree[part] if isinstance(tree, dict) else tree.part(part)
        elif op.name == "bundle":
            names = [name for name, _ in children(op.results[0].type)]
            self.places[id(op.results[0])] = dict(zip(names, map(self._tree, op.operands), strict=True))
        elif op.name == "call":
            self._call(op)
        else:
            self.compute(op)

    def compute(self, op: Op) -> None:
        """Launch what an op that computes needs."""
        raise NotImplementedError

    def copy(self, value: Value, out: Ref) -> None:
        """Launch a copy of a kept value into ``out``."""
        raise NotImplementedError

    def emit(self, name: str, operands: tuple[Value, ...], attrs: Mapping[str, Any], type_: TensorType) -> Value:
        """A new kept value, made by one op that the function does not have."""
        out = Value(type_)
        op = Op(name, operands, attrs, (out,), self.loc)
        self.keeping.add_kept(op)
        self.lower_op(op)
        return out

    def _tree(self, value: Value) -> RefTree:
        return self.places[id(value)] if id(value) in self.places else self.view(value).ref

    def _call(self, op: Op) -> None:
        callee = self.plan.functions[str(op.attrs["callee"])]
        params = self.module.functions[callee.name].params
        args = {p.name: self._tree(o) for p, o in zip(params, op.operands, strict=True)}
        results = tuple(
            self._receive(tree, value, args) for tree, value in zip(callee.results, op.results, strict=True)
        )
        pairs: Any = op.attrs["dims"]
        self.steps.append(CallSite(callee.name, args, results, dict(pairs), op.loc))

    def _receive(self, tree: RefTree, value: Value, args: Mapping[str, RefTree]) -> RefTree:
        """Where a callee's result is, seen from here: memory of ours, or the state it updated."""
        if isinstance(tree, dict) or tree.kind == "param":
            self.places[id(value)] = _in_caller(tree, args)
            return self.places[id(value)]
        return self.place(value)

    def place(self, value: Value) -> Ref:
        """The memory of a kept value, made when it has none."""
        if id(value) not in self.places:
            self._alive.append(value)
            self.places[id(value)] = self.temp(product(value.shape), value.dtype)
        ref = self.places[id(value)]
        assert isinstance(ref, Ref)
        return ref

    def alias(self, op: Op) -> None:
        """Results of a kernel op that are its operands, updated in place, lie where those do."""
        for result, operand in aliases(op).items():
            self.places[id(op.results[result])] = self.place(op.operands[operand])

    def temp(self, count: Extent, dtype: str) -> Ref:
        """New temporary memory."""
        name = f"t{len(self.temps)}"
        self.temps[name] = (count, dtype)
        return Ref("temp", name)

    def view(self, value: Value, shape: Shape | None = None) -> View:
        """A value in memory under a shape; a reshape of kept memory is that memory."""
        shape = value.shape if shape is None else shape
        if not self.keeping.kept(value):
            op = self.keeping.producers[id(value)]
            assert op.name == "reshape", f"{op.name} should have been kept"
            return self.view(op.operands[0], shape)
        return View(self.place(value), shape or (1,), value.dtype)

    def launch(self, kernel: str, args: tuple[View, ...], sizes: tuple[Extent, ...]) -> None:
        """Launch a template kernel: of its sizes, those that are not numbers are passed as scalars."""
        self.steps.append(Launch(kernel, args, tuple(s for s in sizes if not isinstance(s, int)), self.loc))


def _in_caller(tree: RefTree, args: Mapping[str, RefTree]) -> RefTree:
    if isinstance(tree, dict):
        return {name: _in_caller(part, args) for name, part in tree.items()}
    bound = args[tree.base]
    for part in tree.path.split(".") if tree.path else ():
        bound = bound[part] if isinstance(bound, dict) else bound.part(part)
    return bound
