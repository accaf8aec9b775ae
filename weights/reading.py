"""Read the JSON files of a model folder, and explain why a file cannot be read.

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
def explain_read_errors(path: Path) -> Iterator[None]:
    """Turn an OSError about `path`, a file or a folder, into a UserError that says how to fix it."""
    try:
        yield
    except OSError as error:
        fix = (f"its owner can allow it with chmod a+rX {shlex.quote(str(path))}" if isinstance(error, PermissionError)
               else "copy the folder again")
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); {fix}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that must hold an object."""
    with explain_read_errors(path):
        data = path.read_bytes()
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {error}; undo your changes to it, or copy the file again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object {{...}}, found {str(content)[:60]!r}")
    return content
