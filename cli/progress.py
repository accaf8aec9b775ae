"""Progress on stderr: a bar on a terminal, otherwise a line a minute; nothing with --quiet, but for warnings."""
from __future__ import annotations

import sys
import time
from typing import Any

import click

from minixl.cli.terminal import is_quiet, to_stderr

LINE_EVERY = 60                        # seconds between two lines without a terminal


class Progress:
    """A bar with the time left and a text of its own, such as a rate or a score."""

    def __init__(self) -> None:
        self.bar: Any = None
        self.text, self.last_line = "", 0.0                            # what the bar ends with; time of the last line

    def message(self, text: str) -> None:
        to_stderr(f"\r\033[K{text}" if self.bar is not None and sys.stderr.isatty() else text)

    def start(self, total: int, done: int, label: str) -> None:
        if is_quiet():
            return
        self.text, self.last_line = "", time.monotonic()
        self.bar = click.progressbar(length=total, file=sys.stderr, label=label, show_pos=True, show_eta=True,
                                     item_show_func=lambda _: self.text or None)
        self.bar.__enter__()
        if done:
            self.bar.update(done)

    def advance(self, steps: int, text: str) -> None:
        """Show that `steps` more have been made."""
        if self.bar is None:
            return
        self.text = text
        self.bar.update(steps, current_item=text)
        if not sys.stderr.isatty() and time.monotonic() - self.last_line >= LINE_EVERY:
            self.last_line = time.monotonic()
            self.message(f"{self.bar.label} {self.bar.pos}/{self.bar.length}" + (f", {text}" if text else ""))

    def finish(self) -> None:
        if self.bar is not None:
            self.bar.__exit__(None, None, None)
            self.bar = None
