"""Every token-expert pair is computed exactly once: checked while all ranks of a partitioned module run.

    watch = Conservation(module)
    run_ranks(module, "step", operands, dims, watch)
    watch.done()
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dsv4c.ir.core import Function, IRError, Module, Op
from dsv4c.ir.interp import Data, run
from dsv4c.ir.registry import Array

from .sharding import HELD, PLACING, SHARD


@dataclass
class _Round:
    """The pairs of one call of the experts, an array ``[tokens, k]`` a rank each."""

    where: str
    expert: list[Array]  # -1 where a pair reaches no expert
    slot: list[Array]
    sent: list[Array] = field(default_factory=list)  # how often
    summed: list[Array] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sent = [np.zeros(e.shape, np.int64) for e in self.expert]
        self.summed = [np.zeros(e.shape, np.int64) for e in self.expert]


class Conservation:
    """Watches ``run_ranks`` as its ``observe``; an IRError names the first pair that is lost, doubled or misplaced."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._experts = next(f.params[0].shape[0] for n, f in module.functions.items() if n.startswith(SHARD))
        self._rounds: dict[int, _Round] = {}  # by the id of the value that holds the slots
        self._held: list[Array] = []  # the expert in each slot of each rank
        self.pairs = 0  # how many were found to be computed once

    def __call__(
        self, function: Function, op: Op, arguments: list[list[Data]], results: list[tuple[Data, ...]]
    ) -> None:
        """One op of all ranks."""
        where = f"{function.name}:{op.loc}"
        if op.name == "call" and str(op.attrs["callee"]).startswith(PLACING):
            self._begin(where, op, arguments, results)
        elif op.name in ("dispatch", "combine"):
            round_ = self._rounds.get(id(op.operands[1]))
            if round_ is None:
                raise IRError(where, f"{op.name} takes slots that no {PLACING} gave", op)
            (self._dispatch if op.name == "dispatch" else self._combine)(round_, op, arguments, results)

    def done(self) -> None:
        """Check the calls that are still open."""
        for key in list(self._rounds):
            self._close(self._rounds.pop(key))

    def _begin(
        self, where: str, op: Op, arguments: Sequence[Sequence[Data]], results: Sequence[Sequence[Data]]
    ) -> None:
        if id(op.results[0]) in self._rounds:
            self._close(self._rounds.pop(id(op.results[0])))
        if not self._held:
            ranks = range(len(arguments))
            self._held = [run(self._module, HELD, [np.array(rank, np.int32)], {})[0] for rank in ranks]
        experts = [
            np.where(live[:, None] & (chosen >= 0) & (chosen < self._experts), chosen, -1) for chosen, live in arguments
        ]
        self._rounds[id(op.results[0])] = _Round(where, experts, [slot for (slot,) in results])

    def _dispatch(
        self, round_: _Round, op: Op, arguments: Sequence[Sequence[Data]], results: Sequence[Sequence[Data]]
    ) -> None:
        arrived = sum(int(counts.sum()) for _, counts, _ in results)
        for rank, (x, slot) in enumerate(arguments):
            inside = _inside(op, slot, len(arguments))
            round_.sent[rank] += inside
            for token, pick in zip(*np.nonzero(inside), strict=True):
                rows, counts, _ = results[slot[token, pick] // op.attrs["slots"]]
                place, local = results[rank][2][token, pick], slot[token, pick] % op.attrs["slots"] - op.attrs["first"]
                start = int(counts[:local].sum())
                if not start <= place < start + counts[local]:
                    self._fail(round_, rank, token, pick, f"lies in row {place}, outside the rows of its slot")
                if not op.attrs["wire"] and rows[place].tobytes() != x[token].tobytes():
                    self._fail(round_, rank, token, pick, f"is not what arrived in row {place}")
        if arrived != sum(int(_inside(op, slot, len(arguments)).sum()) for _, slot in arguments):
            raise IRError(round_.where, f"{arrived} rows arrived, another number was sent", op)

    def _combine(
        self, round_: _Round, op: Op, arguments: Sequence[Sequence[Data]], results: Sequence[Sequence[Data]]
    ) -> None:
        for rank, (_, slot, place, _) in enumerate(arguments):
            round_.summed[rank] += _inside(op, slot, len(arguments)) & (place >= 0)

    def _close(self, round_: _Round) -> None:
        flat = np.concatenate(self._held)
        for rank, (expert, slot) in enumerate(zip(round_.expert, round_.slot, strict=True)):
            inside = (slot >= 0) & (slot < flat.size)
            held = np.where(inside, flat[np.where(inside, slot, 0)], -1)
            for what, wrong in (
                ("is sent {} times", round_.sent[rank] != (expert >= 0)),
                ("is summed {} times", round_.summed[rank] != (expert >= 0)),
                ("is at a slot of another expert", held != expert),
            ):
                if wrong.any():
                    token, pick = np.argwhere(wrong)[0]
                    times = (round_.summed if "summed" in what else round_.sent)[rank][token, pick]
                    self._fail(round_, rank, token, pick, what.format(times))
            self.pairs += int((expert >= 0).sum())

    def _fail(self, round_: _Round, rank: int, token: int, pick: int, what: str) -> None:
        expert, slot = round_.expert[rank][token, pick], round_.slot[rank][token, pick]
        pair = f"pair {pick} of token {token} on rank {rank}"
        aim = f"expert {expert}, slot {slot}" if expert >= 0 else f"no expert, slot {slot}"
        raise IRError(round_.where, f"{pair} ({aim}) {what}")


def _inside(op: Op, slot: Array, ranks: int) -> Any:
    """Which slots take part in a dispatch or combine."""
    slots, first, count = (int(op.attrs[name]) for name in ("slots", "first", "count"))  # type: ignore[arg-type]
    local = slot % slots
    return (slot >= 0) & (slot < ranks * slots) & (local >= first) & (local < first + count)
