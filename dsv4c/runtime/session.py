"""Runs a model from an artefact: prefill in chunks, then greedy decode, batches of different lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsv4c.artefact import Artefact, broken
from dsv4c.errors import UserError
from dsv4c.ir.dims import evaluate, parse_extent
from dsv4c.targets.target import Program, Runner, find_target

from .link import BindError

Array = np.ndarray[Any, Any]
CHUNK = 512  # tokens a prefill step feeds at most: bounds the memory of one step
INPUTS = ("tokens", "past", "new")


@dataclass(frozen=True)
class Generated:
    """New tokens of each sequence; ``logits`` are float32 ``[batch, positions, vocab]``, NaN past a sequence's end."""

    tokens: list[list[int]]
    logits: Array | None


@dataclass(frozen=True)
class _Bound:
    """A program, and the arrays through which it is fed and read."""

    program: Program
    inputs: Mapping[str, Array]
    logits: Array


class Session:
    """A model that answers. ``threads`` is the number of CPU threads, all usable ones by default."""

    def __init__(self, artefact: Artefact, threads: int | None = None) -> None:
        self.artefact = artefact
        target = artefact.manifest["target"]
        self._runner: Runner = find_target(target["name"]).open(artefact.folder, target["facts"], threads)
        self._weights = artefact.weights()
        model = artefact.manifest["model"]
        self.vocab: int = model["vocab"]
        self.max_context: int = model["max_context"]
        self.keep: object | None = None  # what must live as long as the session, such as a temporary folder
        self._state_types: Mapping[str, Any] = artefact.manifest["state"]

    def generate(self, prompt: Sequence[int], new: int) -> list[int]:
        """Greedy continuation of one prompt by ``new`` tokens."""
        return self.generate_batch([prompt], new).tokens[0]

    def generate_batch(self, prompts: Sequence[Sequence[int]], new: int, logits: bool = False) -> Generated:
        """Greedy continuation of each prompt by ``new`` tokens; with ``logits`` also those of every position fed.

        Raises UserError for an empty prompt, a token outside the vocabulary or a context beyond the artefact's limit.
        """
        self._check(prompts, new)
        run = _Run(self, prompts, new, logits)
        run.prefill()
        run.decode()
        return Generated([[int(t) for t in row] for row in run.out], run.history)

    def _check(self, prompts: Sequence[Sequence[int]], new: int) -> None:
        if not prompts:
            raise UserError("there is no prompt", where="--tokens", fix="give at least one sequence of token ids")
        if new < 1:
            raise UserError(f"cannot generate {new} tokens", where="--new", fix="use 1 or more")
        for number, prompt in enumerate(prompts):
            place = f"--tokens: sequence {number + 1}" if len(prompts) > 1 else "--tokens"
            if not prompt:
                raise UserError("the prompt is empty", where=place, fix="give at least one token id")
            for position, token in enumerate(prompt):
                if not isinstance(token, int) or not 0 <= token < self.vocab:
                    raise UserError(
                        f"token {token!r} at position {position} is outside the vocabulary",
                        where=place,
                        fix=f"use ids from 0 to {self.vocab - 1}",
                    )
            if len(prompt) + new > self.max_context:
                raise UserError(
                    f"{len(prompt)} prompt tokens and {new} new ones exceed the context of {self.max_context}",
                    where=place,
                    fix="shorten them, or compile with a larger --max-context",
                )

    def state(self, batch: int, capacity: int) -> dict[str, Array]:
        """Zero state for ``batch`` sequences of at most ``capacity`` tokens, by path."""
        dims = {"B": batch, "T": capacity}
        return {
            path: self._runner.array(tuple(evaluate(parse_extent(str(x)), dims) for x in shape), dtype)
            for path, (dtype, shape) in self._state_types.items()
        }

    def entry(self, length: int) -> str:
        """The entry for steps of ``length`` tokens that gives the logits of each sequence's last one."""
        names = self.artefact.plan.entries
        short = "decode" if length == 1 else "prefill"
        return short if short in names else "step"

    def bind(self, entry: str, batch: int, length: int, capacity: int, state: Mapping[str, Array]) -> _Bound:
        """An entry for steps of ``length`` tokens over this state."""
        array = self._runner.array
        inputs = {
            "tokens": array((batch, length), "i32"),
            "past": array((batch,), "i32"),
            "new": array((batch,), "i32"),
        }
        out = array((batch, length if entry == "step_all" else 1, self.vocab), "f32")
        spaces = {name: {"": data} for name, data in inputs.items()}
        params = {name: name for name in (*INPUTS, "weights", "state")}
        dims = {"B": batch, "S": length, "T": capacity}
        memory = {**spaces, "weights": self._weights, "state": state, "result": {"0": out}}
        try:
            program = self._runner.bind(self.artefact.plan, entry, dims, params, memory)
        except BindError as error:
            raise broken(self.artefact.folder, f"its parts do not fit together: {error}") from None
        return _Bound(program, inputs, out)


class _Run:
    """One batch on its way: who has how many tokens, and the token each sequence feeds next."""

    def __init__(self, session: Session, prompts: Sequence[Sequence[int]], new: int, logits: bool) -> None:
        self.session, self.prompts, self.new = session, prompts, new
        self.batch = len(prompts)
        self.lengths = np.array([len(p) for p in prompts], np.int32)
        self.longest = int(self.lengths.max())
        self.capacity = self.longest + new
        self.state = session.state(self.batch, self.capacity)
        self.all_logits = logits
        self.out = np.zeros((self.batch, new), np.int32)
        fed = self.longest + new - 1
        self.history = np.full((self.batch, fed, session.vocab), np.nan, np.float32) if logits else None
        self.past = np.zeros(self.batch, np.int32)

    def prefill(self) -> None:
        """Feed the prompts, padded to the longest, in chunks; each sequence picks its first token where it ends."""
        bound: _Bound | None = None
        for begin in range(0, self.longest, CHUNK):
            length = min(CHUNK, self.longest - begin)
            if bound is None or bound.inputs["tokens"].shape[1] != length:
                bound = self._bind(length)
            count = np.clip(self.lengths - begin, 0, length).astype(np.int32)
            tokens = np.zeros((self.batch, length), np.int32)
            for row, prompt in enumerate(self.prompts):
                tokens[row, : count[row]] = prompt[begin : begin + count[row]]
            ends = (count > 0) & (begin + count == self.lengths)
            self._step(bound, tokens, count, ends, 0)

    def decode(self) -> None:
        """Feed the newest token of every sequence, one step at a time."""
        if self.new == 1:
            return
        bound = self._bind(1)
        everyone = np.ones(self.batch, np.int32)
        for number in range(1, self.new):
            self._step(bound, self.out[:, number - 1 : number], everyone, everyone > 0, number)

    def _bind(self, length: int) -> _Bound:
        entry = "step_all" if self.all_logits else self.session.entry(length)
        return self.session.bind(entry, self.batch, length, self.capacity, self.state)

    def _step(self, bound: _Bound, tokens: Array, count: Array, ends: Array, number: int) -> None:
        for name, data in (("tokens", tokens), ("past", self.past), ("new", count)):
            bound.inputs[name][...] = data
        bound.program.run()
        for row in range(self.batch):
            n, at = int(count[row]), int(self.past[row])
            if self.history is not None:
                self.history[row, at : at + n] = bound.logits[row, :n]
            if ends[row]:
                last = n - 1 if self.all_logits else 0
                self.out[row, number] = np.argmax(bound.logits[row, last])
        self.past += count
