"""The one exception for what a user can put right: its text is shown as it is, without a traceback."""
from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """What is wrong, in one line: the file, line or parameter, what was expected, what was found, and the cure.

    The command line prints it after "Error: " and exits with 1.
    """


def nearest(found: str, known: Iterable[str]) -> str:
    """'; did you mean X?' where something known looks like what was found, else ''."""
    close = difflib.get_close_matches(found, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""
