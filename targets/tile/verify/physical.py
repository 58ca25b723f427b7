"""Whether a chip can execute a physical program as it is written.

Everything is judged from the program's text form alone: the verifier shares no analysis with what made the program
(``davinci``, ``memory``, ``dependence``, ``sync``), or it would repeat their mistakes. What a race is, the emulators
say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import inf

from ..chip import Chip
from ..logical import Tensor, Window
from ..physical import (
    Barrier,
    CrossSet,
    CrossWait,
    Get,
    If,
    Instr,
    Loop,
    Part,
    Program,
    Region,
    Set,
    Step,
    Tick,
    Wait,
    walk,
)
from ..scalar import Int, names
from ..text import step_text
from . import dav2201, dav3510
from .buffers import check_buffers, check_rings
from .error import TileError
from .flags import check_flags
from .instruction import check_instruction, check_region
from .lifetime import check_lifetimes
from .ranges import ANY, NATURAL
from .shapes import Context, refuse, size
from .table import Arch

ARCHITECTURES = {"2201": dav2201.ARCH, "3510": dav3510.ARCH}
ALL = "ALL"


def verify_physical(program: Program, chip: Chip) -> None:
    """TileError where the program breaks a rule of the chip."""
    with blamed(program):
        refuse(program.chip != chip.name, f"a program for {program.chip}", f"{chip.name} needs its own")
        refuse(program.arch != chip.arch, f"a program for dav-{program.arch}", f"{chip.name} is dav-{chip.arch}")
        cores = [part.core for part in program.parts]
        known = cores in (["AIV"], ["AIC"], ["AIC", "AIV"])
        refuse(not known, f"parts for {' and '.join(cores) or 'nothing'}", "use AIV, AIC, or AIC then AIV")
    arch = ARCHITECTURES[program.arch]
    check_rings(program)
    for part in program.parts:
        check_buffers(program, part, chip, arch)
        _Part(program, part, arch).check()
        check_lifetimes(program, part)
    check_flags(program, arch)


@contextmanager
def blamed(program: Program, step: object = None, text: str = "") -> Iterator[None]:
    """Errors inside are of this step."""
    try:
        yield
    except TileError as error:
        raise error.at(program.name, text, step) from None


class _Part:
    """Walks what one kind of core executes, in the order of its text."""

    def __init__(self, program: Program, part: Part, arch: Arch) -> None:
        self.program, self.part, self.arch = program, part, arch
        self.context = Context(arch, dict.fromkeys(program.sizes, NATURAL))
        self.context.known.update({s.name: NATURAL for s in walk(part.body) if isinstance(s, Tick)})
        self.tensors = {t.name: t for t in (*program.tensors, *(ring.tensor for ring in program.rings))}
        self.rings = {ring.tensor.name for ring in program.rings}
        self.pipes = arch.pipes[part.core]

    def check(self) -> None:
        """All steps."""
        self._block(self.part.body, False)

    def _block(self, body: Sequence[Step], in_tasks: bool) -> None:
        before = dict(self.context.known)
        for step in body:
            try:
                self._step(step, in_tasks)
            except TileError as error:
                raise error.at(self.program.name, step_text(step), step) from None
            if isinstance(step, Loop):
                self._loop(step, in_tasks)
            elif isinstance(step, If):
                self._block(step.body, in_tasks)
        self.context.known = before  # integers are known to the end of their block

    def _loop(self, loop: Loop, in_tasks: bool) -> None:
        known, last = self.context.known, max(self.context.most(loop.count) - 1, 0)
        outside = dict(known)
        known[loop.var] = (0, last)
        if loop.turn:
            known[loop.turn] = (0, last)
        self._block(loop.body, in_tasks or loop.tasks)
        self.context.known = outside

    def _step(self, step: Step, in_tasks: bool) -> None:
        known = self.context.known
        match step:
            case Loop():
                self._integers(step.count)
                refuse(step.tasks and in_tasks, "tasks inside tasks", "share out one loop only")
                refuse(step.tasks and not step.turn, "tasks that count no turns", f"write turn {step.var}n")
                refuse(self.context.most(step.count) < 1, "a loop that never turns", "leave it out")
                refuse(step.var in known, f"{step.var} is counted already", "use another name")
            case If():
                self._integers(step.condition)
                refuse(step.condition == 0, "a condition that never holds", "leave it out")
            case Get():
                self._get(step)
                known[step.name] = ANY
            case Set() | Wait():
                self._signal(step)
            case Barrier():
                self._pipe(step.pipe, (*self.pipes[1:], ALL))
            case CrossSet():
                self._cross(step.number, step.mode)
                self._pipe(step.pipe, self.pipes[1:])
            case CrossWait():
                self._cross(step.number, step.mode)
                self._pipe(step.pipe, self.pipes)
            case Instr():
                self._instruction(step)

    def _instruction(self, step: Instr) -> None:
        for value in step.args.values():
            if not isinstance(value, float | str):
                self._integers(value)
        for place in (*step.outs, *step.ins):
            if isinstance(place, Region):
                self._region(place)
            else:
                self._window(place)
        check_instruction(self.context, step)

    def _integers(self, *values: Int) -> None:
        for value in values:
            for name in sorted(names(value)):
                refuse(name not in self.context.known, f"{name} is not known here", "read or count it before")

    def _region(self, r: Region) -> None:
        refuse(r.buffer not in self.part.buffers, f"{r.buffer.name} is no buffer of {self.part.core}", "declare it")
        refuse(r.buffer.address < 0, f"{r.buffer.name} has no address", "give it one")
        self._integers(r.offset, r.turn)

    def _window(self, w: Window) -> None:
        refuse(self.tensors.get(w.tensor.name) != w.tensor, f"there is no tensor {w.tensor.name}", "use an argument")
        self._integers(w.offset, w.rows, w.cols, w.pitch)
        most = self.context.most
        refuse(most(w.offset) < 0, f"{w.tensor.name} from before its start", "begin inside it")
        if w.tensor.name in self.rings:
            end = most(w.offset) + (most(w.rows) - 1) * most(w.pitch) + most(w.cols)
            room = most(w.tensor.size)
            refuse(end > room, f"{end:.0f} elements of {w.tensor.name}", f"it has {room:.0f}")

    def _get(self, step: Get) -> None:
        refuse(step.name in self.context.known, f"{step.name} is known already", "use another name")
        self._integers(step.index)
        if isinstance(step.src, Tensor):
            refuse(self.tensors.get(step.src.name) != step.src, f"there is no tensor {step.src.name}", "use another")
            kind = step.src.dtype
        else:
            self._region(step.src)
            kind, scope = step.src.dtype, step.src.buffer.scope
            refuse(scope != "UB" or step.src.count != 1, f"the scalar unit reads {scope}", "read one element of UB")
            check_region(self.context, step.src, size(kind))
        refuse(kind != "i32", f"an integer from {kind}", "read i32")

    def _signal(self, step: Set | Wait) -> None:
        self._integers(step.number)
        event = f"{step.src}_{step.dst}"
        exists = event in self.arch.events and {step.src, step.dst} <= set(self.pipes)
        refuse(not exists, f"{self.part.core} has no event {event}", f"its pipes are {', '.join(self.pipes)}")
        low, high = self.context.least(step.number), self.context.most(step.number)
        most = self.arch.event_ids - 1
        refuse(low < 0 or high > most, f"an event's number may be {_range(low, high)}", f"use 0 to {most}")

    def _pipe(self, pipe: str, known: tuple[str, ...]) -> None:
        refuse(pipe not in known, f"pipe {pipe}", f"use {', '.join(known)}")

    def _cross(self, number: int, mode: int) -> None:
        refuse(len(self.program.parts) < 2, "a flag between cores in a kernel of one", "leave it out")
        known = ", ".join(map(str, self.arch.cross))
        refuse(mode not in self.arch.cross, f"mode {mode} of flags on dav-{self.arch.name}", f"use {known}")
        most = self.arch.cross[mode] - 1
        refuse(not 0 <= number <= most, f"flag {number} between cores", f"use 0 to {most}")


def _range(low: float, high: float) -> str:
    shown = ["anything" if abs(x) == inf else f"{x:.0f}" for x in (low, high)]
    return shown[0] if low == high else f"{shown[0]} to {shown[1]}"
