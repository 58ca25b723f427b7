"""From a function of core ops to a plan function: which kernels run on which memory, in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dsv4c.ir.core import Function, IRError, Module, Op, Value, located
from dsv4c.ir.dims import Extent, Shape, product
from dsv4c.ir.kernel_ops.define import aliases
from dsv4c.ir.registry import lookup
from dsv4c.ir.types import BITS, COMPUTE_FLOATS, TensorType, children, is_linear
from dsv4c.plan import CallSite, Launch, Plan, PlanFunction, Ref, RefTree, View

from .fusion import STRUCTURAL, Fusion
from .joining import Marked, flat, groups, joined, key
from .loops import Nest
from .memory import assign_slots
from .scalar import DTYPE
from .table import KernelTable

Templates = Mapping[str, Callable[["FunctionLowering", Op], None]]


def lower(module: Module, entries: tuple[str, ...], table: KernelTable, templates: Templates) -> Plan:
    """The plan of every function that the entries reach; kernels are added to ``table``.

    ``templates`` lowers the ops that have kernels of their own, such as matmul; all others become loop nests.
    """
    plan = Plan(entries=entries)
    wanted = module.reachable(*entries)
    for name, function in list(module.functions.items()):  # lowering adds weights functions
        if name in wanted:
            _refuse_collectives(function)
            plan.functions[name] = FunctionLowering(module, function, plan, table, templates).run()
    table.keep({s.kernel for f in plan.functions.values() for s in f.steps if isinstance(s, Launch)})
    return plan


def _refuse_collectives(function: Function) -> None:
    for op in function.ops:
        if lookup(op.name).exchange:
            what = f"{op.name} needs {op.attrs['ranks']} ranks, this target runs one; compile the unpartitioned module"
            raise IRError(f"{function.name}:{op.loc}", what, op)


class FunctionLowering:
    """Lowers one function, op by op."""

    def __init__(
        self, module: Module, function: Function, plan: Plan, table: KernelTable, templates: Templates
    ) -> None:
        self.module, self.function, self.plan, self.table, self.templates = module, function, plan, table, templates
        self.fusion = Fusion(function)
        self.steps: list[Launch | CallSite] = []
        self.temps: dict[str, tuple[Extent, str]] = {}
        self.places: dict[int, RefTree] = {id(p): Ref("param", p.name) for p in function.params}
        self.loc = ""
        self._marked: list[Marked] = []
        self._alive: list[Value] = []  # places are filed under ids, so no value of a template's own may die

    def run(self) -> PlanFunction:
        """All steps, then memory."""
        self._reserve_results()
        for op in self.function.ops:
            self.loc = op.loc
            first, temps = len(self.steps), len(self.temps)
            self.lower_op(op)
            self._mark(first, temps, [self.places[id(r)] for r in op.results if id(r) in self.places])
        first = len(self.steps)
        results = tuple(self._result(i, r) for i, r in enumerate(self.function.results))
        self._mark(first, len(self.temps), list(results))
        steps = self._joined()
        buffers, slots = assign_slots(steps, {n: (c * BITS[d] // 8, c, d) for n, (c, d) in self.temps.items()})
        return PlanFunction(
            self.function.name,
            self.function.symbols,
            tuple(steps),
            buffers,
            slots,
            results,
            self.function.requires,
        )

    def _mark(self, first: int, temps: int, made: list[RefTree]) -> None:
        """Note what the steps from ``first`` on may write: the results at hand and temporaries that are new."""
        new = [Ref("temp", name) for name in list(self.temps)[temps:]]
        writes = frozenset(key(ref) for tree in (*made, *new) for ref in flat(tree))
        self._marked += [Marked(step, writes) for step in self.steps[first:]]

    def _joined(self) -> list[Launch | CallSite]:
        """The steps, row kernels joined."""
        out: list[Launch | CallSite] = []
        for members in groups(self._marked, self.table):
            out.append(members[0].step if len(members) == 1 else joined(members, self.table))
        return out

    def _reserve_results(self) -> None:
        """A tensor result is written straight into the memory that the caller provides."""
        for number, result in enumerate(self.function.results):
            op = self.fusion.producers.get(id(result))
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
        if op.name not in STRUCTURAL:
            self._check_dtypes(op)
        if op.name == "get":
            tree = self.places[id(op.operands[0])]
            part = str(op.attrs["part"])
            self.places[id(op.results[0])] = tree[part] if isinstance(tree, dict) else tree.part(part)
        elif op.name == "bundle":
            names = [name for name, _ in children(op.results[0].type)]
            self.places[id(op.results[0])] = dict(zip(names, map(self._tree, op.operands), strict=True))
        elif op.name == "call":
            self._call(op)
        elif op.name == "slice" and id(op.operands[0]) in self.fusion.cuts:
            pass  # the product wrote it where it is
        elif op.name in self.templates:
            self.templates[op.name](self, op)
        elif self.fusion.kept(op.results[0]):
            self.nest(op, self.place(op.results[0]))

    def _check_dtypes(self, op: Op) -> None:
        for value in (*op.operands, *op.results):
            if value.dtype not in DTYPE:
                raise IRError(
                    located(self.function.name, op.loc),
                    f"{op.name}: {value.dtype} is for storage only; "
                    f"cast to {', '.join(COMPUTE_FLOATS)} in a weights function",
                    op,
                )

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
        if not self.fusion.kept(value):
            op = self.fusion.producer(value)
            assert op.name == "reshape", f"{op.name} should have been kept"
            return self.view(op.operands[0], shape)
        return View(self.place(value), shape or (1,), value.dtype)

    def nest(self, op: Op, out: Ref) -> None:
        """Launch the loop nest of an op into ``out``."""
        nest = Nest(self.fusion, op)
        kernel = self.table.get(_stem(op), nest.text, nest.build)
        args = [View(self.view(value).ref, shape, value.dtype) for value, shape in nest.inputs]
        args.append(View(out, nest.out.shape or (1,), nest.out.dtype))
        self.steps.append(Launch(kernel, tuple(args), tuple(nest.scalars), self.loc))

    def copy(self, value: Value, out: Ref) -> None:
        """Launch a copy of a kept value into ``out``."""
        op = Op("reshape", (value,), {"shape": value.shape}, (Value(value.type),), self.loc)
        self.fusion.add_kept(op)
        self.nest(op, out)

    def materialise(self, name: str, value: Value, attrs: Mapping[str, Any], type_: TensorType) -> Value:
        """A new kept value made from ``value`` by one op that the function does not have."""
        return self.emit(name, (value,), attrs, type_)

    def emit(self, name: str, operands: tuple[Value, ...], attrs: Mapping[str, Any], type_: TensorType) -> Value:
        """A new kept value, made by one op that the function does not have."""
        out = Value(type_)
        op = Op(name, operands, attrs, (out,), self.loc)
        self.fusion.add_kept(op)
        self.lower_op(op)
        return out

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


def _stem(op: Op) -> str:
    return op.name if op.name in ("sum", "max", "concat") else "map"
