"""Modules as text, one op per line; ``parser.parse`` gives the same module back. ``grammar.lark`` has the syntax.

Two kinds of op have no line of their own. They are written at their use, and parsing puts them back just before it:
a scalar constant (``2.0:f32``), and a ``get`` whose only user follows it (``%w.attn.q_a``).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from .core import Attr, Function, IRError, Module, Op, Scalar, Value
from .dims import Dim
from .types import Bundle, ListType, TensorType, Type

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_PART = re.compile(r"\w+", re.ASCII)
_PLAIN_LOC = re.compile(r'[^\s"#]\S*')


def to_text(module: Module) -> str:
    """The module as text; IRError for a name that the text form cannot hold."""
    bundles = module.bundles()
    types = [f"type {_name(name)} = {_record(bundle, bundles)}\n" for name, bundle in bundles.items()]
    functions = [function_text(function, bundles) for function in module.functions.values()]
    header = f"module {_name(module.name)} entry {_name(module.entry)}\n"
    return "\n".join([header, *(["".join(types)] if types else []), *functions])


def function_text(function: Function, bundles: dict[str, Bundle], names: Mapping[int, str] | None = None) -> str:
    """One function as it stands in its module's text; ``names`` gives results, by ``id``, a name of their own."""
    return _FunctionPrinter(function, bundles, names or {}).text()


def written_names(function: Function, bundles: dict[str, Bundle]) -> dict[int, str]:
    """How each value of a function is written in its text, by ``id``."""
    printer = _FunctionPrinter(function, bundles, {})
    printer.text()
    return printer.names


def number_text(number: Scalar) -> str:
    """A number so that it reads back as the same number of the same kind."""
    if isinstance(number, bool):
        return "true" if number else "false"
    return int.__repr__(number) if isinstance(number, int) else float.__repr__(number)


def _name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise IRError("", f"{name!r} cannot be written as a name; use letters, digits and _, no digit first")
    return name


def _record(bundle: Bundle, bundles: dict[str, Bundle]) -> str:
    fields = ", ".join(f"{_name(name)}: {_type_text(type_, bundles)}" for name, type_ in bundle.fields)
    return f"{{ {fields} }}" if fields else "{ }"


def _type_text(type_: Type, bundles: dict[str, Bundle]) -> str:
    if isinstance(type_, TensorType):
        return str(type_)
    if isinstance(type_, ListType):
        return f"[{', '.join(_type_text(item, bundles) for item in type_.items)}]"
    if bundles[type_.name] == type_:
        return type_.name
    return f"{type_.name} {_record(type_, bundles)}"


def _attr_text(attr: Attr) -> str:
    if isinstance(attr, tuple):
        return f"[{', '.join(map(_attr_text, attr))}]"
    if isinstance(attr, str):
        return json.dumps(attr, ensure_ascii=False)
    return str(attr) if isinstance(attr, Dim) else number_text(attr)


def _loc_text(loc: str) -> str:
    if not loc:
        return ""
    return f" @{loc}" if _PLAIN_LOC.fullmatch(loc) else f" @{json.dumps(loc, ensure_ascii=False)}"


class _FunctionPrinter:
    """Prints one function: ``_inline`` decides which ops are written at their use, the rest is one line each."""

    def __init__(self, function: Function, bundles: dict[str, Bundle], given: Mapping[int, str]) -> None:
        self._function, self._bundles, self._given = function, bundles, given
        self._uses = Counter(id(v) for op in function.ops for v in op.operands) + Counter(map(id, function.results))
        self._literals: set[str] = set()
        self._inline: set[int] = set()  # positions of the ops without a line
        for position, op in enumerate(function.ops):
            self._absorb(position, op.operands, op.loc)
        self._absorb(len(function.ops), function.results, "")
        self.names = {id(p): f"%{_name(p.name)}" for p in function.params}

    def text(self) -> str:
        """The function with a line break at the end."""
        function = self._function
        if function.kind not in ("block", "weights"):
            raise IRError(function.name, f"is of kind {function.kind!r}; the text form knows block and weights")
        prefix = "weights func" if function.kind == "weights" else "func"
        lines = [f"{prefix} {_name(function.name)}({', '.join(self._params())}) {{"]
        lines += [f"  require {left} == {right}" for left, right in function.requires]
        lines += self._lines()
        lines += [f"  return {self._join(function.results)}".rstrip(), "}\n"]
        return "\n".join(lines)

    def _params(self) -> Iterator[str]:
        for param in self._function.params:
            yield f"{self.names[id(param)]}: {_type_text(param.type, self._bundles)}"

    def _absorb(self, position: int, operands: Sequence[Value], loc: str) -> None:
        """Mark the ops that run up to ``position``, last first, as long as each is the next operand's definition."""
        for place in range(len(operands) - 1, -1, -1):
            value = operands[place]
            while position and value is self._only_result(position - 1):
                op = self._function.ops[position - 1]
                # A literal stands for the constant made at its first mention, so an earlier one must not exist.
                if op.loc != loc or value in operands[:place] or not self._can_inline(op):
                    break
                position -= 1
                self._inline.add(position)
                if op.name == "const":
                    self._literals.add(_literal(op))
                    break
                value = op.operands[0]

    def _only_result(self, position: int) -> Value | None:
        results = self._function.ops[position].results
        return results[0] if len(results) == 1 else None

    def _can_inline(self, op: Op) -> bool:
        if op.name == "get":
            return self._uses[id(op.results[0])] == 1 and bool(_PART.fullmatch(str(op.attrs["part"])))
        return op.name == "const" and op.attrs["shape"] == () and _literal(op) not in self._literals

    def _lines(self) -> Iterator[str]:
        count = 0
        for position, op in enumerate(self._function.ops):
            if position in self._inline:
                self.names[id(op.results[0])] = (
                    _literal(op) if op.name == "const" else f"{self._join(op.operands)}.{op.attrs['part']}"
                )
                continue
            body = self._body(op)
            for result in op.results:
                self.names[id(result)] = self._given.get(id(result), f"%{count}")
                count += 1
            results = ", ".join(f"{self._join([r])}: {_type_text(r.type, self._bundles)}" for r in op.results)
            yield f"  {results}{' = ' if results else ''}{body}{_loc_text(op.loc)}"

    def _body(self, op: Op) -> str:
        if op.name == "bundle" and not op.attrs["type"]:
            return f"bundle [{self._join(op.operands)}]"
        if op.name == "bundle":
            fields = op.attrs["fields"]
            assert isinstance(fields, tuple)
            parts = [f"{_name(str(f))}={self._join([v])}" for f, v in zip(fields, op.operands, strict=True)]
            return f"bundle {_name(str(op.attrs['type']))} {{ {', '.join(parts)} }}" if parts else (
                f"bundle {_name(str(op.attrs['type']))} {{ }}"
            )
        operands = [self._join([v]) for v in op.operands]
        if op.name == "call":
            dims = op.attrs["dims"]
            assert isinstance(dims, tuple)
            named = [f"{_name(str(pair[0]))}={_attr_text(pair[1])}" for pair in dims if isinstance(pair, tuple)]
            return f"call {_name(str(op.attrs['callee']))}({', '.join(operands + named)})"
        attrs = [f"{_name(key)}={_attr_text(value)}" for key, value in sorted(op.attrs.items())]
        return f"{_name(op.name)}({', '.join(operands + attrs)})"

    def _join(self, values: Sequence[Value]) -> str:
        # `%?` is no valid text: a broken function can still be looked at.
        return ", ".join(self.names.get(id(v), "%?") for v in values)


def _literal(op: Op) -> str:
    data = op.attrs["data"]
    assert isinstance(data, tuple) and len(data) == 1
    (number,) = data
    assert isinstance(number, int | float)
    return f"{number_text(number)}:{op.attrs['dtype']}"
