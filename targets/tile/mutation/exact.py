"""What a buffer can hold: whole numbers, or numbers of a narrower dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..logical import Window
from ..physical import If, Instr, Loop, Part, Region, Step

KEEPING = {
    "adds", "muls", "maxs", "mins", "add", "sub", "mul", "max", "min", "select", "selects", "compress", "brcb",
    "gather", "whole_sum", "whole_max", "whole_min", "duplicate", "shift_right", "abs",
}  # fmt: skip
MOVING = {"gather", "brcb", "select", "selects", "compress", "whole_max", "whole_min", "duplicate", "copy_in"}


def holds_whole(part: Part, name: str) -> bool:
    """Whether all that is ever written to a buffer are whole numbers, if its sources hold such."""

    def writes_whole(i: Instr) -> bool:
        dtypes = {_dtype(p) for p in (*i.outs, *i.ins)}
        if i.op in ("iota", "copy_in", "cast"):
            return i.op == "iota" or "i32" in dtypes
        value = i.args.get("value", 0)
        return i.op in KEEPING and (not isinstance(value, float) or value.is_integer() or abs(value) == float("inf"))

    return _holds(part, name, writes_whole, lambda i: i.op not in ("iota", "copy_in", "cast"))


def holds_narrow(part: Part, name: str, dtype: str) -> bool:
    """Whether all that is ever written to a buffer was of that dtype, and only moved since."""

    def writes_narrow(i: Instr) -> bool:
        if i.op == "cast":
            return _dtype(i.ins[0]) == dtype
        value = i.args.get("value", 0.0)
        return (i.op in MOVING or i.op == "adds") and value == 0.0

    return _holds(part, name, writes_narrow, lambda i: i.op not in ("cast", "copy_in", "duplicate"))


def buffers_of(places: tuple[object, ...]) -> set[str]:
    """Names of the buffers among them."""
    return {p.buffer.name for p in places if isinstance(p, Region)}


def _holds(part: Part, name: str, allowed: Callable[[Instr], bool], asks: Callable[[Instr], bool]) -> bool:
    todo, seen = [name], {name}
    while todo:
        buffer = todo.pop()
        for i in _instrs(part):
            if buffer in buffers_of(i.outs):
                if not allowed(i):
                    return False
                data = [p for p in i.ins if (isinstance(p, Region) and p.dtype == "f32") or _dtype(p) == "i32"]
                skipped = 1 if i.op == "gather" else 0  # offsets are no data
                for p in data[: len(data) - skipped] if asks(i) else ():
                    if isinstance(p, Region) and p.buffer.name not in seen:
                        seen.add(p.buffer.name)
                        todo.append(p.buffer.name)
    return True


def only_sign(part: Part, name: str) -> bool:
    """Whether all that is asked of a buffer is how it compares with 0."""
    readers = [i for i in _instrs(part) if name in buffers_of(i.ins)]
    return bool(readers) and all(i.op == "compares" and i.args["value"] == 0.0 for i in readers)


def _instrs(part: Part) -> Iterator[Instr]:
    todo: list[Step] = list(part.body)
    while todo:
        step = todo.pop()
        if isinstance(step, Loop | If):
            todo += step.body
        elif isinstance(step, Instr):
            yield step


def _dtype(p: object) -> str:
    return p.dtype if isinstance(p, Region) else p.tensor.dtype if isinstance(p, Window) else ""
