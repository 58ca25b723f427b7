"""The grammar as a parser of trees, and what is wrong with a text that it does not accept."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import ClassVar

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken
from lark.indenter import Indenter

from dsv4c.errors import UserError

STEP = 4  # columns of a block
Node = Tree[Token]


class TextError(Exception):
    """An error at a token or a line of it; ``parse_tree`` and whoever reads trees add the file's name."""

    def __init__(self, at: Token | Node, what: str, fix: str = "") -> None:
        place = at.meta if isinstance(at, Tree) else at
        self.line, self.column = getattr(place, "line", None) or 1, getattr(place, "column", None) or 1
        self.what, self.fix = what, fix
        super().__init__(what)


class _Blocks(Indenter):
    NL_type, INDENT_type, DEDENT_type = "_NL", "_INDENT", "_DEDENT"
    OPEN_PAREN_types: ClassVar[list[str]] = []
    CLOSE_PAREN_types: ClassVar[list[str]] = []
    tab_len = STEP


@cache
def _grammar() -> Lark:
    text = files("dsv4c.targets.tile.parse").joinpath("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        text, parser="lalr", lexer="contextual", postlex=_Blocks(), maybe_placeholders=True, propagate_positions=True
    )


def parse_tree(text: str, source: str) -> Node:
    """The tree of a text; UserError with the line and column where it is none."""
    _check_blocks(text, source)
    try:
        return _grammar().parse(text if text.endswith("\n") else text + "\n")
    except UnexpectedInput as error:
        at_end = isinstance(error, UnexpectedToken) and error.token.type == "$END"
        line, column = (len(text.splitlines()) + 1, 1) if at_end else (error.line, error.column)
        raise refusal(source, line, column, *_explained(error)) from None


def refusal(source: str, line: int, column: int, what: str, fix: str = "") -> UserError:
    """The error of a place in a text."""
    return UserError(what, where=f"{source}:{line}:{column}", fix=fix)


def _check_blocks(text: str, source: str) -> None:
    """Every line begins at a multiple of four columns, and at most one block deeper than the last."""
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            indent = len(line) - len(line.lstrip())
            if "\t" in line[:indent] or indent % STEP or indent > depth + STEP:
                raise refusal(source, number, 1, "a line that begins in no block", f"indent blocks by {STEP} spaces")
            depth = indent


_WORDS = {
    "NAME": "a name", "INT": "an integer", "FLOAT": "a number", "STRING": "a comparison in quotes",
    "_NL": "the end of the line", "_INDENT": "a block", "_DEDENT": "the block's end", "$END": "the text's end",
    "PIPE": "a pipe such as MTE2", "CHIP": "a chip such as 910b3", "ARCH": "an architecture such as dav-2201",
    "KIND": "vec, mat or acc", "TURN": "'[:,'",
}  # fmt: skip


def _explained(error: UnexpectedInput) -> tuple[str, str]:
    if isinstance(error, UnexpectedToken):
        found, expected = _found(error.token), error.accepts or error.expected
    else:
        assert isinstance(error, UnexpectedCharacters)
        found, expected = f"unexpected {error.char!r}", error.allowed or set()
    patterns = {t.name: t.pattern.value for t in _grammar().terminals if t.pattern is not None}
    words = sorted({_WORDS.get(name) or repr(patterns.get(name, name)) for name in expected})
    return found, f"expected {' or '.join(words)}" if words else ""


def _found(token: Token) -> str:
    names = {"$END": "the text ends here", "_NL": "the line ends here", "_INDENT": "an unexpected block"}
    return names.get(token.type) or ("the block ends here" if token.type == "_DEDENT" else f"unexpected {str(token)!r}")


def near(name: str, known: Iterable[str]) -> str:
    """A hint at names like this one."""
    found = get_close_matches(name, list(known), n=3)
    return f"did you mean {', '.join(found)}?" if found else ""
