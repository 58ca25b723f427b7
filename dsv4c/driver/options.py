"""Passes by name, with options as ``key=value``: what ``-p`` and ``--set`` say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from dsv4c.errors import UserError
from dsv4c.passes import registry
from dsv4c.passes.base import Pass

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def find_pass(name: str) -> type[Pass]:
    """The pass of that name; a UserError with the nearest names if there is none."""
    known = {step.name: step for step in registry.PASSES}
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=3) or list(known)
    fix = f"did you mean {' or '.join(near)}?" if near else "this build has no passes"
    raise UserError(f"there is no pass {name!r}", where="-p", fix=f"{fix} (dsv4c passes lists them)")


def make_passes(names: Sequence[str], settings: Iterable[str] = ()) -> tuple[Pass, ...]:
    """The passes ``names`` in that order, with ``settings`` such as ``ranks=8`` or ``partition-experts.ranks=8``.

    A setting without a pass goes to the only pass that has such an option. UserError for what does not fit.
    """
    steps = [find_pass(name) for name in names]
    chosen: dict[str, dict[str, Any]] = {step.name: {} for step in steps}
    for setting in settings:
        step, option, text = _split(setting, steps)
        chosen[step.name][option] = _value(step, option, text, setting)
    return tuple(_make(step, chosen[step.name]) for step in steps)


def settings_of(step: Pass) -> dict[str, Any]:
    """The options of a pass as plain data."""
    return {f.name: getattr(step, f.name) for f in fields(step)}


def spell(steps: Sequence[Pass]) -> str:
    """The words on a command line that run these passes: ``-p`` and a ``--set`` for each option that was changed."""
    words = [f"-p {','.join(step.name for step in steps)}"]
    for step in steps:
        for field in fields(step):
            value = getattr(step, field.name)
            if value != _default(field):
                words.append(f"--set {step.name}.{field.name}={_text(value)}")
    return " ".join(words)


def defaults(step: type[Pass]) -> dict[str, Any]:
    """The default of each option; None where it must be given."""
    return {f.name: None if _default(f) is MISSING else _default(f) for f in fields(step)}


def _default(field: Field[Any]) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _make(step: type[Pass], options: Mapping[str, Any]) -> Pass:
    missing = [f.name for f in fields(step) if _default(f) is MISSING and f.name not in options]
    if missing:
        fix = f"add --set {step.name}.{missing[0]}=..."
        raise UserError(f"needs the option {', '.join(missing)}", where=step.name, fix=fix)
    try:
        return step(**options)
    except ValueError as error:  # a pass may check its options when it is made
        raise UserError(str(error), where=step.name) from None


def _split(setting: str, steps: Sequence[type[Pass]]) -> tuple[type[Pass], str, str]:
    """(pass, option, text of the value) of one ``--set``."""
    key, equals, text = setting.partition("=")
    name, dot, option = key.rpartition(".")
    where = f"--set {setting}"
    if not equals or not option:
        raise UserError("is not an option with a value", where=where, fix="write for instance --set ranks=8")
    owners = [step for step in dict.fromkeys(steps) if option in defaults(step) and name in ("", step.name)]
    if len(owners) == 1:
        return owners[0], option, text
    if owners:
        full = " or ".join(f"{step.name}.{option}" for step in owners)
        raise UserError(f"{len(owners)} passes have the option {option!r}", where=where, fix=f"write {full}")
    if dot and name not in [step.name for step in steps]:
        raise UserError(f"the pass {name!r} does not run here", where=where, fix=f"add it with -p {name}")
    known = [f"{step.name}.{o}" for step in dict.fromkeys(steps) for o in defaults(step)]
    near = [k for k in known if option in get_close_matches(option, [k.rpartition(".")[2]])] or known
    fix = f"options are {', '.join(near)}" if near else "these passes have no options"
    raise UserError(f"there is no option {option!r}", where=where, fix=fix)


def _value(step: type[Pass], option: str, text: str, setting: str) -> Any:
    wanted = get_type_hints(step)[option]
    try:
        return _read(text, wanted)
    except ValueError:
        fix = f"{step.name}.{option} is {describe(wanted)}"
        raise UserError(f"{text!r} does not fit", where=f"--set {setting}", fix=fix) from None


def describe(wanted: Any) -> str:
    """What values an option takes, in words."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return " or ".join(map(str, args))
    if origin in (Union, UnionType):
        return " or ".join("none" if a is NoneType else describe(a) for a in args)
    if origin is tuple:
        return f"a list such as 1,2 where each is {describe(args[0])}"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text"}[wanted]


def _read(text: str, wanted: Any) -> Any:
    """The value of type ``wanted`` that ``text`` spells; ValueError if it spells none."""
    origin, args = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        found = [a for a in args if str(a) == text]
        if not found:
            raise ValueError(text)
        return found[0]
    if origin in (Union, UnionType):
        if NoneType in args and text.lower() == "none":
            return None
        return _read(text, next(a for a in args if a is not NoneType))
    if origin is tuple:
        return tuple(_read(part, args[0]) for part in text.split(",") if part)
    if wanted is bool:
        if text.lower() not in _WORDS:
            raise ValueError(text)
        return _WORDS[text.lower()]
    return wanted(text)
