"""Physical programs from their trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lark import Token

from dsv4c.ir.types import BITS
from dsv4c.ir.unexpected import near

from .. import logical
from .. import physical as ph
from ..logical import Tensor
from ..physical import Buffer, Region
from .expressions import Names, dtype_of, node, token
from .grammar import Node, TextError
from .logical import Lines

WORDS = ("mode", "left")  # arguments that are no numbers
VECTOR, SHARED = 2, "shared"


def read_physical(tree: Node, kernel: logical.Program, lines: Lines) -> ph.Program:
    """The program, for the arguments of the kernel above it; ``lines`` is filled."""
    name, chip, arch, *rest = tree.children
    if str(name) != kernel.name:
        raise TextError(token(name), f"a program of {name} below {kernel.name}", f"name it {kernel.name}")
    nodes = [node(x) for x in rest]
    rings = tuple(_ring(x, lines) for x in nodes if x.data == "ring")
    tensors = {t.name: t for t in (*kernel.tensors, *(ring.tensor for ring in rings))}
    shared: dict[str, Buffer] = {}
    parts = tuple(_Reader(tensors, shared, lines).part(x) for x in nodes if x.data == "part_of")
    arch_name = str(arch).removeprefix("dav-")
    return ph.Program(kernel.name, str(chip), arch_name, kernel.tensors, kernel.sizes, parts, rings)


def _ring(tree: Node, lines: Lines) -> ph.Ring:
    name, depth, size, dtype, offset = tree.children
    slots, elements = int(str(depth)), int(str(size))
    made = ph.Ring(
        Tensor(str(name), dtype_of(token(dtype)), (slots * elements,), "inout"), elements, slots, int(str(offset))
    )
    lines[id(made)] = tree.meta.line
    return made


class _Reader:
    """Reads what one kind of core executes."""

    def __init__(self, tensors: Mapping[str, Tensor], shared: dict[str, Buffer], lines: Lines) -> None:
        self.names, self.shared, self.lines = Names(tensors), shared, lines
        self.buffers: dict[str, Buffer] = {}

    def part(self, tree: Node) -> ph.Part:
        """A part."""
        core, *rest = tree.children
        nodes = [node(x) for x in rest]
        for each in nodes:
            if each.data == "buffer":
                self._buffer(each)
        body = self.block([x for x in nodes if x.data != "buffer"])
        return ph.Part(str(core), tuple(self.buffers.values()), body)

    def _buffer(self, tree: Node) -> None:
        name, scope, size, stages, address, shared = tree.children
        if str(name) in self.buffers:
            raise TextError(token(name), f"there is a buffer {name} already", "use another name")
        copies = 1 if stages is None else int(str(stages))
        made = Buffer(str(name), str(scope), int(str(size)), copies, int(str(address)), shared is not None)
        if made.shared:  # one thing for both cores
            other = self.shared.setdefault(made.name, made)
            if vars(other) != vars(made):
                raise TextError(token(name), f"{name} lies elsewhere on the other core", "give it one place")
            made = other
        self.buffers[made.name] = made
        self.lines[id(made)] = tree.meta.line

    def block(self, trees: list[Node]) -> tuple[ph.Step, ...]:
        """Steps in their order."""
        out = []
        for tree in trees:
            step = READERS[str(tree.data)](self, tree)
            self.lines[id(step)] = tree.meta.line
            out.append(step)
        return tuple(out)

    def _inside(self, tree: Token | Node | None) -> tuple[ph.Step, ...]:
        return self.block([node(x) for x in node(tree).children])

    def loop(self, tree: Node) -> ph.Step:
        """One after the other."""
        var, count, body = tree.children
        return ph.Loop(str(var), self.names.integer(node(count)), self._inside(body))

    def tasks(self, tree: Node) -> ph.Step:
        """Shared out."""
        var, count, turn, body = tree.children
        counted = self.names.integer(node(count))
        return ph.Loop(str(var), counted, self._inside(body), True, "" if turn is None else str(turn))

    def condition(self, tree: Node) -> ph.Step:
        """A condition."""
        condition, body = tree.children
        return ph.If(self.names.integer(node(condition)), self._inside(body))

    def signal(self, tree: Node) -> ph.Step:
        """An event."""
        src, dst, number = tree.children
        kind = ph.Set if tree.data == "set" else ph.Wait
        return kind(str(src), str(dst), self.names.integer(node(number)))

    def cross(self, tree: Node) -> ph.Step:
        """A flag between cores."""
        pipe, number, mode = tree.children
        flag, how = int(str(number)), VECTOR if mode is None else int(str(mode))
        if tree.data == "cross_set":
            return ph.CrossSet(str(pipe), flag, how)
        return ph.CrossWait(flag, str(pipe), how)

    def get(self, tree: Node) -> ph.Step:
        """An integer for the scalar unit."""
        pipe, name, source = tree.children
        if str(pipe) != "S":
            raise TextError(token(pipe), f"pipe {pipe} reads no integers", "use S")
        src = node(source)
        if src.data == "region":
            return ph.Get(str(name), self._region(src), 0)
        tensor, index = src.children
        return ph.Get(str(name), self.names.tensor(token(tensor)), self.names.integer(node(index)))

    def instr(self, tree: Node) -> ph.Step:
        """An instruction."""
        pipe, op, outs, ins, *args = tree.children
        values = dict(self._value(node(x)) for x in args)
        given = self._places(outs), () if ins is None else self._places(ins)
        return ph.Instr(str(op), str(pipe), *given, values)

    def _value(self, tree: Node) -> tuple[str, ph.Value]:
        name, value = tree.children
        if isinstance(value, Token):
            return str(name), str(value)[1:-1]
        inner = node(value)
        if str(name) in WORDS and inner.data == "name":
            return str(name), str(inner.children[0])
        return str(name), self.names.number(inner)

    def _places(self, tree: Token | Node | None) -> tuple[ph.Place, ...]:
        return tuple(
            self._region(node(x)) if node(x).data == "region" else self.names.window(node(x))
            for x in node(tree).children
        )

    def _region(self, tree: Node) -> Region:
        name, dtype, offset, *rest = tree.children
        dims = [node(x) for x in rest if node(x).data == "dim"]
        if str(name) not in self.buffers:
            raise TextError(token(name), f"there is no buffer {name} here", near(str(name), self.buffers))
        lanes = tuple((int(str(extent)), int(str(stride))) for extent, stride in (x.children for x in dims))
        kind, start = dtype_of(token(dtype)), self.names.integer(node(offset))
        if BITS[kind] < 8:
            raise TextError(token(dtype), f"{kind} has no bytes of its own", "use a wider dtype")
        (counted,) = [self.names.integer(node(node(x).children[0])) for x in rest if node(x).data == "turn"] or [0]
        return Region(self.buffers[str(name)], kind, start, lanes, counted)


READERS: Mapping[str, Callable[[_Reader, Node], ph.Step]] = {
    "step_for": _Reader.loop, "step_tasks": _Reader.tasks, "step_if": _Reader.condition, "set": _Reader.signal,
    "wait": _Reader.signal, "barrier": lambda _, tree: ph.Barrier(str(tree.children[0])), "cross_set": _Reader.cross,
    "cross_wait": _Reader.cross, "tick": lambda _, tree: ph.Tick(str(tree.children[0])), "get": _Reader.get,
    "instr": _Reader.instr,
}  # fmt: skip
