"""Print messages, and text from files without the characters that control a terminal."""
from __future__ import annotations

import click

CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) != "\t"}


def printable(text: str) -> str:
    """Replace every control character but the tab with U+FFFD, since an escape sequence could recolour the terminal."""
    return text.translate(CONTROLS)


def to_stderr(message: str) -> None:
    """Print a message to stderr."""
    click.echo(message, err=True)
