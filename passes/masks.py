"""Tables and masks that exporters fold into constants, and how they add masks to logits: rules of ``canonicalize``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsv4c.ir.core import Op, Value
from dsv4c.ir.types import COMPUTE_FLOATS

if TYPE_CHECKING:
    from .canonicalize import Rule, Work

MASKED = -1e30  # what the models write (kernel_ops/positions.py)
HIDING = -1e9  # a logit that hides a key as long as no logit is beyond 1e8; -inf and finfo.min are below it


def viewed_table(w: Work, op: Op) -> Value | None:
    """A reshape of a constant is a constant."""
    table = w.producer(op.operands[0], "const")
    return w.emit_with(op, "const", (), {**table.attrs, "shape": op.attrs["shape"]}) if table is not None else None


def repeated_table(w: Work, op: Op) -> Value | None:
    """A table of two equal halves, such as cosines repeated to full width, is a concat of one half with itself."""
    data, shape = _table(op)
    if not data or op.results[0].dtype not in COMPUTE_FLOATS or shape[-1] % 2 or len(set(data)) < 2:
        return None
    width, half = shape[-1], shape[-1] // 2
    rows = [data[i : i + width] for i in range(0, len(data), width)]
    if half < 2 or any(row[:half] != row[half:] for row in rows):
        return None
    once = w.emit(op, "const", data=tuple(n for row in rows for n in row[:half]), shape=(*shape[:-1], half),
                  dtype=op.results[0].dtype)  # fmt: skip
    return w.emit(op, "concat", once, once, axis=len(shape) - 1)


def causal_table(w: Work, op: Op) -> Value | None:
    """A lower triangle of True is a comparison of positions."""
    data, shape = _table(op)
    if op.results[0].dtype != "bool" or len(shape) < 2 or min(shape[-2:]) < 2 or set(shape[:-2]) - {1}:
        return None
    rows, columns = shape[-2:]
    if any(data[r * columns + c] != (c <= r) for r in range(rows) for c in range(columns)):
        return None
    lead = (1,) * (len(shape) - 2)
    keys = w.emit(op, "reshape", w.emit(op, "iota", shape=(columns,), axis=0), shape=(*lead, 1, columns))
    queries = w.emit(op, "reshape", w.emit(op, "iota", shape=(rows,), axis=0), shape=(*lead, rows, 1))
    return w.emit(op, "le", keys, queries)


def additive_table(w: Work, op: Op) -> Value | None:
    """A table of 0 and one number that hides: where(table of bool, 0, number)."""
    data, shape = _table(op)
    hiding = min(data, default=0.0)
    if not data or op.results[0].dtype != "f32" or hiding > HIDING or set(data) != {0, hiding}:
        return None
    seen = w.emit(op, "const", data=tuple(n == 0 for n in data), shape=shape, dtype="bool")
    return w.emit(op, "where", seen, w.constant(op, 0.0, "f32"), w.constant(op, hiding, "f32"))


def _table(op: Op) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Numbers and shape of a constant that is not one number everywhere."""
    data: Any = op.attrs["data"]
    shape: Any = op.attrs["shape"]
    return (data, shape) if len(data) > 1 and shape else ((), ())


def softmax_mask(w: Work, op: Op) -> Value | None:
    """x - max(x), where x is masked by addition or by another number than the models': the models' form of x.

    What is hidden gets weight 0 either way, so that softmax stays what it was, bit for bit, for logits within 1e8; a
    row without any key becomes its mean, where -inf would make it NaN.
    """
    x, peak = op.operands[0], w.producer(op.operands[1], "max")
    if peak is None or peak.operands[0] is not x or not peak.attrs["keep"]:
        return None
    new = _selected(w, op, x)
    return None if new is None else w.emit(op, "sub", new, w.emit_with(op, "max", (new,), peak.attrs))


def _selected(w: Work, op: Op, x: Value) -> Value | None:
    chosen, added = w.producer(x, "where"), w.producer(x, "add")
    if chosen is not None:
        condition, logits, hidden = chosen.operands
        number = w.number(hidden)
        if number is None or number > HIDING or number == MASKED:
            return None
        return w.emit(op, "where", condition, logits, w.constant(op, MASKED, x.dtype))
    for logits, mask in (added.operands, added.operands[::-1]) if added is not None else ():
        part = w.producer(mask, "where")
        if part is None or logits.type != x.type:
            continue
        zero, number = w.number(part.operands[1]), w.number(part.operands[2])
        if zero == 0 and number is not None and number <= HIDING:
            return w.emit(op, "where", part.operands[0], logits, w.constant(op, MASKED, x.dtype))
        if number == 0 and zero is not None and zero <= HIDING:
            seen = w.emit(op, "not", part.operands[0])
            return w.emit(op, "where", seen, logits, w.constant(op, MASKED, x.dtype))
    return None


RULES: dict[str, tuple[Rule, ...]] = {
    "reshape": (viewed_table,),
    "const": (repeated_table, causal_table, additive_table),
    "sub": (softmax_mask,),
}
