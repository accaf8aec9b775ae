"""Read a pipe or a terminal as its data arrive, and tell whether the next line is there without waiting for it."""
from __future__ import annotations

import os
import select
import stat
from typing import Any

SIZE = 1 << 16             # bytes read together: what a pipe holds on Linux


class Arriving:
    """A pipe, socket or terminal, read like an open binary file."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor, self.buffer, self.ended = descriptor, bytearray(), False

    def readline(self, limit: int = -1) -> bytes:
        """Return the next line, or its first `limit` bytes; b"" at the end."""
        searched = 0
        while not (end := self.buffer.find(b"\n", searched) + 1) and not self.ended and not 0 <= limit <= len(self.buffer):
            searched = len(self.buffer)
            self._fill()
        return self._take(min(end or len(self.buffer), limit if limit >= 0 else len(self.buffer)))

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, or all that come until the end."""
        while not self.ended and not 0 <= size <= len(self.buffer):
            self._fill()
        return self._take(size if size >= 0 else len(self.buffer))

    def line_is_here(self) -> bool:
        """Whether readline would return at once."""
        while not self.ended and b"\n" not in self.buffer and select.select([self.descriptor], [], [], 0)[0]:
            self._fill()
        return self.ended or b"\n" in self.buffer

    def _fill(self) -> None:
        data = os.read(self.descriptor, SIZE)
        self.buffer += data
        self.ended = not data

    def _take(self, size: int) -> bytes:
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken


def arrives(file: Any) -> bool:
    """Whether this open file is a pipe, a socket or a terminal, whose reader may have to wait."""
    try:
        mode = os.fstat(file.fileno()).st_mode
    except (OSError, AttributeError):                    # UnsupportedOperation: a stream in memory
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (stat.S_ISCHR(mode) and os.isatty(file.fileno()))
