"""Which mutants are equivalent: rules on the program and its dependence graph, each with its argument.

A rule says yes only where the mutant cannot change what the kernel computes, whatever its inputs. What is not proved is
not excluded: it counts as missed if nothing is found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import product
from random import Random

from dsv4c.ir.types import BITS

from ..logical import Window
from ..physical import If, Instr, Loop, Program, Region, Step
from ..scalar import Int, Scalar, evaluate, names, substitute
from .exact import buffers_of, holds_narrow, holds_whole, only_sign
from .graph import Graph, StuckError, walked
from .mutant import Mutant, block_of, mutated, step_of, steps_of

WALKS = 6  # the first takes everything, the others what chance says
TRIES = 200  # sizes that an inequality is tried with
STATIC = ("stage count", "address overlap")


def unchanged_graph(program: Program, mutant: Mutant) -> bool:
    """Synchronisation removed or renamed, copies, or places: every walk through the mutant gives every instruction the
    values that it has in the program, leaves no two accesses unordered that the program orders, sets no flag before its
    last wait is over and leaves none set. Whatever order the chip then chooses, it computes the same: order among
    conflicting accesses is all that numbers depend on. A buffer that reaches beyond its memory changes what must fit,
    and is never equivalent.
    """
    if mutant.kind not in ("sync or flag removed", "wrong flag", *STATIC) or not _fits(program, mutant):
        return False
    made = mutated(program, mutant)
    for number in range(WALKS):
        usual = _graph(program, number)
        try:
            other = walked(made, _choice(number))
        except StuckError:
            return False
        if other.reads != usual.reads or not other.unordered <= usual.unordered:
            return False
    return True


def _choice(number: int) -> Callable[[str, int], int]:
    return lambda what, out_of: Random(f"{number} {what}").randrange(out_of) if number else 0


@cache
def _graph_of(key: int, number: int) -> Graph:
    return walked(_PROGRAMS[key], _choice(number))


_PROGRAMS: dict[int, Program] = {}


def _graph(program: Program, number: int) -> Graph:
    _PROGRAMS[id(program)] = program  # kept alive, so that its id stays its own
    return _graph_of(id(program), number)


def _fits(program: Program, mutant: Mutant) -> bool:
    if mutant.buffer is None or mutant.changed is None:
        return True
    for part in program.parts:
        if mutant.buffer in part.buffers:
            scope = [b for b in part.buffers if b.scope == mutant.buffer.scope and b.address >= 0]
            return mutant.changed.address + mutant.changed.total <= max(b.address + b.total for b in scope)
    return False


def guard_of_fill(program: Program, mutant: Mutant) -> bool:
    """``if (held < whole) fill; load``, the bound one more: where the window is as large as the tile, the fill is
    executed and the load behind it writes every element again.
    """
    step, changed = _one(program, mutant)
    if not isinstance(step, If) or not isinstance(changed, If) or not _is_less(changed.condition, step.condition, 1):
        return False
    ((path, _),) = mutant.steps.items()
    fills = [s for s in step.body if isinstance(s, Instr)]
    behind = [s for s in block_of(program, path[:-1])[path[-1] + 1 :] if isinstance(s, Instr)]
    if len(fills) != 1 or fills[0].op not in ("duplicate", "clear") or not behind:
        return False
    return behind[0].op in ("copy_in", "nd2nz") and buffers_of(behind[0].outs) == buffers_of(fills[0].outs)


def _is_less(changed: Int, usual: Int, by: int) -> bool:
    if not isinstance(changed, Scalar) or not isinstance(usual, Scalar) or changed.op != "<" or usual.op != "<":
        return False
    a, b = changed.args[1], usual.args[1]
    return isinstance(a, int) and isinstance(b, int) and a - b == by


def between_multiples(program: Program, mutant: Mutant) -> bool:
    """``if (rows * 48 < 768)``, the bound one less: both sides are multiples of more than 1, so that there is nothing
    between them.
    """
    step, changed = _one(program, mutant)
    if not isinstance(step, If) or not isinstance(changed, If) or not _is_less(changed.condition, step.condition, -1):
        return False
    assert isinstance(step.condition, Scalar)
    a, b = step.condition.args
    assert isinstance(b, int)
    unit = _multiple(a)
    return unit > 1 and b % unit == 0


def _multiple(a: Int) -> int:
    """A number that every value is a multiple of."""
    if isinstance(a, int):
        return abs(a) or 1
    return _multiple(a.args[0]) * _multiple(a.args[1]) if a.op == "*" else 1


def same_for_all_values(program: Program, mutant: Mutant) -> bool:
    """A condition or an extent that depends only on remainders and on counters of loops of known length, and is the
    same for each of their values.
    """
    step, changed = _one(program, mutant)
    counts = {s.var: s.count for _, s in steps_of(program) if isinstance(s, Loop)}
    pairs = list(_integers(step, changed)) if step is not None and changed is not None else []
    return bool(pairs) and all(_equal(a, b, counts) for a, b in pairs)


def _integers(step: Step, changed: Step) -> Iterator[tuple[Int, Int]]:
    if isinstance(step, If) and isinstance(changed, If):
        yield step.condition, changed.condition
    elif isinstance(step, Instr) and isinstance(changed, Instr):
        if step.op != changed.op:
            yield 0, 1
            return
        for a, b in zip((*step.outs, *step.ins), (*changed.outs, *changed.ins), strict=True):
            if a != b and isinstance(a, Window) and isinstance(b, Window) and _place(a) == _place(b):
                yield from ((a.rows, b.rows), (a.cols, b.cols))
            elif a != b:
                yield 0, 1
        if step.args != changed.args:
            yield 0, 1


def _place(w: Window) -> tuple[str, Int, Int]:
    return w.tensor.name, w.offset, w.pitch


def _equal(a: Int, b: Int, counts: Mapping[str, Int]) -> bool:
    if a == b:
        return True
    ranges: dict[str, int] = {}
    for number, atom in enumerate(sorted(_remainders(a) | _remainders(b), key=str)):
        assert isinstance(atom.args[1], int)
        ranges[f"_{number}"] = atom.args[1]
        a, b = _replaced(a, atom, f"_{number}"), _replaced(b, atom, f"_{number}")
    for name in names(a) | names(b):
        if name not in ranges:
            count = counts.get(name)
            if not isinstance(count, int):
                return False
            ranges[name] = count
    for values in product(*(range(n) for n in ranges.values())):
        env = dict(zip(ranges, values, strict=True))
        if evaluate(a, env) != evaluate(b, env):
            return False
    return True


def _remainders(a: Int) -> set[Scalar]:
    if isinstance(a, int) or a.op == "var":
        return set()
    if a.op == "%" and isinstance(a.args[1], int):
        return {a}
    return set().union(*(_remainders(x) for x in a.args))


def _replaced(a: Int, atom: Scalar, name: str) -> Int:
    if a == atom:
        return Scalar("var", (), name)
    if isinstance(a, int) or a.op == "var":
        return a
    return Scalar(a.op, tuple(_replaced(x, atom, name) for x in a.args))


def empty_turn(program: Program, mutant: Mutant) -> bool:
    """A loop's turn more in which nothing happens: all instructions of its body are in loops, and in that turn these
    have no turn. Decided by arithmetic, for sizes of which many are tried.
    """
    step, changed = _one(program, mutant)
    if not isinstance(step, Loop) or not isinstance(changed, Loop) or isinstance(step.count, int):
        return False
    if any(isinstance(s, Instr) for s in step.body):
        return False
    inner = [s.count for s in step.body if isinstance(s, Loop)]
    if not inner or any(isinstance(count, int) or count.op != "//" for count in inner):
        return False
    random = Random(1)
    known = sorted(names(step.count).union(*(names(count) for count in inner)) - {step.var})
    for _ in range(TRIES):
        env = {name: random.randrange(1, 2000) for name in known}
        if evaluate(changed.count, env) != evaluate(step.count, env) + 1:
            return False
        for count in inner:
            last = substitute(count, {step.var: evaluate(step.count, env)})
            if isinstance(last, int) or evaluate(last.args[0], env) >= evaluate(last.args[1], env):
                return False  # below the divisor, also below 0, there is no turn
    return True


def one_column(program: Program, mutant: Mutant) -> bool:
    """The distance between columns of fractals, where there is one column."""
    step, changed = _one(program, mutant)
    if mutant.kind != "stride" or not isinstance(step, Instr) or not isinstance(changed, Instr):
        return False
    if step.op not in ("nd2nz", "fixpipe") or step.args == changed.args:
        return False
    (window,) = [p for p in (*step.outs, *step.ins) if isinstance(p, Window)]
    fractal = 16 if step.op == "fixpipe" else 256 // BITS[window.tensor.dtype]
    return isinstance(window.cols, int) and window.cols <= fractal


def exact_cast(program: Program, mutant: Mutant) -> bool:
    """A rounding that rounds nothing: the source holds only whole numbers (counts, indices: below 2**24, or these
    kernels could not compare them as f32), or only numbers that were cast from the narrow dtype; or only the sign of
    the result is asked for. The mode must exist for the pair of dtypes.
    """
    step, changed = _one(program, mutant)
    if mutant.kind != "cast mode" or not isinstance(step, Instr) or not isinstance(changed, Instr):
        return False
    (src,), (dst,), mode = step.ins, step.outs, changed.args["mode"]
    assert isinstance(src, Region) and isinstance(dst, Region)
    part = next(p for n, p in enumerate(program.parts) if n == next(iter(mutant.steps))[0])
    pair = src.dtype, dst.dtype
    if pair == ("i32", "f32"):
        return holds_whole(part, src.buffer.name) or only_sign(part, dst.buffer.name)
    if pair == ("f32", "i32"):
        return mode != "NONE" and holds_whole(part, src.buffer.name)
    return pair[0] == "f32" and mode != "NONE" and holds_narrow(part, src.buffer.name, pair[1])


def _one(program: Program, mutant: Mutant) -> tuple[Step | None, Step | None]:
    """The only step of a mutant, and what it becomes."""
    if len(mutant.steps) != 1:
        return None, None
    ((path, steps),) = mutant.steps.items()
    return step_of(program, path), steps[0] if len(steps) == 1 else None


Rule = Callable[[Program, Mutant], bool]
RULES: tuple[Rule, ...] = (
    guard_of_fill, between_multiples, same_for_all_values, empty_turn, one_column, exact_cast, unchanged_graph,
)  # fmt: skip


def equivalent(program: Program, mutant: Mutant) -> str:
    """The name of the rule that excludes a mutant; empty where none does."""
    return next((rule.__name__ for rule in RULES if rule(program, mutant)), "")
