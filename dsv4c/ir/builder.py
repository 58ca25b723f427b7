"""Write functions as plain Python expressions: every op call appends one op with inferred result types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from . import ops as _ops  # noqa: F401  (fills the registry)
from .core import ACTIVE, Attr, Attrs, Function, IRError, Module, Op, Scalar, Value, located
from .dims import Extent, Shape
from .infer import infer
from .registry import ShapeError
from .types import Bundle, Type


class Builder:
    """Builds one function: ``with Builder(module, "twice", x=type_x) as b: (x,) = b.params; b.done(x * 2.0)``."""

    def __init__(self, module: Module, name: str, /, **params: Type) -> None:
        self.module, self.name = module, name
        self.params = tuple(Value(type_, param) for param, type_ in params.items())
        self._ops: list[Op] = []
        self._requires: dict[tuple[str, str], tuple[Extent, Extent]] = {}
        self._scalars: dict[tuple[str, str], Value] = {}
        self._scope: list[str] = []

    def __enter__(self) -> Builder:
        ACTIVE.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ACTIVE.pop()

    @property
    def ops(self) -> tuple[Op, ...]:
        """The ops appended so far."""
        return tuple(self._ops)

    @property
    def requires(self) -> tuple[tuple[Extent, Extent], ...]:
        """The equalities that could not be proven so far."""
        return tuple(self._requires.values())

    @property
    def loc(self) -> str:
        """The dotted place that ops appended now belong to."""
        return ".".join(self._scope)

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Ops appended inside carry ``name`` as one more part of their location."""
        self._scope.append(name)
        try:
            yield
        finally:
            self._scope.pop()

    def emit(self, name: str, operands: tuple[Value, ...], attrs: Attrs) -> tuple[Value, ...]:
        """Append an op; raises IRError with function and location when it does not fit its operands."""
        attrs = dict(sorted(attrs.items()))
        try:
            types = infer(self.module, name, [o.type for o in operands], attrs, self.require)
        except ShapeError as error:
            raise IRError(located(self.name, self.loc), f"{name}: {error}") from None
        results = tuple(Value(type_) for type_ in types)
        self._ops.append(Op(name, operands, attrs, results, self.loc))
        return results

    def require(self, left: Extent, right: Extent) -> None:
        """Two extents that must be equal: nothing if proven, an error if refuted, else a check at run time."""
        if left == right:
            return
        if isinstance(left, int) and isinstance(right, int):
            raise ShapeError(f"extents {left} and {right} differ")
        self._requires.setdefault((str(left), str(right)), (left, right))

    def scalar(self, number: Scalar, dtype: str) -> Value:
        """A rank-0 constant, one per number and dtype in a function."""
        key = (repr(number), dtype)
        if key not in self._scalars:
            (self._scalars[key],) = self.emit("const", (), {"data": (number,), "shape": (), "dtype": dtype})
        return self._scalars[key]

    def done(self, *results: Value, kind: str = "block") -> Function:
        """Close the function and add it to the module; ``kind`` as in ``Function``."""
        if self.name in self.module.functions:
            raise IRError(self.name, "a function of this name exists")
        function = Function(self.name, self.params, self.ops, results, self.requires, kind)
        self.module.functions[self.name] = function
        return function


def _one(name: str, operands: tuple[Value, ...], **attrs: Attr) -> Value:
    (out,) = ACTIVE[-1].emit(name, operands, attrs)
    return out


def const(data: Scalar | Sequence[Scalar], dtype: str, shape: Shape | None = None) -> Value:
    """A small table as a value; one number fills ``shape``."""
    if isinstance(data, int | float):
        return _one("const", (), data=(data,), shape=shape or (), dtype=dtype)
    return _one("const", (), data=tuple(data), shape=shape or (len(data),), dtype=dtype)


def iota(*shape: Extent, axis: int = 0) -> Value:
    """Positions along ``axis``, i32."""
    return _one("iota", (), shape=shape, axis=axis)


def extent(value: Extent) -> Value:
    """A dimension as an i32 scalar."""
    return _one("extent", (), value=value)


def unary(name: str, x: Value) -> Value:
    """An elementwise op of one operand, by name."""
    return _one(name, (x,))


def exp(x: Value) -> Value:
    """e to the x."""
    return _one("exp", (x,))


def rsqrt(x: Value) -> Value:
    """1 / sqrt(x)."""
    return _one("rsqrt", (x,))


def maximum(x: Value, y: Value | Scalar) -> Value:
    """The larger of two."""
    return x._binary("maximum", y)


def minimum(x: Value, y: Value | Scalar) -> Value:
    """The smaller of two."""
    return x._binary("minimum", y)


def equal(x: Value, y: Value | Scalar) -> Value:
    """x == y, elementwise."""
    return x._binary("eq", y)


def where(condition: Value, x: Value, y: Value | Scalar) -> Value:
    """x where the condition holds, else y."""
    other = y if isinstance(y, Value) else ACTIVE[-1].scalar(y, x.dtype)
    return _one("where", (condition, x, other))


def cast(x: Value, dtype: str) -> Value:
    """The same numbers in another dtype; no op if it is that dtype already."""
    return x if x.dtype == dtype else _one("cast", (x,), dtype=dtype)


def bitcast(x: Value, dtype: str) -> Value:
    """The same bits as another dtype."""
    return _one("bitcast", (x,), dtype=dtype)


def _axis(x: Value, axis: int) -> int:
    return axis + x.tensor.rank if axis < 0 else axis


def total(x: Value, axis: int = -1, keep: bool = False) -> Value:
    """Sum over one axis."""
    return _one("sum", (x,), axis=_axis(x, axis), keep=keep)


def mean(x: Value, axis: int = -1, keep: bool = False) -> Value:
    """Mean over one axis of known extent."""
    size = x.shape[axis]
    if not isinstance(size, int):
        raise IRError("", f"mean over extent {size}, which is not a number")
    return total(x, axis, keep) * (1.0 / size)


def largest(x: Value, axis: int = -1, keep: bool = False) -> Value:
    """Maximum over one axis."""
    return _one("max", (x,), axis=_axis(x, axis), keep=keep)


def argmax(x: Value, axis: int = -1) -> Value:
    """Position of the maximum over one axis, i32."""
    return _one("argmax", (x,), axis=_axis(x, axis))


def cumsum(x: Value, axis: int) -> Value:
    """Running sum along one axis."""
    return _one("cumsum", (x,), axis=_axis(x, axis))


def topk(x: Value, k: int) -> tuple[Value, Value]:
    """The k largest along the last axis: values and i32 indices."""
    values, indices = ACTIVE[-1].emit("topk", (x,), {"k": k})
    return values, indices


def matmul(a: Value, b: Value, *, trans_b: bool = False, out: str = "") -> Value:
    """Matrix product over the last two axes."""
    return _one("matmul", (a, b), trans_b=trans_b, out=out)


def linear(x: Value, w: Value, out: str = "") -> Value:
    """``x [..., K]`` times a weight stored ``[N, K]``."""
    return matmul(x, w, trans_b=True, out=out)


def ragged_matmul(x: Value, w: Value, counts: Value) -> Value:
    """Rows sorted by group times their group's matrix."""
    return _one("ragged_matmul", (x, w, counts))


def reshape(x: Value, *shape: Extent) -> Value:
    """Another shape with as many elements; no op if it has that shape already."""
    return x if x.shape == shape else _one("reshape", (x,), shape=shape)


def transpose(x: Value, *perm: int) -> Value:
    """Axes in another order."""
    return _one("transpose", (x,), perm=perm)


def broadcast_to(x: Value, *shape: Extent) -> Value:
    """Repeat axes of extent 1."""
    return _one("broadcast_to", (x,), shape=shape)


def slice_axis(x: Value, start: Extent, stop: Extent, axis: int = -1) -> Value:
    """Elements start to stop of one axis."""
    return _one("slice", (x,), axis=_axis(x, axis), start=start, stop=stop)


def split(x: Value, *sizes: int, axis: int = -1) -> tuple[Value, ...]:
    """Consecutive slices of the given sizes."""
    stops = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    return tuple(slice_axis(x, stop - size, stop, axis) for size, stop in zip(sizes, stops, strict=True))


def concat(*xs: Value, axis: int = -1) -> Value:
    """Operands one after the other."""
    return _one("concat", xs, axis=_axis(xs[0], axis))


def gather(x: Value, index: Value, batch: int = 0) -> Value:
    """Rows of x picked by index."""
    return _one("gather", (x, index), batch=batch)


def scatter(x: Value, index: Value, rows: Value, batch: int = 0) -> Value:
    """x with rows written at index."""
    return _one("scatter", (x, index, rows), batch=batch)


def bundle(type_: Bundle | None, *parts: Value) -> Value:
    """A bundle from its parts in order; without a type, a list."""
    fields = tuple(name for name, _ in type_.fields) if type_ else ()
    return _one("bundle", parts, type=type_.name if type_ else "", fields=fields)


def call(function: Function, *operands: Value, **dims: Extent) -> tuple[Value, ...]:
    """Call a function; ``dims`` binds its symbols to extents here, symbols not named keep their name."""
    pairs = tuple((name, value) for name, value in sorted(dims.items()))
    return ACTIVE[-1].emit("call", operands, {"callee": function.name, "dims": pairs})
