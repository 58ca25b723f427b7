"""A kernel's file: what it does, and what a chip executes for it."""

from __future__ import annotations

from dataclasses import dataclass

from .. import logical as ir
from .. import physical as ph
from .expressions import node
from .grammar import TextError, parse_tree, refusal
from .logical import Lines, read_kernel
from .physical import read_physical


@dataclass(frozen=True)
class Kernel:
    """Both programs of a file; ``lines`` by the id of a program, statement, step, buffer or ring."""

    logical: ir.Program
    physical: ph.Program | None
    lines: Lines


def parse(text: str, source: str = "<text>") -> Kernel:
    """The programs that a text describes; UserError with the line and column where it describes none.

    Whether they mean something, and a chip can execute them, is for the verifier to say.
    """
    lines: Lines = {}
    try:
        kernel, physical = parse_tree(text, source).children
        logical = read_kernel(node(kernel), lines)
        lines[id(logical)] = node(kernel).meta.line
        made = None
        if physical is not None:
            made = read_physical(node(physical), logical, lines)
            lines[id(made)] = node(physical).meta.line
    except TextError as error:
        raise refusal(source, error.line, error.column, error.what, error.fix) from None
    return Kernel(logical, made, lines)
