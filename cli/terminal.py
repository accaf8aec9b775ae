"""Text that others wrote, for people to read: without characters that steer a terminal."""
from __future__ import annotations

CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) != "\t"}


def printable(text: str) -> str:
    """The text with every control character but the tab replaced by U+FFFD: an escape sequence would recolour the terminal."""
    return text.translate(CONTROLS)
