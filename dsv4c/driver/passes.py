"""Running passes: after each one the module is verified, its contract is checked, and its numbers are proven."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from dsv4c.errors import ProofError
from dsv4c.ir.core import IRError, Module
from dsv4c.ir.printer import to_text
from dsv4c.ir.registry import REGISTRY
from dsv4c.ir.verify import verify
from dsv4c.passes.base import Log, Pass

from .options import spell
from .proof import Compared, Prover


@dataclass(frozen=True)
class Stage:
    """One pass that ran: the module before and after, what it says it did, and what the proof found.

    ``seconds`` is the pass alone, ``proof`` everything that checked it.
    """

    step: Pass
    before: Module
    after: Module
    log: Log
    compared: tuple[Compared, ...]
    seconds: float
    proof: float

    @property
    def ops(self) -> tuple[int, int]:
        """Ops of all block functions before and after."""
        return count_ops(self.before), count_ops(self.after)


@dataclass(frozen=True)
class Broken:
    """How a pass failed. ``kind`` is raises, verify, tier, input, pairs or numbers."""

    kind: str
    function: str
    what: str


class PassError(ProofError):
    """A pass failed: which, how, after which others, and the command that shows it again."""

    def __init__(self, step: Pass, broken: Broken, earlier: Sequence[Pass] = (), again: str = "") -> None:
        self.step, self.broken, self.earlier = step, broken, tuple(earlier)
        lines = [f"pass {step.name} {_SAYS[broken.kind]}{f' of {broken.function}' * bool(broken.function)}"]
        lines += [f"  {line}" for line in broken.what.splitlines()]
        lines.append(f"  passes before it: {', '.join(s.name for s in earlier) or 'none'}")
        lines += [f"  to see it again: {again} {spell([*earlier, step])}"] if again else []
        super().__init__("\n".join(lines))


TIERS = ("core", "kernel", "collective")  # a pass that writes one may write those before it
_SAYS = {
    "raises": "raises an error",
    "verify": "makes a module that breaks the rules",
    "tier": "writes ops of a tier that it does not declare",
    "input": "changes the module that it was given",
    "pairs": "loses an entry",
    "numbers": "changes the numbers",
}


def count_ops(module: Module) -> int:
    """Ops of all block functions."""
    return sum(len(f.ops) for f in module.functions.values() if f.kind == "block")


def run_passes(
    module: Module, steps: Sequence[Pass], prover: Prover | None = None, again: str = ""
) -> tuple[Stage, ...]:
    """Run passes one after the other; without a prover nothing is executed.

    Raises PassError at the first pass that fails; ``again`` begins the command that it says, ``dsv4c opt FILE``.
    """
    stages: list[Stage] = []
    for step in steps:
        try:
            stages.append(run_pass(module, step, prover))
        except PassError as error:
            raise PassError(step, error.broken, [s.step for s in stages], again) from error.__cause__
        module = stages[-1].after
    return tuple(stages)


def run_pass(module: Module, step: Pass, prover: Prover | None) -> Stage:
    """Run one pass and prove it; PassError with the first thing that is wrong."""
    given = to_text(module) if prover else ""
    log, start = Log(), perf_counter()
    try:
        after = step.run(module, log)
    except Exception as error:
        raise PassError(step, Broken("raises", "", f"{type(error).__name__}: {error}")) from error
    done = perf_counter()
    _check_rules(step, after)
    _check_tier(step, module, after, log)
    if prover and to_text(module) != given:
        raise PassError(step, Broken("input", "", "a pass gives a new module and leaves the old one as it is"))
    _check_pairs(step, module, after)
    compared = prover.prove(step, module, after) if prover else ()
    for row in compared:
        if row.status == "failed":
            raise PassError(step, Broken("numbers", row.after, _numbers(row)))
    return Stage(step, module, after, log, compared, done - start, perf_counter() - done)


def _check_rules(step: Pass, module: Module) -> None:
    try:
        verify(module)
    except IRError as error:
        raise PassError(step, Broken("verify", "", str(error))) from error


def _check_tier(step: Pass, before: Module, after: Module, log: Log) -> None:
    """Ops that the old module lacks are of the tier that the pass writes, or of one below it."""
    old, new = (_op_names(m) for m in (before, after))
    for name, function in new.items():
        tier = REGISTRY[name].tier
        if name not in old and tier not in TIERS[: TIERS.index(step.writes) + 1]:
            what = f"{name} is a {tier} op; the pass declares that it writes {step.writes} ops"
            raise PassError(step, Broken("tier", function, what))
    if step.reads != "core" and not any(REGISTRY[name].tier == step.reads for name in old):
        log.notes.append(f"nothing to do: the module has no {step.reads} ops")


def _op_names(module: Module) -> dict[str, str]:
    """Registered ops that occur in block functions, and a function that has them."""
    blocks = [f for f in module.functions.values() if f.kind == "block"]
    return {op.name: f.name for f in blocks for op in f.ops if op.name in REGISTRY}


def _check_pairs(step: Pass, before: Module, after: Module) -> None:
    paired = {pair.before for pair in step.pairs(before, after)}
    for name in before.uncalled():
        if name not in paired:
            what = f"{name} is gone or has another signature, and the pass names no function that stands for it"
            raise PassError(step, Broken("pairs", "", what))


def _numbers(row: Compared) -> str:
    return (
        f"first difference: {row.detail}\n"
        f"largest difference {row.largest:.1e}, {row.ulps:.1e} units in the last place, over {row.steps} steps"
    )
