"""The grammar as a parser of trees, and what is wrong with a text that it does not accept."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import ClassVar

from lark import Lark, Token, Tree
from lark.exceptions import UnexpectedInput
from lark.indenter import Indenter

from dsv4c.errors import UserError
from dsv4c.ir.unexpected import explained, place

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
    text = text if text.endswith("\n") else text + "\n"
    try:
        return _grammar().parse(text)
    except UnexpectedInput as error:
        raise refusal(source, *place(error, text), *explained(error, _grammar(), _WORDS, _ENDS)) from None


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
_ENDS = {"_NL": "the line ends here", "_INDENT": "an unexpected block", "_DEDENT": "the block ends here"}
