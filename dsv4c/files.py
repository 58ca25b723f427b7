"""Where a file that the user names really goes."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import UserError


def destination(path: Path) -> Path:
    """The regular file that ``path`` is or would be, behind all links.

    Output is written under another name and renamed, which would put a file where a pipe or a device stood.

    Raises:
        UserError: something that is no regular file is there, or links lead in a circle.
    """
    real = Path(os.path.realpath(path))
    if real.is_dir():
        raise UserError("is a folder", where=str(path), fix="give the name of a file")
    if real.is_symlink() or (real.exists() and not real.is_file()):
        what = "is a link that leads in a circle" if real.is_symlink() else "is a pipe, a device or a socket"
        raise UserError(what, where=str(path), fix="give the name of a regular file")
    return real
