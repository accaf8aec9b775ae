"""The exception for mistakes that a user can fix: the command line shows its text without a traceback."""
from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """One line that says what is wrong: the file, line or parameter, what was expected, what was found, and the fix.

    The command line prints it after "Error: " and exits with 1.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean X?' if a known name looks like `name`, else ''."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""
