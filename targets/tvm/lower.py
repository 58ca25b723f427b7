"""From a function of core ops to a plan function: which kernels run on which memory, in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dsv4c.ir.core import Function, IRError, Module, Op, Value, located
from dsv4c.ir.types import COMPUTE_FLOATS
from dsv4c.plan import CallSite, Launch, Plan, PlanFunction, Ref, RefTree, View

from .. import lowering
from ..lowering import STRUCTURAL, plan_functions
from .fusion import Fusion
from .joining import Marked, flat, groups, joined, key
from .loops import Nest
from .scalar import DTYPE
from .table import KernelTable

Templates = Mapping[str, Callable[["FunctionLowering", Op], None]]


def lower(module: Module, entries: tuple[str, ...], table: KernelTable, templates: Templates) -> Plan:
    """The plan of every function that the entries reach; kernels are added to ``table``.

    ``templates`` lowers the ops that have kernels of their own, such as matmul; all others become loop nests.
    """
    plan = plan_functions(module, entries, lambda f, plan: FunctionLowering(module, f, plan, table, templates))
    table.keep({s.kernel for f in plan.functions.values() for s in f.steps if isinstance(s, Launch)})
    return plan


class FunctionLowering(lowering.FunctionLowering):
    """Lowers one function, op by op; row kernels that follow each other are joined."""

    def __init__(
        self, module: Module, function: Function, plan: Plan, table: KernelTable, templates: Templates
    ) -> None:
        self.fusion = Fusion(function)
        super().__init__(module, function, plan, self.fusion)
        self.table, self.templates = table, templates
        self._marked: list[Marked] = []

    def run(self) -> PlanFunction:
        """All steps, joined; then memory."""
        self._reserve_results()
        for op in self.function.ops:
            self.loc = op.loc
            first, temps = len(self.steps), len(self.temps)
            self.lower_op(op)
            self._mark(first, temps, [self.places[id(r)] for r in op.results if id(r) in self.places])
        first = len(self.steps)
        results = tuple(self._result(i, r) for i, r in enumerate(self.function.results))
        self._mark(first, len(self.temps), list(results))
        return self._planned(self._joined(), results)

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

    def lower_op(self, op: Op) -> None:
        """Launch what one op needs."""
        if op.name not in STRUCTURAL:
            self._check_dtypes(op)
        super().lower_op(op)

    def compute(self, op: Op) -> None:
        """A template's launches, or a loop nest for a value that is kept."""
        if op.name == "slice" and id(op.operands[0]) in self.fusion.cuts:
            return  # the product wrote it where it is
        if op.name in self.templates:
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


def _stem(op: Op) -> str:
    return op.name if op.name in ("sum", "max", "concat") else "map"
