"""What is said of a program that breaks a rule."""

from __future__ import annotations

from typing import Any


class TileError(Exception):
    """A tile program breaks a rule.

    Attributes:
        kernel: its name.
        statement: the line of its text form that breaks the rule; empty where it is the program as a whole.
        what: what is wrong.
        fix: what would work.
        step: the statement, step or buffer itself, for whoever knows where it stands in a file.
    """

    def __init__(self, what: str, fix: str) -> None:
        self.what, self.fix = what, fix
        self.kernel, self.statement = "", ""
        self.step: Any = None
        super().__init__(what)

    def at(self, kernel: str, statement: str = "", step: object = None) -> TileError:
        """The same error with its place, unless it has one."""
        self.kernel = self.kernel or kernel
        if self.step is None:
            self.statement, self.step = statement, step
        return self

    def __str__(self) -> str:
        place = "".join(f"{part}: " for part in (self.kernel, self.statement) if part)
        return f"{place}{self.what}; {self.fix}"
