"""What several test files share: an environment for child processes, and checks of one model against transformers.

The arrays are those that ``make_tiny.golden`` makes.

The bar is 1e-4 on fp32 logits: the order of sums differs, nothing else does; 2e-6 is what is seen.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dsv4c.driver.compile import open_model
from dsv4c.frontend.loading import add_load_functions, stream_weights
from dsv4c.ir.interp import run, tree, zeros
from dsv4c.ir.types import leaves
from dsv4c.models.build import build_module
from dsv4c.runtime.session import Session

Array = np.ndarray[Any, Any]
Golden = Mapping[str, Array]
BAR = 1e-4
# How 40 positions are fed; the last number is padding added to every chunk.
FEEDINGS = {
    "prefill": ([40], 0),
    "chunked": ([5, 11, 13, 11], 0),
    "padded": ([5, 11, 13, 11], 3),
    "decode": ([33] + [1] * 7, 0),
    "threes": ([3] * 13 + [1], 0),
    "sevens": ([7] * 5 + [5], 0),
    "token by token": ([1] * 40, 0),
}
# architectures.md §14: logits[0, -1, :4], the sum of all, the mean of their absolute values
PUBLISHED = {
    "v4": ((-0.638832, 0.584484, -0.014111, 0.689318), -40.19172, 0.3194619),
    "v32": ((0.005039, 0.624602, -0.473109, 0.248398), -245.6687, 0.3166459),
    "v3": ((-0.170094, -0.011669, -0.015803, -0.195998), -166.4573, 0.3033549),
}
Counts = int | Array  # the same for every sequence, or one for each
Step = Callable[[Array, Counts, Counts], Array]


def environment(**more: str) -> dict[str, str]:
    """This process's, in which a child finds this dsv4c also where it is not installed."""
    root = Path(__file__).resolve().parents[1]
    paths = filter(None, (str(root), os.environ.get("PYTHONPATH", "")))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), **more}


def feed(step: Step, tokens: Array, chunks: list[int], padding: int) -> Array:
    """Logits of all positions when the tokens arrive in chunks."""
    past, out = 0, []
    for count in chunks:
        padded = np.zeros((tokens.shape[0], count + padding), np.int32)
        padded[:, :count] = tokens[:, past : past + count]
        out.append(step(padded, past, count)[:, :count])
        past += count
    return np.concatenate(out, axis=1)


def compiled_step(session: Session, batch: int, capacity: int) -> Step:
    state = session.state(batch, capacity)
    bound: dict[int, Any] = {}

    def step(tokens: Array, past: Counts, new: Counts) -> Array:
        length = tokens.shape[1]
        if length not in bound:
            bound[length] = session.bind("step_all", batch, length, capacity, state)
        for name, data in (("tokens", tokens), ("past", past), ("new", new)):
            bound[length].inputs[name][...] = data
        bound[length].program.run()
        return np.array(bound[length].logits)

    return step


def interpreted_step(folder: Path, batch: int, capacity: int) -> Step:
    model = open_model(str(folder))
    assert model.checkpoint is not None and model.sources is not None
    module = build_module(model.config, "f32")
    calls = add_load_functions(module, model.config, model.sources, "f32")
    weights, kept = (module.functions["step_all"].params[i].type for i in (3, 4))
    wanted = [(path, "") for path, _ in leaves(weights)]
    stream = stream_weights(module, model.checkpoint, model.config, calls, wanted, lambda path, form: None)
    bundle = tree(weights, {path: array for path, _, array in stream})
    state = zeros(kept, {"B": batch, "T": capacity})

    def step(tokens: Array, past: Counts, new: Counts) -> Array:
        nonlocal state
        counts = [np.full(batch, n, np.int32) for n in (past, new)]
        dims = {"B": batch, "S": tokens.shape[1], "T": capacity}
        logits, state = run(module, "step_all", [tokens, *counts, bundle, state], dims)
        return np.asarray(logits)

    return step


def check_feeding(step: Step, golden: Golden, feeding: str) -> None:
    """All logits of ``golden`` when the tokens are fed in one of the ways of FEEDINGS."""
    logits = feed(step, golden["tokens"].astype(np.int32), *FEEDINGS[feeding])
    assert np.abs(logits - golden["logits"]).max() <= BAR


def check_published(name: str, logits: Array, each: float) -> None:
    """The figures of §14, from logits that are right to ``each``.

    A mean of absolute values is then right to ``each`` as well, and a sum of n, whose errors have either sign, to
    sqrt(n) times that. Half a unit of the last digit printed comes on top.
    """
    first, total, mean = PUBLISHED[name]
    assert np.abs(logits[0, -1, :4] - first).max() <= each + 5e-7
    assert abs(logits.sum(dtype=np.float64) - total) <= logits.size**0.5 * each + 5e-5
    assert abs(np.abs(logits).mean(dtype=np.float64) - mean) <= each + 5e-8


def numbered(golden: Golden) -> Iterator[tuple[list[int], list[int], Array]]:
    """(prompt, new tokens, logits of every position fed) of the three greedy runs."""
    for i in range(3):
        yield [int(t) for t in golden[f"prompt_{i}"]], [int(t) for t in golden[f"new_{i}"]], golden[f"steps_{i}"]


def check_greedy(session: Session, golden: Golden) -> None:
    """The tokens of each run, and the logits on the way."""
    for prompt, new, steps in numbered(golden):
        out = session.generate_batch([prompt], len(new), logits=True)
        assert out.tokens == [new]
        assert out.logits is not None and np.abs(out.logits[0] - steps).max() <= BAR


def check_batch(session: Session, golden: Golden) -> None:
    """The three runs as one batch of different lengths give what each gave alone."""
    prompts, news, steps = zip(*numbered(golden), strict=True)
    count = min(map(len, news))
    out = session.generate_batch(prompts, count, logits=True)
    assert out.tokens == [new[:count] for new in news]
    assert out.logits is not None
    for row, prompt in enumerate(prompts):
        fed = len(prompt) + count - 1
        assert np.abs(out.logits[row, :fed] - steps[row][:fed]).max() <= BAR
        assert np.isnan(out.logits[row, fed:]).all()


def check_ragged(step: Step, golden: Golden, chunk: int, count: int) -> None:
    """The three runs as one batch of different lengths: prompts in chunks, then ``count`` tokens, which are given."""
    prompts, news, steps = zip(*numbered(golden), strict=True)
    lengths, past = np.array([len(p) for p in prompts]), np.zeros(3, np.int32)
    feeds = [prompt + new[:count] for prompt, new in zip(prompts, news, strict=True)]
    sizes = [chunk] * -(-max(lengths) // chunk) + [1] * count
    for number, size in enumerate(sizes):
        # While one prompt is not through, the others wait: nobody is past its own prompt then.
        left = lengths - past if number < len(sizes) - count else np.ones(3, np.int32)
        new = np.clip(left, 0, size).astype(np.int32)
        tokens = np.zeros((3, size), np.int32)
        for row, feed in enumerate(feeds):
            tokens[row, : new[row]] = feed[past[row] : past[row] + new[row]]
        logits = step(tokens, past, new)
        for row, wanted in enumerate(steps):
            difference = logits[row, : new[row]] - wanted[past[row] : past[row] + new[row]]
            assert not difference.size or np.abs(difference).max() <= BAR
        past = past + new


def check_greedy_steps(step: Step, golden: Golden) -> None:
    """The longest prompt, alone: every token that follows is the peer's, and so are the logits on the way."""
    prompt, new, steps = list(numbered(golden))[2]
    past, tokens = 0, prompt
    for token in new:
        logits = step(np.array([tokens], np.int32), past, len(tokens))
        assert np.abs(logits[0] - steps[past : past + len(tokens)]).max() <= BAR
        assert int(logits[0, -1].argmax()) == token
        past, tokens = past + len(tokens), [token]
