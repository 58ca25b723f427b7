"""What a user of the command line is meant to read: input that cannot work, and a proof that failed."""


class UserError(Exception):
    """Something in the user's input cannot work.

    Attributes:
        where: the place in the user's own file, such as ``config.json:num_hidden_layers``; empty if there is none.
        what: what is wrong there.
        fix: what would work; empty if the sentence above already says it.
    """

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what, self.where, self.fix = what, where, fix
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        hint = f"; {self.fix}" if self.fix else ""
        return f"{place}{self.what}{hint}"


class ProofError(Exception):
    """A proof failed: the project's own work is wrong, not the user's input. The command line ends with code 1."""
