"""Wrong rewrites, each a kind of mistake that compilers have made: the driver must name every one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from dsv4c.ir.builder import gather, iota, topk, transpose, where
from dsv4c.ir.core import ACTIVE, Function, Module, Op, Value
from dsv4c.ir.types import is_linear
from dsv4c.passes.base import Log, Pass, map_functions
from dsv4c.passes.rewriting import Splice, live, ordered, resolve, substituted


@dataclass(frozen=True)
class Planted(Pass):
    """Replaces ops one by one: ``wrong`` gives the new values of an op, or None."""

    name: ClassVar[str] = "planted"
    doc: ClassVar[str] = "right -> wrong"
    exact: ClassVar[bool] = False  # the wider limit: a planted mistake must stand out of it

    def run(self, module: Module, log: Log) -> Module:
        return map_functions(module, lambda function: self._change(module, function, log))

    def _change(self, module: Module, function: Function, log: Log) -> Function:
        made = {id(r): op for op in function.ops for r in op.results}
        splice = Splice(module, function)
        for op in function.ops:
            if self.fits(op, made):
                log.applied[self.name] += 1
                splice.replace(op, op.results, lambda op=op: self.wrong(op, made))  # type: ignore[misc]
        return splice.done()

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        raise NotImplementedError

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        raise NotImplementedError


def again(op: Op, *operands: Value, **attrs: Any) -> tuple[Value, ...]:
    return ACTIVE[-1].emit(op.name, operands or op.operands, {**op.attrs, **attrs})


def number(value: Value, made: dict[int, Op]) -> float | None:
    """The number that a value is, if it is a scalar constant."""
    op = made.get(id(value))
    data: Any = op.attrs["data"] if op and op.name == "const" and op.attrs["shape"] == () else (None,)
    return None if data[0] is None else float(data[0])


class SwapSub(Planted):
    """a - b -> b - a"""

    name: ClassVar[str] = "swap-sub"

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        return op.name == "sub" and op.results[0].dtype == "f32"

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        return again(op, *reversed(op.operands))


class DropMask(Planted):
    """where(seen, scores, -1e30) -> scores"""

    name: ClassVar[str] = "drop-mask"

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        masked = op.name == "where" and (number(op.operands[2], made) or 0.0) <= -1e29
        return masked and op.operands[1].type == op.results[0].type

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        return op.operands[1:2]


class WrongAxis(Planted):
    """sum over the last axis of a square -> over the one before it"""

    name: ClassVar[str] = "wrong-axis"

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        shape = op.operands[0].shape if op.name == "sum" else ()
        return len(shape) > 1 and shape[-1] == shape[-2] and op.attrs["axis"] == len(shape) - 1

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        (out,) = again(op, axis=len(op.operands[0].shape) - 2)
        if op.attrs["keep"]:
            out = transpose(out, *range(len(out.shape) - 2), len(out.shape) - 1, len(out.shape) - 2)
        return (out,)


class EpsLost(Planted):
    """x + 1e-6 -> x"""

    name: ClassVar[str] = "eps-lost"

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        return op.name == "add" and 0 < (number(op.operands[1], made) or 0) <= 1e-5

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        return op.operands[:1]


class ConstantRounded(Planted):
    """a constant f32 -> the same rounded to bf16"""

    name: ClassVar[str] = "constant-rounded"

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        return op.name == "const" and op.attrs["dtype"] == "f32"

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        data: Any = op.attrs["data"]
        rounded = np.array(data, np.float32).astype(ml_dtypes.bfloat16).astype(np.float32)
        return again(op, data=tuple(float(x) for x in rounded))


class OffByOne(Planted):
    """slice(a, b) -> slice(a - 1, b - 1)"""

    name: ClassVar[str] = "off-by-one"

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        start = op.attrs.get("start") if op.name == "slice" else None
        return isinstance(start, int) and start > 0

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        start: Any = op.attrs["start"]
        stop: Any = op.attrs["stop"]
        return again(op, start=start - 1, stop=stop - 1)


class CastDropped(Planted):
    """cast(cast(x, bf16), f32) -> x"""

    name: ClassVar[str] = "cast-dropped"
    exact: ClassVar[bool] = True

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        inner = made.get(id(op.operands[0])) if op.name == "cast" else None
        return inner is not None and inner.name == "cast" and inner.operands[0].type == op.results[0].type

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        return made[id(op.operands[0])].operands


class SinkIgnored(Planted):
    """sum(p) + exp(sink - peak) -> sum(p)"""

    name: ClassVar[str] = "sink-ignored"

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        names = [made[id(o)].name for o in op.operands if id(o) in made]
        return op.name == "add" and sorted(names) == ["exp", "sum"]

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        return [o for o in op.operands if made[id(o)].name == "sum"]


class TiesToTheLast(Planted):
    """topk with ties to the lower index -> to the higher one"""

    name: ClassVar[str] = "ties-to-the-last"

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        return op.name == "topk" and op.operands[0].tensor.rank == 2 and isinstance(op.operands[0].shape[1], int)

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        (x,), k = op.operands, op.attrs["k"]
        assert isinstance(k, int)
        last = x.shape[1] - 1
        assert isinstance(last, int)
        turned = transpose(gather(transpose(x, 1, 0), last - iota(last + 1)), 1, 0)
        values, indices = topk(turned, k)
        return values, where(indices < 0, indices, last - indices)


class ScaledTwice(Planted):
    """scores * scale -> scores * scale * scale"""

    name: ClassVar[str] = "scaled-twice"

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        made_by = made.get(id(op.operands[0])) if op.name == "mul" else None
        return made_by is not None and made_by.name in ("matmul", "reshape") and bool(number(op.operands[1], made))

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        (once,) = again(op)
        return again(op, once, op.operands[1])


class MixTransposed(Planted):
    """the last division of Sinkhorn -> its transpose"""

    name: ClassVar[str] = "mix-transposed"

    def _change(self, module: Module, function: Function, log: Log) -> Function:
        if function.name != "hyper_pre":
            return function
        splice = Splice(module, function)
        mix = function.results[2]
        op = next(op for op in function.ops if mix in op.results)
        splice.replace(op, op.results, lambda: (transpose(again(op)[0], 0, 1, 3, 2),))
        return splice.done()


class PaddingVisible(Planted):
    """where(is_new, target, -1) -> target"""

    name: ClassVar[str] = "padding-visible"

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        dropped = op.name == "where" and number(op.operands[2], made) == -1.0
        return dropped and op.operands[1].type == op.results[0].type

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        return op.operands[1:2]


class StaleCache(Planted):
    """attention over the updated cache -> over the one before the update"""

    name: ClassVar[str] = "stale-cache"

    def _change(self, module: Module, function: Function, log: Log) -> Function:
        updates = [op for op in function.ops if op.name == "scatter" and is_linear(op.results[0].type)]
        before = {id(op.results[0]): op.operands[0] for op in updates}
        ops = [op if op.name == "bundle" else substituted(op, before) for op in function.ops]
        return replace(function, ops=ordered(live(ops, function.results)))


class EarlyWrite(Planted):
    """attention over the window before the update -> over the updated one"""

    name: ClassVar[str] = "early-write"

    def _change(self, module: Module, function: Function, log: Log) -> Function:
        updates = [op for op in function.ops if op.name == "scatter" and is_linear(op.results[0].type)]
        after = {id(op.operands[0]): op.results[0] for op in updates}
        kept = {id(op) for op in updates}
        ops = [op if id(op) in kept else substituted(op, after) for op in function.ops]
        results = tuple(resolve(r, after) for r in function.results)
        return replace(function, ops=ordered(live(ops, results)), results=results)


class OrderOfSums(Planted):
    """x + y -> y + x: right"""

    name: ClassVar[str] = "order-of-sums"

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        return op.name == "add" and len({str(o.type) for o in op.operands}) == 1

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        return again(op, *reversed(op.operands))


class Halves(OrderOfSums):
    """x * c -> (x * c / 2) * 2: right, and exact but for numbers near the smallest"""

    name: ClassVar[str] = "halves"
    exact: ClassVar[bool] = True

    def fits(self, op: Op, made: dict[int, Op]) -> bool:
        return op.name == "mul" and op.results[0].dtype == "f32"

    def wrong(self, op: Op, made: dict[int, Op]) -> Sequence[Value]:
        (out,) = again(op, op.operands[0], op.operands[1] * 0.5)
        return (out * 2.0,)
