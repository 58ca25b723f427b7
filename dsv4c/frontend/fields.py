"""Typed reading of a JSON object, with errors that name the field in the user's file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from dsv4c.errors import UserError

MOST_LAYERS = 10_000  # a bound against nonsense: every layer becomes an entry of several tables
_KINDS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


@dataclass(frozen=True)
class Fields:
    """A JSON object at ``place``: ``config.json:`` for the file itself, ``config.json:rope_scaling.`` one level down.

    Every reader takes a default. ``None`` means that the field must be there; otherwise a field that is absent or
    null takes the default, as transformers' configs do.
    """

    data: Mapping[str, object]
    place: str

    def error(self, name: str, what: str, fix: str = "") -> UserError:
        """The error for one field, ready to be raised."""
        return UserError(what, where=self.place + name, fix=fix)

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self.data.get(name) is not None

    def integer(self, name: str, default: int | None = None, least: int = 1, most: int = 2**31 - 1) -> int:
        """A whole number from ``least`` to ``most``. JSON's true, false and 4.0 are not integers."""
        value = self._get(name, int, default)
        assert isinstance(value, int)
        if value < least:
            raise self.error(name, f"{value} is too small", f"it must be at least {least}")
        if value > most:
            raise self.error(name, f"{value} is too large", f"it must be at most {most}")
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number greater than zero."""
        value = self._get(name, float, default)
        assert isinstance(value, int | float)
        if not isfinite(value) or value <= 0:
            raise self.error(name, f"{value} is not usable", "it must be greater than 0")
        return float(value)

    def boolean(self, name: str, default: bool) -> bool:
        """True or false."""
        return bool(self._get(name, bool, default))

    def choice(self, name: str, allowed: Iterable[str], default: str | None = None) -> str:
        """One of the strings in ``allowed``."""
        value, known = self._get(name, str, default), tuple(allowed)
        if value not in known:
            raise self.error(name, f"{value!r} is not supported", f"known: {', '.join(known)}")
        return str(value)

    def only(self, name: str, supported: object, why: str) -> None:
        """Refuse any value but the supported one; absent and null are fine."""
        value = self.data.get(name)
        if value is not None and (value != supported or isinstance(value, bool) != isinstance(supported, bool)):
            raise self.error(name, f"{value!r} is not supported", why)

    def choices(self, name: str, allowed: Mapping[str, str], length: int) -> tuple[str, ...]:
        """A list of ``length`` strings, each a key of ``allowed``; returns what the keys stand for."""
        values = self._get(name, list, None)
        assert isinstance(values, list)
        if len(values) != length:
            raise self.error(name, f"{len(values)} entries for {length} layers", f"give exactly {length}")
        for index, value in enumerate(values):
            if not isinstance(value, str) or value not in allowed:
                raise self.error(f"{name}[{index}]", f"{value!r} is not supported", f"known: {', '.join(allowed)}")
        return tuple(allowed[value] for value in values)

    def integers(self, name: str, least: int) -> tuple[int, ...]:
        """A list of whole numbers, each at least ``least``."""
        values = self._get(name, list, None)
        assert isinstance(values, list)
        items = Fields({f"{name}[{index}]": value for index, value in enumerate(values)}, self.place)
        return tuple(items.integer(item, least=least) for item in items.data)

    def child(self, name: str) -> Fields:
        """The object in this field; one without fields if it is absent or null."""
        value = self._get(name, dict, {})
        assert isinstance(value, dict)
        return Fields(value, f"{self.place}{name}.")

    def with_synonyms(self, synonyms: Mapping[str, Sequence[str]]) -> Fields:
        """The same object with every synonym under its canonical name; two that disagree are an error."""
        data = dict(self.data)
        for name, others in synonyms.items():
            for other in others:
                if not self.has(other):
                    continue
                if data.get(name) is not None and data[name] != data[other]:
                    raise self.error(other, f"{data[other]!r} contradicts {name} {data[name]!r}", "give one of them")
                data[name] = data[other]
        return Fields(data, self.place)

    def _get(self, name: str, kind: type, default: object) -> object:
        value = self.data.get(name)
        if value is None:
            if default is None:
                state = "is null" if name in self.data else "is missing"
                raise self.error(name, f"the field {state}", f"it must be {_KINDS[kind]}")
            return default
        wanted = int | float if kind is float else kind
        if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
            raise self.error(name, f"{_short(value)} is not {_KINDS[kind]}")
        return value


def divides(fields: Fields, name: str, value: int, by: str, divisor: int) -> None:
    """Refuse a ``value`` of field ``name`` that ``divisor``, the value of field ``by``, does not divide."""
    if value % divisor:
        raise fields.error(name, f"{value} is not divisible by {by} {divisor}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
