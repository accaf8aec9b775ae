"""The exception for mistakes that a user can fix, which the command line shows without a traceback; warnings; the log."""
from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable


WARNING = "warning: "                          # begins every line that the user should see even with --quiet
DETAILS = logging.getLogger("minixl")          # level DEBUG is what --verbose shows


class UserError(ValueError):
    """One line that says what is wrong: the file, line or parameter, what was expected, what was found, and the fix.

    The command line prints it after "Error: " and exits with 1.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """'; did you mean X?' if a known name looks like `name`, else ''."""
    close = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""
