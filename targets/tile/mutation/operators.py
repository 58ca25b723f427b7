"""The fixed list of mutation operators, by class. Each gives all its sites in a program, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ..logical import Window
from ..physical import Barrier, CrossSet, CrossWait, If, Instr, Loop, Program, Set, Step, Wait
from ..scalar import Int, Scalar, add, sub
from .lanes import mask_changes, stride_changes, with_place
from .mutant import Mutant, Path, steps_of
from .signals import Signal, signals_of
from .storage import copies, overlaps

Mutants = Iterator[Mutant]
PIPES = {"AIV": ("V", "MTE2", "MTE3"), "AIC": ("M", "MTE1", "MTE2", "FIX")}
SYNC = ("sync or flag removed", "wrong flag")  # classes that the sanitizer alone must catch
MODES = ("FLOOR", "CEIL", "TRUNC", "NONE")  # ROUND differs from RINT at exact ties only


def removed(program: Program) -> Mutants:
    """A barrier, a whole signal, one half of it, or a flag between cores."""
    kind = "sync or flag removed"
    for signal in signals_of(program):
        yield Mutant(kind, f"signal {signal.src} to {signal.dst}", dict.fromkeys(signal.paths, ()))
    for path, step in steps_of(program):
        if isinstance(step, Barrier | Set | Wait | CrossSet | CrossWait):
            yield Mutant(kind, _name(step), {path: ()})


def _name(step: Step) -> str:
    return str(step).replace("physical.", "")


def wrong(program: Program) -> Mutants:
    """Another number, another pipe."""
    kind = "wrong flag"
    for signal in signals_of(program):
        yield from _renamed(program, signal)
    for path, step in steps_of(program):
        match step:
            case Set() | Wait():
                changed: Step = replace(step, number=add(step.number, 1))
                yield Mutant(kind, f"{_name(step)} with the next number", {path: (changed,)})
            case CrossSet() | CrossWait():
                changed = replace(step, number=step.number + 1)
                yield Mutant(kind, f"{_name(step)} with the next number", {path: (changed,)})
        match step:
            case Barrier() | CrossSet():
                others = [p for p in PIPES[program.parts[path[0]].core] if p != step.pipe]
                yield Mutant(kind, f"{_name(step)} of {others[0]}", {path: (replace(step, pipe=others[0]),)})


def _renamed(program: Program, signal: Signal) -> Mutants:
    """A signal of two other pipes: its source or its destination is another."""
    steps = dict(steps_of(program))
    pipes = PIPES[program.parts[signal.sets[0][0]].core]
    pipe = next(p for p in pipes if p not in (signal.src, signal.dst))
    for what, src, dst in (("src", pipe, signal.dst), ("dst", signal.src, pipe)):
        changed: dict[Path, tuple[Step, ...]] = {}
        for path in signal.paths:
            step = steps[path]
            assert isinstance(step, Set | Wait)
            changed[path] = (replace(step, src=src, dst=dst),)
        yield Mutant("wrong flag", f"{signal.src} to {signal.dst}: {what} is {pipe}", changed)


def bounds(program: Program) -> Mutants:
    """A loop's count, or a condition's bound, one more and one less."""
    for path, step in steps_of(program):
        for by in (1, -1):
            if isinstance(step, Loop):
                changed: Step = replace(step, count=add(step.count, by))
                yield Mutant("bound +-1", f"{step.var} counts to {step.count} {by:+}", {path: (changed,)})
            elif isinstance(step, If) and isinstance(step.condition, Scalar) and step.condition.op == "<":
                a, b = step.condition.args
                changed = replace(step, condition=Scalar("<", (a, add(b, by))))
                yield Mutant("bound +-1", f"if {step.condition} {by:+}", {path: (changed,)})


def stages(program: Program) -> Mutants:
    """Copies of a buffer, slots of a ring, numbers of a signal: one, or one more."""
    yield from copies(program)
    steps = dict(steps_of(program))
    for signal in signals_of(program):
        if signal.width > 1:
            changed: dict[Path, tuple[Step, ...]] = {}
            for path in signal.paths:
                step = steps[path]
                assert isinstance(step, Set | Wait)
                if isinstance(step.number, Scalar):
                    changed[path] = (replace(step, number=_base(step.number)),)
            yield Mutant("stage count", f"signal {signal.src} to {signal.dst} has one number", changed)


def _base(number: Scalar) -> Int:
    return number.args[1] if number.op == "+" else 0


def accumulate(program: Program) -> Mutants:
    """Whether a product begins at zero: never, always, the other way round."""
    for path, step in steps_of(program):
        if isinstance(step, Instr) and step.op == "mmad":
            first = step.args["first"]
            assert not isinstance(first, float | str)
            for what, value in (("never", 0), ("always", 1), ("otherwise", sub(1, first))):
                if value != first and not (what == "otherwise" and isinstance(first, int)):
                    changed = replace(step, args={**step.args, "first": value})
                    yield Mutant("accumulate bit", f"mmad begins at zero {what}, not {first}", {path: (changed,)})


def masks(program: Program) -> Mutants:
    """Lanes or a mask of bits that no longer cut."""
    for path, step in steps_of(program):
        if isinstance(step, Instr):
            for what, changed in mask_changes(step):
                yield Mutant("mask dropped", f"{step.op}: {what}", {path: (changed,)})


def strides(program: Program) -> Mutants:
    """Rows one block, or one element of global memory, further apart."""
    for path, step in steps_of(program):
        if isinstance(step, Instr):
            for what, changed in stride_changes(step):
                yield Mutant("stride", f"{step.op}: {what}", {path: (changed,)})


def casts(program: Program) -> Mutants:
    """Another rounding."""
    for path, step in steps_of(program):
        if isinstance(step, Instr) and step.op == "cast":
            (src,), (dst,) = step.ins, step.outs
            kinds = f"{src.dtype} to {dst.dtype}" if not isinstance(src, Window) and not isinstance(dst, Window) else ""
            widens = kinds.endswith("f32") or kinds == "bool to f16"
            for mode in ("RINT", *MODES[:3]) if widens else MODES:
                changed = replace(step, args={**step.args, "mode": mode})
                yield Mutant("cast mode", f"{kinds} by {mode}", {path: (changed,)})


def tails(program: Program) -> Mutants:
    """A window of global memory with a row or column more or less; or as if there were no tail."""
    for path, step in steps_of(program):
        if not isinstance(step, Instr):
            continue
        for number, place in enumerate((*step.outs, *step.ins)):
            for what, window in _windows(place) if isinstance(place, Window) else ():
                text = f"{step.op} {window.tensor.name}: {what}"
                yield Mutant("tail length", text, {path: (with_place(step, number, window),)})


def _windows(w: Window) -> Iterator[tuple[str, Window]]:
    for what, rows in _others(w.rows):
        yield f"rows {w.rows} {what}", replace(w, rows=rows)
    for what, cols in _others(w.cols):
        yield f"cols {w.cols} {what}", replace(w, cols=cols)


def _others(extent: Int) -> Iterator[tuple[str, Int]]:
    yield from (("+1", add(extent, 1)), ("-1", add(extent, -1)))
    if isinstance(extent, Scalar) and extent.op == "min":
        yield "always whole", extent.args[0]


OPERATORS: Mapping[str, Callable[[Program], Mutants]] = {
    "sync or flag removed": removed, "wrong flag": wrong, "bound +-1": bounds, "stage count": stages,
    "accumulate bit": accumulate, "mask dropped": masks, "stride": strides, "cast mode": casts,
    "address overlap": overlaps, "tail length": tails,
}  # fmt: skip


def all_mutants(program: Program) -> list[Mutant]:
    """Every site of every operator."""
    return [mutant for operator in OPERATORS.values() for mutant in operator(program)]
