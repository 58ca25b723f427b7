"""Physical tile programs: instructions of one chip on buffers with addresses, and the synchronisation between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from dsv4c.ir.types import BITS

from .logical import Tensor, Window
from .scalar import Int, add, mul, rem

Access = tuple[str, int, int]  # scope, and the bytes [from, to) in it


@dataclass(eq=False)
class Buffer:
    """On-chip memory: ``size`` bytes in each of ``stages`` copies, in ``scope``; ``address`` is given at the end.

    ``shared`` memory is reached by both cores of a group, in an order that flags between them keep.
    """

    name: str
    scope: str
    size: int
    stages: int = 1
    address: int = -1
    shared: bool = False

    @property
    def total(self) -> int:
        """Bytes of all copies."""
        return self.size * self.stages


@dataclass(frozen=True)
class Region:
    """Some elements of a buffer: ``dims`` are (extent, stride) from the outermost, in elements from ``offset`` on.

    ``turn`` counts the loop whose turns take the buffer's copies in order.
    """

    buffer: Buffer
    dtype: str
    offset: Int
    dims: tuple[tuple[int, int], ...]
    turn: Int = 0

    @property
    def count(self) -> int:
        """Elements."""
        out = 1
        for extent, _ in self.dims:
            out *= extent
        return out

    @property
    def dense(self) -> bool:
        """Whether the elements lie side by side in order."""
        step = 1
        for extent, stride in reversed(self.dims):
            if extent > 1 and stride != step:
                return False
            step *= extent
        return True

    @property
    def reach(self) -> int:
        """Elements from the first to behind the last."""
        return 1 + sum((extent - 1) * stride for extent, stride in self.dims)

    def at(self, offset: Int, *dims: tuple[int, int]) -> Region:
        """Other elements of the same buffer, from ``offset`` after this one's first."""
        return replace(self, offset=add(self.offset, offset), dims=dims)

    def line(self, count: int, offset: Int = 0) -> Region:
        """``count`` elements side by side."""
        return self.at(offset, (count, 1))

    def view(self, dtype: str) -> Region:
        """The same bits under a dtype of the same width."""
        assert BITS[dtype] == BITS[self.dtype]
        return replace(self, dtype=dtype)

    def address(self) -> Int:
        """Bytes from the start of the scope."""
        copy = mul(rem(self.turn, self.buffer.stages), self.buffer.size) if self.buffer.stages > 1 else 0
        return add(add(copy, mul(self.offset, BITS[self.dtype] // 8)), self.buffer.address)


Place = Region | Window
Value = Int | float | str


@dataclass(frozen=True)
class Instr:
    """One instruction of a pipe. ``args`` are what it needs beside operands, by name."""

    op: str
    pipe: str
    outs: tuple[Place, ...]
    ins: tuple[Place, ...]
    args: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Get:
    """The scalar unit reads an integer, known by ``name`` from here on; ``src`` is one element."""

    name: str
    src: Region | Tensor
    index: Int


@dataclass(frozen=True)
class Set:
    """Pipe ``src`` tells pipe ``dst``, under a number, that all it began is done."""

    src: str
    dst: str
    number: Int


@dataclass(frozen=True)
class Wait:
    """Pipe ``dst`` begins nothing more until pipe ``src`` has told it."""

    src: str
    dst: str
    number: Int


@dataclass(frozen=True)
class Barrier:
    """The pipe begins nothing more until all it began is done."""

    pipe: str


@dataclass(frozen=True)
class CrossSet:
    """The other core of the group is told, under a number, that all this pipe began is done; it counts.

    ``mode`` 2 tells all on the other side, 4 one vector core or its cube core.
    """

    pipe: str
    number: int
    mode: int = 2


@dataclass(frozen=True)
class CrossWait:
    """The pipe begins nothing more until the other core has told this one once more; the scalar unit issues nothing."""

    number: int
    pipe: str = "S"
    mode: int = 2


@dataclass(frozen=True)
class Tick:
    """One more turn of a ring: ``name`` counts from 0."""

    name: str


@dataclass(frozen=True)
class Loop:
    """``count`` times; ``tasks`` takes every n-th turn on a core that is one of n, and ``turn`` counts its own."""

    var: str
    count: Int
    body: tuple[Step, ...]
    tasks: bool = False
    turn: str = ""


@dataclass(frozen=True)
class If:
    """The body where ``condition`` is not 0."""

    condition: Int
    body: tuple[Step, ...]


Step = Instr | Get | Set | Wait | Barrier | CrossSet | CrossWait | Tick | Loop | If


@dataclass(frozen=True)
class Ring:
    """Global memory of a group of cores: ``depth`` slots of ``size`` elements, ``offset`` bytes into its workspace."""

    tensor: Tensor
    size: int
    depth: int
    offset: int


@dataclass(frozen=True)
class Part:
    """What one kind of core of a group executes."""

    core: str  # AIV | AIC
    buffers: tuple[Buffer, ...]
    body: tuple[Step, ...]


@dataclass(frozen=True)
class Program:
    """A kernel for a chip: one part, or one for each core of a group of a cube and a vector core."""

    name: str
    chip: str
    arch: str
    tensors: tuple[Tensor, ...]
    sizes: tuple[str, ...]
    parts: tuple[Part, ...]
    rings: tuple[Ring, ...] = ()

    @property
    def workspace(self) -> int:
        """Bytes of global memory that each group of cores needs."""
        return max((r.offset + r.size * r.depth * BITS[r.tensor.dtype] // 8 for r in self.rings), default=0)


def places(step: Step) -> tuple[Place | Tensor, ...]:
    """What a step itself touches, results first; what is inside a block is not counted."""
    if isinstance(step, Instr):
        return (*step.outs, *step.ins)
    return (step.src,) if isinstance(step, Get) else ()


def walk(body: tuple[Step, ...]) -> Iterator[Step]:
    """All steps, loops and conditions before what is inside them."""
    for step in body:
        yield step
        if isinstance(step, Loop | If):
            yield from walk(step.body)
