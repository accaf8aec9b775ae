"""The files of an encoder's or model's folder, and what to do about one that cannot be read.

Test: tests/weights/test_reading.py
"""
from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minixl.errors import UserError


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """What the system says against reading `path`, a file or a folder, becomes a UserError with a cure."""
    try:
        yield
    except OSError as error:
        cure = (f"its owner can allow it: chmod a+rX {shlex.quote(str(path))}" if isinstance(error, PermissionError)
                else "copy the folder again")
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {cure}") from None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file that must hold an object."""
    with readable(path):
        content = path.read_bytes()
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {error}; undo what was changed in it, or copy the file again") from None
    if not isinstance(found, dict):
        raise UserError(f"{path}: expected a JSON object {{...}}, found {str(found)[:60]!r}")
    return found
