"""How attention is cut into tasks: tokens of a sequence, and shares of the keys where there is a single task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.script.ir_builder import tirx as T

from ..rows.emit import choose, loop
from ..scalar import Expr, int64
from .flash import Task
from .result import Shares, write_rows
from .tuning import SHARES, SPLIT_FROM, TILE
from .widths import Widths, ceil, held, rows_side, tokens_of_task


@dataclass(frozen=True)
class Rows:
    """Query rows: ``heads`` for each token; ``alone`` where every token has keys of its own."""

    heads: int
    alone: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of a task."""
        return 1 if self.alone else tokens_of_task(self.heads)

    @property
    def count(self) -> int:
        """Rows of a task."""
        return self.tokens * self.heads

    @property
    def side(self) -> int:
        """Rows of a block."""
        return rows_side(self.count)


@dataclass(frozen=True)
class Keys:
    """What a task meets: position of the chunk, how many keys; ``gather(i, u)`` makes key u number i of a tile."""

    past: Expr
    count: Expr
    gather: Callable[[Expr, Expr], None]


Load = Callable[[Any, Task, Expr, Expr, Expr], None]
Find = Callable[[Any, Task, Expr, Expr, Expr], Keys]


def run_tasks(
    k: Any, rows: Rows, w: Widths, scale: float, load: Load, find: Find, keys: Expr, sinks: Any = None
) -> None:
    """All queries of ``k.B`` sequences of ``k.S`` tokens; ``keys`` is about how many a token sees.

    ``load(k, task, b, base, count)`` turns query rows, ``find(k, task, b, begin, end)`` finds the keys of tokens.
    """
    extent = k.B * ceil(k.S, rows.tokens)  # as an extent; in memory TVM draws no conclusions from a comparison with it
    tiles = held(ceil(k.S, rows.tokens))
    tasks = held(k.B * tiles)
    worth = keys * k.B * k.S * int64(rows.heads * (w.keys + w.values)) >= int64(SPLIT_FROM)
    few = tirx.all(worth, tasks < int64(SHARES))
    parts = held(tirx.Select(few, int64(SHARES), int64(1)))
    states = Shares(tirx.Select(extent < int64(SHARES), extent * int64(SHARES), int64(0)), rows.count, w)
    sink = (sinks, rows.heads) if sinks is not None else None

    def write(b: Expr, begin: Expr, found: Task | Shares, first: Expr, shares: Expr) -> None:
        base, count = begin * int64(rows.heads), tirx.min(k.S - begin, int64(rows.tokens)) * int64(rows.heads)
        write_rows(k.out, b, base, count, found, first, shares, w, rows.side, sink)

    def share(number: Expr, shares: Expr) -> None:
        one = number // shares
        b, begin = held(one // tiles), held(one % tiles * int64(rows.tokens))
        task, count = _meet(k, rows, w, scale, load, find, b, begin, number % shares, shares)
        choose(
            shares == int64(1),
            lambda: write(b, begin, task, int64(0), int64(1)),
            lambda: states.keep(number, task, count),
        )

    def on_all() -> None:
        with T.parallel(int64(0), tasks * parts) as number:
            share(number, parts)

    def on_one() -> None:
        with loop(0, tasks) as number:
            share(number, int64(1))

    def join() -> None:
        with loop(0, tasks) as one:
            b, begin = held(one // tiles), held(one % tiles * int64(rows.tokens))
            write(b, begin, states, one * int64(SHARES), int64(SHARES))

    choose(worth, on_all, on_one)
    choose(few, join)


def _meet(
    k: Any, rows: Rows, w: Widths, scale: float, load: Load, find: Find, b: Expr, begin: Expr, share: Expr,
    shares: Expr,
) -> tuple[Task, Expr]:  # fmt: skip
    """Tokens ``begin ...`` of sequence b meet one share of their keys."""
    end = held(tirx.min(begin + int64(rows.tokens), k.S))
    count = held((end - begin) * int64(rows.heads))
    task = Task(w, rows.count)
    keys = find(k, task, b, begin, end)
    load(k, task, b, begin * int64(rows.heads), count)
    task.stand(keys.past + begin, count, rows.heads)
    task.begin(count)
    span = held((keys.count + shares - int64(1)) // shares)
    first = held(share * span)
    last = held(tirx.min(first + span, keys.count))
    with loop(0, ceil(tirx.max(last - first, int64(0)), TILE)) as tile:
        base = held(first + tile * int64(TILE))
        size = held(tirx.min(last - base, int64(TILE)))
        with loop(0, size) as i:
            keys.gather(i, base + i)
        task.meet(count, size, scale)
    return task, count
