"""What a kernel is as an operator: its names, inputs, outputs and attributes, and where its sizes come from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from dsv4c.errors import UserError

from ...tile.logical import Tensor
from ...tile.physical import CrossSet, Program, walk
from ...tile.scalar import Int, Scalar, names, var

ACROSS_BLOCKS = (0, 1)  # modes of CrossCoreSetFlag that tell other groups of cores


@dataclass(frozen=True)
class Solved:
    """A size that is the extent of an input's axis, divided by ``by``."""

    size: str
    tensor: int  # number of the input
    axis: int
    by: Int


@dataclass(frozen=True)
class Operator:
    """A kernel with the names and the order of arguments that an operator has."""

    program: Program

    @property
    def type(self) -> str:
        """The operator's type: the kernel's name in PascalCase."""
        return "".join(part.capitalize() for part in self.program.name.split("_"))

    @property
    def name(self) -> str:
        """Of its files and of its kernel's entry; follows from the type."""
        return snake_case(self.type)

    @property
    def renamed(self) -> Program:
        """The kernel under the operator's name."""
        return replace(self.program, name=self.name)

    @property
    def inputs(self) -> list[Tensor]:
        """What is read, in the kernel's order; what is written in place is an input and an output of one name."""
        return [t for t in self.program.tensors if t.role != "out"]

    @property
    def outputs(self) -> list[Tensor]:
        """What is written, in the kernel's order."""
        return [t for t in self.program.tensors if t.role != "in"]

    @property
    def pointers(self) -> tuple[str, ...]:
        """Parameters of the entry: inputs, then outputs; an output in place comes a second time, under another name."""
        outs = (f"{t.name}_ref" if t.role == "inout" else f"{t.name}_gm" for t in self.outputs)
        return (*(f"{t.name}_gm" for t in self.inputs), *outs)

    @cached_property
    def solved(self) -> list[Solved]:
        """Sizes that the inputs' shapes determine, each from what is known before it."""
        found: dict[str, Solved] = {}
        while (one := next(self._solvable(frozenset(found)), None)) is not None:
            found[one.size] = one
        return list(found.values())

    def _solvable(self, known: frozenset[str]) -> Iterator[Solved]:
        for number, tensor in enumerate(self.inputs):
            for axis, extent in enumerate(tensor.shape):
                for size in self.program.sizes:
                    by = factor(extent, size)
                    if size not in known and by is not None and names(by) <= known:
                        yield Solved(size, number, axis, by)

    @property
    def attributes(self) -> list[str]:
        """Sizes that no input determines."""
        by_shape = {one.size for one in self.solved}
        return [size for size in self.program.sizes if size not in by_shape]

    @property
    def arguments(self) -> list[str]:
        """Of the function that CANN generates to call it: inputs, attributes, outputs that are not inputs as well."""
        inputs = [camel_case(t.name) + ("Ref" if t.role == "inout" else "") for t in self.inputs]
        outputs = [t for t in self.outputs if t.role == "out"]
        names = ["out"] if len(self.outputs) == 1 else [f"{camel_case(t.name)}Out" for t in outputs]
        return [*inputs, *(camel_case(attribute_name(size)) for size in self.attributes), *(names if outputs else [])]

    def check(self) -> None:
        """UserError where this kernel cannot be an operator as it is."""
        if any(isinstance(s, CrossSet) and s.mode in ACROSS_BLOCKS for p in self.program.parts for s in walk(p.body)):
            raise UserError(
                "waits for other blocks: its operator needs batch schedule mode, which tiling does not set",
                where=self.program.name,
            )


def factor(extent: Int, size: str) -> Int | None:
    """What ``extent`` has to be divided by to give ``size``; None where it is no multiple of it."""
    if extent == var(size):
        return 1
    if isinstance(extent, Scalar) and extent.op == "*":
        left, right = extent.args
        for one, other in ((left, right), (right, left)):
            if one == var(size) and size not in names(other):
                return other
    return None


def attribute_name(size: str) -> str:
    """Of the attribute that carries a size."""
    return f"size_{size.lower()}"


def camel_case(name: str) -> str:
    """``head_weights`` as ``headWeights``."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def snake_case(op_type: str) -> str:
    """CANN's rule from an operator's type to its files: a capital begins a word behind a small letter or a digit, and
    as the last of several capitals.
    """
    begin = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
    return begin.sub("_", op_type).lower()
