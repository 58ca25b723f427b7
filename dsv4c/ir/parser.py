"""Text to modules: the inverse of ``printer.to_text``. ``grammar.lark`` has the syntax.

Reading has two steps. lark turns text into the small records below, in which every name still has its position; then
each function is built op by op with the builder, so that what was read obeys the same rules as what was written in
Python. Every error carries ``file:line:column``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedInput

from .builder import Builder
from .core import Attr, IRError, Module, Scalar, Value
from .dims import Dim, Extent, symbol
from .registry import ShapeError
from .types import DTYPES, Bundle, ListType, TensorType, Type
from .unexpected import explained, near, place
from .verify import verify_function


class ParseError(Exception):
    """The text is no module; the message is ``file:line:column: what is wrong; what would work``."""

    def __init__(self, source: str, line: int, column: int, what: str) -> None:
        self.line, self.column = line, column
        super().__init__(f"{source}:{line}:{column}: {what}")


class _TextError(Exception):
    """An error at a token; ``parse`` adds the file's name."""

    def __init__(self, at: Token, what: str) -> None:
        self.at, self.what = at, what
        super().__init__(what)


class _NamedType(NamedTuple):
    """A bundle by name, with its fields where the text gives them."""

    name: Token
    fields: tuple[tuple[Token, _TypeText], ...] | None


class _ListText(NamedTuple):
    items: tuple[_TypeText, ...]


_TypeText = TensorType | _NamedType | _ListText


class _Call(NamedTuple):
    """What stands right of ``=``. ``at`` is the token that an error of the whole op points to."""

    at: Token
    op: str
    operands: tuple[Token, ...]
    attrs: Mapping[str, Attr]


class _Statement(NamedTuple):
    results: tuple[tuple[Token, _TypeText], ...]
    call: _Call
    loc: str


class _FunctionText(NamedTuple):
    kind: str
    name: Token
    params: tuple[tuple[Token, _TypeText], ...]
    requires: tuple[tuple[Extent, Extent], ...]
    statements: tuple[_Statement, ...]
    returned: tuple[Token, ...]  # the keyword, then the operands


class _ModuleText(NamedTuple):
    name: Token
    entry: Token
    types: list[_NamedType]
    functions: list[_FunctionText]


def parse(text: str, source: str = "<text>") -> Module:
    """The module that ``text`` describes, verified; ``source`` names the text in errors."""
    try:
        records: Any = _grammar().parse(text)
        return _Reader(records).read()
    except _TextError as problem:
        line, column = problem.at.line or 1, problem.at.column or 1
        raise ParseError(source, line, column, problem.what) from None
    except UnexpectedInput as error:
        what = "; ".join(filter(None, explained(error, _grammar(), _WORDS, {})))
        raise ParseError(source, *place(error, text), what) from None


@cache
def _grammar() -> Lark:
    text = files("dsv4c.ir").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", lexer="contextual", transformer=_Records(), maybe_placeholders=False)


_WORDS = {
    "NAME": "a name", "VALUE": "a value such as %x", "LITERAL": "a number such as 1.0:f32", "INT": "an integer",
    "FLOAT": "a number", "STRING": "a string", "LOC": "a place such as @attn.q", "$END": "the end of the text",
    "TRUE": "'true'", "FALSE": "'false'", "KIND": "'func'",
}


def _near(name: str, known: Iterable[str], mark: str = "") -> str:
    hint = near(name, known, mark)
    return f"; {hint}" if hint else ""


def _unique(names: Sequence[Token], what: str) -> None:
    seen: dict[str, Token] = {}
    for name in names:
        if str(name) in seen:
            raise _TextError(name, f"{what} {name} is defined already in line {seen[str(name)].line}; use another name")
        seen[str(name)] = name


def _string(at: Token, text: str) -> str:
    try:
        return str(json.loads(text, strict=False))
    except ValueError as error:
        raise _TextError(at, f"{text} is no string ({error}); escapes are those of JSON") from None


def _number(text: str) -> Scalar:
    if text in ("true", "false"):
        return text == "true"
    return int(text) if text.removeprefix("-").isdecimal() else float(text)


def _pairs(self: object, *items: Any) -> tuple[Any, ...]:
    return items


@v_args(inline=True)
class _Records(Transformer[Token, Any]):
    """What each rule of the grammar stands for; lark calls these while it parses."""

    field = result = part = attr = param = params = requires = require = _pairs
    statements = returned = results = values = _pairs

    def start(self, name: Token, entry: Token, *items: _NamedType | _FunctionText) -> _ModuleText:
        types = [item for item in items if isinstance(item, _NamedType)]
        return _ModuleText(name, entry, types, [item for item in items if isinstance(item, _FunctionText)])

    def record(self, *fields: tuple[Token, _TypeText]) -> tuple[tuple[Token, _TypeText], ...]:
        _unique([name for name, _ in fields], "field")
        return fields

    def named(self, name: Token, fields: tuple[tuple[Token, _TypeText], ...] | None = None) -> _NamedType:
        return _NamedType(name, fields)

    variant = type_decl = named

    def list(self, *items: _TypeText) -> _ListText:
        return _ListText(items)

    def tensor(self, dtype: Token, *shape: Extent) -> TensorType:
        if str(dtype) not in DTYPES:
            raise _TextError(dtype, f"unknown dtype {dtype}; use one of {', '.join(DTYPES)}")
        return TensorType(shape, str(dtype))

    def linear(self, state: Token, dtype: Token, *shape: Extent) -> TensorType:
        if state != "state":
            raise _TextError(state, f"unexpected {str(state)!r} before a tensor type; only state can stand there")
        return replace(self.tensor(dtype, *shape), state=True)

    def function(self, kind: Token, name: Token, *rest: Any) -> _FunctionText:
        return _FunctionText("weights" if kind.startswith("weights") else "block", name, *rest)

    def statement(self, results: tuple[Any, ...], call: _Call, loc: Token | None = None) -> _Statement:
        place = "" if loc is None else str(loc[1:])
        return _Statement(results, call, _string(loc, place) if loc and place.startswith('"') else place)

    def op(self, name: Token, *items: Token | tuple[Token, Attr]) -> _Call:
        attrs = [item for item in items if not isinstance(item, Token)]
        _unique([key for key, _ in attrs], "attribute")
        operands = tuple(item for item in items if isinstance(item, Token))
        return _Call(name, str(name), operands, {str(key): value for key, value in attrs})

    def call(self, callee: Token, *items: Token | tuple[Token, Attr]) -> _Call:
        _, _, operands, dims = self.op(callee, *items)
        return _Call(callee, "call", operands, {"callee": str(callee), "dims": tuple(sorted(dims.items()))})

    def bundle(self, name: Token, *parts: tuple[Token, Token]) -> _Call:
        fields = tuple(str(field) for field, _ in parts)
        return _Call(name, "bundle", tuple(value for _, value in parts), {"type": str(name), "fields": fields})

    def items(self, keyword: Token, *operands: Token) -> _Call:
        return _Call(keyword, "bundle", operands, {"type": "", "fields": ()})

    def real(self, token: Token) -> float:
        return float(token)

    def true(self, token: Token) -> bool:
        return True

    def false(self, token: Token) -> bool:
        return False

    def string(self, token: Token) -> str:
        return _string(token, str(token))

    def integer(self, token: Token) -> int:
        return int(token)

    def symbol(self, token: Token) -> Extent:
        return symbol(str(token))

    def negative(self, x: Extent) -> Extent:
        return -x

    def add(self, x: Extent, y: Extent) -> Extent:
        return x + y

    def sub(self, x: Extent, y: Extent) -> Extent:
        return x - y

    def mul(self, x: Extent, y: Extent) -> Extent:
        return x * y

    def div(self, x: Extent, at: Token, y: Extent) -> Extent:
        return x // _divisor(at, y)

    def mod(self, x: Extent, at: Token, y: Extent) -> Extent:
        return x % _divisor(at, y)


def _divisor(at: Token, extent: Extent) -> int:
    if not isinstance(extent, int) or extent < 1:
        raise _TextError(at, f"cannot divide by {extent}; divisors are positive integers")
    return extent


class _Reader:
    """Builds a module from the records of its text."""

    def __init__(self, text: _ModuleText) -> None:
        self._text = text
        self._types: dict[str, Bundle] = {}
        self.module = Module(str(text.name), entry=str(text.entry))

    def read(self) -> Module:
        """The module."""
        _unique([declared.name for declared in self._text.types], "type")
        for declared in self._text.types:
            bundle = self.type(declared)
            assert isinstance(bundle, Bundle)
            self._types[bundle.name] = bundle
        _unique([function.name for function in self._text.functions], "function")
        for function in self._text.functions:
            _Body(self, function).read()
        if self.module.entry not in self.module.functions:
            near = _near(self.module.entry, self.module.functions)
            raise _TextError(self._text.entry, f"there is no function {self.module.entry}{near}")
        return self.module

    def type(self, text: _TypeText) -> Type:
        """A type with its names looked up."""
        if isinstance(text, TensorType):
            return text
        if isinstance(text, _ListText):
            return ListType(tuple(map(self.type, text.items)))
        name, fields = text
        if fields is not None:
            return Bundle(str(name), tuple((str(field), self.type(type_)) for field, type_ in fields))
        if str(name) not in self._types:
            raise _TextError(name, f"unknown type {name}{_near(name, [*self._types, *DTYPES])}")
        return self._types[str(name)]


class _Body(Builder):
    """Builds one function; equalities that the text does not require are errors."""

    def __init__(self, reader: _Reader, text: _FunctionText) -> None:
        _unique([name for name, _ in text.params], "value")
        for name, _ in text.params:
            if not name[1:].isidentifier():
                raise _TextError(name, f"{name} is no name of a parameter; use letters, digits and _, no digit first")
        types = {str(name[1:]): reader.type(type_) for name, type_ in text.params}
        super().__init__(reader.module, str(text.name), **types)
        self._reader, self._text = reader, text
        self._requires = {(str(left), str(right)): (left, right) for left, right in text.requires}
        self._values = {param.name: param for param in self.params}
        self._tokens: dict[int, Token] = {}  # where each op stands in the text

    def require(self, left: Extent, right: Extent) -> None:
        """Two extents that must be equal: proven, refuted, or required by the text."""
        unknown = isinstance(left, Dim) or isinstance(right, Dim)
        if left != right and unknown and (str(left), str(right)) not in self._requires:
            raise ShapeError(f"extents {left} and {right} are not known to be equal; add `require {left} == {right}`")
        super().require(left, right)

    def read(self) -> None:
        """Append all ops, close the function and verify it."""
        for statement in self._text.statements:
            with self.scope(statement.loc):
                self._append(statement)
        keyword, *results = self._text.returned
        function = self.done(*map(self._operand, results), kind=self._text.kind)
        try:
            verify_function(self.module, function)
        except IRError as error:
            raise _TextError(self._tokens.get(id(error.op), keyword), str(error)) from None

    def _append(self, statement: _Statement) -> None:
        at, op, operands, attrs = statement.call
        results = self._emit(at, op, tuple(map(self._operand, operands)), attrs)
        if len(results) != len(statement.results):
            raise _TextError(at, f"{op} has {len(results)} results, {len(statement.results)} are named")
        for (name, type_), value in zip(statement.results, results, strict=True):
            if self._reader.type(type_) != value.type:
                raise _TextError(name, f"{name} is of another type; {op} gives {value.type}")
            self._define(name, value)

    def _define(self, name: Token, value: Value) -> None:
        if "." in name:
            raise _TextError(name, f"{name} names a part; a result has a name without dots")
        if name[1:] in self._values:
            raise _TextError(name, f"value {name} is defined already; use another name")
        self._values[name[1:]] = value

    def _emit(self, at: Token, op: str, operands: tuple[Value, ...], attrs: Mapping[str, Attr]) -> tuple[Value, ...]:
        try:
            results = self.emit(op, operands, attrs)
        except IRError as error:
            raise _TextError(at, str(error)) from None
        self._tokens[id(self._ops[-1])] = at
        return results

    def _operand(self, token: Token) -> Value:
        if token.type == "LITERAL":
            return self._literal(token)
        name, *parts = token[1:].split(".")
        if name not in self._values:
            raise _TextError(token, f"unknown value %{name}{_near(name, self._values, '%')}")
        value = self._values[name]
        for part in parts:
            (value,) = self._emit(token, "get", (value,), {"part": part})
        return value

    def _literal(self, token: Token) -> Value:
        number, dtype = token.split(":")
        try:
            return self.scalar(_number(number), dtype)
        except ValueError:
            raise _TextError(token, f"{number} is no number; write for instance 1.0:f32") from None
        except IRError as error:
            raise _TextError(token, str(error)) from None
