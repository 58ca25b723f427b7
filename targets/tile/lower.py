"""From a function to a plan function whose launches are tile programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dsv4c.ir.core import Function, IRError, Module, Op, Value, located
from dsv4c.ir.dims import Extent
from dsv4c.ir.types import TensorType
from dsv4c.plan import Launch, Plan, Ref, View

from .. import lowering
from ..lowering import STRUCTURAL, plan_functions
from ..weights import ARITHMETIC, is_weight, weight_ref
from .table import TileTable

Template = Callable[["FunctionLowering", Op], None]
Templates = Mapping[str, Template]


def lower(module: Module, entries: tuple[str, ...], table: TileTable, templates: Templates) -> Plan:
    """The plan of every function that the entries reach; kernels are added to ``table``.

    Raises IRError for an op that has no template.
    """
    return plan_functions(module, entries, lambda f, plan: FunctionLowering(module, f, plan, table, templates))


class Kept:
    """Every value has memory, except views of it and what is computed from weights alone, ahead of time."""

    def __init__(self, function: Function) -> None:
        self.producers: dict[int, Op] = {id(r): op for op in function.ops for r in op.results}
        self._results = {id(r) for r in function.results}
        self._added: list[Op] = []

    def kept(self, value: Value) -> bool:
        """Whether the value has memory of its own."""
        op = self.producers.get(id(value))
        if op is None or op.name in STRUCTURAL or id(value) in self._results:
            return True
        return op.name not in ("reshape", "const") and not (op.name in ARITHMETIC and is_weight(self, value))

    def add_kept(self, op: Op) -> None:
        """Register an op that lowering itself adds."""
        self._added.append(op)  # keeps its values alive: decisions are filed under their id
        self.producers[id(op.results[0])] = op


class FunctionLowering(lowering.FunctionLowering):
    """Lowers one function, op by op, through templates."""

    def __init__(
        self, module: Module, function: Function, plan: Plan, table: TileTable, templates: Templates
    ) -> None:
        super().__init__(module, function, plan, Kept(function))
        self.table, self.templates = table, templates

    def _reserve_results(self) -> None:
        """What a result is a view of is written into the caller's memory as well."""
        super()._reserve_results()
        for result in self.function.results:
            value = result
            while id(value) in self.places and (op := self.keeping.producers.get(id(value))) and op.name == "reshape":
                (source,) = op.operands
                made = self.keeping.producers.get(id(source))
                if id(source) not in self.places and made is not None and made.name not in STRUCTURAL:
                    self.places[id(source)] = self.places[id(value)]
                value = source

    def compute(self, op: Op) -> None:
        """A template's launches."""
        if op.name == "reshape" and self.places.get(id(op.operands[0])) == self.places.get(id(op.results[0])):
            return
        if op.results and not self.keeping.kept(op.results[0]):
            return
        if op.name not in self.templates:
            known = ", ".join(sorted(self.templates))
            what = f"{op.name} has no tile program; {self.table.chip.name} has {known}"
            raise IRError(located(self.function.name, op.loc), what, op)
        self.templates[op.name](self, op)

    def view(self, value: Value, shape: tuple[Extent, ...] | None = None) -> View:
        """A value in memory under a shape; what is made of weights alone was made when they were packed."""
        if not self.keeping.kept(value) and is_weight(self.keeping, value):
            return View(weight_ref(self, value, dense(value.dtype)), (shape or value.shape) or (1,), value.dtype)
        return super().view(value, shape)

    def copy(self, value: Value, out: Ref) -> None:
        """Launch a copy of a kept value into ``out``."""
        op = Op("copy", (value,), {}, (Value(TensorType(value.shape, value.dtype)),), self.loc)
        self.places[id(op.results[0])] = out
        self.templates["copy"](self, op)

    def run_kernel(self, name: str, args: tuple[View, ...], sizes: Mapping[str, Extent]) -> None:
        """Launch a kernel: tensors in the order of its arguments, sizes by name."""
        program = self.table.kernels[name].physical
        self.steps.append(Launch(name, args, tuple(sizes[size] for size in program.sizes), self.loc))


def dense(dtype: str) -> str:
    """The form of a weight that lies as the checkpoint has it, in a dtype."""
    return f"dense.{dtype}"
