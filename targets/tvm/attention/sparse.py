"""V4's attention: a window, and compressed entries beside it, all that are visible or those chosen; sinks.

A task is a few tokens of one sequence, or one where each has entries of its own. Its keys are the positions from the
oldest that its first token sees, then the entries; they are gathered tile by tile, so that work and memory follow the
keys that exist, whatever the capacity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tvm import tirx

from ..kernels.kernel import Arg, Kernel
from ..products.registers import with_llvm
from ..rows.emit import build, choose
from ..scalar import Expr, int64
from .flash import ALWAYS, NEVER, Task
from .picks import distinct
from .tasks import Keys, Rows, run_tasks
from .widths import Widths, held, i32


def sparse_attention(
    name: str, *, heads: int, width: int, window: int, form: str, dtype: str, scale: float, rate: int, entries: bool,
    top_k: int, sizes: Mapping[str, int | None],
) -> Kernel:  # fmt: skip
    """q, ring, kv, past, new, sinks, entries, chosen, out; then those of ``sizes`` (B, S, N with entries, Q: S * heads)
    that are None.

    ``q [B, S * heads, width]``, ``ring [B, window, width]``, ``kv [B, S, width]``, ``entries [B, N, width]``,
    ``chosen [B, S, top_k]``; those that the op lacks are left out. In the dot form channels come in pairs, as i32.
    """
    w = Widths(width, width, form, dtype)
    rows = Rows(heads, alone=bool(top_k))
    args = [
        w.arg("q", "B", "Q"), w.arg("ring", "B", window), w.arg("kv", "B", "S"), Arg("past", ("B",), "i32"),
        Arg("new", ("B",), "i32"), Arg("sinks", (heads,), "f32"), *([w.arg("entries", "B", "N")] if entries else []),
        *([Arg("chosen", ("B", "S", top_k), "i32")] if top_k else []), w.arg("out", "B", "Q"),
    ]  # fmt: skip

    def keys(k: Any, task: Task, b: Expr, begin: Expr, end: Expr) -> Keys:
        return _keys(k, task, b, begin, end, window, rate, entries, top_k)

    def load(k: Any, task: Task, b: Expr, base: Expr, count: Expr) -> None:
        task.load_queries(k.q, b, base, count, 0, width)

    def estimate(k: Any) -> Expr:
        """Keys of the first sequence's last token."""
        at = k.past[int64(0)].astype("int64") + k.S
        more = int64(top_k) if top_k or not entries else tirx.min(k.N, at // int64(rate))
        return int64(window) + more

    def body(k: Any) -> None:
        run_tasks(k, rows, w, scale, load, keys, estimate(k), sinks=k.sinks)

    return with_llvm(build(name, args, sizes, body), form)


def _keys(
    k: Any, task: Task, b: Expr, begin: Expr, end: Expr, window: int, rate: int, entries: bool, top_k: int
) -> Keys:
    """The keys that tokens ``begin`` to ``end`` of sequence b see between them."""
    past = held(k.past[b].astype("int64"))
    oldest = held(tirx.max(past + begin - int64(window - 1), int64(0)))
    near = held(tirx.max(past + tirx.min(k.new[b].astype("int64"), end) - oldest, int64(0)))

    def windowed(i: Expr, u: Expr) -> None:
        at = oldest + u
        choose(
            at < past,
            lambda: task.copy_key(i, k.ring, b, at % int64(window)),
            lambda: task.copy_key(i, k.kv, b, at - past),
        )
        task.seen(i, at.astype("int32"), (at + int64(window - 1)).astype("int32"))

    if not entries:
        return Keys(past, near, windowed)
    far: Callable[[Expr, Expr], None]
    if top_k:
        found, count = distinct(k.chosen, b, begin, top_k, k.N)

        def far(i: Expr, e: Expr) -> None:
            task.copy_key(i, k.entries, b, found[e].astype("int64"))
            task.seen(i, i32(NEVER), i32(ALWAYS))

    else:
        count = held(tirx.min(k.N, (past + end) // int64(rate)))

        def far(i: Expr, e: Expr) -> None:
            task.copy_key(i, k.entries, b, e)
            task.seen(i, ((e + int64(1)) * int64(rate) - int64(1)).astype("int32"), i32(ALWAYS))

    def key(i: Expr, u: Expr) -> None:
        choose(u < near, lambda: windowed(i, u), lambda: far(i, u - near))

    return Keys(past, near + count, key)
