"""What is wrong with a text that a lark grammar does not accept, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from lark import Lark, Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

END = "$END"


def place(error: UnexpectedInput, text: str) -> tuple[int, int]:
    """Line and column, from 1; behind the last character where the text ends too early."""
    if isinstance(error, UnexpectedToken) and error.token.type == END:
        lines = text.split("\n")
        return len(lines), len(lines[-1]) + 1
    return error.line, error.column


def explained(
    error: UnexpectedInput, grammar: Lark, words: Mapping[str, str], ends: Mapping[str, str]
) -> tuple[str, str]:
    """What stands there, and what was expected, empty where nothing is known of that. ``words`` are for terminals that
    are expected, ``ends`` for those whose text says nothing.
    """
    if isinstance(error, UnexpectedToken):
        found, expected = _found(error.token, ends), error.accepts or error.expected
    else:
        assert isinstance(error, UnexpectedCharacters)
        found, expected = f"unexpected {error.char!r}", error.allowed or set()
    patterns = {t.name: t.pattern.value for t in grammar.terminals if t.pattern is not None}
    names = sorted({words.get(name) or repr(patterns.get(name, name)) for name in expected})
    return found, f"expected {' or '.join(names)}" if names else ""


def _found(token: Token, ends: Mapping[str, str]) -> str:
    return {END: "the text ends here", **ends}.get(token.type, f"unexpected {str(token)!r}")


def near(name: str, known: Iterable[str], mark: str = "") -> str:
    """A hint at names like this one, each behind ``mark``; empty where there is none."""
    found = get_close_matches(name, list(known), n=3)
    return f"did you mean {', '.join(mark + n for n in found)}?" if found else ""
